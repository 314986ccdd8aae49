"""Small random models, batches and runs that many checks share: one compiled function per shape,
whatever the seed.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import joblib
import numpy as np
import optax
from jaxtyping import Float, PRNGKeyArray

from linsim import losses, spectra
from linsim.arrays import Array, jitted
from linsim.claims.ledger import Assumption
from linsim.theory import population
from linsim.training import contrast, data, dynamics, models, objective_run, observe
from linsim.training.objective_run import ObjectiveRun

FLOW = 1e-10  # tolerance per step of every flow here
SAMPLES = 16
DIM = 5

alignment_matrix = jitted(spectra.alignment_matrix)
Args = ParamSpec("Args")
Found = TypeVar("Found")


def remembered(work: Callable[Args, Found]) -> Callable[Args, Found]:
    """`functools.cache` for functions of arrays: a counter-check that changes nothing but the
    formula finds what its check has simulated.
    """
    found: dict[str | None, Found] = {}

    @functools.wraps(work)
    def of(*args: Args.args, **options: Args.kwargs) -> Found:
        key = joblib.hash((args, options))
        if key not in found:
            found[key] = work(*args, **options)
        return found[key]

    return of


def error(actual: Any, expected: Any, scale: float | None = None) -> float:
    """Frobenius norm of the difference, over `scale` or that of `expected`."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    return float(
        np.linalg.norm(actual - expected) / (np.linalg.norm(expected) if scale is None else scale)
    )


def above(what: str, value: Any, limit: float | int) -> Assumption:
    """The assumption that a measured value exceeds a limit."""
    return Assumption(what, float(value), f"> {limit:g}", bool(value > limit))


def below(what: str, value: Any, limit: float | int) -> Assumption:
    """The assumption that a measured value stays under a limit."""
    return Assumption(what, float(value), f"< {limit:g}", bool(value < limit))


class Case(NamedTuple):
    """A random linear model and batch: w (d, d); x, x_pos (N, d), one view noisy."""

    w: Float[Array, "d d"]
    x: Float[Array, "N d"]
    x_pos: Float[Array, "N d"]

    @property
    def size(self) -> float:
        """The size of the terms that cancel in dL/dW."""
        return float(np.linalg.norm(self.w) * np.linalg.norm(self.x_pos) ** 2)


@functools.cache
def case(seed: int) -> Case:
    """SAMPLES rows in DIM dimensions, noise 0.7 on the positives, weights of unit rows."""
    key_w, key_x = jax.random.split(jax.random.key(seed))
    unit = data.factor(np.eye(DIM))
    sample = data.source(key_x, "fixed", unit, 0.7 * unit, views="one", batch_size=SAMPLES)
    return Case(models.gaussian(key_w, (DIM, DIM), 1.0)[0], *sample(key_x))


@functools.cache
def layers(seed: int) -> models.Params:
    """Two layers of distinct singular values between random factors, not aligned."""
    return models.spectral(jax.random.key(seed), (DIM,) * 3, 1.2 * jnp.exp(-0.35 * jnp.arange(DIM)))


@jax.jit
def loss_gradient(
    w: Float[Array, "n d"], x: Float[Array, "N d"], x_pos: Float[Array, "N d"]
) -> Float[Array, "n d"]:
    """dL/dW of the paper's Eq. 2, by automatic differentiation."""
    return jax.grad(lambda w: losses.infonce(x @ w.T, x_pos @ w.T))(w)


@remembered
@jax.jit
def batch_flow(
    params: models.Params,
    x: Float[Array, "N d"],
    x_pos: Float[Array, "N d"],
    times: Float[Array, "T"],
):
    """Gradient flow of the mean distance loss on one fixed batch."""
    return dynamics.gradient_flow(
        params, lambda w: contrast.distance(w, x, x_pos), times, tolerance=FLOW
    )


@remembered
@jax.jit
def population_flow(
    params: models.Params,
    data_cov: Float[Array, "d d"],
    noise_cov: Float[Array, "d d"],
    times: Float[Array, "T"],
) -> tuple[Float[Array, "T _out _in"], ...]:
    """Gradient flow of infinitely many samples: the layers at `times`."""

    def velocity(params):
        return population.layer_rates(params, data_cov, noise_cov)

    return dynamics.integrate(velocity, params, times, tolerance=FLOW)


@remembered
@functools.partial(jax.jit, static_argnames=("views", "batch_size", "steps"))
def train(
    params: models.Params,
    noise_factor: Float[Array, "rank d"],
    seed: Any,
    rate: Any,
    *,
    views: data.Views,
    batch_size: int,
    steps: tuple[int, ...],
    data_factor: Float[Array, "d d"] | None = None,
) -> dynamics.Trajectory:
    """Gradient descent on the mean distance loss of fresh batches of Gaussian data, isotropic
    unless a factor of its covariance is given; records at `steps`.
    """
    clean = jnp.eye(noise_factor.shape[1]) if data_factor is None else data_factor
    sample = data.source(
        jax.random.key(0), "fresh", clean, noise_factor, views=views, batch_size=batch_size
    )
    key = jax.random.fold_in(jax.random.key(1), seed)
    return dynamics.gradient_descent(
        params, lambda w, k: contrast.distance(w, *sample(k)), optax.sgd(rate), steps, key
    )


@remembered
@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def mean_contrast(
    size: int,
    draws: int,
    views: data.Views,
    temperature: float | None,
    w: Float[Array, "n d"],
    clean_factor: Float[Array, "d d"],
    noise_factor: Float[Array, "d d"],
    seed: Any,
) -> Float[Array, "d d"]:
    """X/N averaged over so many draws, in batches of `size`; of the dot loss with a temperature."""
    sample = data.source(
        jax.random.key(0), "fresh", clean_factor, noise_factor, views=views, batch_size=size
    )

    def of_one(key):
        pair = sample(key)
        if temperature is None:
            return contrast.distance(w, *pair).contrast
        return contrast.dot(w, *pair, temperature).contrast

    keys = jax.random.split(jax.random.fold_in(jax.random.key(5), seed), draws // size)
    return jnp.mean(jax.lax.map(of_one, keys), axis=0)


def two_noisy_views(
    key: PRNGKeyArray, size: int, deviations: Float[Array, "d"]
) -> tuple[Float[Array, "N d"], Float[Array, "N d"]]:
    """Two views of `size` samples of isotropic data, with noise of these deviations in each."""
    clean, first, second = jax.random.normal(key, (3, size, len(deviations)))
    return clean + deviations * first, clean + deviations * second


@remembered
@functools.partial(jax.jit, static_argnums=(0, 2))
def trained_spectrum(run: ObjectiveRun, seed: Any, stream: int) -> Float[Array, "n"]:
    """The spectrum at the end of a run on batches. Args: run; seed; which random stream."""
    key = jax.random.fold_in(jax.random.key(stream), seed)
    return objective_run.simulate(run, key)["embedding_spectrum"][-1]


@functools.partial(jax.jit, static_argnums=1)
def block_strengths(w: Float[Array, "T n d"], noisy_dims: int) -> Float[Array, "T 2"]:
    """`observe.block_strength` of the clean and of the noisy modes, time by time."""
    return jax.vmap(lambda one: observe.block_strength(one, noisy_dims))(w)


def noisy_block(dim: int, noisy_dims: int, noise: float) -> Float[Array, "rank d"]:
    """Factor of additive noise of one standard deviation in the last coordinates."""
    return noise * data.factor(data.block_covariance(dim, noisy_dims))


def rotation(seed: int, dim: int) -> Float[Array, "dim dim"]:
    """A random orthogonal matrix."""
    return models.random_frame(jax.random.key(1000 + seed), dim, dim)
