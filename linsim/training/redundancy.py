"""Objectives on the covariances of a batch: VICReg, Barlow Twins, whitening.

Each is a function of C = cov(z), C' = cov(z'), R = cov(z, z') and D = mean of (z' - z)(z' - z)^T.
With its slopes Q = dL/dC and so on, the gradient is

    dL/dW = 2 Q W A + 2 Q' W A' + P W B^T + P^T W B + 2 T W E,   P = dL/dR, T = dL/dD,

where A, A', B and E are the same moments of the views themselves. The same formula, at their exact
second moments, is the gradient of infinitely many samples of any data.
"""

from abc import abstractmethod
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, PRNGKeyArray

from linsim import losses
from linsim.arrays import Array
from linsim.losses import redundancy as released
from linsim.theory import redundancy
from linsim.training.data import Moments
from linsim.training.objectives import Batch, Objective, Pair, Scalar
from linsim.training.records import Real, record

Square = Float[Array, "k k"]


class Forms(NamedTuple):
    """The covariances of two views, that between them, and the second moment of their difference;
    or the slopes of a loss by each of these.
    """

    anchor: Square
    positive: Square
    cross: Square
    step: Square


class Covariances(Objective):
    """A loss of the covariances of a batch."""

    divisor_less: int = 1
    """Covariances are divided by N less this."""

    @abstractmethod
    def slopes(self, z: Forms) -> Forms:
        """The derivatives of the loss by the covariances of the embeddings."""

    def expected_slopes(self, z: Forms, batch_size: int) -> Forms:
        """The same of the mean over batches; here that of infinitely many samples."""
        return self.slopes(z)

    def gradient(
        self, params: Pair, x: Batch, x_pos: Batch, key: PRNGKeyArray | None = None
    ) -> tuple[Scalar, Pair]:
        """See the head of this module."""
        w, head = params
        batch = covariances(x, x_pos, len(x) - self.divisor_less)
        towards = _pulled_back(w, self.slopes(_embedded(w, batch)), batch)
        return self.loss(params, x, x_pos), (towards, jnp.zeros_like(head))

    def rates(self, params: Pair, moments: Moments, batch_size: int) -> Pair:
        """See the head of this module."""
        w, head = params
        views = Forms(moments.anchor, moments.positive, moments.cross, moments.step)
        slopes = self.expected_slopes(_embedded(w, views), batch_size)
        return -_pulled_back(w, slopes, views), jnp.zeros_like(head)


@record
class VICReg(Covariances):
    """VICReg: `losses.vicreg`, with the weights and epsilon as released."""

    invariance: Real = released.INVARIANCE
    variance: Real = released.VARIANCE
    covariance: Real = released.COVARIANCE
    epsilon: Real = released.EPSILON

    def loss(self, params: Pair, x: Batch, x_pos: Batch, key: PRNGKeyArray | None = None) -> Scalar:
        """`losses.vicreg`."""
        weights = self.invariance, self.variance, self.covariance, self.epsilon
        return losses.vicreg(x @ params[0].T, x_pos @ params[0].T, *weights)

    def slopes(self, z: Forms) -> Forms:
        """T = lambda/n I; Q = 2 nu/n C off the diagonal and the hinge's slope on it."""
        return self._slopes(z, lambda c: redundancy.hinge_slope(c, self.epsilon), 0.0)

    def expected_slopes(self, z: Forms, batch_size: int) -> Forms:
        """See `redundancy.mean_hinge_slope`; E C_ij^2 = c_ij^2 + (c_ij^2 + c_ii c_jj)/(N - 1)."""
        hinge = lambda c: redundancy.mean_hinge_slope(c, self.epsilon, batch_size)  # noqa: E731
        return self._slopes(z, hinge, 1.0 / (batch_size - 1))

    def _slopes(self, z: Forms, hinge, sampling: float) -> Forms:
        width = len(z.anchor)

        def regular(c: Square) -> Square:
            own = jnp.diag(c)
            apart = (1 + sampling) * (c - jnp.diag(own))
            others = sampling * (jnp.sum(own) - own)
            on_diagonal = 0.5 * self.variance * hinge(own) + 2 * self.covariance * others
            return (2 * self.covariance * apart + jnp.diag(on_diagonal)) / width

        alike = self.invariance / width * jnp.eye(width, dtype=z.step.dtype)
        return Forms(regular(z.anchor), regular(z.positive), jnp.zeros_like(z.cross), alike)


@record
class BarlowTwins(Covariances):
    """Barlow Twins as published: `losses.barlow_twins`."""

    redundancy: Real = released.BARLOW_REDUNDANCY
    epsilon: Real = released.BARLOW_EPSILON
    divisor_less = 0

    def loss(self, params: Pair, x: Batch, x_pos: Batch, key: PRNGKeyArray | None = None) -> Scalar:
        """`losses.barlow_twins`."""
        z, z_pos = (v @ params[0].T for v in (x, x_pos))
        return losses.barlow_twins(z, z_pos, self.redundancy, self.epsilon)

    def slopes(self, z: Forms) -> Forms:
        """With g = dL/dr: P_ij = g_ij/(s_i s'_j), Q_ii = -1/(2 s_i^2) sum_j g_ij r_ij and likewise
        Q'_jj, s the deviations.
        """
        own, own_pos = (jnp.diag(c) + self.epsilon for c in (z.anchor, z.positive))
        scale = 1 / jnp.sqrt(own[:, None] * own_pos[None, :])
        r = z.cross * scale
        diagonal = jnp.diag(r)
        g = 2 * self.redundancy * (r - jnp.diag(diagonal)) - 2 * jnp.diag(1 - diagonal)
        gone = g * r
        return Forms(
            jnp.diag(-0.5 * jnp.sum(gone, axis=1) / own),
            jnp.diag(-0.5 * jnp.sum(gone, axis=0) / own_pos),
            g * scale,
            jnp.zeros_like(z.step),
        )


@record
class Whitening(Covariances):
    """The distance of whitened views: `losses.whitening`."""

    def loss(self, params: Pair, x: Batch, x_pos: Batch, key: PRNGKeyArray | None = None) -> Scalar:
        """`losses.whitening`."""
        return losses.whitening(x @ params[0].T, x_pos @ params[0].T)

    def slopes(self, z: Forms) -> Forms:
        """T = (C/2 + C'/2)^{-1}, Q = Q' = -T D T / 2."""
        whitened = jnp.linalg.inv(0.5 * (z.anchor + z.positive))
        pooled = -0.5 * whitened @ z.step @ whitened
        return Forms(pooled, pooled, jnp.zeros_like(z.cross), whitened)


def covariances(x: Batch, x_pos: Batch, divisor: Real) -> Forms:
    """The moments of a batch: centred and divided by `divisor`, but that of the difference, which
    is not centred, and divided by N.
    """
    first, second = (v - jnp.mean(v, axis=0) for v in (x, x_pos))
    step = x_pos - x
    anchor, positive, cross = first.T @ first, second.T @ second, first.T @ second
    return Forms(anchor / divisor, positive / divisor, cross / divisor, step.T @ step / len(x))


def _embedded(w: Float[Array, "n d"], views: Forms) -> Forms:
    return jax.tree.map(lambda form: w @ form @ w.T, views)


def _pulled_back(w: Float[Array, "n d"], slopes: Forms, views: Forms) -> Float[Array, "n d"]:
    """dL/dW from the slopes by the covariances of the embeddings."""
    return (
        2 * slopes.anchor @ w @ views.anchor
        + 2 * slopes.positive @ w @ views.positive
        + slopes.cross @ w @ views.cross.T
        + slopes.cross.T @ w @ views.cross
        + 2 * slopes.step @ w @ views.step
    )
