"""Implicit regularisation: the singular values of two linear layers in time (paper, section 5.3, Figure 6)."""

from linsim import experiment
from linsim.presets import TWO_LAYERS

PARTS = experiment.Parts(
    "linsim.train:two_layers_and_flows",
    "linsim.predictions:add_layers",
    "linsim.plots:singular_values",
    "linsim.report:singular_values",
)


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    experiment.main("singular_values", TWO_LAYERS, PARTS, argv)


if __name__ == "__main__":
    main()
