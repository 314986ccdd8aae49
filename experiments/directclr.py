"""DirectCLR and the projector on images: the paper's Tables 1 and 2, its spectra and gradient ranks (section 6).

Digits, or --data FOLDER with one sub-folder of small images per class: a residual encoder of dense layers. A FOLDER with
train/ and test/ of such sub-folders: a convolutional one (--preset cpu or gpu; its flags: --preset cpu --help).
"""

import sys

from linsim import experiment
from linsim.presets import for_images
from linsim.settings import ResnetConfig


def parts() -> experiment.Parts:
    """What this experiment trains, compares with, draws and tells, with an encoder of dense layers or of convolutions."""
    from linsim import convolutional, directclr, plots, report

    def module(config):
        return convolutional if isinstance(config, ResnetConfig) else directclr

    return experiment.Parts(
        lambda config, where: module(config).runs(config, where),
        lambda dataset, config: module(config).compare(dataset, config),
        plots.projectors,
        report.projectors,
    )


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    experiment.main("directclr", for_images(sys.argv[1:] if argv is None else argv), parts, argv)


if __name__ == "__main__":
    main()
