"""The figure of the kinds of collapse (paper, Figures 1 and 2)."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from linsim.spectra import kinds_found
from linsim.studies.style import BLOCK_COLOURS, LIMIT, THEORY, figure, look


def draw(dataset: xr.Dataset) -> Figure:
    """The paper's Figures 1 and 2, one row per objective: scatter (two leading, two trailing
    directions), spectrum, evolution.

    Solid: the theory of this batch size; dotted: infinite batches. Args: dataset of the study;
    scatter of the first seed. Returns: Figure.
    """
    with look():
        return _drawn(dataset)


def _drawn(dataset: xr.Dataset) -> Figure:
    count = dataset.sizes["objective"]
    drawn = figure(7.4, 1.45 * count + 0.6)
    axes = drawn.subplots(count, 3, squeeze=False, width_ratios=(1, 1.2, 1.3))
    rank = np.arange(1, dataset.sizes["mode"] + 1)
    limit = 1.1 * float(np.abs(dataset["scatter"].isel(seed=0)).max())
    for row, objective in zip(axes, dataset["objective"].values, strict=True):
        one = dataset.sel(objective=objective)
        scatter = one["scatter"].isel(seed=0).values
        row[0].scatter(scatter[:, 0], scatter[:, 1], s=4, color=BLOCK_COLOURS[0], marker="o")
        row[0].scatter(scatter[:, 2], scatter[:, 3], s=4, color=BLOCK_COLOURS[1], marker="^")
        row[0].set(xlim=(-limit, limit), ylim=(-limit, limit))
        kind = kinds_found(one["kind"].values)
        row[0].set_title(
            f"{objective}: {kind} collapse" if kind != "none" else f"{objective}: no collapse"
        )
        spectrum = one["embedding_spectrum"]
        exact, infinite = (
            one[f"{prefix}_embedding_spectrum"].median("seed")
            for prefix in ("theory", "population")
        )
        end = spectrum.isel(time=-1)
        row[1].fill_between(
            rank, end.min("seed"), end.max("seed"), color="0.2", alpha=0.25, linewidth=0
        )
        row[1].plot(rank, infinite.isel(time=-1), **LIMIT)
        row[1].plot(rank, exact.isel(time=-1), color="0.2", **THEORY)
        row[1].plot(rank, end.median("seed"), color="0.2", marker="o", linestyle="")
        later = slice(1, None)
        row[2].plot(one["time"][1:], infinite.isel(time=later), **LIMIT)
        row[2].plot(one["time"][1:], exact.isel(time=later), color=BLOCK_COLOURS[1], **THEORY)
        row[2].plot(
            one["time"][1:],
            spectrum.median("seed").isel(time=later),
            color=BLOCK_COLOURS[0],
            marker=".",
            markersize=2,
            linestyle="",
        )
        row[2].set(xscale="log")
        for axis in row[1:]:
            axis.set(yscale="log", ylim=(1e-8, 100))
        row[1].set_xlim(0.5, dataset.sizes["mode"] + 0.5)
        if end.max() < 1e-8:
            row[1].text(0.5, 0.5, "all below $10^{-8}$", transform=row[1].transAxes, ha="center")
    axes[0, 1].set_title("covariance spectrum at the end")
    axes[0, 2].set_title("covariance spectrum in time")
    for axis, label in zip(axes[-1], ("embedding", "rank", "time t"), strict=True):
        axis.set_xlabel(label)
    handles = [
        Line2D(
            [], [], color=BLOCK_COLOURS[0], linestyle="", marker="o", label="two leading directions"
        ),
        Line2D(
            [],
            [],
            color=BLOCK_COLOURS[1],
            linestyle="",
            marker="^",
            label="two trailing directions",
        ),
        Line2D([], [], color="0.2", marker="o", linestyle="", label="simulation"),
        Line2D([], [], color="0.2", label="theory at this batch size", **THEORY),
        Line2D([], [], label="infinite batches", **LIMIT),
    ]
    drawn.legend(handles=handles, loc="outside lower center", ncols=3)
    return drawn
