"""Depth: the embedding spectrum of L linear or ReLU layers under weak augmentation (paper, Figure 11)."""

from linsim import experiment
from linsim.presets import DEPTHS


def parts() -> experiment.Parts:
    """What this experiment trains, compares with, draws and tells."""
    from linsim import deep, plots, report

    return experiment.Parts(deep.runs, deep.compare, plots.depth, report.depth)


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    experiment.main("depth", DEPTHS, parts, argv)


if __name__ == "__main__":
    main()
