"""The picture of the bench of losses: each loss's spectrum in time, with its theory through it."""

from string import ascii_lowercase as LETTERS

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from linsim.spectra import kinds_found
from linsim.studies.losses.table import AXES
from linsim.studies.style import (
    CLEAN,
    DIVERGED,
    NOISY,
    PAGE,
    THEORY,
    ceiling,
    decades,
    figure,
    headline,
    key,
    look,
    measured,
    named,
    note_if_none,
)

COLUMNS = 4
LOWEST = 1e-6


def draw(dataset: xr.Dataset) -> Figure:
    """One panel per loss at the strongest noise, and at the first value of every other axis.

    Every eigenvalue of W W^T in time: markers the median over seeds, lines the theory. Args:
    dataset of the study. Returns: Figure.
    """
    with look():
        return _drawn(dataset)


def _drawn(dataset: xr.Dataset) -> Figure:
    at = dict.fromkeys(AXES[1:], 0) | {"noise": int(np.argmax(dataset["noise"].values))}
    shown = dataset.isel(at)
    count = shown.sizes["objective"]
    columns = min(COLUMNS, count)
    rows = -(-count // columns)
    drawn = figure(PAGE, 1.5 * rows + 0.6)
    axes = drawn.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    later = shown["embedding_spectrum"].isel(time=slice(1, None))
    for place, (axis, name) in enumerate(zip(axes.flat, shown["objective"].values, strict=False)):
        _panel(axis, shown.sel(objective=name), LETTERS[place], str(name), PAGE / columns - 0.4)
        decades(axis, "x", *later["time"].values[[0, -1]])
        decades(axis, "y", LOWEST, max(ceiling(later.values), 10 * LOWEST))
    for axis in axes.flat[count:]:
        axis.set_visible(False)
    for axis in axes[:, 0]:
        axis.set_ylabel("eigenvalue of WWᵀ")
    for column in range(columns):
        below = [axis for axis in axes[:, column] if axis.get_visible()]
        below[-1].set_xlabel("time t")
        below[-1].tick_params(labelbottom=True)
    handles = [
        measured("clean modes", "o", color=CLEAN),
        measured("noisy modes", "^", color=NOISY),
        named(THEORY, "theory"),
    ]
    key(drawn, handles)
    return drawn


def _panel(axis: Axes, one: xr.Dataset, letter: str, name: str, width: float) -> None:
    later = one.isel(time=slice(1, None))
    split = one.sizes["mode"] - int(one.attrs["noisy_dims"])
    found, theory = (
        later[source].median("seed").values
        for source in ("embedding_spectrum", "theory_embedding_spectrum")
    )
    every = slice(None, None, max(1, len(later["time"]) // 20))
    for mode in range(one.sizes["mode"]):
        noisy = mode >= split
        inside = np.where(found[every, mode] >= LOWEST, found[every, mode], np.nan)
        colour, marker = (NOISY, "^") if noisy else (CLEAN, "o")
        axis.plot(later["time"][every], inside, marker, color=colour, markersize=2)
        axis.plot(later["time"], theory[:, mode], **THEORY)
    note_if_none(axis, found, DIVERGED)
    kind = kinds_found(one["kind"].values)
    told = "no collapse" if kind == "none" else f"{kind} collapse"
    unknown = " (no theory)" if np.isnan(theory).all() else ""
    headline(axis, letter, f"{name}: {told}{unknown}", width)
