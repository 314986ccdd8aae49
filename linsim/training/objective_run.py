"""One run of linear layers and a head under an `Objective`, on fresh batches of isotropic data; and
the flow of its mean.
"""

from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float, PRNGKeyArray

from linsim import spectra
from linsim.arrays import Array
from linsim.training import data, dynamics, models
from linsim.training.data import Moments
from linsim.training.models import Params
from linsim.training.names import Views
from linsim.training.objectives import Head, Objective, Plain, Scalar
from linsim.training.observe import Observables
from linsim.training.records import Real, record, static

SHOWN = 256  # samples in the scatter plots


class Trainable(NamedTuple):
    """The layers of the encoder, first layer first, and the head behind them."""

    layers: Params
    head: Head


@record
class ObjectiveRun:
    """A run of an encoder W = W_L .. W_1, and its head V, on fresh batches of isotropic data.

    noise, base_noise: standard deviations of each noisy view's noise in the last `noisy_dims`
    coordinates and in the others; init_scale: singular values of W(0), and of V(0) with one layer;
    imbalance: added to those of V(0); weight_decay: of every layer and the head. Static: what the
    records do not vary. Layers start balanced, each with the L-th root of the scale, and so does
    the head.
    """

    noise: Real = 2.5
    base_noise: Real = 0.5
    init_scale: Real = 1.0
    imbalance: Real = 0.0
    weight_decay: Real = 0.0
    learning_rate: Real = 0.05
    objective: Objective = Plain()
    views: Views = static("two")
    depth: int = static(1)
    dim: int = static(16)
    noisy_dims: int = static(8)
    batch_size: int = static(128)
    record_at: tuple[int, ...] = static((0, 1, 2000))

    @property
    def times(self) -> Float[Array, "T"]:
        """Learning rate x steps at the records."""
        return np.asarray(self.record_at) * self.learning_rate

    def start(self, key: PRNGKeyArray) -> Trainable:
        """The initial layers and head: random orthogonal factors, and the objective's head."""
        root = jnp.asarray(self.init_scale, float) ** (1 / self.depth)
        layers = models.orthogonal(key, (self.dim,) * (self.depth + 1), root)
        return self.headed(layers)

    def headed(self, layers: Params) -> Trainable:
        """Initial layers with the head that belongs to them."""
        root = jnp.asarray(self.init_scale, layers[0].dtype) ** (1 / self.depth)
        head = self.objective.head(models.product(layers), root + self.imbalance)
        return Trainable(layers, head)

    def noise_deviations(self) -> Float[Array, "d"]:
        """Standard deviation of one view's noise in each coordinate."""
        strong = np.arange(self.dim) >= self.dim - self.noisy_dims
        return jnp.where(strong, self.noise, self.base_noise)

    def moments(self) -> Moments:
        """Second moments of its views."""
        noise = jnp.diag(self.noise_deviations() ** 2)
        return data.moments(jnp.eye(self.dim), noise, self.views)


def simulate(run: ObjectiveRun, key: PRNGKeyArray) -> Observables:
    """Train a run: embedding spectrum and loss at its records, final embeddings of a few samples,
    the initial layers. Traceable.
    """
    key_init, key_data, key_steps, key_show = jax.random.split(key, 4)
    clean = data.factor(np.eye(run.dim))
    noise = jnp.diag(run.noise_deviations())
    source = data.source(
        key_data, "fresh", clean, noise, views=run.views, batch_size=run.batch_size
    )

    def gradient(now: Trainable, step_key: PRNGKeyArray):
        value, towards = layer_gradient(run, now, *source(step_key), step_key)
        return towards, value, None

    decay, rate = cast(float, run.weight_decay), cast(float, run.learning_rate)
    optimizer = optax.chain(optax.add_decayed_weights(decay), optax.sgd(rate))
    start = run.start(key_init)
    (layers, _), values, _ = dynamics.descend(start, gradient, optimizer, run.record_at, key_steps)
    w = jax.vmap(models.product)(layers)
    x = data.gaussian(key_show, SHOWN, clean)
    axes = jnp.linalg.svd(w[-1])[0]
    return {
        "embedding_spectrum": spectrum(w),
        "scatter": (x @ w[-1].T @ axes)[:, jnp.array([0, 1, -2, -1])],
        "initial_layers": jnp.stack(start.layers),
        "loss": values,
    }


def layer_gradient(
    run: ObjectiveRun,
    now: Trainable,
    x: Float[Array, "N d"],
    x_pos: Float[Array, "N d"],
    key: PRNGKeyArray,
) -> tuple[Scalar, Trainable]:
    """Loss and gradient of a batch, layer by layer (paper, Lemma 3)."""
    params = models.product(now.layers), now.head
    draws = jax.random.fold_in(key, 1)
    value, (towards, head) = run.objective.gradient(params, x, x_pos, draws)
    return value, Trainable(models.layer_gradients(now.layers, towards), head)


def population_flow(
    run: ObjectiveRun, layers: Float[Array, "L d d"], tolerance: float
) -> Observables:
    """The flow of a run's mean from its own initial layers: embedding spectrum at its records;
    float64, traceable. Values are nan where it is not known.
    """
    if not run.objective.solved:
        return {"embedding_spectrum": jnp.full((len(run.record_at), run.dim), jnp.nan)}
    moments = run.moments()

    def velocity(now: Trainable) -> Trainable:
        params = models.product(now.layers), now.head
        rate, head_rate = run.objective.rates(params, moments, run.batch_size)
        rates = Trainable(models.layer_gradients(now.layers, rate), head_rate)
        return jax.tree.map(lambda r, w: r - run.weight_decay * w, rates, now)

    start = run.headed(tuple(layers))
    flow = dynamics.integrate(velocity, start, run.times, tolerance=tolerance)
    return {"embedding_spectrum": spectrum(jax.vmap(models.product)(flow.layers))}


def spectrum(weights: Float[Array, "T n d"]) -> Float[Array, "T n"]:
    """Embedding covariance's eigenvalues of clean isotropic data, W W^T, at every record."""
    return jax.lax.map(lambda w: spectra.singular_values(w) ** 2, weights)
