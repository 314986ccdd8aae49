"""Theory on real pairs of views, held against training on the same pairs, direction by direction.

Digits of scikit-learn under noise of one view, noise of both, and crop with shift; with --data, a
folder of train/<class>/ and test/<class>/ images of 32 x 32 (CIFAR-10 in docs/views.md), under
noise of one view and under SimCLR's views, averaged over 4 x 4 pixels. On each, maps are trained on
the pairs and on two stand-ins: the same directions drawn from different rows, and Gaussian pairs of
the same second moments, and on fresh augmentations of the same images. Prints tables; with --data
also writes `benchmarks/views.json` and puts the tables into docs/views.md; some 4 minutes.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from linsim.diagnose.views import moments, trained
from linsim.diagnose.views.result import Views
from linsim.diagnose.views.settings import Settings
from linsim.diagnose.views.strengths import THRESHOLD
from linsim.images import augment, folders
from linsim.sweeps.runtime import configure_jax

BATCH = 128
SEEDS = 3
FRESH_DIGITS, FRESH_PHOTOGRAPHS = 15, 2  # draws
SIDE = 8  # pixels of the averaged images
CHUNK = 1000
ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / "benchmarks" / "views.json", ROOT / "docs" / "views.md"
BEGIN, END = "<!-- study -->", "<!-- /study -->"
Pairs = tuple[np.ndarray, np.ndarray]
Record = dict[str, Any]
OUTCOMES = (
    "pairs",
    "verdict: lost, kept, too close",
    "wrong of these",
    "kept, by theory",
    "by own ratios",
    "trained on the pairs",
    "shuffled",
    "Gaussian",
)
STRENGTHS = (
    "strengths, trained against theory",
    "loss",
    "hard pairs: n², Δ²",
    "on the pairs",
    "shuffled",
    "Gaussian",
    "fresh augmentations",
)


class Case(NamedTuple):
    """What the pairs are, and draws of them: pairs of views (N, ...) of the same N images. The
    first is given to the diagnosis, the others are for training on fresh augmentations.
    """

    name: str
    draws: list[Pairs]


def digits() -> Iterator[Case]:
    """The 1,797 digits of 8 x 8 pixels, values 0 to 1."""
    images = folders.digits().pixels.astype(float)
    rng = np.random.default_rng(0)

    def noisy(amplitude: float) -> np.ndarray:
        return images + amplitude * rng.standard_normal(images.shape)

    def moved(seed: int) -> np.ndarray:
        strength = augment.Strength(crop=0.75, shift=1)
        return np.asarray(augment.view(jax.random.key(seed), jnp.asarray(images), strength))

    draws = range(1 + FRESH_DIGITS)
    yield Case("digits, noise 0.3 on one view", [(images, noisy(0.3)) for _ in draws])
    yield Case("digits, noise 0.5 on both", [(noisy(0.5), noisy(0.5)) for _ in draws])
    yield Case("digits, crop and shift", [(moved(2 * i), moved(2 * i + 1)) for i in draws])


def photographs(data: Path) -> Iterator[Case]:
    """The training images of a folder, averaged to 8 x 8 pixels in colour, values 0 to 1."""
    pixels = folders.split(data)[0].pixels
    rng = np.random.default_rng(0)

    def seen(view, seed: int) -> np.ndarray:
        starts = range(0, len(pixels), CHUNK)
        keys = jax.random.split(jax.random.key(seed), len(starts))
        made = [
            view(key, jnp.asarray(pixels[start : start + CHUNK]) / 255.0)
            for key, start in zip(keys, starts, strict=True)
        ]
        return np.concatenate([np.asarray(each, dtype=float) for each in made])

    clean = seen(lambda _, images: averaged(images), 0)
    draws = range(1 + FRESH_PHOTOGRAPHS)

    def noisy() -> np.ndarray:
        return clean + 0.4 * rng.standard_normal(clean.shape)

    yield Case("photographs, noise 0.4 on one view", [(clean, noisy()) for _ in draws])

    @jax.jit
    def simclr(key, images):
        return averaged(augment.simclr_view(key, images, 0.2, 0.5))

    yield Case(
        "photographs, SimCLR", [(seen(simclr, 2 * i), seen(simclr, 2 * i + 1)) for i in draws]
    )


def averaged(images) -> jax.Array:
    """Images (N, H, W, C) averaged over blocks to SIDE x SIDE."""
    count, height, width, colours = images.shape
    blocks = images.reshape(count, SIDE, height // SIDE, SIDE, width // SIDE, colours)
    return blocks.mean(axis=(2, 4))


def studied(case: Case) -> Record:
    """One case: the verdict, and how training on each source compares with theory."""
    found = Views.of(*case.draws[0], Settings(batch_size=BATCH))
    given, *fresh = (roles(draw, found.anchors) for draw in case.draws)
    at, kept = along(given, found), found.strengths >= trained.LEAST
    own = found.settled.law.strengths(found.own.ratios, found.directions.covariances)
    options: Record = {"batch_size": BATCH, "seeds": SEEDS}
    maps = {source: trained.trained(at, source=source, **options) for source in trained.SOURCES}
    maps["fresh"] = trained.trained(along([r for draw in fresh for r in draw], found), **options)
    decided = found.outcomes != "too close to tell"
    return {
        "name": case.name,
        "pairs": found.rows,
        "directions": len(kept),
        "loss": found.settled.loss,
        "verdict": found.counts,
        "verdict wrong": wrong(maps["fresh"], found.outcomes == "lost", decided),
        "theory keeps": int(np.sum(kept)),
        "own keeps": int(np.sum(own >= trained.LEAST)),
        "hard noise": float(np.median(found.own.hard_noise[kept])),
        "hard negatives": float(np.median(found.own.hard_negatives[kept])),
        "trained": {source: compared(found, each) for source, each in maps.items()},
    }


def roles(draw: Pairs, anchors: str) -> list[moments.Role]:
    """Anchors and augmentations of a draw, flattened."""
    first, second = (value.reshape(len(value), -1) for value in draw)
    return moments.roles(first, second, anchors)  # type: ignore[arg-type]


def along(taken: list[moments.Role], found: Views) -> trained.Coordinates:
    """The pairs in the coordinates of the directions."""
    return trained.Coordinates.of(taken, found.directions.vectors, found.ratios)


def wrong(maps: trained.Trained, lost: np.ndarray, decided: np.ndarray) -> int:
    """How many of the directions that are decided end otherwise than said."""
    return int(np.sum(decided & ((maps.strengths < trained.LEAST) != lost)))


def compared(found: Views, maps: trained.Trained) -> Record:
    """Dimensions kept, and strengths against theory in the stronger half of the directions with
    ratios below 2 on all rows: 10th, 50th and 90th percentile of the deviation in per cent, and the
    median of its size in standard errors of the mean over seeds.
    """
    kept = (found.ratios < THRESHOLD) & np.isfinite(found.strengths)
    strong = kept & (found.strengths >= np.median(found.strengths[kept]))
    theory, measured = found.strengths[strong], maps.strengths[strong]
    errors = np.abs(measured - theory) / maps.errors[strong]
    return {
        "dimensions": maps.dimensions,
        "mixing": maps.mixing,
        "per cent": np.percentile(100 * (measured / theory - 1), (10, 50, 90)).tolist(),
        "standard errors": float(np.median(errors)),
    }


def render(records: list[Record]) -> str:
    """The tables of docs/views.md: dimensions and outcomes, and strengths."""
    outcomes, strengths = [], []
    for each in records:
        lost, close, kept = each["verdict"].values()
        maps = each["trained"]
        outcomes.append(
            [
                f"{each['name']}, {each['pairs']:,}",
                f"{lost}, {kept}, {close}",
                f"{each['verdict wrong']} of {lost + kept}",
                f"{each['theory keeps']} of {each['directions']}",
                f"{each['own keeps']}",
                *(f"{maps[source]['dimensions']:.3g}" for source in trained.SOURCES),
            ]
        )
        strengths.append(
            [
                each["name"],
                f"{each['loss']:.2g}",
                f"{each['hard noise']:.2f}, {each['hard negatives']:.2f}",
                *(_off(maps[source]) for source in (*trained.SOURCES, "fresh")),
            ]
        )
    return "\n\n".join((_table(OUTCOMES, outcomes), _table(STRENGTHS, strengths)))


def _table(titles: tuple[str, ...], rows: list[list[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _off(record: Record) -> str:
    low, middle, high = record["per cent"]
    return f"{middle:+.1f} % ({low:+.1f} to {high:+.1f}), {record['standard errors']:.0f} SE"


def update(page: Path, records: list[Record]) -> None:
    """Put the tables between their marks."""
    before, _, rest = page.read_text().partition(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{render(records)}\n{END}{rest.partition(END)[2]}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with train/ and test/")
    data = parser.parse_args().data
    configure_jax()
    records = [studied(case) for case in digits()]
    if data is None:
        print(render(records))
        return
    records += [studied(case) for case in photographs(data)]
    RESULTS.write_text(json.dumps(records, indent=1) + "\n")
    update(PAGE, records)
    print(render(records))


if __name__ == "__main__":
    main()
