"""The figure of the alignment of two linear layers (paper, section 5.2, Figure 5)."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from linsim.studies.style import MARKERS, POPULATION, THEORY, cividis, figure, look


def draw(dataset: xr.Dataset) -> Figure:
    """The paper's Figure 5: |A| at start, midway and at the end; |A_kk| (markers) with theory and
    its bound, and the conserved C, in time.

    Args: dataset of the study; the first noise, init_scale and seed are drawn. Returns: Figure.
    """
    with look():
        return _drawn(dataset.isel(noise=0, init_scale=0, seed=0))


def _drawn(run: xr.Dataset) -> Figure:
    drawn = figure(7.4, 5.4)
    top, bottom = (
        drawn.add_subfigure(rows) for rows in drawn.add_gridspec(2, 1, height_ratios=(1.0, 1.05))
    )
    maps = top.subplots(1, 3)
    middle = int(
        np.searchsorted(run["time"].values, np.sqrt(run["time"].values[1] * run["time"].values[-1]))
    )
    shown = {"vmin": 0, "vmax": 1}
    records = np.abs(run["alignment"].values[[0, middle, -1]])
    images = [axis.imshow(values, **shown) for axis, values in zip(maps, records, strict=True)]
    for axis, record in zip(maps, (0, middle, -1), strict=True):
        axis.set(title=f"|A| at t = {float(run['time'][record]):.4g}", xlabel="mode of W1")
        ticks = np.arange(3, run.sizes["mode_w1"], 4)
        axis.set(xticks=ticks, xticklabels=ticks + 1, yticks=ticks, yticklabels=ticks + 1)
    maps[0].set_ylabel("mode of W2")
    _outline_groups(maps[-1], run["mode_group"].values)
    top.colorbar(images[-1], ax=maps, shrink=0.8)
    curves = bottom.subplots(1, 2, width_ratios=(1.6, 1))
    _diagonal_in_time(curves[0], run)
    _imbalance_in_time(curves[1], run)
    return drawn


def _outline_groups(axis: Axes, groups: np.ndarray) -> None:
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        if len(members) > 1:
            corner, size = members[0] - 0.5, len(members)
            axis.add_patch(
                Rectangle(
                    (corner, corner), size, size, fill=False, edgecolor="white", linewidth=1.6
                )
            )


def _diagonal_in_time(axis: Axes, run: xr.Dataset) -> None:
    time = run["time"].values[1:]
    diagonal = np.abs(np.diagonal(run["alignment"].values, axis1=1, axis2=2))[1:]
    bound = run["alignment_bound"].values[1:]
    theory = np.abs(np.diagonal(run["theory_alignment"].values, axis1=1, axis2=2))[1:]
    grown = run["mode_state"].values > 0
    axis.plot(time, diagonal[:, ~grown], color="0.8", linewidth=0.6)
    shown = np.flatnonzero(grown)[:6]
    for mode, shade in zip(shown, np.linspace(0, 0.85, len(shown)), strict=True):
        colour = cividis()(shade)
        axis.plot(
            time,
            diagonal[:, mode],
            color=colour,
            marker=MARKERS[mode],
            markevery=4,
            linestyle="" if np.isfinite(theory).any() else "-",
            label=f"mode {mode + 1}",
        )
        axis.plot(
            time, np.where(bound[:, mode] > 0, bound[:, mode], np.nan), color=colour, **POPULATION
        )
        axis.plot(time, theory[:, mode], color=colour, **THEORY)
    handles, labels = axis.get_legend_handles_labels()
    if np.isfinite(theory).any():
        handles, labels = [*handles, Line2D([], [], color="0.2", **THEORY)], [*labels, "theory"]
    handles, labels = [*handles, Line2D([], [], color="0.2", **POPULATION)], [*labels, "bound"]
    if not grown.all():
        handles, labels = (
            [*handles, Line2D([], [], color="0.8", linewidth=0.6)],
            [*labels, "not grown"],
        )
    axis.legend(handles, labels, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    axis.set(
        xscale="log",
        xlabel="time t",
        ylabel="|A_kk|",
        ylim=(0, 1.02),
        title="diagonal of A and its lower bound",
    )


def _imbalance_in_time(axis: Axes, run: xr.Dataset) -> None:
    axis.plot(run["time"].values[1:], run["imbalance_norm"].values[1:], color="0.2")
    axis.set(xscale="log", xlabel="time t", ylabel="norm of C", title="conserved imbalance")
    axis.set_ylim(0, 1.25 * float(run["imbalance_norm"].max()))
