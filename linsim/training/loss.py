"""A loss as one object: the closed-form drive that training uses, and what theory says about it.

A run takes its theory from its own loss, so that none can be compared with another loss's theory. A
loss without a theory is a `Loss` and no `SolvedLoss`, and tables say so.
"""

from abc import ABC, abstractmethod

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from linsim.arrays import Array
from linsim.theory import population, spectral
from linsim.training import contrast
from linsim.training.contrast import Batch, Drive, Weights
from linsim.training.data import Moments
from linsim.training.names import LossName
from linsim.training.records import Real, record
from linsim.training.views import ModeMoments


class Loss(ABC):
    """A loss that sees a linear model through S = W^T W alone, so that dL/dW = -W X with a
    symmetric contrast matrix X.
    """

    @abstractmethod
    def drive(self, w: Weights, x: Batch, x_pos: Batch) -> Drive:
        """Mean loss, contrast matrix and mean alpha_ii of a batch. Args: W (n, d); views x, x' (N,
        d).
        """


class SolvedLoss(Loss):
    """A loss whose training on infinitely many Gaussian samples is known in closed form (mean
    loss).
    """

    any_batch_size: bool = False
    """Whether `linsim.theory.finite_batch`, the exact theory of any batch size, knows this loss."""

    @abstractmethod
    def population_drive(self, w: Weights, moments: Moments) -> Drive:
        """The drive of infinitely many samples with these second moments; alpha_ii is 0 there."""

    def mean_drive(self, w: Weights, moments: Moments, batch_size: int) -> Drive:
        """The mean drive of batches of Gaussian samples, where it is known in closed form;
        otherwise that of infinitely many.
        """
        return self.population_drive(w, moments)

    @abstractmethod
    def settled(self, mode: ModeMoments) -> float:
        """Strength m (squared singular value) at which a mode settles: 0 if it vanishes, inf if it
        grows for ever.
        """

    @abstractmethod
    def collapsed(self, moments: Moments) -> int:
        """How many dimensions vanish."""

    @abstractmethod
    def growth_rate(self, mode: ModeMoments) -> Float[Array, "..."] | float:
        """Growth rate lambda(0) of a vanishingly weak mode: dm/dt = 2 lambda m."""


@record
class Distance(SolvedLoss):
    """InfoNCE on distances: `losses.infonce` divided by N (paper, Eq. 2)."""

    any_batch_size = True

    def drive(self, w: Weights, x: Batch, x_pos: Batch) -> Drive:
        """See `contrast.distance`."""
        return contrast.distance(w, x, x_pos)

    def population_drive(self, w: Weights, moments: Moments) -> Drive:
        """See `population.contrast_matrix`."""
        loss = population.loss(w, moments.anchor, moments.step)
        return Drive(
            loss,
            population.contrast_matrix(w, moments.anchor, moments.step),
            jnp.zeros((), w.dtype),
        )

    def settled(self, mode: ModeMoments) -> float:
        """See `population.fixed_point`."""
        return float(population.fixed_point(mode.anchor, mode.step))

    def collapsed(self, moments: Moments) -> int:
        """See `population.collapsed_dimensions`."""
        return population.collapsed_dimensions(moments.anchor, moments.step)

    def growth_rate(self, mode: ModeMoments) -> Float[Array, "..."] | float:
        """2a - c."""
        return population.growth_rate(mode.anchor, mode.step)


@record
class Dot(SolvedLoss):
    """InfoNCE on inner products: `losses.infonce_dot` (released code). No dimension vanishes."""

    temperature: Real = 0.1
    any_batch_size = True

    def drive(self, w: Weights, x: Batch, x_pos: Batch) -> Drive:
        """See `contrast.dot`."""
        return contrast.dot(w, x, x_pos, self.temperature)

    def population_drive(self, w: Weights, moments: Moments) -> Drive:
        """See `population.contrast_matrix_dot`."""
        setting = (moments.anchor, moments.positive, moments.cross, self.temperature)
        loss = population.loss_dot(w, *setting)
        return Drive(loss, population.contrast_matrix_dot(w, *setting), jnp.zeros((), w.dtype))

    def settled(self, mode: ModeMoments) -> float:
        """See `population.fixed_point_dot`, E[x x'] = a + rho."""
        cross = mode.anchor + mode.covariance
        return float(
            population.fixed_point_dot(mode.anchor, mode.positive, cross, self.temperature)
        )

    def collapsed(self, moments: Moments) -> int:
        """None: this loss has no threshold."""
        return 0

    def growth_rate(self, mode: ModeMoments) -> Float[Array, "..."] | float:
        """2 (a + rho) / tau."""
        return 2 * (mode.anchor + mode.covariance) / self.temperature


@record
class Cosine(Loss):
    """NT-Xent, InfoNCE on cosine similarities: `losses.ntxent` (SimCLR). Its training is not
    solved.
    """

    temperature: Real = 0.1

    def drive(self, w: Weights, x: Batch, x_pos: Batch) -> Drive:
        """See `contrast.cosine`."""
        return contrast.cosine(w, x, x_pos, self.temperature)


@record
class AlignmentOnly(SolvedLoss):
    """The positive term alone, without negatives: `losses.alignment_only`. All that is augmented
    vanishes.
    """

    def drive(self, w: Weights, x: Batch, x_pos: Batch) -> Drive:
        """See `contrast.alignment_only`."""
        return contrast.alignment_only(w, x, x_pos)

    def population_drive(self, w: Weights, moments: Moments) -> Drive:
        """X = -Sigma_n, whatever W is."""
        step = jnp.asarray(moments.step, w.dtype)
        return Drive(0.5 * jnp.trace(w @ step @ w.T), -step, jnp.zeros((), w.dtype))

    def settled(self, mode: ModeMoments) -> float:
        """0; nan without noise, where the mode stays as it started."""
        return 0.0 if mode.step > 0 else float("nan")

    def collapsed(self, moments: Moments) -> int:
        """The rank of Sigma_n."""
        return int(np.linalg.matrix_rank(np.asarray(moments.step)))

    def growth_rate(self, mode: ModeMoments) -> Float[Array, "..."] | float:
        """-c."""
        return -mode.step


@record
class SpectralContrastive(SolvedLoss):
    """The spectral contrastive loss: `losses.spectral_contrastive`. Twice the dot loss's limit at
    temperature 1, for batches of any size and any data. What views share does not vanish.
    """

    def drive(self, w: Weights, x: Batch, x_pos: Batch) -> Drive:
        """See `contrast.spectral`."""
        return contrast.spectral(w, x, x_pos)

    def population_drive(self, w: Weights, moments: Moments) -> Drive:
        """See `spectral.contrast_matrix`."""
        return _factorisation(w, moments, 0.0)

    def settled(self, mode: ModeMoments) -> float:
        """See `spectral.fixed_point`."""
        cross = mode.anchor + mode.covariance
        return float(spectral.fixed_point(mode.anchor, mode.positive, cross))

    def collapsed(self, moments: Moments) -> int:
        """See `spectral.collapsed_dimensions`."""
        return spectral.collapsed_dimensions(moments.cross)

    def growth_rate(self, mode: ModeMoments) -> Float[Array, "..."] | float:
        """4 k, k = E[x x'] = a + rho."""
        return 4 * (mode.anchor + mode.covariance)


@record
class LinearBarlowTwins(SolvedLoss):
    """Barlow Twins without normalisation: `losses.linear_barlow_twins` (Simon et al. 2023)."""

    def drive(self, w: Weights, x: Batch, x_pos: Batch) -> Drive:
        """See `contrast.linear_barlow_twins`."""
        return contrast.linear_barlow_twins(w, x, x_pos)

    def population_drive(self, w: Weights, moments: Moments) -> Drive:
        """See `spectral.contrast_matrix`, with the views' shared covariance in all places."""
        cross = 0.5 * (moments.cross + moments.cross.T)
        return _factorisation(w, Moments(cross, cross, cross), float(len(w)))

    def mean_drive(self, w: Weights, moments: Moments, batch_size: int) -> Drive:
        """See `spectral.batch_loss` and `spectral.batch_contrast`."""
        anchor, positive, cross = (jnp.asarray(moment, w.dtype) for moment in moments)
        now = self.population_drive(w, moments)
        loss = now.loss + spectral.batch_loss(w, anchor, positive, cross, batch_size)
        x = now.contrast + spectral.batch_contrast(w, anchor, positive, cross, batch_size)
        return now._replace(loss=loss, contrast=x)

    def settled(self, mode: ModeMoments) -> float:
        """See `spectral.fixed_point`."""
        cross = mode.anchor + mode.covariance
        return float(spectral.fixed_point(cross, cross, cross))

    def collapsed(self, moments: Moments) -> int:
        """See `spectral.collapsed_dimensions`."""
        return spectral.collapsed_dimensions(moments.cross)

    def growth_rate(self, mode: ModeMoments) -> Float[Array, "..."] | float:
        """4 k, k = E[x x'] = a + rho."""
        return 4 * (mode.anchor + mode.covariance)


def _factorisation(w: Weights, moments: Moments, offset: float) -> Drive:
    """The drive of `spectral.loss` plus a constant."""
    covariances = tuple(jnp.asarray(moment, w.dtype) for moment in moments)
    x = spectral.contrast_matrix(w, *covariances)
    return Drive(spectral.loss(w, *covariances) + offset, x, jnp.zeros((), w.dtype))


def named(name: LossName, temperature: Real = 0.1) -> Loss:
    """The loss called `name`; those without a temperature ignore it. Raises: ValueError."""
    kinds: dict[LossName, Loss] = {
        "distance": Distance(),
        "dot": Dot(temperature=temperature),
        "cosine": Cosine(temperature=temperature),
        "alignment": AlignmentOnly(),
        "spectral": SpectralContrastive(),
        "linear-barlow-twins": LinearBarlowTwins(),
    }
    if name not in kinds:
        raise ValueError(f"loss {name!r} is unknown; choose one of {', '.join(kinds)}")
    return kinds[name]
