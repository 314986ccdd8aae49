"""Depth: L linear or ReLU layers from one balanced start (paper, section 5 and Figure 11)."""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from jaxtyping import Float, PRNGKeyArray

from linsim import contrast, data, dynamics, losses, models, spectra, train
from linsim.arrays import Array
from linsim.results import labelled
from linsim.runs import Observables
from linsim.settings import DepthConfig
from linsim.sweep import Engine
from linsim.theory import alignment, population

MOST_PAIRS = 7  # of adjacent layers
EVALUATED = 1024  # clean samples behind the embedding spectrum


def layer_values(config: Any) -> np.ndarray:
    """Initial singular values of every layer, (dim,)."""
    return config.init_scale * np.exp(-config.decay * np.arange(config.dim))


def embed(network: str) -> Callable[[models.Params, Float[Array, "N d"]], Float[Array, "N n"]]:
    """The network (params, x) -> z: "linear" or "relu"."""
    return models.relu_network if network == "relu" else lambda params, x: x @ models.product(params).T


def gradient(network: str) -> Callable[..., tuple[models.Params, Float[Array, ""], Float[Array, ""]]]:
    """(params, x, x') -> gradient of the mean distance loss, loss, mean alpha_ii; in closed form for linear layers."""

    def linear(params, x, x_pos):
        w = models.product(params)
        now = contrast.distance(w, x, x_pos)
        return models.layer_gradients(params, -w @ now.contrast), now.loss, now.alpha_ii

    def relu(params, x, x_pos):
        def loss(params):
            z, z_pos = models.relu_network(params, x), models.relu_network(params, x_pos)
            return losses.infonce(z, z_pos) / len(x), (z, z_pos)

        (value, (z, z_pos)), towards = jax.value_and_grad(loss, has_aux=True)(params)
        return towards, value, contrast.distance(jnp.eye(z.shape[1], dtype=z.dtype), z, z_pos).alpha_ii

    return relu if network == "relu" else linear


def observe(params: models.Params, z: Float[Array, "N n"]) -> Observables:
    """Embedding spectrum, and the imbalance and alignment of every pair of adjacent layers, padded to MOST_PAIRS with nan."""
    pairs = list(itertools.pairwise(params))
    width = z.shape[1]

    def padded(values: list, shape: tuple[int, ...]) -> Float[Array, "..."]:
        return jnp.stack([*values, *[jnp.full(shape, jnp.nan, z.dtype)] * (MOST_PAIRS - len(values))])

    return {
        "embedding_spectrum": spectra.singular_values(z - jnp.mean(z, axis=0)) ** 2 / len(z),
        "pair_imbalance": padded([jnp.linalg.norm(alignment.imbalance(*pair)) for pair in pairs], ()),
        "pair_alignment": padded([jnp.abs(jnp.diag(spectra.alignment_matrix(*pair))) for pair in pairs], (width,)),
    }


def simulate(config: Any, steps: np.ndarray) -> Callable[..., Observables]:
    """One run (key) of a configuration with one depth and one network -> observables at `steps`; traceable."""
    block = data.factor(data.block_covariance(config.dim, config.noisy_dims))
    closed = gradient(config.network)

    def run(key: PRNGKeyArray, **_point: Any) -> Observables:
        key_init, key_data, key_steps, key_evaluate = jax.random.split(key, 4)
        params = models.balanced(key_init, (config.dim,) * (config.depth + 1), jnp.asarray(layer_values(config)))
        clean = data.factor(np.eye(config.dim))
        sample, _ = data.sampler(
            key_data,
            "dataset",
            clean,
            config.noise * block,
            views="one",
            batch_size=config.batch_size,
            dataset_size=config.dataset_size,
        )

        def step(params, step_key):
            towards, loss, alpha_ii = closed(params, *sample(step_key))
            return towards, (loss, alpha_ii), None

        weights, (loss, alpha_ii), _ = dynamics.descend(params, step, optax.sgd(config.learning_rate), steps, key_steps)
        x = data.gaussian(key_evaluate, EVALUATED, clean)
        observed = jax.lax.map(lambda p: observe(p, embed(config.network)(p, x)), weights)
        return observed | {"loss": loss, "alpha_ii": alpha_ii}

    return run


def runs(config: DepthConfig, where: Engine) -> xr.Dataset | None:
    """All runs: Dataset over (network, depth, seed, time, ..), or None if chunks are missing."""
    return train.grid(simulate, config, {"network": config.network, "depth": config.depth}, where)


def compare(dataset: xr.Dataset, config: DepthConfig) -> xr.Dataset:
    """`dataset` with collapsed counts, and the balanced population flow's spectrum and counts for linear layers."""
    times = dataset["time"].values
    flows = [
        population.balanced_flow(layer_values(config) ** depth, times, depth, 1.0, _mode_noise(config)) for depth in config.depth
    ]
    spectrum = np.sort(np.stack(flows) ** 2, axis=-1)[..., ::-1]
    dataset = dataset.assign(population_embedding_spectrum=(("depth", "time", "mode"), spectrum))
    counts = {
        "collapsed": _collapsed(dataset["embedding_spectrum"], config),
        "predicted_collapsed": _collapsed(dataset["population_embedding_spectrum"], config),
    }
    return dataset.merge(labelled({name: (tuple(map(str, array.dims)), array.values) for name, array in counts.items()}, {}))


def _collapsed(spectrum: xr.DataArray, config: DepthConfig) -> xr.DataArray:
    """Eigenvalues whose root, a standard deviation, is below the threshold times the largest."""
    return (spectrum < config.collapse_threshold**2 * spectrum.max(dim="mode")).sum("mode")


def _mode_noise(config: DepthConfig) -> float:
    """Noise variance of a mode in a random direction: exact when all coordinates are noisy, the mean otherwise."""
    return config.noise**2 * config.noisy_dims / config.dim
