"""One linear layer with a linear predictor behind it, trained without negatives or with them
(paper, section 3; Tian et al. 2021).

What is trained is an `Objective`: an object that carries its loss, which views it sees, and its
population flow.
"""

from abc import ABC, abstractmethod
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float, PRNGKeyArray

from linsim import losses, spectra
from linsim.arrays import Array
from linsim.theory import noncontrastive, population
from linsim.training import contrast, data, dynamics, models
from linsim.training.names import Views
from linsim.training.observe import Observables
from linsim.training.records import Real, record, static

SHOWN = 256  # samples in the scatter plots
Pair = tuple[Float[Array, "n d"], Float[Array, "n n"]]
Square = Float[Array, "d d"]
Batch = Float[Array, "N d"]


class Objective(ABC):
    """What the encoder W and the predictor Wp are trained on."""

    views: Views = "two"
    decays: bool = False
    """Whether the weights decay."""

    @abstractmethod
    def loss(self, params: Pair, x: Batch, x_pos: Batch) -> Float[Array, ""]:
        """Mean loss without weight decay. Args: (W, Wp), Wp maybe ignored; views (N, d)."""

    def gradient(self, params: Pair, x: Batch, x_pos: Batch) -> tuple[Float[Array, ""], Pair]:
        """The loss, and its gradient. Args: as `loss`."""
        return jax.value_and_grad(self.loss)(params, x, x_pos)

    @abstractmethod
    def rates(self, params: Pair, clean: Square, noise: Square, weight_decay: Real) -> Pair:
        """The population flow: dW/dt and dWp/dt. Args: (W, Wp); covariances of the clean data and
        of one view's noise.
        """


@record
class Contrastive(Objective):
    """InfoNCE on distances, without a predictor."""

    views: Views = static("two")

    def loss(self, params: Pair, x: Batch, x_pos: Batch) -> Float[Array, ""]:
        """`losses.infonce` per anchor."""
        return losses.infonce(x @ params[0].T, x_pos @ params[0].T) / len(x)

    def gradient(self, params: Pair, x: Batch, x_pos: Batch) -> tuple[Float[Array, ""], Pair]:
        """In closed form, -W X and 0 (paper, Lemma 1)."""
        w, wp = params
        now = contrast.distance(w, x, x_pos)
        return now.loss, (-w @ now.contrast, jnp.zeros_like(wp))

    def rates(self, params: Pair, clean: Square, noise: Square, weight_decay: Real) -> Pair:
        """W X and 0."""
        w, wp = params
        moments = data.moments(clean, noise, self.views)
        return w @ population.contrast_matrix(w, moments.anchor, moments.step), jnp.zeros_like(wp)


@record
class Attraction(Objective):
    """The positive term alone, without negatives and without a predictor."""

    def loss(self, params: Pair, x: Batch, x_pos: Batch) -> Float[Array, ""]:
        """`losses.alignment_only`."""
        return losses.alignment_only(x @ params[0].T, x_pos @ params[0].T)

    def rates(self, params: Pair, clean: Square, noise: Square, weight_decay: Real) -> Pair:
        """-2 W Sigma_a and 0."""
        return -params[0] @ (2 * noise), jnp.zeros_like(params[1])


@record
class Predicted(Objective):
    """A linear predictor of the other view's embedding, with or without stop-gradient on that."""

    stop_gradient: bool = static(True)
    decays: bool = static(True)

    def loss(self, params: Pair, x: Batch, x_pos: Batch) -> Float[Array, ""]:
        """|Wp W x - W x'|^2 / 2, the second term held fixed under stop-gradient."""
        w, wp = params
        target = x_pos @ w.T
        return losses.alignment_only(
            x @ w.T @ wp.T, jax.lax.stop_gradient(target) if self.stop_gradient else target
        )

    def rates(self, params: Pair, clean: Square, noise: Square, weight_decay: Real) -> Pair:
        """See `noncontrastive.predictor_rates` and `noncontrastive.joint_rates`."""
        rates = noncontrastive.predictor_rates if self.stop_gradient else noncontrastive.joint_rates
        return rates(*params, clean, noise, ratio=1.0, weight_decay=weight_decay)


@record
class StoppedAttraction(Objective):
    """The positive term with stop-gradient on one view, without a predictor."""

    decays: bool = static(True)

    def loss(self, params: Pair, x: Batch, x_pos: Batch) -> Float[Array, ""]:
        """`losses.alignment_only`, the second view's embedding held fixed."""
        return losses.alignment_only(x @ params[0].T, jax.lax.stop_gradient(x_pos @ params[0].T))

    def rates(self, params: Pair, clean: Square, noise: Square, weight_decay: Real) -> Pair:
        """See `noncontrastive.no_predictor_rate`."""
        return noncontrastive.no_predictor_rate(params[0], noise, weight_decay), jnp.zeros_like(
            params[1]
        )


@record
class PredictorRun:
    """A run of one linear layer W, and its predictor Wp, on fresh batches of isotropic data.

    noise, base_noise: standard deviations of each noisy view's noise in the last `noisy_dims`
    coordinates and in the others; init_scale: singular values of W(0) and Wp(0); imbalance: added
    to those of Wp(0). Static: what the records do not vary.
    """

    noise: Real = 2.5
    base_noise: Real = 0.5
    init_scale: Real = 1.0
    imbalance: Real = 0.0
    weight_decay: Real = 0.1
    learning_rate: Real = 0.05
    objective: Objective = Contrastive()
    dim: int = static(16)
    noisy_dims: int = static(8)
    batch_size: int = static(128)
    record_at: tuple[int, ...] = static((0, 1, 2000))

    @property
    def times(self) -> Float[Array, "T"]:
        """Learning rate x steps at the records."""
        return np.asarray(self.record_at) * self.learning_rate

    @property
    def decay(self) -> Real:
        """Weight decay of the run's objective."""
        return self.weight_decay if self.objective.decays else 0.0

    def predictor(self) -> Float[Array, "n n"]:
        """The initial predictor: balanced with W(0), Wp^T Wp = W W^T, plus imbalance x I."""
        return (self.init_scale + self.imbalance) * jnp.eye(self.dim)

    def noise_deviations(self) -> Float[Array, "d"]:
        """Standard deviation of one view's noise in each coordinate."""
        strong = np.arange(self.dim) >= self.dim - self.noisy_dims
        return jnp.where(strong, self.noise, self.base_noise)


def simulate(run: PredictorRun, key: PRNGKeyArray) -> Observables:
    """Train a run: embedding spectrum and loss at its records, final embeddings of a few samples,
    W(0). Traceable.
    """
    key_init, key_data, key_steps, key_show = jax.random.split(key, 4)
    (start,) = models.orthogonal(key_init, (run.dim, run.dim), run.init_scale)
    clean = data.factor(np.eye(run.dim))
    noise = jnp.diag(run.noise_deviations())
    source = data.source(
        key_data, "fresh", clean, noise, views=run.objective.views, batch_size=run.batch_size
    )

    def gradient(params: Pair, step_key: PRNGKeyArray):
        value, towards = run.objective.gradient(params, *source(step_key))
        return towards, value, None

    decay, rate = cast(float, run.decay), cast(float, run.learning_rate)
    optimizer = optax.chain(optax.add_decayed_weights(decay), optax.sgd(rate))
    (w, _), values, _ = dynamics.descend(
        (start, run.predictor()), gradient, optimizer, run.record_at, key_steps
    )
    x = data.gaussian(key_show, SHOWN, clean)
    axes = jnp.linalg.svd(w[-1])[0]
    return {
        "embedding_spectrum": spectrum(w),
        "scatter": (x @ w[-1].T @ axes)[:, jnp.array([0, 1, -2, -1])],
        "initial_weights": w[0],
        "loss": values,
    }


def population_flow(run: PredictorRun, start: Float[Array, "n d"], tolerance: float) -> Observables:
    """The population flow of a run from its own W(0): embedding spectrum at its records; float64,
    traceable.
    """
    noise = jnp.diag(run.noise_deviations() ** 2)

    def velocity(params: Pair) -> Pair:
        return run.objective.rates(params, jnp.eye(run.dim), noise, run.decay)

    w, _ = dynamics.integrate(velocity, (start, run.predictor()), run.times, tolerance=tolerance)
    return {"embedding_spectrum": spectrum(w)}


def spectrum(weights: Float[Array, "T n d"]) -> Float[Array, "T n"]:
    """Embedding covariance's eigenvalues of clean isotropic data, W W^T, at every record."""
    return jax.lax.map(lambda w: spectra.singular_values(w) ** 2, weights)
