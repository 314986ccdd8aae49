"""What theory says about one linear map at its own batch size and learning rate: strengths of the
two blocks in time, the spectrum that single runs show, and how many dimensions collapse in them.
"""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from linsim import spectra
from linsim.studies.linear import run_fields
from linsim.studies.strong_aug import StrongAugSettings
from linsim.studies.strong_aug.ahead import first_orders
from linsim.studies.theory import (
    any_batch_size,
    block_means,
    covers,
    has_blocks,
    has_flow_of_modes,
    has_modes,
    is_known_to_first_order,
    layers_in_time,
    mode_groups,
    population_modes,
    silence,
    spectrum,
    temperature,
)
from linsim.studies.words import collapsed_count
from linsim.sweeps.results import labelled
from linsim.theory import finite_batch, late_time, minibatch, population
from linsim.theory.minibatch import FirstOrder
from linsim.theory.parting import parting
from linsim.training import observe, starts
from linsim.training.loss import Distance, Dot, SolvedLoss
from linsim.training.observe import BLOCKS
from linsim.training.run import Run
from linsim.training.views import mode_moments

DRAWS = 2000  # of the spectrum of one run
PREDICTED = {
    "theory_block_strength": ("time", "block"),
    "theory_level": ("time", "block"),
    "theory_left_out": ("time", "block"),
    "theory_weight_singular_values": ("time", "mode"),
    "theory_singular_value_low": ("time", "mode"),
    "theory_singular_value_high": ("time", "mode"),
    "collapsed_probability": ("count",),
    "population_block_strength": ("time", "block"),
}  # dimensions behind those of the grid


def compare(dataset: xr.Dataset, settings: StrongAugSettings) -> xr.Dataset:
    """`dataset` of runs with the count of collapsed dimensions of each at the end, and
    every prediction beside it; nan where theory is silent, and then why.
    """
    fixed = fixed_run(settings)
    points = [replace(fixed, noise=noise) for noise in settings.noise]
    added: dict[str, Any] = {
        "population_settled": (("noise", "block"), [population_settled(run) for run in points]),
        "late_settled": (("noise", "block"), [late_settled(run) for run in points]),
        "predicted_collapsed": (("noise",), [collapsed(run) for run in points]),
    }
    end = dataset["weight_singular_values"].isel(time=-1)
    counts = collapsed_count(end, settings.collapse_threshold)
    added["collapsed"] = (tuple(map(str, counts.dims)), counts.values)
    grid = len(points), len(settings.init_scale)
    runs = _runs(settings)
    known: Sequence[FirstOrder | None] = [None] * len(runs)
    if is_known_to_first_order(fixed):
        known = first_orders(settings)
    cells = [
        _cell(run, dataset.isel(noise=i, init_scale=j), settings, found)
        for run, (i, j), found in zip(runs, np.ndindex(grid), known, strict=True)
    ]
    for name in cells[0]:
        values = np.stack([cell[name] for cell in cells])
        dims = ("noise", "init_scale", *PREDICTED[name])
        added[name] = (dims, values.reshape(*grid, *values.shape[1:]))
    coords = {"block": list(BLOCKS), "count": np.arange(settings.dim + 1)}
    dataset = dataset.merge(labelled(added, coords), combine_attrs="override")
    return dataset.assign_attrs(no_theory=silence(fixed))


def fixed_run(settings: StrongAugSettings) -> Run:
    """What the runs of all settings share."""
    several = settings.depth > 1
    return Run(
        **run_fields(settings),
        data_exponent=settings.data_exponent,
        hidden=(settings.dim,) * (settings.depth - 1),
        start=starts.Balanced(decay=0.0) if several else starts.one_layer(settings.init),
    )


def _runs(settings: StrongAugSettings) -> list[Run]:
    """One run of each setting, over noise and then initial scale."""
    grid = itertools.product(settings.noise, settings.init_scale)
    fixed = fixed_run(settings)
    return [replace(fixed, noise=noise, init_scale=scale) for noise, scale in grid]


def _cell(
    run: Run, one: xr.Dataset, settings: StrongAugSettings, found: FirstOrder | None
) -> dict[str, np.ndarray]:
    """The predictions of one noise and initial scale, by name."""
    if found is not None:
        return _degenerate(run, one["time"].values, settings.collapse_threshold, found)
    known = _at_batch_size(run, one, settings.collapse_threshold)
    if has_flow_of_modes(run):
        known["population_block_strength"] = _modes_in_infinite_batches(run, one["time"].values)
    return known


def _at_batch_size(run: Run, one: xr.Dataset, cutoff: float) -> dict[str, np.ndarray]:
    """By the exact theory of mean training where it is known, else nan."""
    if any_batch_size(run) and (has_modes(run) or isinstance(run.loss, Dot)):
        return _of_modes(run, one, cutoff)
    if any_batch_size(run):
        return _from_weights(run, one, cutoff)
    shapes = {"time": one.sizes["time"], "block": 2, "mode": run.dim, "count": run.dim + 1}
    return {
        name: np.full([shapes[dim] for dim in dims], np.nan)
        for name, dims in PREDICTED.items()
        if not name.startswith("population_")
    }


def _degenerate(
    run: Run, times: np.ndarray, cutoff: float, found: FirstOrder
) -> dict[str, np.ndarray]:
    """Of a start with equal singular values: to first order in the learning rate, with the spread
    of single runs.
    """
    groups, present = mode_groups(run)
    drawn = minibatch.singular_values(found, groups, draws=DRAWS)
    with np.errstate(invalid="ignore"):  # infinite far beyond what first order can say
        low, middle, high = np.quantile(drawn, (0.05, 0.5, 0.95), axis=1)
    strength, level, left_out = np.full((3, len(times), 2), np.nan)
    strength[:, present], level[:, present] = found.strengths, found.level
    left_out[:, present] = found.left_out
    if run.batches == "dataset":  # whose covariance error mixes strong modes into weak ones
        left_out += found.strengths.max(axis=1, keepdims=True) / run.dataset_size
    predictions = {
        "theory_block_strength": strength,
        "theory_level": level,
        "theory_left_out": left_out,
        "theory_weight_singular_values": middle,
        "theory_singular_value_low": low,
        "theory_singular_value_high": high,
        "collapsed_probability": _shares(drawn[-1], cutoff),
    }
    if isinstance(run.loss, Distance):  # of others each run has a flow of its own
        predictions["population_block_strength"] = _infinite_batches(run, times)
    return predictions


def _infinite_batches(run: Run, times: np.ndarray) -> np.ndarray:
    """Strengths of the blocks in infinite batches from equal singular values, (T, 2)."""
    groups, present = mode_groups(run)
    start, strength = np.full(len(groups), run.init_scale), np.full((len(times), 2), np.nan)
    variance, noise = np.array([(g.variance, g.noise_variance) for g in groups]).T
    strength[:, present] = population.balanced_flow(start, times, 1, variance, noise) ** 2
    return strength


def _modes_in_infinite_batches(run: Run, times: np.ndarray) -> np.ndarray:
    """The same of modes that differ within a block, or of several layers."""
    groups, block = mode_groups(run)
    start = np.full(len(groups), float(run.init_scale) ** (2 * len(run.widths) - 2))
    return block_means(population_modes(run, groups, start, times), groups, block)


def _of_modes(run: Run, one: xr.Dataset, cutoff: float) -> dict[str, np.ndarray]:
    """Of modes, finite steps included. From unequal singular values, of the dot loss, they start at
    the mean strength of each block, which is exact once the start is forgotten.
    """
    groups, block = mode_groups(run)
    start = one["block_strength"].isel(time=0).mean("seed").values
    small_rates, found = (
        finite_batch.flow(
            one["time"].values,
            start[block],
            groups,
            batch_size=run.batch_size,
            depth=len(run.hidden) + 1,
            learning_rate=rate,
            temperature=temperature(run.loss),
        )
        for rate in (0.0, float(run.learning_rate))
    )
    strength = block_means(found, groups, block)
    left_out = minibatch.log_change(strength, block_means(small_rates, groups, block))
    left_out += _parting(run, one["time"].values, strength)
    eps = np.finfo(one["weight_singular_values"].dtype).eps
    largest = np.nanmax(found, axis=1, keepdims=True)
    left_out[strength < (10 * eps) ** 2 * largest] = np.inf  # runs are rounded there
    values = spectrum(groups, np.sqrt(found))
    measured = one["weight_singular_values"].isel(time=-1).transpose("seed", ...).values
    return {
        "theory_block_strength": strength,
        "theory_level": np.full(strength.shape, np.nan),
        "theory_left_out": left_out,
        "theory_weight_singular_values": values,
        "theory_singular_value_low": values,
        "theory_singular_value_high": values,
        "collapsed_probability": _shares(_scattered(values[-1], measured), cutoff),
    }


def _scattered(values: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Spectra (draws, d) about theory's (d,), whose logarithms differ as those of the measured ones
    (seeds, d) do: theory of mean training knows no spread of its own. Of one seed, theory's alone.
    """
    if len(measured) < 2:
        return values[None]
    spread = np.log(np.maximum(measured, np.finfo(measured.dtype).tiny)).std(axis=0, ddof=1)
    spread = np.maximum(spread, np.median(spread))  # of few seeds some agree by chance
    normal = np.random.default_rng(0).standard_normal((DRAWS, len(values)))
    return values * np.exp(spread * normal)


def _parting(run: Run, times: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """How far equal modes of several layers part, (T, 2), as if they were clean, and weak to the
    end: what has been seen of a data set errs by its own error and by that of drawing from it.
    """
    if not run.hidden or not has_blocks(run):
        return np.zeros(strength.shape)
    seen = (run.batch_size - 1) * np.maximum(times / float(run.learning_rate), 1)
    held = run.dataset_size if run.batches == "dataset" else np.inf
    grown = np.maximum.accumulate(strength) / strength[0]
    counts = run.dim - run.noisy_dims, run.noisy_dims
    known = {"depth": len(run.hidden) + 1, "samples": 1 / (1 / seen + 1 / held)}
    return np.stack(
        [parting(g, modes=max(k, 1), **known) for g, k in zip(grown.T, counts, strict=True)], axis=1
    )


def _from_weights(run: Run, one: xr.Dataset, cutoff: float) -> dict[str, np.ndarray]:
    """Of any other start, from each run's own weights, finite steps included; low and high are
    then the range over the seeds.
    """
    starts = one["initial_weights"].transpose("seed", ...).values
    paths = [path for (path,) in layers_in_time([run] * len(starts), [(w,) for w in starts])]
    values = np.linalg.svd(np.stack(paths), compute_uv=False)
    strength = [[observe.block_strength(w, run.noisy_dims) for w in path] for path in paths]
    return {
        "theory_block_strength": np.median(np.asarray(strength), axis=0),
        "theory_level": np.full((values.shape[1], 2), np.nan),
        "theory_left_out": np.zeros((values.shape[1], 2)),
        "theory_weight_singular_values": np.median(values, axis=0),
        "theory_singular_value_low": values.min(axis=0),
        "theory_singular_value_high": values.max(axis=0),
        "collapsed_probability": _shares(values[:, -1], cutoff),
    }


def _shares(values: np.ndarray, cutoff: float) -> np.ndarray:
    """The share of spectra (draws, d) with 0, 1, .., d collapsed dimensions, (d + 1,)."""
    counts = np.asarray(spectra.collapsed_dimensions(values, cutoff)).astype(int)
    return np.bincount(counts, minlength=values.shape[-1] + 1) / len(values)


def population_settled(run: Run) -> tuple[float, float]:
    """Population fixed points m* of a clean and of a noisy mode; nan if modes of a block differ."""
    if not (covers(run) and isinstance(run.loss, SolvedLoss) and run.data_exponent == 0):
        return np.nan, np.nan
    clean, noisy = (
        run.loss.settled(mode_moments(noise**2, run.views)) for noise in (0.0, run.noise)
    )
    return clean, noisy


def late_settled(run: Run) -> tuple[float, float]:
    """Strengths at which a clean and a noisy mode settle late on finite batches; nan where not
    solved for.
    """
    settles = any_batch_size(run) and isinstance(run.loss, Distance) and run.data_exponent == 0
    if not (settles and 0 < run.noisy_dims < run.dim):
        return np.nan, np.nan
    a, c, rho, _ = map(float, mode_moments(run.noise**2, run.views))
    return np.inf, late_time.settled(
        a, c, rho, clean_modes=run.dim - run.noisy_dims, noisy_modes=run.noisy_dims
    )


def collapsed(run: Run) -> float:
    """Collapsed dimensions that the population theory predicts after any time."""
    if not (covers(run) and isinstance(run.loss, SolvedLoss)):
        return np.nan
    return float(run.loss.collapsed(run.moments()))
