"""Phase diagram: collapsed dimensions over noise and initial scale, measured against the population theory."""

from linsim import experiment
from linsim.presets import PHASES


def parts() -> experiment.Parts:
    """What this experiment trains, compares with, draws and tells."""
    from linsim import phases, plots, report

    return experiment.Parts(phases.train, phases.compare, plots.phases, report.phases)


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    experiment.main("phase_diagram", PHASES, parts, argv)


if __name__ == "__main__":
    main()
