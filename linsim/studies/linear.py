"""What the studies of linear networks on Gaussian data can be asked, and the run that each point of
their grids is.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from linsim.config import Amplitude, Count, Fraction, Natural, Positive, require, whole
from linsim.studies.study import StudySettings
from linsim.sweeps.settings import Settings
from linsim.training.names import Batches, LossName, OptimizerName, Views

if TYPE_CHECKING:
    from linsim.training.optimizers import AnyOptimizer


DEFAULT_RATE = 0.128  # the paper's 1e-3 on the sum over a batch of 128


@dataclass(kw_only=True)
class GaussianData(Settings):
    """The dimension of the data, and which coordinates are noisy."""

    dim: Count = 16
    """Input and embedding dimension."""
    noisy_dims: Natural = 8
    """How many coordinates, the last ones, are noisy."""

    def relations(self) -> None:
        """Check the fields against one another. Raises: BadInput."""
        super().relations()
        require(
            self.noisy_dims <= self.dim,
            "noisy_dims",
            self.noisy_dims,
            f"at most --dim, here {self.dim}",
        )


@dataclass(kw_only=True)
class Descent(Settings):
    """The optimiser."""

    optimizer: OptimizerName = "sgd"
    """The theory is that of sgd."""
    momentum: Fraction = 0.9
    """Of --optimizer momentum."""
    weight_decay: Amplitude = 0.0
    """Weight decay."""
    custom_optimizer: Annotated[Any, tyro.conf.Suppress] = field(default=None, repr=False)


@dataclass(kw_only=True)
class Network(Settings):
    """What linear layers are trained on, and with which loss."""

    noise: tuple[Amplitude, ...] = (1.0,)
    """Standard deviation of the noise; several values make a sweep."""
    views: Views = "one"
    """Noisy views: one (the paper) or two (SimCLR)."""
    loss: LossName = "distance"
    """distance is Eq. 2, dot the released code's, cosine NT-Xent."""
    init_scale: tuple[Positive, ...] = (0.1,)
    """Rms of the initial singular values; may be several."""
    batches: Batches = "dataset"
    """New samples, batches of a data set, or one fixed batch."""
    dataset_size: Annotated[int, whole(2)] = 10_000
    """Samples of the data set."""
    temperature: Positive = 0.1
    """Temperature of the dot and cosine losses."""


@dataclass(kw_only=True)
class Linear(StudySettings, Descent, GaussianData, Network):
    """What a study of linear layers can be asked."""

    learning_rate: Positive | None = None
    """Step size on the MEAN loss (default: 0.128; dot loss: temperature / (4 (1 + noise²)))."""

    @property
    def rate(self) -> float:
        """The learning rate, or the loss's default.

        The dot loss overshoots its fixed points from temperature / (2 a) on, a the largest variance
        of the anchors (docs/theory.md); the default is half of that, with the variance of a noisy
        view, whose minibatch noise would be too strong otherwise.
        """
        if self.learning_rate is not None:
            return self.learning_rate
        if self.loss != "dot":
            return DEFAULT_RATE
        return self.temperature / (4 * (1 + max(self.noise) ** 2))

    def relations(self) -> None:
        """Check the fields against one another. Raises: BadInput."""
        super().relations()
        if self.batches == "dataset":
            require_batch_fits(self.batch_size, self.dataset_size)


def require_batch_fits(batch_size: int, dataset_size: int) -> None:
    """Raise BadInput unless a batch can be drawn from the data set without repetition."""
    require(
        batch_size <= dataset_size,
        "batch_size",
        batch_size,
        f"at most --dataset-size, here {dataset_size}",
    )


def optimizer(settings: Descent) -> "AnyOptimizer":
    """The optimiser that settings name, or the one that was made from Python."""
    from linsim.training.optimizers import Optimizer

    if settings.custom_optimizer is not None:
        return settings.custom_optimizer
    return Optimizer(
        name=settings.optimizer, momentum=settings.momentum, weight_decay=settings.weight_decay
    )


def run_fields(settings: Linear) -> dict[str, Any]:
    """The fields of a run that settings decide whatever its place in the grid."""
    from linsim.training import loss
    from linsim.training.recording import record_steps

    return {
        "learning_rate": settings.rate,
        "loss": loss.named(settings.loss, settings.temperature),
        "dim": settings.dim,
        "noisy_dims": settings.noisy_dims,
        "views": settings.views,
        "batches": settings.batches,
        "batch_size": settings.batch_size,
        "dataset_size": settings.dataset_size,
        "optimizer": optimizer(settings),
        "record_at": tuple(record_steps(settings.steps).tolist()),
    }


def time_coords(steps: int, learning_rate: float) -> dict[str, Any]:
    """The coordinates `step` and `time` of the records of so many steps."""
    from linsim.training.recording import record_steps

    recorded = record_steps(steps)
    return {"step": ("time", recorded), "time": recorded * learning_rate}
