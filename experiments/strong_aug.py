"""Strong augmentation: dimensional collapse of a linear model (paper, section 4, Figure 3)."""

from linsim.config import configure_jax, parse, stop
from linsim.presets import ONE_LAYER

NAME = "strong_aug"


def main(argv: list[str] | None = None) -> None:
    """Command line: train, predict, save the data and the figure, print the table and the verdict."""
    config = parse(ONE_LAYER, argv, NAME)
    configure_jax(x64=config.x64)
    from linsim import plots, predictions, report, results, train

    dataset = train.one_layer(config)
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
