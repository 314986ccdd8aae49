"""The runs of the study on kinds of collapse, and the kind that each shows."""

from dataclasses import replace

import xarray as xr

from linsim import spectra
from linsim.studies import theory
from linsim.studies.collapse_kinds import KindsSettings, ObjectiveName
from linsim.studies.linear import time_coords
from linsim.sweeps.engine import Engine
from linsim.sweeps.results import labelled
from linsim.sweeps.sweep import Sweep
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
    fixed = PredictorRun(
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
        coords=time_coords(settings),
    )


def compare(dataset: xr.Dataset, settings: KindsSettings) -> xr.Dataset:
    """`dataset` with each run's kind of collapse, measured and of its population flow."""

    def kind(spectrum, total):
        return spectra.KINDS.index(
            spectra.collapse_kind(
                spectrum, total, complete=settings.complete, dimensional=settings.dimensional
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
            ("population_kind", "population_embedding_spectrum"),
        )
    }
    return dataset.merge(
        labelled(
            {name: (("objective", "seed"), found.values) for name, found in judged.items()}, {}
        )
    )
