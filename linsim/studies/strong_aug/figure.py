"""The figure of one linear layer under strong augmentation (paper, section 4, Figure 3)."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from linsim.studies.strong_aug.judgement import at_batch_size, infinite_strength
from linsim.studies.strong_aug.table import late_exponent, resolved, state
from linsim.studies.style import (
    BLOCK_COLOURS,
    CUTOFF,
    DIVERGED,
    LIMIT,
    MEASURED,
    PAGE,
    SPREAD,
    THEORY,
    THRESHOLD,
    Ordered,
    band,
    below,
    ceiling,
    decades,
    figure,
    floor,
    headline,
    key,
    look,
    measured,
    named,
    note_if_none,
    ranks,
)
from linsim.studies.words import collapsed_count, count_range

BLOCKS = ("clean", "noisy")
BLOCK_MARKERS = ("o", "^")
NEARLY_ONE = 3.0  # cut-offs of all noises that differ by less are drawn as one
WIDTH = 1.9  # inches of a panel


def draw(dataset: xr.Dataset) -> Figure:
    """The singular values of W (a) in time, at a noise that makes dimensions collapse; (b) at the
    end, for every noise; (c) against the noise, with the threshold.

    Markers: (a, c) the mean of each block over seeds and modes, (b) medians over seeds with their
    range; black lines and bands: the theory of this batch size and learning rate, with the middle
    90 % of single runs, or the range of the seeds where each starts differently. Losses without it
    are compared with infinite batches.
    Args: dataset of the study; the first init_scale is drawn. Returns: Figure.
    """
    with look():
        return _drawn(dataset.isel(init_scale=0))


def _drawn(dataset: xr.Dataset) -> Figure:
    drawn = figure(PAGE, 2.9)
    axes = drawn.subplots(1, 3, sharey=True)
    dataset = dataset.sortby("noise")
    noises = Ordered(dataset["noise"].values, "noise")
    values = dataset["weight_singular_values"].median("seed")
    highest = np.stack([values.max(), dataset["theory_weight_singular_values"].max()])
    decades(axes[0], "y", floor(values.isel(time=-1).values), ceiling(highest))
    shown = _shown_noise(dataset)
    _evolution(axes[0], dataset.isel(noise=shown))
    _final_spectra(axes[1], dataset.isel(time=-1), noises)
    _against_noise(axes[2], dataset.isel(time=-1))
    axes[0].set_ylabel("singular value of W")
    headline(axes[0], "a", _told_of_block(dataset.isel(noise=shown)), WIDTH)
    headline(axes[1], "b", _told_of_counts(dataset), WIDTH)
    headline(axes[2], "c", _told_of_threshold(dataset), WIDTH)
    noises.key(drawn, axes)
    key(drawn, _handles(dataset))
    return drawn


def _shown_noise(dataset: xr.Dataset) -> int:
    """The weakest noise at which theory lets dimensions collapse, or else the strongest of all."""
    predicted = np.flatnonzero(dataset["predicted_collapsed"].values > 0)
    return int(predicted[0]) if len(predicted) else dataset.sizes["noise"] - 1


def _threshold(dataset: xr.Dataset) -> float | None:
    """The noise from which noisy dimensions vanish in infinite batches, where it is known and
    finite.
    """
    asked = dataset.attrs
    known = asked["loss"] == "distance" and asked["views"] == "one" and not asked["no_theory"]
    return np.sqrt(2) if known and asked["data_exponent"] == 0 else None


def _evolution(axis: Axes, dataset: xr.Dataset) -> None:
    time = dataset["time"].values[1:]
    strength = dataset["block_strength"].mean("seed")
    start = float(np.sqrt(dataset["block_strength"].isel(time=0).mean("seed")).max())
    axis.axhline(start, color="0.6", linewidth=0.6, zorder=0)
    axis.plot(time, _cutoff(dataset).values[1:], **CUTOFF)
    limit = infinite_strength(dataset)
    for block, colour, mark in zip(BLOCKS, BLOCK_COLOURS, BLOCK_MARKERS, strict=True):
        values = np.sqrt(strength.sel(block=block).values[1:])
        theory = np.sqrt(dataset["theory_block_strength"].sel(block=block).values[1:])
        every: dict[str, Any] = {"markevery": max(1, len(time) // 20)}
        axis.plot(time, values, color=colour, marker=mark, **MEASURED, **every)
        axis.plot(time, np.sqrt(limit.sel(block=block).values[1:]), **LIMIT)
        axis.plot(time, theory, **THEORY)
        modes = _modes(dataset, block)
        if at_batch_size(dataset) and modes.stop > modes.start:
            low = dataset["theory_singular_value_low"].values[1:, modes].min(axis=1)
            high = dataset["theory_singular_value_high"].values[1:, modes].max(axis=1)
            axis.fill_between(time, low, high, color=colour, **SPREAD)
    note_if_none(axis, strength.values[1:], DIVERGED)
    decades(axis, "x", 0.8 * time[0], 1.25 * time[-1])
    axis.set_xlabel("time t = learning rate × steps")


def _modes(dataset: xr.Dataset, block: str) -> slice:
    """The ranks of a block in a spectrum in which the clean block comes first."""
    split = dataset.sizes["mode"] - int(dataset.attrs["noisy_dims"])
    return slice(0, split) if block == "clean" else slice(split, dataset.sizes["mode"])


def _cutoff(dataset: xr.Dataset) -> xr.DataArray:
    """Singular values below this count as collapsed; median over seeds."""
    largest = dataset["weight_singular_values"].max("mode").median("seed")
    return dataset.attrs["collapse_threshold"] * largest


def _final_spectra(axis: Axes, end: xr.Dataset, noises: Ordered) -> None:
    ranks(axis, end.sizes["mode"])
    rank = np.arange(1, end.sizes["mode"] + 1)
    cut = _cutoff(end).values
    low, high = np.nanmin(cut, initial=np.inf), np.nanmax(cut, initial=0.0)
    if 0 < high < NEARLY_ONE * low:
        axis.axhspan(low, high, color=CUTOFF["color"], **SPREAD)
        axis.axhline(np.sqrt(low * high), **CUTOFF)
    note_if_none(axis, cut, DIVERGED)
    all_below: list[np.ndarray] = []
    for index, (_, colour, mark) in enumerate(noises):
        one = end.isel(noise=index)
        spectrum = one["weight_singular_values"]
        median = spectrum.median("seed").values
        bars = np.abs(np.stack([spectrum.min("seed").values, spectrum.max("seed").values]) - median)
        axis.errorbar(rank, median, bars, color=colour, marker=mark, elinewidth=0.7, **MEASURED)
        if at_batch_size(end):
            axis.plot(rank, one["theory_weight_singular_values"], **THEORY)
            low, high = one["theory_singular_value_low"], one["theory_singular_value_high"]
            axis.fill_between(rank, low, high, color=colour, **SPREAD)
        elif np.isfinite(one["population_settled"]).all():
            blocks = [_modes(end, block) for block in BLOCKS]
            levels = [
                np.full(b.stop - b.start, v) for b, v in zip(blocks, _settled(one), strict=True)
            ]
            axis.plot(rank, np.concatenate(levels), **LIMIT)
        hidden = median < axis.get_ylim()[0]
        below(axis, rank[hidden], colour)
        all_below.append(hidden)
    if np.any(all_below):
        axis.set_xlabel("rank (▼ below the frame)")


def _settled(one: xr.Dataset) -> np.ndarray:
    """Singular values at which the blocks settle in infinite batches."""
    return np.sqrt(one["population_settled"].values)


def _against_noise(axis: Axes, end: xr.Dataset) -> None:
    noise = end["noise"].values
    strength = end["block_strength"].transpose("seed", "noise", "block")
    for block, colour, mark in zip(BLOCKS, BLOCK_COLOURS, BLOCK_MARKERS, strict=True):
        values = np.sqrt(strength.sel(block=block).values)
        middle = np.sqrt(strength.sel(block=block).mean("seed").values)
        bars = np.abs(np.stack([values.min(axis=0), values.max(axis=0)]) - middle)
        axis.errorbar(noise, middle, bars, color=colour, marker=mark, elinewidth=0.7, **MEASURED)
        theory = np.sqrt(end["theory_block_strength"].sel(block=block))
        axis.plot(noise, theory, **THEORY)
        if not at_batch_size(end):
            axis.plot(noise, np.sqrt(infinite_strength(end).sel(block=block)), **LIMIT)
        hidden = middle < axis.get_ylim()[0]
        below(axis, noise[hidden], colour)
    axis.plot(noise, _cutoff(end), **CUTOFF)
    note_if_none(axis, end["block_strength"].values, DIVERGED)
    ends = [*noise]
    if (threshold := _threshold(end)) is not None:
        axis.axvline(threshold, **THRESHOLD)
        ends.append(threshold)
    margin = 0.08 * (max(ends) - min(ends)) or 0.5
    axis.set(xlabel="noise (standard deviation)", xlim=(min(ends) - margin, max(ends) + margin))


def _told_of_block(one: xr.Dataset) -> str:
    noise, noisy = f"noise {float(one['noise']):.3g}", int(one.attrs["noisy_dims"])
    block = "noisy" if noisy else "clean"
    if not np.isfinite(one["block_strength"].sel(block=block)).all():
        return f"At {noise} training diverges"
    place = BLOCKS.index(block)
    with np.errstate(all="ignore"):
        now = state(float(late_exponent(one)[place]), bool(resolved(one)[place]))
    doing = {"vanishing": "vanish", "growing": "keep growing", "settled": "settle"}[now]
    count = noisy or one.sizes["mode"]
    return f"At {noise} the {count} {block} dimensions {doing}"


def _counts(dataset: xr.Dataset) -> xr.DataArray:
    end = dataset["weight_singular_values"].isel(time=-1)
    return collapsed_count(end, float(dataset.attrs["collapse_threshold"]))


def _told_of_counts(dataset: xr.Dataset) -> str:
    counts, total = _counts(dataset), dataset.sizes["mode"]
    if counts.isnull().any():
        return "Spectra of runs that stayed finite"
    if int(counts.max()) == 0:
        return f"None of {total} dimensions has collapsed"
    by_noise = counts.min("seed")
    most = int(counts.max())
    first = dataset["noise"].values[int(np.argmax((by_noise == most).values))]
    if dataset.sizes["noise"] == 1 or not (by_noise == most).any():
        return f"{count_range(counts)} of {total} dimensions have collapsed"
    return f"{most} of {total} dimensions have collapsed from noise {first:.3g} on"


def _told_of_threshold(dataset: xr.Dataset) -> str:
    threshold, noisy = _threshold(dataset), int(dataset.attrs["noisy_dims"])
    counts = _counts(dataset)
    if threshold is None or not noisy or counts.isnull().any():
        return "Both blocks against the noise" if noisy else "No dimension is noisy"
    above = dataset["noise"].values > threshold
    gone, kept = (counts[above] == noisy), (counts[~above] == 0)
    if not (above.any() and (~above).any()):
        side = "above" if above.any() else "below"
        return f"{count_range(counts)} collapsed: all noises lie {side} the threshold √2"
    if gone.all() and kept.all():
        return "Noisy dimensions collapse above √2 only"
    return f"{count_range(counts[~above])} collapsed below √2, {count_range(counts[above])} above"


def _handles(dataset: xr.Dataset) -> list[Any]:
    share = 100 * float(dataset.attrs["collapse_threshold"])
    noisy = int(dataset.attrs["noisy_dims"])
    present = [noisy < dataset.sizes["mode"], noisy > 0]
    handles = [
        measured(f"{block} block", mark, color=colour)
        for block, colour, mark, here in zip(
            BLOCKS, BLOCK_COLOURS, BLOCK_MARKERS, present, strict=True
        )
        if here
    ]
    if at_batch_size(dataset):
        handles += [
            named(THEORY, "theory of this batch size and rate"),
            band(_told_of_band(dataset)),
        ]
    if np.isfinite(dataset["population_block_strength"]).any():
        handles.append(named(LIMIT, "infinite batches"))
    handles.append(named(CUTOFF, f"collapsed: below {share:g} % of the largest"))
    if _threshold(dataset) is not None:
        handles.append(named(THRESHOLD, "threshold √2"))
    handles.append(named({"color": "0.6", "linewidth": 0.6}, "start"))
    return handles


def _told_of_band(dataset: xr.Dataset) -> str:
    drawn = np.isfinite(dataset["theory_level"]).any()
    return "90 % of single runs" if drawn else "range over the seeds"
