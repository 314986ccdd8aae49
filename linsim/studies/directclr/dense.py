"""The study with a residual encoder of dense layers, on digits or a folder of small images."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from linsim.arrays import Array
from linsim.images.augment import Strength
from linsim.images.dense import DenseRun, simulate
from linsim.images.probe import Probes
from linsim.images.run import stratified_order
from linsim.studies.directclr import DenseSettings
from linsim.studies.directclr.runs import grids, joined, recipe
from linsim.studies.linear import time_coords
from linsim.sweeps.sweep import Arrays, Finish, Sweep, run_keys

PROBED = ("features_h", "features_r", "order")  # not kept once the probes have seen them


def run_of(settings: DenseSettings) -> DenseRun:
    """The run that settings describe, without a projector."""
    views = Strength(
        noise=settings.noise, crop=settings.crop, shift=settings.shift, flip=settings.flip
    )
    return DenseRun(
        **recipe(settings),
        views=views,
        width=settings.width,
        blocks=settings.blocks,
        train_share=settings.train_share,
    )


def probes_of(settings: DenseSettings) -> Probes:
    """The probes that settings ask for."""
    return Probes(d0=settings.d0, few=settings.few, seed=settings.seed)


def sweeps(settings: DenseSettings) -> tuple[Sweep[Any], ...]:
    """All runs, each of which is one compiled call and then probed."""
    coords = time_coords(settings.steps, settings.learning_rate)
    return tuple(
        replace(each.sweep, simulate=simulate, finish=probed(each.probes), coords=coords)
        for each in grids(settings, run_of(settings), probes_of(settings))
    )


def probed(probes: Probes) -> Finish[DenseRun]:
    """A `finish` of a sweep: probes of each representation, in place of the representation."""

    def finish(runs: DenseRun, measured: Arrays) -> Mapping[str, Array]:
        labels, count = runs.images().labels, runs.train_count()
        columns = (np.asarray(measured[name]) for name in PROBED)
        found = [
            probes.taken(h, r, labels, order[:count], order[count:])
            for h, r, order in zip(*columns, strict=True)
        ]
        kept = {name: array for name, array in measured.items() if name not in PROBED}
        return kept | {name: np.array([each[name] for each in found]) for name in found[0]}

    return finish


def compare(results: tuple[xr.Dataset, ...], settings: DenseSettings) -> xr.Dataset:
    """All runs in one Dataset, with the probe on the raw pixels of each seed's split."""
    run, probes = run_of(settings), probes_of(settings)
    images, count = run.images(), run.train_count()
    pixels = images.pixels.reshape(len(images.labels), -1)
    raw = []
    for key in run_keys(settings.seed, settings.seeds):
        order = np.asarray(stratified_order(key, images.labels))
        raw.append(probes.linear(pixels, images.labels, order[:count], order[count:]))
    return joined(results, settings, "raw_accuracy", np.array(raw))
