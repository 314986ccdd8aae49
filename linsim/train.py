"""From a configuration to a labelled Dataset of trained runs, over any of its fields and seeds."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from linsim import dynamics, predictions, results, runs
from linsim.config import TrainConfig, at
from linsim.settings import LinearConfig, TwoLayerConfig
from linsim.sweep import Engine

Simulator = Callable[[Any, np.ndarray], Callable[..., runs.Observables]]


def engine(config: TrainConfig, **where: Any) -> Engine:
    """The engine that a configuration's flags ask for, noting its provenance. Args: where: store and share of `Engine`."""
    import jax

    devices = tuple(jax.local_devices())[: config.devices]
    return Engine(devices, config.chunk_size, attributes=partial(results.provenance, config), **where)


def one_layer(config: LinearConfig, where: Engine) -> xr.Dataset | None:
    """One-layer runs (paper, section 4) and their population flows, observed by `runs.observe`; None: chunks are missing."""
    return grid(runs.simulate, config, _axes(config), where, finish=predictions.one_layer_flows)


def two_layers(config: TwoLayerConfig, where: Engine) -> xr.Dataset | None:
    """Two-layer runs (paper, section 5) with the configured solver, observed by `runs.observe_layers`."""
    return grid(_layers, config, _axes(config), where)


def two_layers_and_flows(config: TwoLayerConfig, where: Engine) -> xr.Dataset | None:
    """The same, with the population flow of every run."""
    return grid(_layers, config, _axes(config), where, finish=predictions.two_layer_flows)


def grid(
    simulator: Simulator,
    config: Any,
    axes: Mapping[str, Sequence[Any]],
    where: Engine,
    finish: Callable[..., Any] | None = None,
    label: str = "runs",
    turn: int = 0,
    sweeps: int = 1,
) -> xr.Dataset | None:
    """Train over a grid of configuration fields x `config.seeds`.

    Fields whose values are floats vary inside one compiled sweep; each combination of the others (batch_size, views, ..) is a
    sweep of its own.
    Args: simulator(config, steps) -> one run (key, **point) -> observables; axes: values by field; where: the engine;
    finish(config, times, engine) -> what `Engine.run` takes as `finish`; label, turn, sweeps: of `Engine.run`.
    Returns: Dataset with dimensions (*other fields, *float fields, seed, ..), or None if chunks are missing.
    """
    inside = {name: values for name, values in axes.items() if all(isinstance(v, float) for v in values)}
    outside = {name: values for name, values in axes.items() if name not in inside}
    if outside:
        name, values = next(iter(outside.items()))
        rest = {key: value for key, value in axes.items() if key != name}
        parts = [
            grid(
                simulator,
                at(config, **{name: value}),
                rest,
                where,
                finish,
                f"{label}-{value}",
                turn + index,
                sweeps * len(values),
            )
            for index, value in enumerate(values)
        ]
        complete = [part for part in parts if part is not None]
        return (
            None
            if len(complete) < len(parts)
            else xr.concat(complete, xr.IndexVariable(name, list(values)), join="exact", combine_attrs="override")
        )
    steps = dynamics.record_steps(config.steps)
    time = steps * config.learning_rate
    return where.run(
        simulator(config, steps),
        inside,
        seed=config.seed,
        seeds=config.seeds,
        coords={"step": ("time", steps), "time": time},
        finish=None if finish is None else finish(config, time, where),
        label=label,
        turn=turn,
        sweeps=sweeps,
    )


def _axes(config: LinearConfig) -> dict[str, tuple[float, ...]]:
    return {"noise": config.noise, "init_scale": config.init_scale}


def _layers(config: TwoLayerConfig, steps: np.ndarray) -> Callable[..., runs.Observables]:
    if config.solver == "population":
        return predictions.population_layers(config, steps * config.learning_rate)
    return runs.simulate_layers(config, steps)
