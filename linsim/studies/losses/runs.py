"""The runs of the bench of losses, and what is compared of each."""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from linsim.studies import objectives
from linsim.studies.losses import LossesSettings, theory
from linsim.sweeps.engine import Engine
from linsim.sweeps.sweep import Sweep
from linsim.training import loss
from linsim.training.gaussianity import LeJEPA
from linsim.training.objective_run import ObjectiveRun
from linsim.training.objectives import Objective, Plain, Predicted, Reconstructed
from linsim.training.recording import record_steps
from linsim.training.redundancy import BarlowTwins, VICReg, Whitening
from linsim.training.targets import DirectPrediction, MovingAverage, SelfDistillation

WITH_TEMPERATURE: Mapping[str, type[loss.Dot] | type[loss.Cosine]] = {
    "infonce-dot": loss.Dot,
    "ntxent": loss.Cosine,
}
OBJECTIVES: Mapping[str, Objective] = {
    "infonce": Plain(),
    "spectral": Plain(of=loss.SpectralContrastive()),
    "linear-barlow-twins": Plain(of=loss.LinearBarlowTwins()),
    "barlow-twins": BarlowTwins(),
    "vicreg": VICReg(),
    "whitening": Whitening(),
    "lejepa": LeJEPA(),
    "jepa": Predicted(),
    "byol": MovingAverage(),
    "directpred": DirectPrediction(isotropic=False),
    "isoloss": DirectPrediction(),
    "dino": SelfDistillation(),
    "mae": Reconstructed(),
    "alignment": Plain(of=loss.AlignmentOnly()),
}
GRID = ("objective", "noise", "batch_size", "weight_decay", "depth")


def chosen(settings: LossesSettings) -> dict[str, Objective]:
    """The objectives by the names that results have; of several temperatures one each."""
    found: dict[str, Objective] = {}
    for name in settings.loss:
        if name not in WITH_TEMPERATURE:
            found[name] = OBJECTIVES[name]
            continue
        for temperature in settings.temperature:
            several = len(settings.temperature) > 1
            label = f"{name} {temperature:g}" if several else name
            found[label] = Plain(of=WITH_TEMPERATURE[name](temperature=temperature))
    return found


def sweep(settings: LossesSettings, engine: Engine) -> Sweep[ObjectiveRun]:
    """All runs, with the flow of each one's mean from its own start."""
    return objectives.sweep(
        _axes(settings), lambda **point: run_of(settings, **point), settings, engine
    )


def _axes(settings: LossesSettings) -> dict[str, tuple]:
    return {
        "objective": tuple(chosen(settings)),
        "noise": settings.noise,
        "batch_size": settings.batch_size,
        "weight_decay": settings.weight_decay,
        "depth": settings.depth,
    }


def run_of(
    settings: LossesSettings,
    objective: str,
    noise: float,
    batch_size: int,
    weight_decay: float,
    depth: int,
) -> ObjectiveRun:
    """The run at one point of the grid."""
    return ObjectiveRun(
        objective=chosen(settings)[objective],
        noise=noise,
        batch_size=batch_size,
        weight_decay=weight_decay,
        depth=depth,
        base_noise=settings.base_noise,
        init_scale=settings.init_scale,
        learning_rate=settings.learning_rate,
        views=settings.views,
        dim=settings.dim,
        noisy_dims=settings.noisy_dims,
        record_at=tuple(record_steps(settings.steps).tolist()),
    )


def compare(dataset: xr.Dataset, settings: LossesSettings) -> xr.Dataset:
    """The runs with the theory of their batch size, where it settles, the threshold in the noise,
    and each run's kind of collapse, measured and predicted.
    """
    spectrum = dataset["population_embedding_spectrum"].transpose(*GRID, "seed", "time", "mode")
    spectrum = spectrum.copy()
    ends = np.full((*(spectrum.sizes[axis] for axis in GRID), 2), np.nan)
    limits = np.full(ends.shape[:-1], np.nan)
    axes = _axes(settings)
    for place in np.ndindex(*limits.shape):
        point = {axis: axes[axis][k] for axis, k in zip(GRID, place, strict=True)}
        run = run_of(settings, **point)
        exact = objectives.spectrum_at_batch_size(run)
        if exact is not None:
            spectrum.values[place] = exact
        ends[place], limits[place] = theory.settled(run), theory.threshold(run)
    dataset = dataset.assign(
        theory_embedding_spectrum=spectrum,
        settled=((*GRID, "block"), ends),
        noise_threshold=(GRID, limits),
    ).assign_coords(block=["clean", "noisy"])
    return dataset.assign(
        kind=objectives.kinds(dataset["embedding_spectrum"], settings),
        theory_kind=objectives.kinds(spectrum, settings),
    )
