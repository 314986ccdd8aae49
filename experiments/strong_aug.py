"""Strong augmentation: dimensional collapse of a linear model (paper, section 4, Figure 3)."""

import dataclasses
import datetime
from pathlib import Path

from linsim.config import LinearConfig, configure_jax, parse, stop

NAME = "strong_aug"

PAPER = LinearConfig(
    preset="paper",
    noise=(0.5, 1.0, 1.3, 1.7, 2.0),
    views="one",
    loss="distance",
    batches="dataset",
    init="orthogonal",
    init_scale=(0.1,),
    learning_rate=0.128,  # 1e-3 on the sum over a batch of 128
    steps=10_000,
    out=Path("results") / NAME,
)
PRESETS = {
    "paper": PAPER,
    "released": dataclasses.replace(
        PAPER,
        preset="released",
        noise=(0.5, 1.5),
        views="two",
        loss="dot",
        init="uniform",
        init_scale=(3**-0.5,),  # torch.nn.Linear's default
        learning_rate=1e-3,
    ),
}


def train(config: LinearConfig):
    """Train every noise x init_scale x seed. Returns: Dataset with provenance."""
    import numpy as np

    from linsim import dynamics, results, runs, sweep

    started = datetime.datetime.now(datetime.UTC)
    steps = dynamics.record_steps(config.steps)
    axes = {"noise": config.noise, "init_scale": config.init_scale}
    measured = sweep.run(runs.simulate(config, steps), axes, seed=config.seed, seeds=config.seeds)
    coords = {name: list(values) for name, values in axes.items()}
    coords |= {"seed": np.arange(config.seeds), "step": ("time", steps), "time": steps * config.learning_rate}
    dataset = results.labelled_runs(measured, (*axes, "seed"), coords)
    return dataset.assign_attrs(results.provenance(config, started))


def main(argv: list[str] | None = None) -> None:
    """Command line: train, predict, save the data and the figure, print the table and the verdict."""
    config = parse(PRESETS, argv)
    configure_jax(x64=config.x64)
    from linsim import plots, predictions, report, results

    dataset = train(config)
    data_path = results.save(dataset, config.out / f"{NAME}.nc")
    if (message := report.divergence(dataset)) is not None:
        stop(f"{message}; what was recorded is in {data_path}", 1)
    dataset = predictions.add(dataset, config)
    results.save(dataset, data_path)
    figure_path = plots.save(plots.strong_augmentation(dataset), config.out / f"{NAME}.{config.format}")
    print(f"saved {data_path} and {figure_path}\n")
    print(report.strong_augmentation(dataset))


if __name__ == "__main__":
    main()
