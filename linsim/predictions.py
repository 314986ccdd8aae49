"""What theory says about a configuration, computed for the very runs that were made.

Population flow from each run's own initial weights; the condensed regime of finite batches from the moment it sets in;
settled strengths and collapsed dimensions. With `linsim.claims`, the place where theory and simulation meet.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float, PRNGKeyArray

from linsim import contrast, data, dynamics, runs
from linsim.arrays import Array
from linsim.results import labelled
from linsim.runs import BLOCKS, Observables, observe
from linsim.settings import LinearConfig, TwoLayerConfig
from linsim.sweep import Columns, Engine, Finish
from linsim.theory import late_time, population, singular

TOLERANCE = 1e-8  # of the population flows
Noise = Any  # a number, or an array of them
CONDENSED_FROM = 0.5  # the condensed regime is entered when the mean alpha_ii passes this value


def population_drive(config: LinearConfig, noise_cov: Float[Array, "d d"]) -> dynamics.FieldDrive:
    """The drive of infinitely many samples under the configuration's loss and views; alpha_ii is 0."""
    moments = data.moments(jnp.eye(config.dim), noise_cov, config.views)
    if config.loss == "dot":
        setting = {"anchor_cov": moments.anchor, "positive_cov": moments.positive, "cross_cov": moments.cross}
        setting |= {"temperature": config.temperature}
        loss, matrix = partial(population.loss_dot, **setting), partial(population.contrast_matrix_dot, **setting)
    else:
        setting = {"data_cov": moments.anchor, "noise_cov": moments.step}
        loss, matrix = partial(population.loss, **setting), partial(population.contrast_matrix, **setting)
    return lambda w: contrast.Drive(loss(w), matrix(w), jnp.zeros((), w.dtype))


def population_layers(config: TwoLayerConfig, times: np.ndarray) -> Callable[..., Observables]:
    """The two-layer population flow (key, *, noise, init_scale) -> observables at `times`; float64, traceable."""

    def run(key: PRNGKeyArray, *, noise: Float[Array, ""], init_scale: Float[Array, ""]) -> Observables:
        w1, w2 = runs.two_layers(config, jax.random.split(key, 3)[0], init_scale)
        observed = layers_from(config, times, config.tolerance)(noise, w1, w2)
        return observed | {"initial_w1": w1, "initial_w2": w2}

    return run


def layers_from(config: TwoLayerConfig, times: np.ndarray, tolerance: float) -> Callable[..., Observables]:
    """The two-layer population flow (noise, w1, w2) -> observables at `times`; float64, traceable."""
    unit_noise = runs.noise_covariance(config)

    def run(noise: Float[Array, ""], w1: Float[Array, "h d"], w2: Float[Array, "n h"]) -> Observables:
        drive = population_drive(config, noise**2 * unit_noise)
        return runs.observe_layers(dynamics.gradient_flow((w1, w2), drive, times, tolerance=tolerance), jnp.eye(config.dim))

    return run


def one_layer_from(config: LinearConfig, times: np.ndarray, tolerance: float) -> Callable[..., Observables]:
    """The one-layer population flow (noise, weights) -> observables at `times`; float64, traceable."""

    def run(noise: Float[Array, ""], weights: Float[Array, "n d"]) -> Observables:
        drive = population_drive(config, noise**2 * data.block_covariance(config.dim, config.noisy_dims))
        trajectory = dynamics.gradient_flow((weights,), drive, times, tolerance=tolerance)
        return observe(trajectory, jnp.eye(config.dim), config.noisy_dims)

    return run


def flows(flow: Callable[..., Observables], starts: tuple[str, ...], kept: tuple[str, ...], where: Engine) -> Finish:
    """The population flow of every run of a chunk from its own initial weights, in float64, beside what was measured.

    Args: flow, a function of the columns named by `starts` (settings or initial weights) -> observables; names of the
    observables to keep, as `population_<name>`; the engine. Returns: what `Engine.run` takes as `finish`.
    """
    compiled = where.vectorised(lambda *start: flow(*(array.astype(jnp.float64) for array in start)))

    def finish(values: Columns, measured: Mapping[str, Array]) -> dict[str, Array]:
        with jax.enable_x64(True):
            columns = {**values, **measured}
            observed = compiled(*(columns[name] for name in starts))
            return {**measured, **{f"population_{name}": observed[name] for name in kept}}

    return finish


def one_layer_flows(config: LinearConfig, times: np.ndarray, where: Engine) -> Finish:
    """`flows` of one layer."""
    kept = ("weight_singular_values", "embedding_spectrum", "block_strength", "loss")
    return flows(one_layer_from(config, times, TOLERANCE), ("noise", "initial_weights"), kept, where)


def two_layer_flows(config: TwoLayerConfig, times: np.ndarray, where: Engine) -> Finish:
    """`flows` of two layers."""
    kept = ("w1_singular_values", "w2_singular_values", "embedding_spectrum")
    return flows(layers_from(config, times, TOLERANCE), ("noise", "initial_w1", "initial_w2"), kept, where)


def theorem_3(dataset: xr.Dataset) -> xr.DataArray:
    """Theorem 3 for each run, from its initial singular values under its own measured pull: (..., time, layer, mode)."""
    pull, time = dataset["mode_pull"].transpose(..., "time", "hidden_mode"), dataset["time"].values
    impulse = np.cumsum(pull.values * np.diff(time, prepend=time[0])[:, None], axis=-2)
    layers = (dataset[f"w{layer}_singular_values"].transpose(*pull.dims).values for layer in (1, 2))
    first, second = (np.broadcast_to(values[..., :1, :], impulse.shape) for values in layers)
    solved = np.stack(singular.aligned_values(first, second, impulse), axis=-2)
    return xr.DataArray(solved, dims=(*pull.dims[:-1], "layer", "hidden_mode"))


def add_layers(dataset: xr.Dataset, config: TwoLayerConfig) -> xr.Dataset:
    """`dataset` of two-layer runs with Theorem 3 integrated for each, and the escape times."""
    start = (dataset["w1_singular_values"] * dataset["w2_singular_values"]).isel(time=0, drop=True)
    growth = population.growth_rate(1.0, 0.0) if config.loss == "distance" else 2 / config.temperature
    escape = start.copy(data=population.escape_time(start.values, 2, growth))
    return dataset.assign(theorem_3=theorem_3(dataset), escape_time=escape)


def mode_moments(config: LinearConfig, noise: Noise) -> tuple[Noise, Noise, Noise, Noise]:
    """(a, c, rho, a') of one noisy mode: anchor variance, variance of x' - x, cov(x, x' - x), positive's variance."""
    variance = noise**2
    if config.views == "two":
        return 1 + variance, 2 * variance, -variance, 1 + variance
    return 1.0, variance, 0.0, 1 + variance


def population_settled(config: LinearConfig, noise: float) -> tuple[float, float]:
    """Population fixed points m* of a clean and of a noisy mode."""
    a, c, _, a_pos = mode_moments(config, noise)
    if config.loss == "dot":
        clean, noisy = (population.fixed_point_dot(x, y, 1.0, config.temperature) for x, y in ((1.0, 1.0), (a, a_pos)))
    else:
        clean, noisy = population.fixed_point(1.0, 0.0), population.fixed_point(a, c)
    return float(clean), float(noisy)


def collapsed(config: LinearConfig, noise: float) -> int:
    """Collapsed dimensions that the population theory predicts; the dot loss has no threshold."""
    if config.loss == "dot":
        return 0
    moments = data.moments(jnp.eye(config.dim), noise**2 * data.block_covariance(config.dim, config.noisy_dims), config.views)
    return population.collapsed_dimensions(moments.anchor, moments.step)


def condensed_applies(config: LinearConfig) -> bool:
    """Whether the condensed regime is solved for: distance loss, changing batches, clean and noisy modes."""
    return config.loss == "distance" and config.batches != "fixed" and 0 < config.noisy_dims < config.dim


def condensed_settled(config: LinearConfig, noise: float) -> tuple[float, float]:
    """Late settled strengths of a clean and of a noisy mode on finite batches; nan where not solved for."""
    if not condensed_applies(config):
        return np.nan, np.nan
    a, c, rho, _ = mode_moments(config, noise)
    clean_modes = config.dim - config.noisy_dims
    return np.inf, late_time.settled(a, c, rho, clean_modes=clean_modes, noisy_modes=config.noisy_dims)


def condensed_flow(config: LinearConfig, noise: float, start: int, median: xr.Dataset) -> np.ndarray:
    """Strengths (T, 2) of the blocks in the condensed regime, from record `start` of the median run on; nan before."""
    times, strength = median["time"].values, median["block_strength"].values
    flow = np.full((len(times), 2), np.nan)
    if start < len(times) - 1 and np.all(strength[start] > 0):
        a, c, rho, _ = mode_moments(config, noise)
        clean = late_time.Modes.of(1.0, 0.0, 0.0, config.dim - config.noisy_dims)
        noisy = late_time.Modes.of(a, c, rho, config.noisy_dims)
        flow[start:] = late_time.flow(times[start:], strength[start], [clean, noisy], batch_size=config.batch_size)
    return flow


def condensed_flows(dataset: xr.Dataset, config: LinearConfig) -> np.ndarray:
    """`condensed_flow` for every (noise, init_scale), from where the median alpha_ii passes CONDENSED_FROM: (.., T, 2)."""
    median = dataset[["alpha_ii", "block_strength"]].median("seed")
    shape = tuple(dataset.sizes[name] for name in ("noise", "init_scale", "time"))
    flows = np.full((*shape, 2), np.nan)
    if condensed_applies(config):
        for i, j in np.ndindex(*shape[:2]):
            one = median.isel(noise=i, init_scale=j)
            condensed = one["alpha_ii"].values >= CONDENSED_FROM
            if condensed.any():
                flows[i, j] = condensed_flow(config, config.noise[i], int(np.argmax(condensed)), one)
    return flows


def add(dataset: xr.Dataset, config: LinearConfig) -> xr.Dataset:
    """`dataset` of one-layer runs with every prediction beside it."""
    settled = {
        "population_settled": (("noise", "block"), [population_settled(config, noise) for noise in config.noise]),
        "condensed_settled": (("noise", "block"), [condensed_settled(config, noise) for noise in config.noise]),
        "condensed_block_strength": (("noise", "init_scale", "time", "block"), condensed_flows(dataset, config)),
        "predicted_collapsed": (("noise",), [collapsed(config, noise) for noise in config.noise]),
    }
    return dataset.merge(labelled(settled, {"block": list(BLOCKS)}), combine_attrs="override")
