"""Strong augmentation: dimensional collapse of a linear model (paper, section 4, Figure 3)."""

import dataclasses
import datetime

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


def run(config: LinearConfig):
    """Train every noise x init_scale x seed, and add what theory predicts for the same runs. Returns: Dataset."""
    import numpy as np

    from linsim import dynamics, predictions, results, runs, sweep

    started = datetime.datetime.now(datetime.UTC)
    steps = dynamics.record_steps(config.steps)
    axes = {"noise": config.noise, "init_scale": config.init_scale}
    measured = sweep.run(runs.simulate(config, steps), axes, seed=config.seed, seeds=config.seeds)
    coords = {
        **{k: list(v) for k, v in axes.items()},
        "seed": np.arange(config.seeds),
        "step": ("time", steps),
        "time": steps * config.learning_rate,
    }
    dataset = results.labelled_runs(measured, (*axes, "seed"), coords)
    return predictions.add(dataset.assign_attrs(results.provenance(config, started)), config)


def main(argv: list[str] | None = None) -> None:
    """Command line: train, predict, save the data and the figure, print the table and the verdict."""
    config = parse(PRESETS, NAME, argv)
    configure_jax(x64=config.x64)
    from linsim import plots, report, results

    dataset = run(config)
    data_path = results.save(dataset, config.out / f"{NAME}.nc")
    if (message := report.divergence(dataset)) is not None:
        stop(f"{message}; what was recorded is in {data_path}", 1)
    figure_path = plots.save(plots.strong_augmentation(dataset), config.out / f"{NAME}.{config.format}")
    print(f"saved {data_path} and {figure_path}\n")
    print(report.strong_augmentation(dataset))


if __name__ == "__main__":
    main()
