"""The runs of the study on depth, and the balanced population flow of linear layers."""

from dataclasses import replace
from typing import Any

import jax
import numpy as np
import xarray as xr
from jaxtyping import PRNGKeyArray

from linsim.studies.depth import DepthSettings
from linsim.studies.linear import optimizer, time_coords
from linsim.studies.theory import silence
from linsim.studies.words import collapsed_count
from linsim.sweeps.results import labelled
from linsim.sweeps.sweep import Sweep
from linsim.theory import population
from linsim.training import data, models, observe, starts
from linsim.training.dynamics import record_steps
from linsim.training.names import Activation
from linsim.training.observe import Observables
from linsim.training.run import Run, train

EVALUATED = 1024  # clean samples behind the embedding spectrum


def fixed_run(settings: DepthSettings) -> Run:
    """What the runs of all networks and depths share."""
    return Run(
        noise=settings.noise,
        init_scale=settings.init_scale,
        learning_rate=settings.learning_rate,
        start=starts.Balanced(decay=settings.decay),
        dim=settings.dim,
        noisy_dims=settings.noisy_dims,
        batches="dataset",
        batch_size=settings.batch_size,
        dataset_size=settings.dataset_size,
        optimizer=optimizer(settings),
        record_at=tuple(record_steps(settings.steps).tolist()),
    )


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
        return replace(fixed, activation=network, hidden=(settings.dim,) * (depth - 1))

    return Sweep(
        axes={"network": settings.network, "depth": settings.depth},
        make=make,
        simulate=simulate,
        seed=settings.seed,
        seeds=settings.seeds,
        kept="spectrum and pairs of layers",
        coords=time_coords(settings),
    )


def compare(dataset: xr.Dataset, settings: DepthSettings) -> xr.Dataset:
    """`dataset` with collapsed counts, and the balanced population flow's spectrum and counts for
    linear layers.
    """
    no_theory = silence(fixed_run(settings))
    times = dataset["time"].values
    start = settings.init_scale * np.exp(-settings.decay * np.arange(settings.dim))
    flows = [np.full((len(times), settings.dim), np.nan) for _ in settings.depth]
    if not no_theory:
        noise = mode_noise(settings)
        flows = [
            population.balanced_flow(start**depth, times, depth, 1.0, noise)
            for depth in settings.depth
        ]
    spectrum = np.sort(np.stack(flows) ** 2, axis=-1)[..., ::-1]
    dataset = dataset.assign(population_embedding_spectrum=(("depth", "time", "mode"), spectrum))
    variance = settings.collapse_threshold**2
    counts = {
        "collapsed": collapsed_count(dataset["embedding_spectrum"], variance),
        "predicted_collapsed": collapsed_count(dataset["population_embedding_spectrum"], variance),
    }
    arrays: dict[str, Any] = {
        name: (tuple(map(str, count.dims)), count.values) for name, count in counts.items()
    }
    return dataset.merge(labelled(arrays, {})).assign_attrs(no_theory=no_theory)


def mode_noise(settings: DepthSettings) -> float:
    """Noise variance of a mode in a random direction: exact when all coordinates are noisy, the
    mean otherwise.
    """
    return settings.noise**2 * settings.noisy_dims / settings.dim
