"""The runs of the study on kinds of collapse, and the kind that each shows."""

import xarray as xr

from linsim import spectra
from linsim.studies import objectives
from linsim.studies.collapse_kinds import KindsSettings, ObjectiveName
from linsim.studies.linear import time_coords
from linsim.sweeps.engine import Engine
from linsim.sweeps.results import labelled
from linsim.sweeps.sweep import Sweep
from linsim.training import objective_run
from linsim.training.dynamics import record_steps
from linsim.training.loss import AlignmentOnly
from linsim.training.objective_run import ObjectiveRun
from linsim.training.objectives import Objective, Plain, Predicted, StoppedAttraction

OBJECTIVES: dict[ObjectiveName, Objective] = {
    "infonce-two-views": Plain(),
    "infonce-one-view": Plain(),
    "alignment-only": Plain(of=AlignmentOnly()),
    "predictor": Predicted(stop_gradient=True),
    "no-stop-gradient": Predicted(stop_gradient=False),
    "no-predictor": StoppedAttraction(),
}
DECAYING = ("predictor", "no-stop-gradient", "no-predictor")


def sweep(settings: KindsSettings, engine: Engine) -> Sweep[ObjectiveRun]:
    """All runs, over the objectives, with the population flow of each from its own start."""
    return Sweep(
        axes={"objective": settings.objective},
        make=lambda objective: run_of(settings, objective),
        simulate=objective_run.simulate,
        seed=settings.seed,
        seeds=settings.seeds,
        finish=objectives.flows(engine),
        kept="spectrum, scatter and population flow",
        coords=time_coords(settings.steps, settings.learning_rate),
    )


def run_of(settings: KindsSettings, name: ObjectiveName) -> ObjectiveRun:
    """The run of an objective. Weights decay where there is a predictor or a stop-gradient."""
    return ObjectiveRun(
        objective=OBJECTIVES[name],
        views="one" if name == "infonce-one-view" else "two",
        weight_decay=settings.weight_decay if name in DECAYING else 0.0,
        noise=settings.noise,
        base_noise=settings.base_noise,
        init_scale=settings.init_scale,
        imbalance=settings.imbalance,
        learning_rate=settings.learning_rate,
        dim=settings.dim,
        noisy_dims=settings.noisy_dims,
        batch_size=settings.batch_size,
        record_at=tuple(record_steps(settings.steps).tolist()),
    )


def _at_batch_size(dataset: xr.Dataset, settings: KindsSettings) -> xr.DataArray:
    """The spectrum that theory predicts of every run. Without negatives the mean gradient of a
    batch is the population's, whatever its size.
    """
    found = dataset["population_embedding_spectrum"].transpose("objective", "seed", ...).copy()
    for name in settings.objective:
        exact = objectives.spectrum_at_batch_size(run_of(settings, name))
        if exact is not None:
            found.loc[{"objective": name}] = exact
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
