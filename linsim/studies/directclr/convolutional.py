"""The experiment on projectors and DirectCLR with convolutional encoders on real images: its runs and what is measured of each.

The counterpart of `linsim.directclr` (paper, section 6, Tables 1 and 2, Figures 7, 9, 10, 12, App. F) for `linsim.pretrain`.
"""

import datetime
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import PRNGKeyArray
from tqdm import tqdm

from linsim import directclr, images, pretrain, probe, results, sweep
from linsim.config import at
from linsim.directclr import FEATURES, PLACES
from linsim.pretrain import Held, Program, Records, Run, State
from linsim.runs import Observables
from linsim.settings import ResnetConfig
from linsim.store import Group, Store
from linsim.sweep import Engine

AT_ONCE = 500  # images that are measured at a time

Divided = tuple[np.ndarray, np.ndarray, np.ndarray]


class Data:
    """The images of a configuration on the device, and the programs that are compiled for them."""

    def __init__(self, config: ResnetConfig) -> None:
        parts = images.split(Path(config.data), config.image_size)
        self.train, self.test = (Held(jnp.asarray(part.pixels), jnp.asarray(part.labels)) for part in parts)
        self.labels, self.classes = parts[0].labels, len(parts[0].classes)
        self.program = functools.lru_cache(maxsize=1)(self._program)

    def _program(self, config: Any) -> Program:
        """The program of a setup, kept for the next one that asks for the same."""
        return Program(config, self.train.pixels.shape[-1], self.classes)

    def run(self, config: Any, key: PRNGKeyArray, d0: Any = None) -> Run:
        """The run of a key: it draws its images, each class in its share."""
        order = directclr.stratified_order(key, self.labels)
        return Run(key, order[: config.train_images or len(order)], d0)


def observe(program: Program, state: State, data: Data, run: Run) -> Observables:
    """`directclr.observe` of a run's training images, then all test images, and the spectra of a batch's gradient."""
    pixels = jnp.concatenate([data.train.pixels[run.rows], data.test.pixels])
    encoder = program.settle(state.params[0], data.train, run)
    some = [program.represent(encoder, pixels[start : start + AT_ONCE]) for start in range(0, len(pixels), AT_ONCE)]
    h, r = (jnp.concatenate(parts) for parts in zip(*some, strict=True))
    measured = directclr.observe(h, r) | {"gradient_spectrum": program.gradients(state, data.train, run)}
    return {name: np.asarray(leaf) for name, leaf in measured.items()}


def probes(config: Any, data: Data, run: Run, h: np.ndarray, r: np.ndarray) -> Observables:
    """Probes of r, its two parts and h: linear with all labels and few, and the vote of the nearest neighbours.

    Args: config; data; run; h and r of the run's training images, then of the test images.
    Returns: probe_accuracy (feature, labels), knn_accuracy (feature,).
    """
    parts = {"r": r, "r[:d0]": r[:, : config.d0], "r[d0:]": r[:, config.d0 :], "h": h}
    divided = _divided(data, run)
    linear = [_accuracies(config, parts[name], divided) for name in FEATURES]
    near = [probe.nearest(parts[name].astype(np.float64), *divided) for name in FEATURES]
    return {"probe_accuracy": np.array(linear), "knn_accuracy": np.array(near)}


def _accuracies(config: Any, features: np.ndarray, divided: Divided) -> np.ndarray:
    """`probe.accuracies` by ridge regression of features of the images that are `_divided`."""
    return probe.accuracies(features.astype(np.float64), *divided, config.few, config.seed, probe.ridge)


def _divided(data: Data, run: Run) -> Divided:
    """Labels of a run's training images, then of the test images; the rows of the first; those of the others."""
    labels = np.concatenate([np.asarray(data.train.labels[run.rows]), np.asarray(data.test.labels)])
    train, test = np.split(np.arange(len(labels)), [len(run.rows)])
    return labels, train, test


def solved(program: Program, data: Data, run: Run, path: Path, tick: Callable[[int], Any]) -> xr.Dataset:
    """One run from its start, or its checkpoint at `path`, to its probes; tick is told how many steps are done."""
    config, per_epoch = program.config, program.steps_per_epoch(run)
    for reached in pretrain.train(program, data.train, run, path):
        tick(min(reached[1].epochs() * per_epoch, config.steps))
    state, records = reached
    measured = observe(program, state, data, run)
    h, r = (np.asarray(measured.pop(name)) for name in ("features_h", "features_r"))
    if config.online:
        weights, offsets = (np.asarray(leaf) for leaf in state.online)
        guessed = np.argmax(r[len(run.rows) :] @ weights + offsets, axis=1)
        measured["online_test_accuracy"] = np.mean(guessed == np.asarray(data.test.labels))
    measured |= probes(config, data, run, h, r)
    measured |= _recorded(config, records, bool(np.isfinite(r).all()), per_epoch)
    step = np.minimum(per_epoch * np.arange(len(records.loss) + 1), config.steps)
    return results.labelled_runs(measured, (), {"step": ("time", step), "time": step * config.learning_rate})


def _recorded(config: Any, records: Records, finite: bool, per_epoch: int) -> Observables:
    """Curves, the first record repeating the second, nan in a run that has diverged, which unit rows hide; and the speed."""
    names = ("loss", "online_accuracy") if config.online else ("loss",)
    curves = {name: np.append(column[0], column) for name, column in records._asdict().items() if name in names}
    if not finite:
        curves["loss"][-1] = np.nan
    steps = np.minimum(per_epoch, config.steps - per_epoch * np.arange(len(records.seconds)))
    return curves | {"images_per_second": np.median(steps * config.batch_size / records.seconds)}


def runs(config: ResnetConfig, where: Engine) -> xr.Dataset | None:
    """All runs: Dataset over (projector, seed, ..), and over (d0, seed, ..) as sweep_<name>; None if chunks are missing.

    One run after another; of several processes each takes its share. Shows how many images a second are trained on.
    """
    data, masked = Data(config), at(config, projectors="low-rank-diagonal")
    with _bar(config, where) as bar:
        setups = [_setup(at(config, projectors=name), where, data, bar, turn) for turn, name in enumerate(config.projectors)]
        swept = [_setup(masked, where, data, bar, len(setups) + turn, d0) for turn, d0 in enumerate(config.d0_sweep)]
    if any(each is None for each in (*setups, *swept)):
        return None
    coords = {"place": list(PLACES), "feature": list(FEATURES), "labels": ["all", *map(str, config.few)]}
    dataset = _stacked(setups, "projector", config.projectors)
    if swept:
        along = _stacked(swept, "d0", config.d0_sweep)[["probe_accuracy", "representation_rankme"]].isel(feature=0)
        renamed = along.rename({str(name): f"sweep_{name}" for name in along.data_vars})
        dataset = dataset.merge(renamed, combine_attrs="override")
    return dataset.assign_coords(coords)


def _stacked(parts: list, name: str, values: Any) -> xr.Dataset:
    """Datasets along a new dimension, from the first one's start to the last one's end."""
    stacked = cast(xr.Dataset, xr.concat(parts, xr.IndexVariable(name, list(values)), join="exact", combine_attrs="override"))
    span = {"started": min, "finished": max}
    return stacked.assign_attrs({when: choose(part.attrs[when] for part in parts) for when, choose in span.items()})


def _bar(config: ResnetConfig, where: Engine) -> tqdm:
    """Images trained on by this process, shown by the first on a terminal."""
    layout = "{l_bar}{bar}| {n_fmt}/{total_fmt} images [{elapsed}<{remaining}, {rate_noinv_fmt}]"
    total = config.runs() * config.steps * config.batch_size // where.share.count
    disable = True if where.share.index > 0 else None
    return tqdm(total=total, unit=" images", unit_scale=True, bar_format=layout, leave=False, disable=disable)


def _setup(config: Any, where: Engine, data: Data, bar: tqdm, turn: int, d0: int | None = None) -> xr.Dataset | None:
    """The runs of one setup, with d0 where it is swept, over the seeds: solves this process's; None if others' are missing."""
    label = f"runs-{config.projectors}" if d0 is None else f"d0-{d0}"
    group = cast(Store, where.store).group(label)
    group.chunk_size(lambda: 1)
    held = group.held(config.seeds)
    for seed, key in enumerate(sweep.run_keys(config.seed, config.seeds)):
        if (turn * config.seeds + seed) % where.share.count == where.share.index:
            before = bar.n
            if seed not in held:
                run = data.run(config, key, None if d0 is None else jnp.asarray(d0))
                _solve(config, where, group, data, run, seed, lambda done, before=before: bar.update(before + done - bar.n))
            bar.update(before + config.steps * config.batch_size - bar.n)
    written = group.written(config.seeds)
    parts = [group.load(written[seed]) for seed in range(config.seeds) if seed in written]
    whole = len(parts) == config.seeds and all(part is not None for part in parts)
    return _stacked(parts, "seed", range(config.seeds)) if whole else None


def _solve(config: Any, where: Engine, group: Group, data: Data, run: Run, seed: int, tick: Callable[[int], Any]) -> None:
    """Solve and save a run; its checkpoint lies beside the chunks until then."""
    started, path = datetime.datetime.now(datetime.UTC), group.folder / f"{group.label}.{seed:06}.state"
    dataset = solved(data.program(config), data, run, path, lambda steps: tick(steps * config.batch_size))
    group.save(seed, config.seeds, dataset.assign_attrs(where.attributes(started)))
    path.unlink(missing_ok=True)


def compare(dataset: xr.Dataset, config: ResnetConfig) -> xr.Dataset:
    """`dataset` with the collapsed dimensions of each representation, and the probe on each seed's untrained encoder."""
    data, plain = Data(config), at(config, projectors="none")
    program, untrained = data.program(plain), []
    for key in sweep.run_keys(config.seed, config.seeds):
        run = data.run(plain, key)
        r = observe(program, program.begin(run), data, run)["features_r"]
        untrained.append(_accuracies(config, np.asarray(r), _divided(data, run)))
    added = {
        "collapsed": directclr.collapsed(dataset, config.collapse_threshold),
        "untrained_accuracy": (("seed", "labels"), np.array(untrained)),
    }
    return dataset.merge(results.labelled(added, {}), combine_attrs="override")
