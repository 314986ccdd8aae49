"""DirectCLR and the projector, taken apart on images (paper, section 6 and Appendix F)."""

import importlib.util
import itertools
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, get_args

from linsim.config import (
    Amplitude,
    BadInput,
    Count,
    Fraction,
    Natural,
    Positive,
    Rule,
    Several,
    flag,
    require,
    whole,
)
from linsim.images.names import DIGITS, EncoderOptimizer, NormName, Part, Setup
from linsim.studies.study import Picture, Preset, Study, StudySettings

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from linsim.images.folders import Source
    from linsim.sweeps.engine import Engine
    from linsim.sweeps.sweep import Sweep

Share = Annotated[float, Rule(lambda v: 0 < v <= 1, "a number above 0 and at most 1")]
Blocks = Annotated[int, whole(1, 16)]
SeveralD0 = Annotated[tuple[Natural, ...], Several(may_be_empty=True)]
LabelsPerClass = Annotated[tuple[Annotated[int, whole(2)], ...], Several(may_be_empty=True)]
TrainShare = Annotated[float, Rule(lambda v: 0.1 <= v <= 0.9, "a number from 0.1 to 0.9")]


@dataclass(kw_only=True)
class ProjectorSettings(StudySettings):
    """What the study of projectors can be asked, whatever the encoder."""

    data: str = DIGITS
    """digits (scikit-learn's), or a folder of images."""
    image_size: Annotated[int, whole(2, 512)] | None = None
    """Resize a folder's images to this height and width in pixels (default: their own)."""
    projectors: tuple[Setup, ...] = ("none", "linear", "nonlinear", "directclr")
    """Between representation and loss; directclr-linear-block: with a linear last block."""
    d0: Count = 32
    """Coordinates that DirectCLR trains on, and rank of the low-rank projectors."""
    d0_sweep: SeveralD0 = ()
    """Further d0 for DirectCLR; 0: an untrained encoder, the width of r: no projector."""
    width: Annotated[int, whole(2)] = 128
    """Width of the encoder."""
    crop: Share = 1.0
    """Augmentation: how much of an image a crop keeps at least."""
    temperature: Positive = 0.2
    """Temperature of the loss (NT-Xent, mean over anchors)."""
    optimizer: EncoderOptimizer = "sgd"
    """SGD with momentum 0.9, or LARS; a warm-up over a tenth of the steps, then a cosine."""
    learning_rate: Positive = 0.1
    """Largest step size on the MEAN loss."""
    weight_decay: Amplitude = 1e-4
    """Weight decay."""
    few: LabelsPerClass = (20,)
    """Labels per class of the probes with few labels, beside the one with all."""
    collapse_threshold: Fraction = 0.01
    """A dimension counts as collapsed below this fraction of the largest deviation of r."""

    def relations(self) -> None:
        """Check the fields against one another. Raises: BadInput."""
        super().relations()
        width, wording = self.representation()
        require(self.d0 <= width, "d0", self.d0, f"at most {wording}, here {width}")
        worst = max(self.d0_sweep, default=0)
        require(worst <= width, "d0_sweep", worst, f"at most {wording}, here {width}")

    def representation(self) -> tuple[int, str]:
        """How many coordinates the representation has, and what they are called."""
        return self.width, "--width"

    def source(self) -> "Source":
        """Where the images come from, with a digest of what they are. Raises: BadInput."""
        raise NotImplementedError

    def check_images(self) -> None:
        """Load the images, and check the fields against them. Raises: BadInput."""
        raise NotImplementedError

    def _check_counts(self, total: int, smallest: int) -> None:
        """Check batches and few labels. Args: training images; those of the smallest class."""
        allowed = f"at most the training images, here {total}"
        require(self.batch_size <= total, "batch_size", self.batch_size, allowed)
        most, allowed = (
            max(self.few, default=2),
            "at most the training images of the smallest class",
        )
        require(most <= smallest, "few", most, f"{allowed}, here {smallest}")


@dataclass(kw_only=True)
class DenseSettings(ProjectorSettings):
    """The study with a residual encoder of dense layers."""

    runs_per_worker: ClassVar[int] = 2

    data: str = DIGITS
    """digits (scikit-learn's), or a folder of images with one sub-folder per class."""
    part: Part = "all"
    """All images; or the third that is for choosing settings; or the rest, for judging them."""
    projectors: tuple[Setup, ...] = tuple(
        name for name in get_args(Setup) if name != "trainable-orthogonal"
    )
    """Between representation and loss; directclr-linear-block: with a linear last block."""
    d0: Count = 64
    """Coordinates that DirectCLR trains on, and rank of the low-rank projectors."""
    d0_sweep: SeveralD0 = (0, 4, 16, 32, 128)
    """Further values of d0 for DirectCLR; 0 is an untrained encoder, --width is no projector."""
    width: Annotated[int, whole(2)] = 128
    """Dimension of the representation."""
    blocks: Blocks = 3
    """Residual blocks of the encoder."""
    noise: Amplitude = 1.0
    """Augmentation: standard deviation of the additive noise, in units of the pixels'."""
    shift: Natural = 1
    """Augmentation: largest shift in pixels."""
    crop: Share = 1.0
    """Augmentation: smallest share of a side that a crop keeps."""
    temperature: Positive = 0.1
    """Temperature of the loss (NT-Xent, mean over anchors)."""
    flip: bool = False
    """Augmentation: mirror half of the images."""
    train_share: TrainShare = 2 / 3
    """Share of each class that each seed draws to train on; the rest is for testing."""
    few: LabelsPerClass = (5, 20)
    """Labels per class of the probes with few labels, beside the one with all."""

    def source(self) -> "Source":
        """Where the images come from, with a digest of what they are. Raises: BadInput."""
        from linsim.images import folders

        digest = folders.digest(folders.load(self.data, self.image_size, self.part))
        return folders.Source(name=self.data, size=self.image_size, part=self.part, digest=digest)

    def check_images(self) -> None:
        """Load the images, and check the fields against them. Raises: BadInput."""
        from linsim.images import folders

        labels = folders.load(self.data, self.image_size, self.part).labels
        smallest = min(Counter(labels.tolist()).values())
        self._check_counts(int(self.train_share * len(labels)), int(self.train_share * smallest))


@dataclass(kw_only=True)
class ConvolutionalSettings(ProjectorSettings):
    """The study with a convolutional encoder, on a folder of images with train/ and test/."""

    runs_per_worker: ClassVar[int] = 1

    data: str = ""
    """Folder that holds train/ and test/, each with one sub-folder of images per class."""
    train_images: Count | None = None
    """Training images that each seed draws, each class in its share (default: all)."""
    d0: Count = 128
    """Coordinates that DirectCLR trains on, and rank of the low-rank projectors."""
    width: Annotated[int, whole(2)] = 64
    """Channels of the first stage; each further one doubles them; those of the last are r."""
    blocks: Annotated[tuple[Blocks, ...], Several(may_repeat=True)] = (2, 2, 2, 2)
    """Residual blocks of each stage, at least 2 in the last; 2 2 2 2 is ResNet-18."""
    norm: NormName = "batch"
    """What normalises the channels: over the batch, or over each image alone in groups of 16."""
    crop: Share = 0.2
    """Augmentation: smallest share of the area that a crop keeps."""
    jitter: Amplitude = 0.5
    """Augmentation: strength of the colour jitter."""
    weight_decay: Amplitude = 1e-4
    """Weight decay of all but the norms' parameters."""
    online: bool = True
    """Train a probe beside the encoder, which does not notice."""

    def relations(self) -> None:
        """Check the fields against one another. Raises: BadInput."""
        shown = " ".join(map(str, self.blocks))
        require(self.blocks[-1] >= 2, "blocks", shown, "at least 2 at its end")
        super().relations()

    def representation(self) -> tuple[int, str]:
        """How many coordinates the representation has, and what they are called."""
        return self.width * 2 ** (len(self.blocks) - 1), "the representation's width"

    def source(self) -> "Source":
        """Where the images come from, with a digest of what they are. Raises: BadInput."""
        from linsim.images import folders

        digest = folders.digest(*folders.split(Path(self.data), self.image_size))
        return folders.Source(name=self.data, size=self.image_size, digest=digest)

    def check_images(self) -> None:
        """Load the images, and check the fields against them. Raises: BadInput."""
        folder = (
            "a folder that holds train/ and test/, each with one sub-folder of images per class"
        )
        require(self.data != "", "data", "''", folder)
        from linsim.images import folders

        train, _ = folders.split(Path(self.data), self.image_size)
        total, wanted = len(train.labels), self.train_images
        allowed = f"at most the training images, here {total}"
        require((wanted or 1) <= total, "train_images", wanted, allowed)
        used = wanted or total
        fewest = min(Counter(train.labels.tolist()).values())
        by_chance = used * fewest // total - 1  # a draw may miss the share of a class by one
        self._check_counts(used, fewest if used == total else by_chance)


# Noise, shift, crop, temperature, rate, blocks, width and d0 are those that
# `benchmarks/digits_settings.py` found on other seeds and other images.
DIGITS_PRESET = DenseSettings(part="judging", steps=2000, seeds=10, chunk_size=1)
# The weakest of the noises tried under which training without a projector is not worse than none.
WEAK = replace(DIGITS_PRESET, noise=0.5)
QUICK = replace(
    DIGITS_PRESET,
    projectors=("none", "nonlinear", "directclr"),
    d0_sweep=(),
    few=(20,),
    steps=300,
    seeds=3,
)
CPU = ConvolutionalSettings(
    image_size=16,
    train_images=10_000,
    projectors=("none", "nonlinear", "directclr"),
    width=16,
    blocks=(1, 1, 2),
    d0=16,
    learning_rate=0.1,  # of 0.1 and 0.3, by the probe on r of none and nonlinear, on another seed
    steps=936,  # 12 epochs
)
GPU = ConvolutionalSettings(
    batch_size=512,
    learning_rate=0.2,
    steps=9700,  # 100 epochs of CIFAR-10
)


class DirectCLR(Study[ProjectorSettings]):
    """DirectCLR and projectors on images (section 6, Tables 1, 2, Figs. 7-12).

    Accuracies of probes, spectra of representations, and ranks of gradients.

    Digits, or --data FOLDER with one sub-folder of small images per class: a residual encoder of
    dense layers. A FOLDER with train/ and test/ of such sub-folders: a convolutional one, by
    default --preset cpu (its flags: --preset cpu --help).
    """

    name = "directclr"
    presets: Mapping[str, Preset[Any]] = {
        "digits": Preset(
            DIGITS_PRESET, "ten projectors on scikit-learn's digits, strong augmentation"
        ),
        "weak": Preset(WEAK, "the same under weak augmentation"),
        "quick": Preset(QUICK, "three projectors and short runs on digits, in half a minute"),
        "cpu": Preset(CPU, "a small convolutional encoder, for --data with train/ and test/"),
        "gpu": Preset(GPU, "ResNet-18 for an accelerator, for --data with train/ and test/"),
    }
    pictures = (
        Picture(
            "directclr",
            (),
            "Figs. 7b, 9, 10, 12 and Tables 1, 2: projectors and DirectCLR, on digits",
        ),
        Picture("directclr_weak", ("--preset", "weak"), "the same under weak augmentation"),
    )
    examples = (
        "--quick",
        "--projectors none directclr --d0 16",
        "--data FOLDER --image-size 16 --flip",
        "--data FOLDER_WITH_TRAIN_AND_TEST --preset gpu",
    )

    def settings(self, **given: object) -> ProjectorSettings:
        """Checked settings from keyword arguments, over those of `preset`. Raises: BadInput."""
        classed = "preset" not in given and holds_train_and_test(str(given.get("data", DIGITS)))
        return _checked(super().settings(**({"preset": "cpu"} if classed else {}), **given))

    def parse(
        self, argv: Sequence[str] | None = None, prog: str | None = None
    ) -> ProjectorSettings:
        """Checked settings from a command line, see `Study`. Raises: BadInput."""
        words = self._spelled_out(list(sys.argv[1:] if argv is None else argv))
        parts = [part for word in words for part in word.split("=", 1)]
        folders = [data for word, data in itertools.pairwise(parts) if word == "--data"]
        if "--preset" not in parts and any(map(holds_train_and_test, folders)):
            words = ["--preset", "cpu", *words]
        return _checked(super().parse(words, prog))

    def inputs(self, settings: ProjectorSettings) -> Mapping[str, object]:
        """A digest of the images, which may change while their folder keeps its name."""
        return {"images": settings.source().digest}

    def sweeps(self, settings: ProjectorSettings, engine: "Engine") -> "tuple[Sweep[Any], ...]":
        """A sweep over projectors, and one over d0 for DirectCLR."""
        if isinstance(settings, ConvolutionalSettings):
            from linsim.studies.directclr import convolutional

            return convolutional.sweeps(settings)
        from linsim.studies.directclr import dense

        return dense.sweeps(_dense(settings))

    def solve(
        self, settings: ProjectorSettings, engine: "Engine"
    ) -> "tuple[xr.Dataset | None, ...]":
        """The result of each sweep; convolutional encoders are trained one after another."""
        if isinstance(settings, ConvolutionalSettings):
            from linsim.studies.directclr import convolutional

            return convolutional.solve(settings, engine)
        return super().solve(settings, engine)

    def compare(
        self, results: "tuple[xr.Dataset, ...]", settings: ProjectorSettings
    ) -> "xr.Dataset":
        """All runs in one Dataset, with what a probe finds without training."""
        if isinstance(settings, ConvolutionalSettings):
            from linsim.studies.directclr import convolutional

            return convolutional.compare(results, settings)
        from linsim.studies.directclr import dense

        return dense.compare(results, _dense(settings))

    def figure(self, dataset: "xr.Dataset") -> "Figure":
        """Spectra of the representation, probes, accuracy against d0, and gradient spectra."""
        from linsim.studies.directclr.figure import draw

        return draw(dataset)

    def rows(self, dataset: "xr.Dataset") -> "list[dict[str, object]]":
        """The numbers of the table, of all runs. Args: a Dataset of `compare`."""
        from linsim.studies.directclr.table import rows

        return rows(dataset)

    def table(self, dataset: "xr.Dataset") -> str:
        """Probes and ranks beside the paper's, and what seeds say about each of its statements."""
        from linsim.studies.directclr.table import tell

        return tell(dataset)


def holds_train_and_test(data: str) -> bool:
    """Whether a folder of images holds train/ or test/ with folders of classes in it."""
    folders = (Path(data) / part for part in ("train", "test"))
    return any(each.is_dir() for folder in folders for each in folder.glob("*"))


def _checked(settings: ProjectorSettings) -> ProjectorSettings:
    """Settings that fit their images. Raises: BadInput, also if the probes' package is missing."""
    settings.check_images()
    if importlib.util.find_spec("sklearn") is None:
        raise BadInput(
            f"{flag('data')} {settings.data} needs scikit-learn for its probes, which is not "
            "installed: pip install 'linsim[probe]'"
        )
    return settings


def _dense(settings: ProjectorSettings) -> DenseSettings:
    if not isinstance(settings, DenseSettings):
        raise TypeError(f"settings of {type(settings).__name__} have no encoder")
    return settings


STUDY = DirectCLR()
