"""The grids of runs that the study makes with either encoder, and what becomes of their results."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from linsim.images.names import FEATURES, PLACES
from linsim.images.probe import Probes
from linsim.images.projectors import LowRankDiagonal
from linsim.images.run import ImageRun, with_setup
from linsim.studies.directclr import ProjectorSettings
from linsim.studies.words import collapsed_count
from linsim.sweeps.results import labelled
from linsim.sweeps.sweep import Sweep

SWEPT = ("probe_accuracy", "representation_rankme")  # what is kept of the runs over d0


@dataclass(frozen=True)
class Grid:
    """Runs without a way to solve them yet, and the probes that are taken of each."""

    sweep: Sweep[Any]
    probes: Probes


def recipe(settings: ProjectorSettings) -> dict[str, Any]:
    """The fields that settings give to a run of either encoder, whatever its projector."""
    return {
        "temperature": settings.temperature,
        "learning_rate": settings.learning_rate,
        "weight_decay": settings.weight_decay,
        "optimizer": settings.optimizer,
        "steps": settings.steps,
        "batch_size": settings.batch_size,
        "source": settings.source(),
    }


def grids(settings: ProjectorSettings, run: ImageRun, probes: Probes) -> tuple[Grid, ...]:
    """The grid over projectors, and one over d0 for DirectCLR if that is asked for.

    DirectCLR over d0 is trained as its equal, the low-rank diagonal projector, of which all values
    of d0 share one compiled program; r alone is probed there.
    Args: settings; a run, for everything but its projector; probes of the first grid.
    """
    seeds: Any = {"seed": settings.seed, "seeds": settings.seeds}
    alone = replace(probes, features=FEATURES[:1], d0=0)  # the whole r is not divided

    def sweep(name: str, values: Sequence[Any], make: Any, probes: Probes) -> Grid:
        kept = f"representation, gradient, {probes}"
        return Grid(Sweep(axes={name: values}, make=make, kept=kept, **seeds), probes)

    def of_setup(projector: Any) -> ImageRun:
        return with_setup(run, projector, settings.d0)

    def of_d0(d0: int) -> ImageRun:
        return replace(run, projector=LowRankDiagonal(d0=float(d0)), linear_block=False)

    main = sweep("projector", settings.projectors, of_setup, probes)
    if not settings.d0_sweep:
        return (main,)
    return main, sweep("d0", settings.d0_sweep, of_d0, alone)


def joined(
    results: tuple[xr.Dataset, ...], settings: ProjectorSettings, baseline: str, found: np.ndarray
) -> xr.Dataset:
    """All results as one Dataset, those over d0 as sweep_<name>, with the collapsed dimensions.

    Args: results of `grids`; settings; baseline: the name of what a probe finds without training,
    and that accuracy (seed, labels).
    """
    dataset, *swept = results
    for each in swept:
        renamed = each[list(SWEPT)].isel(feature=0).rename({n: f"sweep_{n}" for n in SWEPT})
        dataset = dataset.merge(renamed, combine_attrs="override")
    labels = ["all", *map(str, settings.few)]
    coords = {"place": list(PLACES), "feature": list(FEATURES), "labels": labels}
    # The threshold is of a standard deviation, the spectrum one of variances.
    spectrum = dataset["representation_spectrum"]
    collapsed = collapsed_count(spectrum, settings.collapse_threshold**2)
    added = {
        "collapsed": (collapsed.dims, collapsed.values),
        baseline: (("seed", "labels"), found),
    }
    return dataset.assign_coords(coords).merge(labelled(added, {}), combine_attrs="override")
