"""DirectCLR and the projector on small images: the paper's Tables 1 and 2, its spectra and gradient ranks (section 6)."""

from linsim import experiment
from linsim.presets import PROJECTORS


def parts() -> experiment.Parts:
    """What this experiment trains, compares with, draws and tells."""
    from linsim import directclr, plots, report

    return experiment.Parts(directclr.runs, directclr.compare, plots.projectors, report.projectors)


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    experiment.main("directclr", PROJECTORS, parts, argv)


if __name__ == "__main__":
    main()
