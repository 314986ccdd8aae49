"""Figures of two linear layers (paper, section 5): alignment and singular values."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from linsim.plots.style import MARKERS, POPULATION, floor, plt


def alignment(dataset: xr.Dataset) -> Figure:
    """The paper's Figure 5: |A| at start, midway and at the end; |A_kk| with its bound, and the conserved C, in time.

    Args: dataset of `experiments/alignment.py`; the first noise, init_scale and seed are drawn. Returns: Figure.
    """
    run = dataset.isel(noise=0, init_scale=0, seed=0)
    figure = plt.figure(figsize=(7.4, 5.4))
    top, bottom = (figure.add_subfigure(rows) for rows in figure.add_gridspec(2, 1, height_ratios=(1.0, 1.05)))
    maps = top.subplots(1, 3)
    middle = int(np.searchsorted(run["time"].values, np.sqrt(run["time"].values[1] * run["time"].values[-1])))
    for axis, record in zip(maps, (0, middle, -1), strict=True):
        image = axis.imshow(np.abs(run["alignment"].values[record]), vmin=0, vmax=1)
        axis.set(title=f"|A| at t = {float(run['time'][record]):.4g}", xlabel="mode of W1")
        ticks = np.arange(3, run.sizes["mode_w1"], 4)
        axis.set(xticks=ticks, xticklabels=ticks + 1, yticks=ticks, yticklabels=ticks + 1)
    maps[0].set_ylabel("mode of W2")
    _outline_groups(maps[-1], run["mode_group"].values)
    top.colorbar(image, ax=maps, shrink=0.8)
    curves = bottom.subplots(1, 2, width_ratios=(1.6, 1))
    _diagonal_in_time(curves[0], run)
    _imbalance_in_time(curves[1], run)
    return figure


def _outline_groups(axis: Axes, groups: np.ndarray) -> None:
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        if len(members) > 1:
            corner, size = members[0] - 0.5, len(members)
            axis.add_patch(Rectangle((corner, corner), size, size, fill=False, edgecolor="white", linewidth=1.6))


def _diagonal_in_time(axis: Axes, run: xr.Dataset) -> None:
    time = run["time"].values[1:]
    diagonal = np.abs(np.diagonal(run["alignment"].values, axis1=1, axis2=2))[1:]
    bound = run["alignment_bound"].values[1:]
    grown = run["mode_state"].values > 0
    axis.plot(time, diagonal[:, ~grown], color="0.8", linewidth=0.6)
    shown = np.flatnonzero(grown)[:6]
    for mode, shade in zip(shown, np.linspace(0, 0.85, len(shown)), strict=True):
        colour = plt.get_cmap("cividis")(shade)
        axis.plot(time, diagonal[:, mode], color=colour, marker=MARKERS[mode], markevery=8, label=f"mode {mode + 1}")
        axis.plot(time, np.where(bound[:, mode] > 0, bound[:, mode], np.nan), color=colour, **POPULATION)
    handles, labels = axis.get_legend_handles_labels()
    handles, labels = [*handles, Line2D([], [], color="0.2", **POPULATION)], [*labels, "bound"]
    if not grown.all():
        handles, labels = [*handles, Line2D([], [], color="0.8", linewidth=0.6)], [*labels, "not grown"]
    axis.legend(handles, labels, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    axis.set(xscale="log", xlabel="time t", ylabel="|A_kk|", ylim=(0, 1.02), title="diagonal of A and its lower bound")


def _imbalance_in_time(axis: Axes, run: xr.Dataset) -> None:
    axis.plot(run["time"].values[1:], run["imbalance_norm"].values[1:], color="0.2")
    axis.set(xscale="log", xlabel="time t", ylabel="norm of C", title="conserved imbalance")
    axis.set_ylim(0, 1.25 * float(run["imbalance_norm"].max()))


def singular_values(dataset: xr.Dataset) -> Figure:
    """The paper's Figure 6 a-c: singular values of W1, W2 and of the embedding covariance in time, log scale.

    Solid: simulation; dotted: Theorem 3 integrated with the measured pull; dashed: population flow; ticks: escape times.
    Args: dataset of `experiments/singular_values.py`; the first noise, init_scale and seed are drawn. Returns: Figure.
    """
    run = dataset.isel(noise=0, init_scale=0, seed=0)
    figure, axes = plt.subplots(1, 3, figsize=(9.6, 3.5))
    panels = (("w1_singular_values", 0), ("w2_singular_values", 1), ("embedding_spectrum", None))
    titles = ("(a) singular values of W1", "(b) singular values of W2", "(c) embedding covariance")
    time = run["time"].values[1:]
    for axis, (name, layer), title in zip(axes, panels, titles, strict=True):
        count = run[name].shape[-1]
        for mode, shade in enumerate(np.linspace(0, 0.85, count)):
            colour = plt.get_cmap("cividis")(shade)
            axis.plot(time, run[name].values[1:, mode], color=colour, linewidth=1.0)
            axis.plot(time, run[f"population_{name}"].values[1:, mode], color=colour, linestyle="--", linewidth=0.6)
            if mode < run.sizes["hidden_mode"]:
                theorem = run["theorem_3"].values[1:, :, mode]
                values = theorem[:, layer] if layer is not None else np.prod(theorem, axis=1) ** 2
                axis.plot(time, values, color=colour, linestyle=":", linewidth=1.2)
        escapes = run["escape_time"].values
        axis.plot(escapes[escapes < time[-1]], np.zeros(np.sum(escapes < time[-1])), "|", color="0.2", markersize=8,
                  transform=axis.get_xaxis_transform(), clip_on=False)  # fmt: skip
        axis.set(xscale="log", yscale="log", xlabel="time t", title=title)
        axis.set_ylim(floor(run[name].values[-1]), 4 * float(run[name].max()))
    handles = [
        Line2D([], [], color="0.2", label="simulation"),
        Line2D([], [], color="0.2", linestyle=":", label="Theorem 3"),
        Line2D([], [], color="0.2", linestyle="--", linewidth=0.6, label="population"),
        Line2D([], [], color="0.2", linestyle="", marker="|", markersize=8, label="escape times"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return figure
