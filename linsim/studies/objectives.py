"""Runs of objectives, whatever study trains them: their sweep, the theory beside each (the flow of
its mean from its own start, and for InfoNCE the exact theory of its batch size), and the kind of
collapse in which it ends.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import xarray as xr

from linsim import spectra
from linsim.studies import square_noise, theory
from linsim.studies.linear import time_coords
from linsim.sweeps.engine import Engine
from linsim.sweeps.sweep import Arrays, Finish, Sweep
from linsim.theory import finite_batch
from linsim.training import objective_run
from linsim.training.loss import Distance, Dot
from linsim.training.objective_run import ObjectiveRun
from linsim.training.objectives import MeanSquare, Plain
from linsim.training.targets import MovingAverage
from linsim.training.views import block_modes


@runtime_checkable
class Asked(Protocol):
    """What the settings of such a study say of its sweep, and of what collapse is."""

    seed: int
    seeds: int
    steps: int
    learning_rate: float
    complete: float
    dimensional: float


def sweep(
    axes: Mapping[str, Sequence[Any]],
    make: Callable[..., ObjectiveRun],
    settings: Asked,
    engine: Engine,
) -> Sweep[ObjectiveRun]:
    """All runs over these axes, with the flow of each one's mean from its own start."""
    return Sweep(
        axes=axes,
        make=make,
        simulate=objective_run.simulate,
        seed=settings.seed,
        seeds=settings.seeds,
        finish=flows(engine),
        kept="spectrum, scatter and population flow",
        coords=time_coords(settings.steps, settings.learning_rate),
    )


def kinds(values: xr.DataArray, settings: Asked) -> xr.DataArray:
    """Which of `spectra.KINDS` every run ends in, by its place; -1 where nothing is known. Args:
    spectra over time and mode.
    """

    def kind(spectrum, total):
        if not np.all(np.isfinite(spectrum)):
            return -1
        limits = {"complete": settings.complete, "dimensional": settings.dimensional}
        return spectra.KINDS.index(spectra.collapse_kind(spectrum, float(total), **limits))

    return xr.apply_ufunc(
        kind,
        values.isel(time=-1),
        values.isel(time=0).sum("mode"),
        input_core_dims=[["mode"], []],
        vectorize=True,
    )


def flows(engine: Engine) -> Finish[ObjectiveRun]:
    """What a `Sweep` of objectives takes as `finish`: the flow of every run's mean, beside what was
    measured but the initial layers, of which deeper runs have more.
    """
    with_flow = theory.flows(_flow, ("initial_layers",), ("embedding_spectrum",), engine)

    def finish(runs: ObjectiveRun, measured: Arrays) -> Arrays:
        kept = with_flow(runs, measured)
        return {name: values for name, values in kept.items() if name != "initial_layers"}

    return finish


def _flow(run: ObjectiveRun, layers: Any) -> Any:
    return objective_run.population_flow(run, layers, theory.TOLERANCE)


def spectrum_at_batch_size(run: ObjectiveRun) -> np.ndarray | None:
    """The embedding spectrum in time at the run's batch size and learning rate, (T, d); None where
    the flow of the run's mean is all that is known.

    That is so but for InfoNCE with one layer and without weight decay, and for mean squares, to
    first order in the rate. The mean gradient of most other losses does not depend on the batch
    size, or their flow has it already.
    """
    if isinstance(run.objective, MeanSquare | MovingAverage):
        return square_noise.spectrum(run)
    of = run.objective.of if isinstance(run.objective, Plain) else None
    if not isinstance(of, Distance | Dot) or run.depth > 1 or run.weight_decay:
        return None
    counts = (run.dim - run.noisy_dims, run.noisy_dims)
    noise = (float(run.base_noise), float(run.noise))
    groups, _ = block_modes(noise, counts, run.views)
    strengths = finite_batch.flow(
        np.asarray(run.times, dtype=float),
        np.full(len(groups), float(run.init_scale) ** 2),
        groups,
        batch_size=run.batch_size,
        learning_rate=float(run.learning_rate),
        temperature=theory.temperature(of),
    )
    return theory.spectrum(groups, strengths)
