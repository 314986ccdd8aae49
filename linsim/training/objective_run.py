"""One run of linear layers and a head under an `Objective`, on fresh batches of isotropic data; and
the flow of its mean.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

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

Source = Callable[[PRNGKeyArray], tuple[Float[Array, "N d"], Float[Array, "N d"]]]
SHOWN = 256  # samples in the scatter plots


class Trainable(NamedTuple):
    """The layers of the encoder, first layer first, the head behind them, and what the objective
    carries from step to step, which is not trained.
    """

    layers: Params
    head: Head
    carried: Any = None


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
        """Initial layers with the head that belongs to them, and what the objective carries."""
        root = jnp.asarray(self.init_scale, layers[0].dtype) ** (1 / self.depth)
        w = models.product(layers)
        head = self.objective.head(w, root + self.imbalance)
        return Trainable(layers, head, self.objective.begin(w))

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

    start = run.start(key_init)
    states, values = descend(run, start, source, key_steps)
    w = jax.vmap(models.product)(states.layers)
    x = data.gaussian(key_show, SHOWN, clean)
    axes = jnp.linalg.svd(w[-1])[0]
    return {
        "embedding_spectrum": spectrum(w),
        "scatter": (x @ w[-1].T @ axes)[:, jnp.array([0, 1, -2, -1])],
        "initial_layers": jnp.stack(start.layers),
        "loss": values,
    }


def descend(
    run: ObjectiveRun, start: Trainable, source: Source, key: PRNGKeyArray
) -> tuple[Trainable, Float[Array, "T"]]:
    """Gradient descent of a run on batches of any source. Returns: states, and the mean losses
    before them, at its records.
    """

    def gradient(now: Trainable, step_key: PRNGKeyArray):
        value, towards = layer_gradient(run, now, *source(step_key), step_key)
        return towards, value, None

    decay, rate = cast(float, run.weight_decay), cast(float, run.learning_rate)
    trained = optax.chain(optax.add_decayed_weights(decay), optax.sgd(rate))
    optimizer = optax.partition(
        {"trained": trained, "carried": optax.identity()},
        Trainable(*("trained", "trained", "carried")),  # pyright: ignore[reportArgumentType]
    )
    states, values, _ = dynamics.descend(start, gradient, optimizer, run.record_at, key)
    return states, values


def layer_gradient(
    run: ObjectiveRun,
    now: Trainable,
    x: Float[Array, "N d"],
    x_pos: Float[Array, "N d"],
    key: PRNGKeyArray,
) -> tuple[Scalar, Trainable]:
    """Loss and gradient of a batch, layer by layer (paper, Lemma 3), and the change of what the
    objective carries.
    """
    w, objective = models.product(now.layers), run.objective
    of, draws = objective.given(now.carried, w), jax.random.fold_in(key, 1)
    value, (towards, head) = of.gradient((w, now.head), x, x_pos, draws)
    change = jax.tree.map(jnp.subtract, objective.carry(now.carried, w, x, x_pos), now.carried)
    return value, Trainable(models.layer_gradients(now.layers, towards), head, change)


def velocity(run: ObjectiveRun, now: Trainable, moments: Moments) -> Trainable:
    """The rates of a run's mean at given second moments of the views, in the time learning rate
    times steps.
    """
    w, objective = models.product(now.layers), run.objective
    rates = objective.given(now.carried, w).rates((w, now.head), moments, run.batch_size)
    carried = objective.mean_carry(now.carried, w, moments)
    decayed = jax.tree.map(
        lambda rate, value: rate - run.weight_decay * value,
        (models.layer_gradients(now.layers, rates[0]), rates[1]),
        (now.layers, now.head),
    )
    change = jax.tree.map(lambda new, old: (new - old) / run.learning_rate, carried, now.carried)
    return Trainable(decayed[0], decayed[1], change)


def population_flow(
    run: ObjectiveRun, layers: Float[Array, "L d d"], tolerance: float
) -> Observables:
    """The flow of a run's mean from its own initial layers: embedding spectrum at its records;
    float64, traceable. Values are nan where it is not known.
    """
    if not run.objective.solved:
        return {"embedding_spectrum": jnp.full((len(run.record_at), run.dim), jnp.nan)}
    start, moments = run.headed(tuple(layers)), run.moments()
    flow = dynamics.integrate(
        lambda now: velocity(run, now, moments), start, run.times, tolerance=tolerance
    )
    return {"embedding_spectrum": spectrum(jax.vmap(models.product)(flow.layers))}


def spectrum(weights: Float[Array, "T n d"]) -> Float[Array, "T n"]:
    """Embedding covariance's eigenvalues of clean isotropic data, W W^T, at every record."""
    return jax.lax.map(lambda w: spectra.singular_values(w) ** 2, weights)
