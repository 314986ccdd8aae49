"""Strong augmentation: dimensional collapse of a linear model (paper, section 4, Figure 3)."""

from linsim import experiment
from linsim.presets import ONE_LAYER


def parts() -> experiment.Parts:
    """What this experiment trains, compares with, draws and tells."""
    from linsim import plots, predictions, report, train

    return experiment.Parts(train.one_layer, predictions.add, plots.strong_augmentation, report.strong_augmentation)


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    experiment.main("strong_aug", ONE_LAYER, parts, argv)


if __name__ == "__main__":
    main()
