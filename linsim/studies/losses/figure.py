"""The picture of the bench of losses: each loss's spectrum in time, with its theory through it."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from linsim.spectra import kinds_found
from linsim.studies.losses.table import AXES
from linsim.studies.style import BLOCK_COLOURS, THEORY, figure, look

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
    drawn = figure(1.9 * columns + 0.4, 1.75 * rows + 0.7)
    axes = drawn.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    top = 3 * float(np.nanmax(shown["embedding_spectrum"].isel(time=slice(1, None))))
    for axis, name in zip(axes.flat, shown["objective"].values, strict=False):
        _panel(axis, shown.sel(objective=name), str(name))
        axis.set(xscale="log", yscale="log", ylim=(LOWEST, top))
    for axis in axes.flat[count:]:
        axis.set_visible(False)
    for axis in axes[:, 0]:
        axis.set_ylabel("eigenvalues of $WW^T$")
    for column in range(columns):
        below = [axis for axis in axes[:, column] if axis.get_visible()]
        below[-1].set_xlabel("time t")
        below[-1].tick_params(labelbottom=True)
    clean, noisy = BLOCK_COLOURS
    handles = [
        Line2D([], [], color=clean, marker="o", markersize=3, linestyle="", label="clean modes"),
        Line2D([], [], color=noisy, marker="^", markersize=3, linestyle="", label="noisy modes"),
        Line2D([], [], color="0.2", label="theory", **THEORY),
    ]
    drawn.legend(handles=handles, loc="outside lower center", ncols=3)
    return drawn


def _panel(axis: Axes, one: xr.Dataset, name: str) -> None:
    later = one.isel(time=slice(1, None))
    split = one.sizes["mode"] - int(one.attrs["noisy_dims"])
    measured, theory = (
        later[source].median("seed").values
        for source in ("embedding_spectrum", "theory_embedding_spectrum")
    )
    every = slice(None, None, max(1, len(later["time"]) // 20))
    for mode in range(one.sizes["mode"]):
        block = int(mode >= split)
        axis.plot(
            later["time"][every],
            np.where(measured[every, mode] >= LOWEST, measured[every, mode], np.nan),
            color=BLOCK_COLOURS[block],
            marker="o^"[block],
            markersize=2,
            linestyle="",
        )
        axis.plot(later["time"], theory[:, mode], color=BLOCK_COLOURS[block], **THEORY)
    kind = kinds_found(one["kind"].values)
    told = "no collapse" if kind == "none" else f"{kind} collapse"
    unknown = " (no theory)" if np.isnan(theory).all() else ""
    axis.set_title(f"{name}{unknown}:\n{told}", fontsize=7)
