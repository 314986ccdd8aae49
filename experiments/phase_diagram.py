"""Phase diagram: collapsed dimensions over noise and initial scale, measured against the population theory."""

from linsim import experiment
from linsim.presets import PHASES

PARTS = experiment.Parts("linsim.phases:train", "linsim.phases:compare", "linsim.plots:phases", "linsim.report:phases")


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    experiment.main("phase_diagram", PHASES, PARTS, argv)


if __name__ == "__main__":
    main()
