"""Depth: the embedding spectrum of L linear or ReLU layers under weak augmentation (paper, Figure 11)."""

from linsim import experiment
from linsim.presets import DEPTHS

PARTS = experiment.Parts("linsim.deep:runs", "linsim.deep:compare", "linsim.plots:depth", "linsim.report:depth")


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    experiment.main("depth", DEPTHS, PARTS, argv)


if __name__ == "__main__":
    main()
