"""Weight alignment of two linear layers: does V2^T U1 become the identity? (paper, section 5.2, Figure 5)."""

from linsim import experiment
from linsim.presets import TWO_LAYERS

PARTS = experiment.Parts("linsim.train:two_layers", "linsim.modes:add", "linsim.plots:alignment", "linsim.report:alignment")


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    experiment.main("alignment", TWO_LAYERS, PARTS, argv)


if __name__ == "__main__":
    main()
