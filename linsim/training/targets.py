"""Objectives that carry something from step to step beside the weights: BYOL, whose target is a
moving average of the encoder; DINO, which centres and sharpens that target's outputs; DirectPred
and IsoLoss, whose predictor is made from a moving average of the embedding's second moment.

Each is an `Objective` that carries; with what it carries at a step it becomes the fixed loss of
that step, the second class of each pair here.
"""

from abc import abstractmethod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, PRNGKeyArray

from linsim import losses
from linsim.arrays import Array
from linsim.theory import isoloss
from linsim.training.data import Moments
from linsim.training.objectives import (
    Batch,
    MeanSquare,
    Objective,
    Pair,
    Scalar,
    Weights,
)
from linsim.training.records import Real, record, static

TARGET_DECAY = 0.996  # of BYOL's and DINO's target, per step, as both begin


def averaged(carried: Array, new: Array, decay: Real) -> Array:
    """A moving average, one step on."""
    return decay * carried + (1 - decay) * new


class Carrying(Objective):
    """An objective that carries. Its loss, gradient and rates are those of the first step."""

    @abstractmethod
    def begin(self, w: Weights) -> Any:
        """See `Objective.begin`."""

    @abstractmethod
    def given(self, carried: Any, w: Weights) -> Objective:
        """See `Objective.given`."""

    @abstractmethod
    def carry(self, carried: Any, w: Weights, x: Batch, x_pos: Batch) -> Any:
        """See `Objective.carry`."""

    @abstractmethod
    def mean_carry(self, carried: Any, w: Weights, moments: Moments) -> Any:
        """See `Objective.mean_carry`."""

    def first(self, w: Weights) -> Objective:
        """The loss of the first step."""
        return self.given(self.begin(w), w)

    def loss(self, params: Pair, x: Batch, x_pos: Batch, key: PRNGKeyArray | None = None) -> Scalar:
        """That of the first step."""
        return self.first(params[0]).loss(params, x, x_pos, key)

    def gradient(
        self, params: Pair, x: Batch, x_pos: Batch, key: PRNGKeyArray | None = None
    ) -> tuple[Scalar, Pair]:
        """That of the first step."""
        return self.first(params[0]).gradient(params, x, x_pos, key)

    def rates(self, params: Pair, moments: Moments, batch_size: int) -> Pair:
        """Those of the first step."""
        return self.first(params[0]).rates(params, moments, batch_size)


@record
class Aimed(MeanSquare):
    """The other view's embedding by fixed weights Wa, predicted by the head if there is one."""

    target: Weights
    predictor: bool = static(True)

    def loss(self, params: Pair, x: Batch, x_pos: Batch, key: PRNGKeyArray | None = None) -> Scalar:
        """`losses.jepa` of V W x, or of W x, and Wa x'."""
        w, head = params
        z = x @ w.T
        return losses.jepa(z @ head.T if self.predictor else z, x_pos @ self.target.T)

    def towards(self, params: Pair, moments: Moments) -> Pair:
        """With E = V W A - Wa K^T: V^T E and E W^T; without a predictor W A - Wa K^T and 0."""
        w, head = params
        if not self.predictor:
            return w @ moments.anchor - self.target @ moments.cross.T, jnp.zeros_like(head)
        error = head @ w @ moments.anchor - self.target @ moments.cross.T
        return head.T @ error, error @ w.T


@record
class MovingAverage(Carrying):
    """BYOL: the other view's embedding by a moving average Wa of the encoder's weights, predicted
    by the head; without predictor merely approached.

        Wa <- decay Wa + (1 - decay) W   before every step, from Wa = W(0) on

    At decay 0 it is `Predicted`. What it carries is Wa.
    """

    decay: Real = TARGET_DECAY
    predictor: bool = static(True)

    def begin(self, w: Weights) -> Weights:
        """The encoder's own weights."""
        return w

    def given(self, carried: Weights, w: Weights) -> Aimed:
        """The target of this step, held fixed."""
        return Aimed(target=averaged(carried, w, self.decay), predictor=self.predictor)

    def carry(self, carried: Weights, w: Weights, x: Batch, x_pos: Batch) -> Weights:
        """The moving average with the present weights."""
        return averaged(carried, w, self.decay)

    def mean_carry(self, carried: Weights, w: Weights, moments: Moments) -> Weights:
        """The same, since it depends on no batch."""
        return averaged(carried, w, self.decay)


class Teacher(NamedTuple):
    """What DINO carries: the target's weights Wa (n, d) and the centre of its outputs (n,)."""

    target: Weights
    centre: Float[Array, "n"]


@record
class Distilled(Objective):
    """DINO's cross-entropy of one step, at a fixed teacher."""

    teacher: Teacher
    student_temperature: Real
    teacher_temperature: Real

    @property
    def solved(self) -> bool:
        """The mean of a softmax of Gaussian embeddings has no closed form."""
        return False

    def loss(self, params: Pair, x: Batch, x_pos: Batch, key: PRNGKeyArray | None = None) -> Scalar:
        """`losses.dino` of W x and Wa x'."""
        target, centre = self.teacher
        temperatures = self.student_temperature, self.teacher_temperature
        return losses.dino(x @ params[0].T, x_pos @ target.T, centre, *temperatures)

    def gradient(
        self, params: Pair, x: Batch, x_pos: Batch, key: PRNGKeyArray | None = None
    ) -> tuple[Scalar, Pair]:
        """(q - p)^T x / (N tau), with q the student's shares and p the teacher's."""
        w, head = params
        target, centre = self.teacher
        q = jax.nn.softmax(x @ w.T / self.student_temperature, axis=1)
        p = jax.nn.softmax((x_pos @ target.T - centre) / self.teacher_temperature, axis=1)
        towards = (q - p).T @ x / (len(x) * self.student_temperature)
        return self.loss(params, x, x_pos), (towards, jnp.zeros_like(head))

    def rates(self, params: Pair, moments: Moments, batch_size: int) -> Pair:
        """Not known. Raises: ValueError."""
        raise ValueError("no theory is known for DINO's loss; theory.distillation has its onset")


@record
class SelfDistillation(Carrying):
    """DINO: `losses.dino` with a moving average of the encoder as teacher, and its outputs' running
    mean as centre.

        Wa as of `MovingAverage`;   c <- m c + (1 - m) (1/N) sum_i Wa x'_i   after every step

    from c = 0 on; without centring c stays 0. Source: Caron et al. 2021 (arXiv 2104.14294),
    Algorithm 1, Eq. 4, in one direction (the student has the first view, the teacher the second).
    """

    decay: Real = TARGET_DECAY
    centre_decay: Real = 0.9
    student_temperature: Real = losses.STUDENT_TEMPERATURE
    teacher_temperature: Real = losses.TEACHER_TEMPERATURE
    centring: bool = static(True)

    @property
    def solved(self) -> bool:
        """See `Distilled`."""
        return False

    def begin(self, w: Weights) -> Teacher:
        """The encoder's own weights, and no centre."""
        return Teacher(w, jnp.zeros(len(w), w.dtype))

    def given(self, carried: Teacher, w: Weights) -> Distilled:
        """The loss at the teacher of this step."""
        return Distilled(
            teacher=Teacher(averaged(carried.target, w, self.decay), carried.centre),
            student_temperature=self.student_temperature,
            teacher_temperature=self.teacher_temperature,
        )

    def carry(self, carried: Teacher, w: Weights, x: Batch, x_pos: Batch) -> Teacher:
        """The next step's weights and centre."""
        target = averaged(carried.target, w, self.decay)
        if not self.centring:
            return Teacher(target, carried.centre)
        mean = jnp.mean(x_pos, axis=0) @ target.T
        return Teacher(target, averaged(carried.centre, mean, self.centre_decay))

    def mean_carry(self, carried: Teacher, w: Weights, moments: Moments) -> Teacher:
        """The centre decays: without a mean of the data there is nothing to centre."""
        return Teacher(averaged(carried.target, w, self.decay), self.centre_decay * carried.centre)


@record
class Directed(MeanSquare):
    """The other view's embedding, predicted by a fixed matrix P: DirectPred's loss, or IsoLoss."""

    predictor: Float[Array, "n n"]
    isotropic: bool = static(True)

    def loss(self, params: Pair, x: Batch, x_pos: Batch, key: PRNGKeyArray | None = None) -> Scalar:
        """`losses.isoloss` of W x and W x', or `losses.jepa` of P W x and W x'."""
        z, z_pos = (v @ params[0].T for v in (x, x_pos))
        predicted = z @ self.predictor.T
        if self.isotropic:
            return losses.isoloss(z, z_pos, predicted)
        return losses.jepa(predicted, z_pos)

    def towards(self, params: Pair, moments: Moments) -> Pair:
        """E = P W A - W K^T for IsoLoss, P^T E for DirectPred."""
        w, head = params
        error = self.predictor @ w @ moments.anchor - w @ moments.cross.T
        towards = error if self.isotropic else self.predictor.T @ error
        return towards, jnp.zeros_like(head)


@record
class DirectPrediction(Carrying):
    """IsoLoss, or DirectPred's loss: the predictor is the root of the embedding's second moment.

        P = F^{1/2},   F <- decay F + (1 - decay) (1/N) sum_i z_i z_i^T   after every step

    from F = W W^T on. Source: Tian et al. 2021 (arXiv 2102.06810), section 4, without its epsilon;
    Halvagal et al. 2023 (arXiv 2212.04858). What it carries is F.
    """

    isotropic: bool = static(True)
    decay: Real = 0.95

    def begin(self, w: Weights) -> Float[Array, "n n"]:
        """The second moment of embeddings of isotropic data."""
        return w @ w.T

    def given(self, carried: Float[Array, "n n"], w: Weights) -> Directed:
        """The loss with this step's predictor, held fixed."""
        return Directed(predictor=isoloss.root(carried), isotropic=self.isotropic)

    def carry(
        self, carried: Float[Array, "n n"], w: Weights, x: Batch, x_pos: Batch
    ) -> Float[Array, "n n"]:
        """The moving average with the first views of this batch."""
        z = x @ w.T
        return averaged(carried, z.T @ z / len(x), self.decay)

    def mean_carry(
        self, carried: Float[Array, "n n"], w: Weights, moments: Moments
    ) -> Float[Array, "n n"]:
        """The same in the mean over batches."""
        return averaged(carried, w @ moments.anchor @ w.T, self.decay)
