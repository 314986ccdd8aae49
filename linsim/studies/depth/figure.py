"""Figures of deeper networks, and of the kinds of collapse (paper, Figures 1, 2 and 11)."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from linsim.plots.style import BLOCK_COLOURS, MARKERS, POPULATION, plt
from linsim.spectra import kinds_found


def depth(dataset: xr.Dataset) -> Figure:
    """The paper's Figure 11: embedding spectrum by depth, linear and ReLU; and collapsed dimensions in time.

    Bands: range over seeds; dashed: the balanced population flow at the same time. Args: dataset of `experiments/depth.py`.
    """
    networks = dataset["network"].values
    figure, axes = plt.subplots(1, len(networks) + 1, figsize=(3.2 * len(networks) + 3.2, 3.3))
    end = dataset.isel(time=-1)
    rank = np.arange(1, dataset.sizes["mode"] + 1)
    shades = dict(zip(dataset["depth"].values, np.linspace(0, 0.85, dataset.sizes["depth"]), strict=True))
    for axis, network, letter in zip(axes, networks, "ab", strict=False):
        for layers, marker in zip(dataset["depth"].values, MARKERS, strict=False):
            spectrum = end["embedding_spectrum"].sel(network=network, depth=layers)
            colour = plt.get_cmap("cividis")(shades[layers])
            axis.fill_between(rank, spectrum.min("seed"), spectrum.max("seed"), color=colour, alpha=0.25, linewidth=0)
            axis.plot(rank, spectrum.median("seed"), color=colour, marker=marker, label=f"{layers}")
            if network == "linear":
                axis.plot(rank, end["population_embedding_spectrum"].sel(depth=layers), color=colour, **POPULATION)
        axis.set(yscale="log", xlabel="rank", title=f"({letter}) {'ReLU' if network == 'relu' else network} layers")
        axis.set_ylim(1e-11, 5 * float(end["embedding_spectrum"].max()))
        axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes[0].set_ylabel("eigenvalue of embedding covariance")
    axes[0].legend(title="layers", loc="lower left")
    for layers, marker in zip(dataset["depth"].values, MARKERS, strict=False):
        colour = plt.get_cmap("cividis")(shades[layers])
        one = dataset.sel(depth=layers).isel(time=slice(1, None))
        for network, line in zip(networks, ("-", ":"), strict=False):
            counts = one["collapsed"].sel(network=network).mean("seed")
            axes[-1].plot(one["time"], counts, color=colour, linestyle=line, marker=marker, markevery=10)
        axes[-1].plot(one["time"], one["predicted_collapsed"], color=colour, **POPULATION)
    styles = [Line2D([], [], color="0.2", linestyle=s, label=n) for n, s in zip(networks, ("-", ":"), strict=False)]
    axes[-1].legend(handles=[*styles, Line2D([], [], color="0.2", label="population (linear)", **POPULATION)], loc="upper left")
    axes[-1].set(xscale="log", xlabel="time t", ylabel="collapsed dimensions", title="(c) in time")
    axes[-1].set_ylim(-0.5, 1.4 * dataset.sizes["mode"])
    return figure


def kinds(dataset: xr.Dataset) -> Figure:
    """The paper's Figures 1 and 2, one row per objective: scatter (two leading, two trailing directions), spectrum, evolution.

    Dashed: population flow. Args: dataset of `experiments/collapse_kinds.py`; scatter of the first seed. Returns: Figure.
    """
    count = dataset.sizes["objective"]
    figure, axes = plt.subplots(count, 3, figsize=(7.4, 1.45 * count + 0.6), squeeze=False, width_ratios=(1, 1.2, 1.3))
    rank = np.arange(1, dataset.sizes["mode"] + 1)
    limit = 1.1 * float(np.abs(dataset["scatter"].isel(seed=0)).max())
    for row, objective in zip(axes, dataset["objective"].values, strict=True):
        one = dataset.sel(objective=objective)
        scatter = one["scatter"].isel(seed=0).values
        row[0].scatter(scatter[:, 0], scatter[:, 1], s=4, color=BLOCK_COLOURS[0], marker="o")
        row[0].scatter(scatter[:, 2], scatter[:, 3], s=4, color=BLOCK_COLOURS[1], marker="^")
        row[0].set(xlim=(-limit, limit), ylim=(-limit, limit))
        kind = kinds_found(one["kind"].values)
        row[0].set_title(f"{objective}: {kind} collapse" if kind != "none" else f"{objective}: no collapse")
        spectrum, flow = one["embedding_spectrum"], one["population_embedding_spectrum"].median("seed")
        end = spectrum.isel(time=-1)
        row[1].fill_between(rank, end.min("seed"), end.max("seed"), color="0.2", alpha=0.25, linewidth=0)
        row[1].plot(rank, end.median("seed"), color="0.2", marker="o")
        row[1].plot(rank, flow.isel(time=-1), color="0.2", **POPULATION)
        row[2].plot(one["time"][1:], spectrum.median("seed").isel(time=slice(1, None)), color=BLOCK_COLOURS[0], linewidth=0.7)
        row[2].plot(one["time"][1:], flow.isel(time=slice(1, None)), color=BLOCK_COLOURS[1], **POPULATION)
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
        Line2D([], [], color=BLOCK_COLOURS[0], linestyle="", marker="o", label="two leading directions"),
        Line2D([], [], color=BLOCK_COLOURS[1], linestyle="", marker="^", label="two trailing directions"),
        Line2D([], [], color="0.2", marker="o", label="simulation"),
        Line2D([], [], color="0.2", label="population flow", **POPULATION),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return figure
