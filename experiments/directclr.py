"""DirectCLR and the projector on images: the paper's Tables 1 and 2, its spectra and gradient ranks (section 6).

Digits, or --data FOLDER with one sub-folder of small images per class: a residual encoder of dense layers. A FOLDER with
train/ and test/ of such sub-folders: a convolutional one (--preset cpu or gpu; its flags: --preset cpu --help).
"""

import sys

from linsim import experiment
from linsim.presets import for_images
from linsim.settings import ProjectorConfig, ResnetConfig

DENSE = experiment.Parts(
    "linsim.directclr:runs", "linsim.directclr:compare", "linsim.plots:projectors", "linsim.report:projectors"
)
CONVOLUTIONAL = DENSE._replace(train="linsim.convolutional:runs", compare="linsim.convolutional:compare")


def parts(config: ProjectorConfig | ResnetConfig) -> experiment.Parts:
    """The encoder is the configuration's."""
    return CONVOLUTIONAL if isinstance(config, ResnetConfig) else DENSE


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    experiment.main("directclr", for_images(sys.argv[1:] if argv is None else argv), parts, argv)


if __name__ == "__main__":
    main()
