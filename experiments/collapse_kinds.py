"""Kinds of collapse: none, dimensional or complete, with and without negatives (paper, section 3, Figures 1 and 2)."""

from linsim import experiment
from linsim.presets import KINDS


def parts() -> experiment.Parts:
    """What this experiment trains, compares with, draws and tells."""
    from linsim import kinds, plots, report

    return experiment.Parts(kinds.runs, kinds.compare, plots.kinds, report.kinds)


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    experiment.main("collapse_kinds", KINDS, parts, argv)


if __name__ == "__main__":
    main()
