"""The explorer's four pictures. Blocks keep their colours; lines are theory, dots are runs."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from linsim.explore.setting import Setting
from linsim.explore.theory import Answer, Ends, cloud
from linsim.studies.style import BLOCK_COLOURS, COLUMN, LIMIT, THEORY, figure, look

SIZE = COLUMN, 2.5  # inches
BLOCKS = "clean", "noisy"
LOWEST = 1e-9  # of the axes of strength
DOTS = {"marker": "o", "markersize": 2.5, "linestyle": "", "alpha": 0.5}
CLEAN, NOISY = (THEORY | {"color": colour, "linewidth": 1.2} for colour in BLOCK_COLOURS)


def in_time(answer: Answer, record: int, runs: xr.Dataset | None) -> Figure:
    """Strengths of the blocks in time. Args: theory; which record the cloud shows; trained runs,
    over `run`, or None.
    """
    with look():
        drawn, axis = _empty()
        for block, (colour, line) in enumerate(zip(BLOCK_COLOURS, (CLEAN, NOISY), strict=True)):
            if runs is not None:
                measured = runs["block_strength"].isel(block=block).transpose("time", "run").values
                axis.plot(runs["time"], measured, color=colour, zorder=1, **DOTS)
            strength = answer.strengths[:, block]
            axis.plot(answer.times, strength, label=f"{BLOCKS[block]} block", **line)
            end = answer.settled[block]
            if np.isfinite(strength).all() and 0 < end < np.inf:
                axis.axhline(end, label="infinite batches" if block else None, **LIMIT)
        axis.axvline(max(answer.times[record], answer.times[1]), color="0.6", linewidth=0.8)
        bottom = max(0.3 * np.nanmin(answer.strengths), LOWEST)
        axis.set(
            xscale="log",
            yscale="log",
            ylim=(bottom, 5 * np.nanmax(answer.strengths)),
            xlabel="time t = learning rate × steps",
            ylabel="strength m per mode",
            title=_fate(answer),
        )
        axis.legend(loc="best")
        return drawn


def _fate(answer: Answer) -> str:
    if answer.collapsed:
        return f"{answer.collapsed} dimensions vanish"
    return "no dimension vanishes"


def embeddings(setting: Setting, answer: Answer, record: int) -> Figure:
    """The cloud of embeddings at one time: anchors, joined to their positives."""
    first, second = cloud(setting, answer.strengths[record])
    with look():
        drawn, axis = _empty()
        steps = np.stack([first, second], axis=1)
        axis.plot(*np.moveaxis(steps, (2, 1, 0), (0, 1, 2)), color="0.75", linewidth=0.6)
        axis.plot(*first.T, color=BLOCK_COLOURS[0], **DOTS)
        reach = 3.2 * np.sqrt(max(np.nanmax(answer.strengths[record]), LOWEST))
        axis.set(
            xlim=(-reach, reach),
            ylim=(-reach, reach),
            xlabel="embedding, first coordinate",
            ylabel="embedding, last coordinate",
            title=f"embeddings and their positives at t = {answer.times[record]:.3g}",
        )
        return drawn


def spectrum(setting: Setting, answer: Answer, runs: xr.Dataset | None) -> Figure:
    """Singular values of W at the end."""
    clean = setting.dim - setting.noisy_dims
    ends = np.repeat(answer.strengths[-1], [clean, setting.noisy_dims])
    rank = np.arange(1, setting.dim + 1)
    with look():
        drawn, axis = _empty()
        if runs is not None:
            measured = runs["weight_singular_values"].isel(time=-1).transpose("mode", "run").values
            axis.plot(rank, measured, color="0.5", zorder=1, **DOTS)
        values = np.sort(np.sqrt(ends))[::-1]
        axis.plot(rank, np.maximum(values, LOWEST), **CLEAN)
        axis.set(
            yscale="log",
            ylim=(max(0.3 * values.min(), LOWEST), 3 * max(values.max(), 10 * LOWEST)),
            xlabel="rank",
            ylabel="singular value of W",
            title=f"weight spectrum at t = {answer.times[-1]:.3g}",
        )
        return drawn


def where(ends: Ends, setting: Setting) -> Figure:
    """The bifurcation diagram, and where the setting lies in it."""
    with look():
        drawn, axis = _empty()
        axis.plot(ends.noise, ends.infinite, label="infinite batches", **LIMIT)
        if np.isfinite(ends.finite).any():
            axis.plot(ends.noise, ends.finite, label="any batch, late", **NOISY)
        if np.isfinite(ends.threshold):
            axis.axvspan(ends.threshold, ends.noise[-1], color="0.93", zorder=0)
            axis.text(ends.threshold, 0.1, " vanishes from √2 on", transform=_along(axis))
        axis.axvline(setting.noise, color=BLOCK_COLOURS[0], linewidth=1)
        axis.text(setting.noise, 0.94, " you are here", transform=_along(axis))
        axis.set(
            xlim=(0, ends.noise[-1]),
            ylim=(0, min(3.0, 1.1 * np.nanmax(ends.infinite))),
            xlabel="noise",
            ylabel="strength of a noisy mode",
            title="where a noisy mode settles",
        )
        axis.legend(loc="center right", frameon=True, framealpha=1, edgecolor="none")
        return drawn


def _along(axis: Axes):
    return axis.get_xaxis_transform()


def _empty() -> tuple[Figure, Axes]:
    drawn = figure(*SIZE)
    return drawn, drawn.subplots()
