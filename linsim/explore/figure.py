"""The explorer's four pictures. Blocks keep their colours; lines are theory, dots are runs."""

import numpy as np
import xarray as xr

from linsim.explore.setting import Setting
from linsim.explore.svg import Plot, Scale
from linsim.explore.theory import Answer, Ends, cloud
from linsim.studies.style import BLOCK_COLOURS

BLOCKS = "clean", "noisy"
LOWEST = 1e-9  # of the axes of strength
GREY = "#777"
MOST_DOTS = 20  # in time
SECONDS = 6.0  # of the film


def in_time(answer: Answer, record: int, runs: xr.Dataset | None) -> str:
    """Strengths of the modes in time. Args: theory; which record the cloud shows; trained runs,
    over `run`, or None.
    """
    times, strengths = answer.times, answer.strengths
    low = max(0.3 * float(np.nanmin(strengths)), LOWEST)
    plot = Plot(
        Scale(times[1], times[-1], logarithmic=True),
        Scale(low, max(5 * float(np.nanmax(strengths)), 10 * low), logarithmic=True),
        "time t = learning rate × steps",
        "strength m of a mode",
        _fate(answer),
    )
    if runs is not None:
        _dots_in_time(plot, answer, runs)
    single = answer.whole_blocks()
    for group, block in enumerate(answer.block):
        plot.line(times, strengths[:, group], BLOCK_COLOURS[block], 2 if single else 1)
        end = answer.settled[group]
        if single and 0 < end < np.inf:
            plot.line(times[[1, -1]], np.array([end, end]), GREY, 1.5, "2 4")
    plot.level(max(times[record], times[1]), "#bbb")
    key = [(f"{BLOCKS[block]} block", BLOCK_COLOURS[block]) for block in sorted(set(answer.block))]
    ends = single and any(0 < end < np.inf for end in answer.settled)
    plot.key(key + [("dotted: infinite batches", GREY)] * ends, 0.03, 0.08)
    return plot.svg()


def _dots_in_time(plot: Plot, answer: Answer, runs: xr.Dataset) -> None:
    """Every run's blocks, or where modes differ, the median of each over the runs."""
    few = runs.isel(time=slice(1, None, max(1, runs.sizes["time"] // MOST_DOTS)))
    time = few["time"].values
    if answer.whole_blocks():
        for block in answer.block:
            measured = few["block_strength"].isel(block=block).transpose("time", "run").values
            plot.dots(time[:, None], measured, BLOCK_COLOURS[block], 3, 0.5)
        return
    median = few["weight_singular_values"].median("run").transpose("time", "mode").values
    order = np.argsort(-answer.modes()[-1], kind="stable")
    block = np.repeat(answer.block, [group.count for group in answer.groups])[order]
    for mode in range(median.shape[1]):
        plot.dots(time, median[:, mode] ** 2, BLOCK_COLOURS[block[mode]], 3.5)


def _fate(answer: Answer) -> str:
    if answer.collapsed > 1:
        return f"{answer.collapsed} dimensions vanish"
    return "one dimension vanishes" if answer.collapsed else "no dimension vanishes"


def embeddings(setting: Setting, answer: Answer, record: int, *, play: bool = False) -> str:
    """The cloud of embeddings: anchors, joined to their positives, at one time, or as a film of all
    of training.
    """
    scales = np.sqrt(answer.ends())
    first, second = cloud(setting)
    reach = 1.05 * max(float(np.nanmax(scales * np.abs(first).max(axis=0))), LOWEST)
    plot = Plot(
        Scale(-reach, reach),
        Scale(-reach, reach),
        "embedding, first coordinate",
        "last coordinate",
        "embeddings in time" if play else f"embeddings at t = {answer.times[record]:.3g}",
    )
    seconds = SECONDS if play else 0.0
    plot.moving(first, second, scales, record, seconds, BLOCK_COLOURS[0])
    plot.key([("dots: anchors", BLOCK_COLOURS[0]), ("grey: to their positives", GREY)], 0.03, 0.08)
    return plot.svg()


def spectrum(setting: Setting, answer: Answer, runs: xr.Dataset | None) -> str:
    """Singular values of W at the end."""
    rank = np.arange(1, setting.dim + 1)
    values = np.sort(np.sqrt(answer.modes()[-1]))[::-1]
    low = max(0.3 * float(np.nanmin(values)), LOWEST)
    plot = Plot(
        Scale(0.5, setting.dim + 0.5),
        Scale(low, 3 * max(float(np.nanmax(values)), 10 * low), logarithmic=True),
        "rank",
        "singular value of W",
        f"weight spectrum at t = {answer.times[-1]:.3g}",
    )
    if runs is not None:
        measured = runs["weight_singular_values"].isel(time=-1).transpose("mode", "run").values
        plot.dots(rank[:, None] * 1.0, measured, GREY, 4, 0.5)
    plot.line(rank, np.maximum(values, LOWEST), BLOCK_COLOURS[0])
    return plot.svg()


def where(ends: Ends, setting: Setting) -> str:
    """The bifurcation diagram, and where the setting lies in it."""
    high = min(3.0, 1.1 * float(np.nanmax(ends.infinite)))
    equal = setting.data_exponent == 0
    plot = Plot(
        Scale(0.0, float(ends.noise[-1])),
        Scale(0.0, high),
        "noise (standard deviation)",
        "strength m it settles at",
        "where a noisy mode settles" if equal else "where the strongest noisy mode settles",
    )
    if np.isfinite(ends.threshold) and ends.threshold < ends.noise[-1]:
        plot.shade(ends.threshold, float(ends.noise[-1]))
        words = "√2" if equal else f"{ends.threshold:.2f}"
        plot.words(0.97, 0.93, f"vanishes from {words} on")
    plot.line(ends.noise, ends.infinite, GREY, 1.5, "2 4")
    plot.line(ends.noise, ends.finite, BLOCK_COLOURS[1])
    plot.level(setting.noise, BLOCK_COLOURS[0], 2)
    key = [("blue line: you are here", BLOCK_COLOURS[0]), ("dotted: infinite batches", GREY)]
    if np.isfinite(ends.finite).any():
        key.append(("these batches, late", BLOCK_COLOURS[1]))
    plot.key(key, 0.97, 0.1)
    return plot.svg()
