"""The runs of the study on depth, and what theory says of balanced linear layers."""

from dataclasses import replace
from typing import Any

import jax
import numpy as np
import xarray as xr
from jaxtyping import PRNGKeyArray

from linsim.studies.depth import DepthSettings
from linsim.studies.linear import optimizer, time_coords
from linsim.studies.side_by_side import side_by_side
from linsim.studies.theory import silence
from linsim.studies.words import collapsed_count
from linsim.sweeps.results import labelled
from linsim.sweeps.sweep import Sweep
from linsim.theory import finite_batch, population
from linsim.training import data, models, observe, starts
from linsim.training.names import Activation
from linsim.training.observe import Observables
from linsim.training.recording import record_steps
from linsim.training.run import Run, train

EVALUATED = 1024  # clean samples behind the embedding spectrum


def fixed_run(settings: DepthSettings) -> Run:
    """What the runs of all networks and depths share."""
    return Run(
        noise=settings.noise,
        learning_rate=settings.learning_rate,
        dim=settings.dim,
        noisy_dims=settings.noisy_dims,
        batches="dataset",
        batch_size=settings.batch_size,
        dataset_size=settings.dataset_size,
        optimizer=optimizer(settings),
        record_at=tuple(record_steps(settings.steps).tolist()),
    )


def layer_start(settings: DepthSettings, depth: int) -> tuple[float, float]:
    """Scale and decay rate of each layer's initial singular values in a network of this depth."""
    if settings.same_product:
        return settings.init_scale ** (1 / depth), settings.decay / depth
    return settings.init_scale, settings.decay


def simulate(run: Run, key: PRNGKeyArray) -> Observables:
    """Train a run and observe its network on clean samples that are new to it. Traceable."""
    trajectory, _ = train(run, key)
    key_evaluate = jax.random.split(key, 4)[3]
    x = data.gaussian(key_evaluate, EVALUATED, data.factor(np.eye(run.dim)))

    def at_one_time(params: models.Params) -> Observables:
        relu = run.activation == "relu"
        return observe.network(
            params, models.relu_network(params, x) if relu else x @ models.product(params).T
        )

    observed = jax.lax.map(at_one_time, trajectory.weights)
    return observed | {"loss": trajectory.loss, "alpha_ii": trajectory.alpha_ii}


def sweep(settings: DepthSettings) -> Sweep[Run]:
    """All runs, over networks and depths."""
    fixed = fixed_run(settings)

    def make(network: Activation, depth: int) -> Run:
        scale, decay = layer_start(settings, depth)
        return replace(
            fixed,
            activation=network,
            hidden=(settings.dim,) * (depth - 1),
            init_scale=scale,
            start=starts.Balanced(decay=decay),
        )

    return Sweep(
        axes={"network": settings.network, "depth": settings.depth},
        make=make,
        simulate=simulate,
        seed=settings.seed,
        seeds=settings.seeds,
        kept="spectrum and pairs of layers",
        coords=time_coords(settings.steps, settings.learning_rate),
    )


def compare(dataset: xr.Dataset, settings: DepthSettings) -> xr.Dataset:
    """`dataset` with collapsed counts, and for linear layers the spectrum and counts of balanced
    layers, by the theory of this batch size and learning rate and by that of infinite batches.
    """
    no_theory = silence(fixed_run(settings))
    times = dataset["time"].values
    predicted: dict[str, Any] = {}
    for prefix, flows in (("theory", _at_batch_size), ("population", _in_infinite_batches)):
        spectrum = np.full((len(settings.depth), len(times), settings.dim), np.nan)
        if not no_theory:
            spectrum = np.sort(flows(settings, times), axis=-1)[..., ::-1]
        predicted[f"{prefix}_embedding_spectrum"] = (("depth", "time", "mode"), spectrum)
    dataset = dataset.merge(labelled(predicted, {}))
    variance = settings.collapse_threshold**2
    counts = {
        f"{prefix}collapsed": collapsed_count(dataset[f"{prefix}embedding_spectrum"], variance)
        for prefix in ("", "theory_", "population_")
    }
    arrays: dict[str, Any] = {
        name: (tuple(map(str, count.dims)), count.values) for name, count in counts.items()
    }
    return dataset.merge(labelled(arrays, {})).assign_attrs(no_theory=no_theory)


def _start(settings: DepthSettings, depth: int) -> np.ndarray:
    """Singular values of the product at the start."""
    scale, decay = layer_start(settings, depth)
    return (scale * np.exp(-decay * np.arange(settings.dim))) ** depth


def _at_batch_size(settings: DepthSettings, times: np.ndarray) -> np.ndarray:
    """Squared singular values of the products, (depths, T, d); isotropic data and noise, so that
    any balanced layers are modes.
    """
    mode = finite_batch.Modes.of(1.0, mode_noise(settings), 0.0, 1)
    calls = [
        {
            "times": times,
            "start": _start(settings, depth) ** 2,
            "groups": [mode] * settings.dim,
            "batch_size": settings.batch_size,
            "depth": depth,
            "learning_rate": settings.learning_rate,
        }
        for depth in settings.depth
    ]
    return np.stack(side_by_side(finite_batch.flow, calls))


def _in_infinite_batches(settings: DepthSettings, times: np.ndarray) -> np.ndarray:
    """The same in infinite batches and small steps."""
    noise = mode_noise(settings)
    flows = [
        population.balanced_flow(_start(settings, depth), times, depth, 1.0, noise)
        for depth in settings.depth
    ]
    return np.stack(flows) ** 2


def mode_noise(settings: DepthSettings) -> float:
    """Noise variance of a mode in a random direction: exact when all coordinates are noisy, the
    mean otherwise.
    """
    return settings.noise**2 * settings.noisy_dims / settings.dim
