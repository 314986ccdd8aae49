"""What each experiment can be asked: its flags, their defaults and their help. Imports no numerical library."""

import collections
import dataclasses
from pathlib import Path
from typing import ClassVar, Literal, get_args

from linsim.config import ModelConfig, TrainConfig, require, require_batch_fits

PhaseModel = Literal["one-view", "two-views", "two-layers", "two-layers-random"]
Objective = Literal["infonce-two-views", "infonce-one-view", "alignment-only", "predictor", "no-stop-gradient", "no-predictor"]

Setup = Literal[
    "none",
    "orthogonal",
    "trainable-orthogonal",
    "linear",
    "diagonal",
    "low-rank",
    "low-rank-diagonal",
    "nonlinear",
    "directclr",
    "random-subset",
    "directclr-linear-block",
]
LINEAR_BLOCK = "-linear-block"  # ending of a setup whose last block is linear


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinearConfig(ModelConfig):
    """Flags of the experiments on one linear layer."""

    noise: tuple[float, ...]
    """Standard deviation of the additive noise, in units of the data's; several values make a sweep."""
    views: Literal["one", "two"]
    """Noisy views: one (anchor clean, the paper) or two (both noisy, the released code and SimCLR)."""
    loss: Literal["distance", "dot"]
    """InfoNCE on distances (paper, Eq. 2) or on inner products (released code)."""
    batches: Literal["fresh", "dataset", "fixed"]
    """New samples each step, minibatches of a fixed set, or one fixed batch."""
    init: Literal["orthogonal", "gaussian", "uniform"]
    """Initial weights: random orthogonal, independent Gaussian entries, or uniform ones as in torch.nn.Linear."""
    init_scale: tuple[float, ...]
    """Root mean square of the initial singular values; several values make a sweep."""
    learning_rate: float
    """Step size on the MEAN loss (the paper's rate on the sum of Eq. 2, times the batch size)."""
    dataset_size: int = 10_000
    """Samples in the fixed set (with --batches dataset)."""
    temperature: float = 0.1
    """Temperature of the dot loss."""
    collapse_threshold: float = 0.01
    """A dimension counts as collapsed below this fraction of the largest singular value."""

    def relations(self) -> None:
        """Check the fields against one another. Raises: BadInput."""
        super().relations()
        if self.batches == "dataset":
            require_batch_fits(self.batch_size, self.dataset_size)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TwoLayerConfig(LinearConfig):
    """Flags of the experiments on two linear layers."""

    init: Literal["spectral", "balanced", "gaussian"]  # type: ignore[assignment]
    """Initial layers: singular values e^(-decay k) between random factors (paper), the same but aligned, or Gaussian."""
    init_scale: tuple[float, ...]
    """Factor on the initial singular values (Gaussian: their root mean square); several values make a sweep."""
    solver: Literal["descent", "flow", "population"] = "descent"
    """Gradient descent on batches, gradient flow on one fixed batch, or the flow of infinitely many samples."""
    decay: float = 0.35
    """Decay rate of the initial singular values."""
    hidden: int = 16
    """Width of the hidden layer."""
    kappa: float = 0.0
    """Imbalance of a balanced start: W1 W1^T - W2^T W2 = kappa I."""
    noise_shape: Literal["block", "graded"] = "block"
    """Noise equal in the last --noisy-dims coordinates, or over all of them, rising from half to all of --noise."""
    tolerance: float = 1e-11
    """Tolerance of the gradient flow."""
    group_gap: float = 0.25
    """Singular values closer than this, relatively, count as degenerate."""

    def relations(self) -> None:
        """Check the fields against one another. Raises: BadInput."""
        super().relations()
        require(self.solver == "descent" or self.x64, "solver", self.solver, "descent without --x64")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PhaseConfig(ModelConfig):
    """Flags of the phase diagram."""

    models: tuple[PhaseModel, ...] = get_args(PhaseModel)
    """One layer with one or two noisy views; two layers (one noisy view) from a balanced or from the paper's random start."""
    grid: tuple[int, int] = (16, 16)
    """Values of noise and of initial scale."""
    noise_range: tuple[float, float] = (0.1, 2.5)
    """Smallest and largest noise, evenly spaced."""
    scale_range: tuple[float, float] = (0.05, 1.0)
    """Smallest and largest initial scale of each layer, evenly spaced on a log scale."""
    one_layer_time: float = 50.0
    """Time (learning rate x steps, mean loss) at which one layer is looked at."""
    two_layer_time: float = 10.0
    """The same for two layers."""
    cutoff: float = 0.1
    """A dimension counts as collapsed while the embeddings' standard deviation along it is below this; unit: the distance
    at which the distance loss's weight of a pair has fallen to exp(-1/2)."""

    def relations(self) -> None:
        """Check the fields against one another. Raises: BadInput."""
        super().relations()
        for name in ("noise_range", "scale_range"):
            low, high = getattr(self, name)
            require(low < high, name, f"{low} {high}", "given smallest first")
        require(0 < self.noisy_dims < self.dim, "noisy_dims", self.noisy_dims, f"between 0 and --dim, here {self.dim}")

    def runs(self) -> int:
        """How many runs this configuration makes."""
        return super().runs() * self.grid[0] * self.grid[1]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DepthConfig(ModelConfig):
    """Flags of the experiment on depth."""

    depth: tuple[int, ...] = (1, 2, 3, 4)
    """Numbers of layers."""
    network: tuple[Literal["linear", "relu"], ...] = ("linear", "relu")
    """Linear layers, or ReLU between them; the same initial layers for both."""
    noise: float = 0.1
    """Standard deviation of the noise on one view, in the last --noisy-dims coordinates."""
    init_scale: float = 1.0
    """Factor on each layer's initial singular values."""
    decay: float = 0.35
    """Each layer starts with singular values --init-scale e^(-decay k), balanced (aligned with its neighbours)."""
    learning_rate: float = 0.05
    """Step size on the MEAN loss."""
    dataset_size: int = 10_000
    """Samples of the fixed set that batches are drawn from."""
    collapse_threshold: float = 0.01
    """A dimension counts as collapsed below this fraction of the largest standard deviation of the embeddings."""

    def relations(self) -> None:
        """Check the fields against one another. Raises: BadInput."""
        super().relations()
        require_batch_fits(self.batch_size, self.dataset_size)


@dataclasses.dataclass(frozen=True, kw_only=True)
class KindsConfig(ModelConfig):
    """Flags of the experiment on kinds of collapse."""

    objective: tuple[Objective, ...] = get_args(Objective)
    """InfoNCE (distance loss); its positive term alone; a linear predictor with stop-gradient, and without one of the two."""
    noise: float = 2.5
    """Standard deviation of each noisy view's noise in the last --noisy-dims coordinates."""
    base_noise: float = 0.5
    """The same in the other coordinates."""
    init_scale: float = 1.0
    """Initial singular values of W, and of the predictor."""
    imbalance: float = 0.0
    """Added to the predictor's initial singular values."""
    weight_decay: float = 0.1
    """Weight decay of the objectives with a predictor or a stop-gradient."""
    learning_rate: float = 0.05
    """Step size on the MEAN loss."""
    complete: float = 0.01
    """Collapse is complete below this fraction of the initial total variance."""
    dimensional: float = 1e-4
    """A dimension has collapsed below this fraction of the largest variance."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SetupsConfig(TrainConfig):
    """Flags of the experiment on projectors and DirectCLR, whatever the encoder."""

    projectors: tuple[Setup, ...]
    """What stands between representation and loss; directclr-linear-block: DirectCLR with a linear last block."""
    d0_sweep: tuple[int, ...]
    """Further values of d0 for DirectCLR."""
    temperature: float = 0.2
    """Temperature of the loss (NT-Xent, mean over anchors)."""
    optimizer: Literal["sgd", "lars"] = "sgd"
    """SGD with momentum 0.9, or LARS; both with a linear warm-up over a tenth of the steps, then cosine."""
    learning_rate: float = 0.1
    """Largest step size on the MEAN loss."""
    collapse_threshold: float = 0.01
    """A dimension counts as collapsed below this fraction of the representation's largest standard deviation."""

    def runs(self) -> int:
        """How many runs this configuration makes."""
        return self.seeds * (len(self.projectors) + len(self.d0_sweep))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProjectorConfig(SetupsConfig):
    """Flags of the experiment on projectors and DirectCLR."""

    runs_per_worker: ClassVar[int] = 2

    data: str = "digits"
    """digits (scikit-learn's), or a folder of images with one sub-folder per class."""
    image_size: int | None = None
    """Resize a folder's images to this height and width in pixels (default: their own)."""
    projectors: tuple[Setup, ...] = tuple(name for name in get_args(Setup) if name != "trainable-orthogonal")
    """What stands between representation and loss; directclr-linear-block: DirectCLR with a linear last block."""
    d0: int = 32
    """Coordinates of the representation that DirectCLR trains on, and rank of the low-rank projectors."""
    d0_sweep: tuple[int, ...] = (0, 4, 16, 64, 128)
    """Further values of d0 for DirectCLR; 0 is an untrained encoder, --width is no projector."""
    width: int = 128
    """Dimension of the representation."""
    blocks: int = 3
    """Residual blocks of the encoder."""
    noise: float = 0.75
    """Augmentation: standard deviation of the additive noise, in units of the pixels'."""
    shift: int = 0
    """Augmentation: largest shift in pixels."""
    crop: float = 0.8
    """Augmentation: smallest share of a side that a crop keeps."""
    flip: bool = False
    """Augmentation: mirror half of the images."""
    weight_decay: float = 1e-4
    """Weight decay."""
    train_share: float = 2 / 3
    """Share of each class to train on, encoder and probe alike; the rest is for testing. Every seed draws its own."""
    few: tuple[int, ...] = (5, 20)
    """Labels per class of the probes with few labels, beside the one with all."""

    def relations(self) -> None:
        """Check the fields against one another and against the images. Raises: BadInput."""
        super().relations()
        from linsim import images

        require(self.d0 <= self.width, "d0", self.d0, f"at most --width, here {self.width}")
        worst = max(self.d0_sweep, default=0)
        require(worst <= self.width, "d0_sweep", worst, f"at most --width, here {self.width}")
        labels = images.load(self.data, self.image_size).labels
        total = int(self.train_share * len(labels))
        require(self.batch_size <= total, "batch_size", self.batch_size, f"at most the training images, here {total}")
        smallest = int(self.train_share * min(collections.Counter(labels.tolist()).values()))
        allowed = f"at most the training images of the smallest class, here {smallest}"
        require(max(self.few, default=2) <= smallest, "few", max(self.few, default=2), allowed)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResnetConfig(SetupsConfig):
    """Flags of the same experiment with a convolutional encoder, on a folder of images with train/ and test/."""

    runs_per_worker: ClassVar[int] = 1

    data: str = ""
    """Folder that holds train/ and test/, each with one sub-folder of images per class."""
    image_size: int | None = None
    """Resize the images to this height and width in pixels (default: their own)."""
    train_images: int | None = None
    """How many training images to use, each class in its share (default: all); every seed draws its own."""
    projectors: tuple[Setup, ...] = ("none", "linear", "nonlinear", "directclr")
    """What stands between representation and loss; directclr-linear-block: DirectCLR with a linear last block."""
    d0: int = 128
    """Coordinates of the representation that DirectCLR trains on, and rank of the low-rank projectors."""
    d0_sweep: tuple[int, ...] = ()
    """Further values of d0 for DirectCLR; 0 trains nothing, the width of the representation is no projector."""
    width: int = 64
    """Channels of the first stage; each further stage doubles them, and the last one's are the representation."""
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    """Residual blocks of each stage, at least 2 in the last; 2 2 2 2 is ResNet-18."""
    norm: Literal["batch", "group"] = "batch"
    """What normalises the channels: over the batch, or over each image by itself in groups of 16."""
    crop: float = 0.2
    """Augmentation: smallest share of the area that a crop keeps."""
    jitter: float = 0.5
    """Augmentation: strength of the colour jitter."""
    weight_decay: float = 1e-4
    """Weight decay of all but the norms' parameters."""
    few: tuple[int, ...] = (20,)
    """Labels per class of the probes with few labels, beside the one with all."""
    online: bool = True
    """Train a probe beside the encoder, which does not notice."""

    def relations(self) -> None:
        """Check the fields against one another and against the images. Raises: BadInput."""
        super().relations()
        require(
            self.data != "", "data", "''", "a folder that holds train/ and test/, each with one sub-folder of images per class"
        )
        require(self.blocks[-1] >= 2, "blocks", " ".join(map(str, self.blocks)), "at least 2 at its end")
        width = self.width * 2 ** (len(self.blocks) - 1)
        worst = max(self.d0, *self.d0_sweep) if self.d0_sweep else self.d0
        require(
            worst <= width, "d0" if worst == self.d0 else "d0_sweep", worst, f"at most the representation's width, here {width}"
        )
        from linsim import images

        held, _ = images.split(Path(self.data), self.image_size)
        total = len(held.labels)
        require(
            (self.train_images or 1) <= total, "train_images", self.train_images, f"at most the training images, here {total}"
        )
        total = self.train_images or total
        require(self.batch_size <= total, "batch_size", self.batch_size, f"at most the training images, here {total}")
        fewest = min(collections.Counter(held.labels.tolist()).values())
        drawn = total * fewest // len(held.labels) - 1  # a draw may miss a class's share by one
        smallest = fewest if total == len(held.labels) else drawn
        allowed = f"at most the training images of the smallest class, here {smallest}"
        require(max(self.few, default=2) <= smallest, "few", max(self.few, default=2), allowed)
