"""The runs of the study on kinds of collapse, and the kind that each shows."""

from dataclasses import replace

import numpy as np
import xarray as xr

from linsim import spectra
from linsim.studies import theory
from linsim.studies.collapse_kinds import KindsSettings, ObjectiveName
from linsim.studies.linear import time_coords
from linsim.sweeps.engine import Engine
from linsim.sweeps.results import labelled
from linsim.sweeps.sweep import Sweep
from linsim.theory import finite_batch
from linsim.training import predictor
from linsim.training.dynamics import record_steps
from linsim.training.predictor import (
    Attraction,
    Contrastive,
    Objective,
    Predicted,
    PredictorRun,
    StoppedAttraction,
)

OBJECTIVES: dict[ObjectiveName, Objective] = {
    "infonce-two-views": Contrastive(views="two"),
    "infonce-one-view": Contrastive(views="one"),
    "alignment-only": Attraction(),
    "predictor": Predicted(stop_gradient=True),
    "no-stop-gradient": Predicted(stop_gradient=False),
    "no-predictor": StoppedAttraction(),
}


def sweep(settings: KindsSettings, engine: Engine) -> Sweep[PredictorRun]:
    """All runs, over the objectives, with the population flow of each from its own start."""
    fixed = _fixed(settings)
    return Sweep(
        axes={"objective": settings.objective},
        make=lambda objective: replace(fixed, objective=OBJECTIVES[objective]),
        simulate=predictor.simulate,
        seed=settings.seed,
        seeds=settings.seeds,
        finish=theory.flows(
            lambda run, start: predictor.population_flow(run, start, theory.TOLERANCE),
            ("initial_weights",),
            ("embedding_spectrum",),
            engine,
        ),
        kept="spectrum, scatter and population flow",
        coords=time_coords(settings.steps, settings.learning_rate),
    )


def _fixed(settings: KindsSettings) -> PredictorRun:
    """What the runs of all objectives share."""
    return PredictorRun(
        noise=settings.noise,
        base_noise=settings.base_noise,
        init_scale=settings.init_scale,
        imbalance=settings.imbalance,
        weight_decay=settings.weight_decay,
        learning_rate=settings.learning_rate,
        dim=settings.dim,
        noisy_dims=settings.noisy_dims,
        batch_size=settings.batch_size,
        record_at=tuple(record_steps(settings.steps).tolist()),
    )


def theory_spectrum(run: PredictorRun) -> np.ndarray:
    """Embedding spectrum in time at the run's batch size and learning rate, (T, d), of a run with
    negatives.
    """
    objective = run.objective
    assert isinstance(objective, Contrastive)
    counts = (run.dim - run.noisy_dims, run.noisy_dims)
    groups, _ = theory.block_modes(
        (float(run.base_noise), float(run.noise)), counts, objective.views
    )
    strengths = finite_batch.flow(
        np.asarray(run.times, dtype=float),
        np.full(len(groups), float(run.init_scale) ** 2),
        groups,
        batch_size=run.batch_size,
        learning_rate=float(run.learning_rate),
    )
    return theory.spectrum(groups, strengths)


def _at_batch_size(dataset: xr.Dataset, settings: KindsSettings) -> xr.DataArray:
    """The spectrum that theory predicts of every run. Without negatives the mean gradient of a
    batch is the population's, whatever its size.
    """
    found = dataset["population_embedding_spectrum"].transpose("objective", "seed", ...).copy()
    for name in settings.objective:
        run = replace(_fixed(settings), objective=OBJECTIVES[name])
        if isinstance(run.objective, Contrastive):
            found.loc[{"objective": name}] = theory_spectrum(run)
    return found


def compare(dataset: xr.Dataset, settings: KindsSettings) -> xr.Dataset:
    """`dataset` with the theory of its batch size, and each run's kind of collapse, measured and
    predicted.
    """
    dataset = dataset.assign(theory_embedding_spectrum=_at_batch_size(dataset, settings))

    def kind(spectrum, total):
        return spectra.KINDS.index(
            spectra.collapse_kind(
                spectrum, float(total), complete=settings.complete, dimensional=settings.dimensional
            )
        )

    judged = {
        name: xr.apply_ufunc(
            kind,
            dataset[source].isel(time=-1),
            dataset[source].isel(time=0).sum("mode"),
            input_core_dims=[["mode"], []],
            vectorize=True,
        )
        for name, source in (
            ("kind", "embedding_spectrum"),
            ("theory_kind", "theory_embedding_spectrum"),
        )
    }
    return dataset.merge(
        labelled(
            {name: (("objective", "seed"), found.values) for name, found in judged.items()}, {}
        )
    )
