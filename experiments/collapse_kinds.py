"""Kinds of collapse: none, dimensional or complete, with and without negatives (paper, section 3, Figures 1 and 2)."""

from linsim import experiment
from linsim.presets import KINDS

PARTS = experiment.Parts("linsim.kinds:runs", "linsim.kinds:compare", "linsim.plots:kinds", "linsim.report:kinds")


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    experiment.main("collapse_kinds", KINDS, PARTS, argv)


if __name__ == "__main__":
    main()
