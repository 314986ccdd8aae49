"""From a configuration to a labelled Dataset of trained runs: noise x init_scale x seed."""

import datetime
from collections.abc import Callable

import numpy as np
import xarray as xr

from linsim import dynamics, predictions, results, runs, sweep
from linsim.config import LinearConfig, TwoLayerConfig


def one_layer(config: LinearConfig) -> xr.Dataset:
    """One-layer runs (paper, section 4), observed by `runs.observe`."""
    steps = dynamics.record_steps(config.steps)
    return _swept(config, runs.simulate(config, steps), steps)


def two_layers(config: TwoLayerConfig) -> xr.Dataset:
    """Two-layer runs (paper, section 5), observed by `runs.observe_layers`, with the configured solver."""
    steps = dynamics.record_steps(config.steps)
    if config.solver == "population":
        return _swept(config, predictions.population_layers(config, steps * config.learning_rate), steps)
    return _swept(config, runs.simulate_layers(config, steps), steps)


def _swept(config: LinearConfig, simulate: Callable[..., runs.Observables], steps: np.ndarray) -> xr.Dataset:
    started = datetime.datetime.now(datetime.UTC)
    axes = {"noise": config.noise, "init_scale": config.init_scale}
    measured = sweep.run(simulate, axes, seed=config.seed, seeds=config.seeds)
    coords = {name: list(values) for name, values in axes.items()}
    coords |= {"seed": np.arange(config.seeds), "step": ("time", steps), "time": steps * config.learning_rate}
    dataset = results.labelled_runs(measured, (*axes, "seed"), coords)
    return dataset.assign_attrs(results.provenance(config, started))
