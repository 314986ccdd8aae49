"""What one linear layer is trained on: a loss with its closed-form gradient on a batch and its mean
over batches, as one object.

The layer W (n, d) may have a head V behind it, a predictor or a decoder that is trained with it.
Losses that see W through W^T W alone are `linsim.training.loss.Loss`, and `Plain` here. Those that
see covariances of the batch are in `linsim.training.redundancy`, LeJEPA in
`linsim.training.gaussianity`, and those that carry a target or a predictor from step to step in
`linsim.training.targets`.
"""

from abc import ABC, abstractmethod
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float, PRNGKeyArray

from linsim import losses
from linsim.arrays import Array
from linsim.training.data import Moments
from linsim.training.loss import Distance, Loss, SolvedLoss
from linsim.training.records import Real, record, static

Weights = Float[Array, "n d"]
Head = Float[Array, "_out n"]
Pair = tuple[Weights, Head]
Batch = Float[Array, "N d"]
Scalar = Float[Array, ""]


class Objective(ABC):
    """A mean loss of the layer W and its head V, which most losses do not have and leave alone."""

    @property
    def solved(self) -> bool:
        """Whether the flow of its mean is known."""
        return True

    @abstractmethod
    def loss(self, params: Pair, x: Batch, x_pos: Batch, key: PRNGKeyArray | None = None) -> Scalar:
        """The mean loss of a batch. Args: (W, V); views (N, d); key of what the loss itself
        draws.
        """

    @abstractmethod
    def gradient(
        self, params: Pair, x: Batch, x_pos: Batch, key: PRNGKeyArray | None = None
    ) -> tuple[Scalar, Pair]:
        """The loss and its gradient in closed form. Args: as `loss`."""

    @abstractmethod
    def rates(self, params: Pair, moments: Moments, batch_size: int) -> Pair:
        """Gradient flow of the mean over batches of Gaussian samples: dW/dt and dV/dt.

        Args: (W, V); second moments of the views; samples in a batch, which only some losses
        depend on.
        Raises: ValueError for a loss without theory.
        """

    def head(self, w: Weights, scale: Real) -> Head:
        """The initial head: scale times the identity. Args: W; scale."""
        return scale * jnp.eye(len(w), dtype=w.dtype)

    def begin(self, w: Weights) -> Any:
        """What it carries from step to step beside the weights, at the start: nothing."""
        return None

    def given(self, carried: Any, w: Weights) -> "Objective":
        """The loss of one step. Args: what is carried to that step; the weights at it."""
        return self

    def carry(self, carried: Any, w: Weights, x: Batch, x_pos: Batch) -> Any:
        """What is carried to the next step. Args: as `given`; the views of this step."""
        return carried

    def mean_carry(self, carried: Any, w: Weights, moments: Moments) -> Any:
        """The mean of `carry` over batches of data with mean zero."""
        return carried


@record
class Plain(Objective):
    """A loss that sees W^T W alone, without a head."""

    of: Loss = Distance()

    @property
    def solved(self) -> bool:
        """Whether the loss has a theory."""
        return isinstance(self.of, SolvedLoss)

    def loss(self, params: Pair, x: Batch, x_pos: Batch, key: PRNGKeyArray | None = None) -> Scalar:
        """That of the drive."""
        return self.of.drive(params[0], x, x_pos).loss

    def gradient(
        self, params: Pair, x: Batch, x_pos: Batch, key: PRNGKeyArray | None = None
    ) -> tuple[Scalar, Pair]:
        """-W X and 0 (paper, Lemma 1)."""
        w, head = params
        now = self.of.drive(w, x, x_pos)
        return now.loss, (-w @ now.contrast, jnp.zeros_like(head))

    def rates(self, params: Pair, moments: Moments, batch_size: int) -> Pair:
        """W X and 0, with the mean of X."""
        w, head = params
        if not isinstance(self.of, SolvedLoss):
            raise ValueError(f"no theory is known for the {type(self.of).__name__.lower()} loss")
        return w @ self.of.mean_drive(w, moments, batch_size).contrast, jnp.zeros_like(head)


class MeanSquare(Objective):
    """A mean squared error, whose gradient depends on the second moments of the views alone: that
    of a batch is that of infinitely many samples with the moments of the batch.
    """

    @abstractmethod
    def towards(self, params: Pair, moments: Moments) -> Pair:
        """The gradient at given second moments, centred nowhere."""

    def gradient(
        self, params: Pair, x: Batch, x_pos: Batch, key: PRNGKeyArray | None = None
    ) -> tuple[Scalar, Pair]:
        """`towards` at the moments of the batch."""
        moments = Moments(x.T @ x / len(x), x_pos.T @ x_pos / len(x), x.T @ x_pos / len(x))
        return self.loss(params, x, x_pos), self.towards(params, moments)

    def rates(self, params: Pair, moments: Moments, batch_size: int) -> Pair:
        """`towards`, reversed, whatever the batch size."""
        return jax.tree.map(jnp.negative, self.towards(params, moments))


@record
class Predicted(MeanSquare):
    """The other view's embedding, predicted by the head, with or without stop-gradient on it: a
    linear JEPA (SimSiam, BYOL without its moving average).
    """

    stop_gradient: bool = static(True)

    def loss(self, params: Pair, x: Batch, x_pos: Batch, key: PRNGKeyArray | None = None) -> Scalar:
        """`losses.jepa` of V W x and W x', or without its stop-gradient."""
        w, head = params
        of = losses.jepa if self.stop_gradient else losses.alignment_only
        return of(x @ w.T @ head.T, x_pos @ w.T)

    def towards(self, params: Pair, moments: Moments) -> Pair:
        """With E = V W A - W K^T: V^T E and E W^T; without stop-gradient W A' - V W K is added to
        the first.
        """
        w, head = params
        error = head @ w @ moments.anchor - w @ moments.cross.T
        through_target = w @ moments.positive - head @ w @ moments.cross
        return (
            head.T @ error + (0.0 if self.stop_gradient else through_target),
            error @ w.T,
        )


@record
class StoppedAttraction(MeanSquare):
    """The distance of the views with stop-gradient on the second one, without a head."""

    def loss(self, params: Pair, x: Batch, x_pos: Batch, key: PRNGKeyArray | None = None) -> Scalar:
        """`losses.jepa` of W x and W x'."""
        return losses.jepa(x @ params[0].T, x_pos @ params[0].T)

    def towards(self, params: Pair, moments: Moments) -> Pair:
        """W (A - K^T) and 0."""
        w, head = params
        return w @ (moments.anchor - moments.cross.T), jnp.zeros_like(head)


@record
class Reconstructed(MeanSquare):
    """The other view itself, reconstructed by the head: a linear masked autoencoder."""

    def loss(self, params: Pair, x: Batch, x_pos: Batch, key: PRNGKeyArray | None = None) -> Scalar:
        """`losses.mae` of V W x."""
        w, head = params
        return losses.mae(x @ w.T @ head.T, x_pos)

    def towards(self, params: Pair, moments: Moments) -> Pair:
        """With E = V W A - K^T: V^T E and E W^T."""
        w, head = params
        error = head @ w @ moments.anchor - moments.cross.T
        return head.T @ error, error @ w.T

    def head(self, w: Weights, scale: Real) -> Head:
        """The decoder that is tied to W: scale times the transpose of its orthogonal factor."""
        left, _, right = jnp.linalg.svd(w, full_matrices=False)
        return scale * (left @ right).T
