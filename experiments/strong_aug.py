"""Strong augmentation: dimensional collapse of a linear model (paper, section 4, Figure 3)."""

from linsim import experiment
from linsim.presets import ONE_LAYER

PARTS = experiment.Parts(
    "linsim.train:one_layer", "linsim.predictions:add", "linsim.plots:strong_augmentation", "linsim.report:strong_augmentation"
)


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    experiment.main("strong_aug", ONE_LAYER, PARTS, argv)


if __name__ == "__main__":
    main()
