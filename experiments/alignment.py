"""Weight alignment of two linear layers: does V2^T U1 become the identity? (paper, section 5.2, Figure 5)."""

from linsim import experiment
from linsim.presets import TWO_LAYERS


def parts() -> experiment.Parts:
    """What this experiment trains, compares with, draws and tells."""
    from linsim import modes, plots, report, train

    return experiment.Parts(train.two_layers, modes.add, plots.alignment, report.alignment)


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    experiment.main("alignment", TWO_LAYERS, parts, argv)


if __name__ == "__main__":
    main()
