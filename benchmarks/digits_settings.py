"""How the digits preset of `experiments/directclr.py` was chosen: one pass of coordinate ascent, on seeds that are not reported.

Criterion: accuracy of the probe on r with 20 labels per class, mean over SETUPS and over two runs from the base seed 1000, on
images that neither the encoder nor the probe was trained on. Prints one line per setting tried, and each choice.
"""

import dataclasses

from linsim.config import at, configure_jax
from linsim.presets import PROJECTORS
from linsim.settings import ProjectorConfig

SETUPS = ("none", "nonlinear", "directclr")
START = {"noise": 0.25, "shift": 1, "crop": 1.0, "temperature": 0.2, "learning_rate": 0.1, "blocks": 2, "width": 128}
TRIED = {
    "noise": (0.25, 0.5, 0.75, 1.0),
    "shift": (0, 1, 2),
    "crop": (0.6, 0.8, 1.0),
    "temperature": (0.1, 0.2, 0.5, 1.0),
    "learning_rate": (0.03, 0.1, 0.3),
    "blocks": (1, 2, 3),
    "width": (64, 128),
}


def score(config: ProjectorConfig) -> list[float]:
    """The criterion for each of SETUPS."""
    from linsim import directclr, sweep, train

    found = train.grid(
        directclr.simulate,
        config,
        {"projectors": SETUPS},
        sweep.Engine(chunk_size=1),
        finish=lambda point, *_: directclr.finish(point, directclr.FEATURES[:1]),
    )
    assert found is not None
    return found["probe_accuracy"].isel(feature=0, labels=-1).mean("seed").values.tolist()


def main() -> None:
    """One pass of coordinate ascent over TRIED."""
    configure_jax(x64=False)
    config = dataclasses.replace(PROJECTORS["digits"], **START, seed=1000, seeds=2, few=(20,))
    seen: dict[ProjectorConfig, list[float]] = {}
    for name, values in TRIED.items():
        for value in values:
            tried = at(config, **{name: value})
            if tried not in seen:
                seen[tried] = score(tried)
            each = ", ".join(f"{setup} {accuracy:.4f}" for setup, accuracy in zip(SETUPS, seen[tried], strict=True))
            print(f"{name} {value:g}: {sum(seen[tried]) / len(SETUPS):.4f} ({each})", flush=True)
        config = max((at(config, **{name: value}) for value in values), key=lambda tried: sum(seen[tried]))
        print(f"chosen: --{name.replace('_', '-')} {getattr(config, name):g}", flush=True)


if __name__ == "__main__":
    main()
