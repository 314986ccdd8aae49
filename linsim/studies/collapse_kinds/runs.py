"""The runs of the study on kinds of collapse, and the kind that each shows."""

import xarray as xr

from linsim.studies import objectives
from linsim.studies.collapse_kinds import KindsSettings, ObjectiveName
from linsim.sweeps.engine import Engine
from linsim.sweeps.sweep import Sweep
from linsim.training.loss import AlignmentOnly
from linsim.training.objective_run import ObjectiveRun
from linsim.training.objectives import Objective, Plain, Predicted, StoppedAttraction
from linsim.training.recording import record_steps

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
    return objectives.sweep(
        {"objective": settings.objective},
        lambda objective: run_of(settings, objective),
        settings,
        engine,
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
    predicted = _at_batch_size(dataset, settings)
    return dataset.assign(
        theory_embedding_spectrum=predicted,
        kind=objectives.kinds(dataset["embedding_spectrum"], settings),
        theory_kind=objectives.kinds(predicted, settings),
    )
