"""The figure of the kinds of collapse (paper, Figures 1 and 2)."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from linsim.spectra import kinds_found
from linsim.studies.collapse_kinds.table import READABLE
from linsim.studies.style import (
    BLOCK_COLOURS,
    DIVERGED,
    LIMIT,
    MEASURED,
    PAGE,
    SPREAD,
    THEORY,
    band,
    ceiling,
    decades,
    figure,
    headline,
    key,
    look,
    measured,
    named,
    note,
    note_if_none,
    power,
)

FRAME = 1e-9  # lower end of the spectra, relative to their largest eigenvalue
LETTERS = "abcdefghijkl"
POINT = 1e-3  # embeddings that are closer than this, relative to the frame, are one point
ROW = 3  # objectives side by side
BLOCK_MARKERS = ("o", "^")


def draw(dataset: xr.Dataset) -> Figure:
    """The paper's Figures 1 and 2, objective by objective: what has become of the embeddings, along
    the two leading and the two trailing directions, and the eigenvalues of their covariance in
    time.

    Markers: medians of the dim − noisy_dims leading and of the trailing eigenvalues, with the range
    over these and the seeds as a band; black: the theory of this batch size; dotted: infinite
    batches. Args: dataset of the study; scatter of the first seed. Returns: Figure.
    """
    with look():
        return _drawn(dataset)


def _drawn(dataset: xr.Dataset) -> Figure:
    objectives = dataset["objective"].values
    columns = min(ROW, len(objectives))
    rows = -(-len(objectives) // columns)
    drawn = figure(PAGE, 2.75 * rows + 0.55)
    axes = drawn.subplots(2 * rows, columns, squeeze=False, height_ratios=(1, 1) * rows)
    scatter = dataset["scatter"].isel(seed=0).values
    finite = np.abs(scatter[np.isfinite(scatter)])
    limit = 1.1 * float(finite.max()) if finite.size and finite.max() > 0 else 1.0
    high = ceiling(dataset["embedding_spectrum"].values)
    for index, objective in enumerate(objectives):
        row, column = divmod(index, columns)
        top, bottom = axes[2 * row : 2 * row + 2, column]
        one = dataset.sel(objective=objective)
        _scatter(top, one, limit)
        _in_time(bottom, one, high)
        letters = LETTERS[2 * columns * row :]
        headline(top, letters[column], _told(one, str(objective)), 5.9 / columns)
        beside = min(columns, len(objectives) - row * columns)
        headline(bottom, letters[beside + column], _told_of_end(one), 5.9 / columns)
        if column == 0:
            top.set_ylabel("embedding")
            bottom.set_ylabel("eigenvalue")
        else:
            top.set_yticklabels([])
            bottom.set_yticklabels([])
    for axis in axes[-2:, len(objectives) - columns * (rows - 1) :].flat:
        axis.remove()
    key(drawn, _handles(dataset))
    return drawn


def _told(one: xr.Dataset, objective: str) -> str:
    """The objective in words, and what became of it."""
    if not np.isfinite(one["embedding_spectrum"].isel(time=-1)).all():
        kind = "training diverges"
    else:
        found = kinds_found(one["kind"].values)
        kind = f"{'no' if found == 'none' else found} collapse"
    return f"{READABLE.get(objective, objective)}: {kind}"


def _told_of_end(one: xr.Dataset) -> str:
    """How much of the variance is left, or how uneven it is at the end."""
    spectrum = one["embedding_spectrum"].median("seed")
    start, end = (spectrum.isel(time=record).values for record in (0, -1))
    if not np.isfinite(end).all():
        return "Eigenvalues until then"
    if end.sum() < one.attrs["complete"] * start.sum():
        return f"Of the variance {_about(end.sum() / start.sum())} is left"
    return f"Weakest direction: {_about(end.min() / end.max())} of the strongest"


def _about(share: float) -> str:
    """A share, of small ones the power of ten."""
    if share >= 0.001:
        return f"{100 * share:.2g} %"
    return f"about {power(10.0 ** round(np.log10(share)))}" if share > 0 else "nothing"


def _scatter(axis: Axes, one: xr.Dataset, limit: float) -> None:
    scatter = one["scatter"].isel(seed=0).values
    dots: dict[str, Any] = {"markersize": 1.6, "rasterized": True, **MEASURED}
    for block, first in ((0, 0), (1, 2)):
        x, y = scatter[:, first], scatter[:, first + 1]
        axis.plot(x, y, color=BLOCK_COLOURS[block], marker=BLOCK_MARKERS[block], **dots)
    axis.set(xlim=(-limit, limit), ylim=(-limit, limit), xlabel="embedding")
    note_if_none(axis, scatter, DIVERGED)
    if np.abs(scatter).max() < POINT * limit:
        note(axis, "all embeddings are one point", height=0.7)


def _in_time(axis: Axes, one: xr.Dataset, high: float) -> None:
    later = one.isel(time=slice(1, None))
    time = later["time"].values
    every = max(1, len(time) // 14)
    split = one.sizes["mode"] - int(one.attrs["noisy_dims"])
    decades(axis, "y", FRAME * high, high)
    for block, modes in enumerate((slice(0, split), slice(split, None))):
        spectrum = later["embedding_spectrum"].isel(mode=modes).transpose("time", "seed", "mode")
        if not spectrum.sizes["mode"]:
            continue
        values = spectrum.values.reshape(len(time), -1)
        colour, mark = BLOCK_COLOURS[block], BLOCK_MARKERS[block]
        axis.fill_between(time, values.min(axis=1), values.max(axis=1), color=colour, **SPREAD)
        middle = np.median(values, axis=1)
        axis.plot(time[::every], middle[::every], color=colour, marker=mark, **MEASURED)
        for prefix, style in (("population", LIMIT), ("theory", THEORY)):
            flow = later[f"{prefix}_embedding_spectrum"].isel(mode=modes)
            axis.plot(time, flow.median(("seed", "mode")), **style)
    decades(axis, "x", 0.8 * time[0], 1.25 * time[-1])
    axis.set_xlabel("time t")


def _handles(dataset: xr.Dataset) -> list[Any]:
    noisy, total = int(dataset.attrs["noisy_dims"]), dataset.sizes["mode"]
    names = (f"{total - noisy} leading directions", f"{noisy} trailing directions")
    present = (noisy < total, noisy > 0)
    handles: list[Any] = [
        measured(name, mark, color=colour)
        for name, colour, mark, here in zip(
            names, BLOCK_COLOURS, BLOCK_MARKERS, present, strict=True
        )
        if here
    ]
    seeds = dataset.sizes["seed"]
    handles.append(band(f"range of the directions, {seeds} seed{'s' * (seeds > 1)}"))
    handles.append(named(THEORY, "theory of this batch size"))
    handles.append(named(LIMIT, "infinite batches"))
    return handles
