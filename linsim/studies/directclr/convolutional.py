"""The study with a convolutional encoder, on a folder of images with train/ and test/."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import PRNGKeyArray

from linsim.arrays import Array
from linsim.images import convolutional
from linsim.images.convolutional import ConvolutionalRun, Draw, Held, Records, State
from linsim.images.probe import Probes
from linsim.images.run import Observables
from linsim.studies.directclr import ConvolutionalSettings
from linsim.studies.directclr.runs import Grid, grids, joined, recipe
from linsim.sweeps.engine import Engine
from linsim.sweeps.results import labelled_runs
from linsim.sweeps.sweep import Sweep, run_keys


class Divided(NamedTuple):
    """Labels of a run's training images, then of all test images; the rows of both."""

    labels: np.ndarray
    train: np.ndarray
    test: np.ndarray


def run_of(settings: ConvolutionalSettings) -> ConvolutionalRun:
    """The run that settings describe, without a projector."""
    return ConvolutionalRun(
        **recipe(settings),
        crop=settings.crop,
        jitter=settings.jitter,
        width=settings.width,
        blocks=settings.blocks,
        norm=settings.norm,
        online=settings.online,
        train_images=settings.train_images,
    )


def probes_of(settings: ConvolutionalSettings) -> Probes:
    """The probes that settings ask for: in closed form, for many images."""
    return Probes(
        d0=settings.d0,
        few=settings.few,
        seed=settings.seed,
        classifier="ridge",
        neighbours=True,
    )


def sweeps(settings: ConvolutionalSettings) -> tuple[Sweep[Any], ...]:
    """All runs; there is no one compiled call that solves one, see `solve`."""
    return tuple(each.sweep for each in _grids(settings))


def _grids(settings: ConvolutionalSettings) -> tuple[Grid, ...]:
    return grids(settings, run_of(settings), probes_of(settings))


def solve(settings: ConvolutionalSettings, engine: Engine) -> tuple[xr.Dataset | None, ...]:
    """The results of `sweeps`, one run after another; None where other processes' are missing.

    Several processes share the runs. Shows how many images a second are trained on.
    """
    images = convolutional.held(run_of(settings))
    work, results, turn = settings.steps * settings.batch_size, [], 0
    for each in _grids(settings):
        solved = partial(solve_one, each.probes, *images)
        results.append(engine.each(each.sweep, solved, work=work, unit="images", turn=turn))
        turn += len(next(iter(each.sweep.axes.values())))
    return tuple(results)


def solve_one(
    probes: Probes,
    images: Held,
    test: Held,
    run: ConvolutionalRun,
    key: PRNGKeyArray,
    path: Path,
    tick: Callable[[int], object],
) -> xr.Dataset:
    """One run from its start, or from its checkpoint at `path`, to its probes.

    Args: probes; training and test images; run; key; path; tick: is told how many images are done.
    Returns: Dataset of the run.
    """
    draw = convolutional.drawn(run, key, images)
    per_epoch = convolutional.steps_per_epoch(run, draw)
    progress = convolutional.train(run, draw, images, path)
    state, records = next(progress)
    tick(_images(run, records, per_epoch))
    for state, records in progress:  # noqa: B007
        tick(_images(run, records, per_epoch))
    measured = _measured(probes, images, test, run, draw, state)
    if not measured.pop("finite"):
        records.loss[-1] = np.nan  # unit rows hide what has diverged
    step = np.minimum(per_epoch * np.arange(len(records.loss) + 1), run.steps)
    coords = {"step": ("time", step), "time": step * run.learning_rate}
    return labelled_runs(measured | _curves(run, records, per_epoch), (), coords)


def _images(run: ConvolutionalRun, records: Records, per_epoch: int) -> int:
    """How many images a run has been trained on so far."""
    return min(records.epochs() * per_epoch, run.steps) * run.batch_size


def _measured(
    probes: Probes, images: Held, test: Held, run: ConvolutionalRun, draw: Draw, state: State
) -> Observables:
    """What is kept of a trained run, and whether all of its representation is `finite`."""
    measured = convolutional.observe(run, draw, images, test, state)
    h, r = (np.asarray(measured.pop(name)) for name in ("features_h", "features_r"))
    if run.online:
        weights, offsets = (np.asarray(leaf) for leaf in state.online)
        guessed = np.argmax(r[len(draw.rows) :] @ weights + offsets, axis=1)
        right = guessed == np.asarray(test.labels)
        measured["online_test_accuracy"] = np.asarray(np.mean(right))
    labels, train, test_rows = divided(images, test, draw)
    found = probes.taken(_wide(h), _wide(r), labels, train, test_rows)
    return {**measured, **found, "finite": np.asarray(np.isfinite(r).all())}


def _curves(run: ConvolutionalRun, records: Records, per_epoch: int) -> Observables:
    """Curves over the epochs, the first record repeating the second; and the speed."""
    names = ("loss", "online_accuracy") if run.online else ("loss",)
    noted = records._asdict()
    curves = {name: np.append(noted[name][0], noted[name]) for name in names}
    steps = np.minimum(per_epoch, run.steps - per_epoch * np.arange(len(records.seconds)))
    speed = np.median(steps * run.batch_size / records.seconds)
    return {**curves, "images_per_second": np.asarray(speed)}


def divided(images: Held, test: Held, draw: Draw) -> Divided:
    """How the images that a run is measured on are divided. Args: both parts; the run's draw."""
    parts = np.asarray(images.labels[draw.rows]), np.asarray(test.labels)
    labels = np.concatenate(parts)
    return Divided(labels, *np.split(np.arange(len(labels)), [len(parts[0])]))


def _wide(features: Array) -> np.ndarray:
    """Features in the precision that the probes are fitted in."""
    return np.asarray(features).astype(np.float64)


def compare(results: tuple[xr.Dataset, ...], settings: ConvolutionalSettings) -> xr.Dataset:
    """All runs in one Dataset, with the probe on the untrained encoder of each seed."""
    run, probes = run_of(settings), probes_of(settings)
    images, test = convolutional.held(run)
    untrained = []
    for key in run_keys(settings.seed, settings.seeds):
        draw = convolutional.drawn(run, key, images)
        state = convolutional.begin(run, draw, images)
        r = convolutional.observe(run, draw, images, test, state)["features_r"]
        labels, train, test_rows = divided(images, test, draw)
        untrained.append(probes.linear(_wide(r), labels, train, test_rows))
    return joined(results, settings, "untrained_accuracy", np.array(untrained))
