"""Implicit regularisation: the singular values of two linear layers in time (paper, section 5.3, Figure 6)."""

from linsim import experiment
from linsim.presets import TWO_LAYERS


def parts() -> experiment.Parts:
    """What this experiment trains, compares with, draws and tells."""
    from linsim import plots, predictions, report, train

    return experiment.Parts(train.two_layers_and_flows, predictions.add_layers, plots.singular_values, report.singular_values)


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    experiment.main("singular_values", TWO_LAYERS, parts, argv)


if __name__ == "__main__":
    main()
