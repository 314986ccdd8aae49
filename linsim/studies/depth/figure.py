"""The figure of networks of several depths (paper, Figure 11)."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from linsim.studies.style import LIMIT, MARKERS, THEORY, cividis, figure, look


def draw(dataset: xr.Dataset) -> Figure:
    """The paper's Figure 11: embedding spectrum by depth, linear and ReLU; and collapsed dimensions
    in time.

    Markers: medians over seeds with their range; solid: the theory of this batch size and learning
    rate, for linear layers; dotted grey: infinite batches. Args: dataset of the study.
    """
    with look():
        return _drawn(dataset)


def _drawn(dataset: xr.Dataset) -> Figure:
    networks = dataset["network"].values
    drawn = figure(3.2 * len(networks) + 3.2, 3.3)
    axes = drawn.subplots(1, len(networks) + 1)
    end = dataset.isel(time=-1)
    rank = np.arange(1, dataset.sizes["mode"] + 1)
    shades = dict(
        zip(dataset["depth"].values, np.linspace(0, 0.85, dataset.sizes["depth"]), strict=True)
    )
    for axis, network, letter in zip(axes, networks, "ab", strict=False):
        for layers, marker in zip(dataset["depth"].values, MARKERS, strict=False):
            spectrum = end["embedding_spectrum"].sel(network=network, depth=layers)
            colour = cividis()(shades[layers])
            median = spectrum.median("seed").values
            bars = np.abs(np.stack([spectrum.min("seed"), spectrum.max("seed")]) - median)
            line = "" if network == "linear" else "-"
            axis.errorbar(
                rank, median, bars, color=colour, marker=marker, linestyle=line, label=f"{layers}"
            )
            if network == "linear":
                predicted = end.sel(depth=layers)
                axis.plot(rank, predicted["population_embedding_spectrum"], **LIMIT)
                axis.plot(rank, predicted["theory_embedding_spectrum"], color=colour, **THEORY)
        axis.set(
            yscale="log",
            xlabel="rank",
            title=f"({letter}) {'ReLU' if network == 'relu' else network} layers",
        )
        axis.set_ylim(1e-11, 5 * float(end["embedding_spectrum"].max()))
        axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes[0].set_ylabel("eigenvalue of embedding covariance")
    axes[0].legend(title="layers", loc="lower left")
    for layers, marker in zip(dataset["depth"].values, MARKERS, strict=False):
        colour = cividis()(shades[layers])
        one = dataset.sel(depth=layers).isel(time=slice(1, None))
        for network, face in zip(networks, ("full", "none"), strict=False):
            counts = one["collapsed"].sel(network=network).mean("seed")
            axes[-1].plot(
                one["time"][::5],
                counts[::5],
                color=colour,
                linestyle="",
                marker=marker,
                fillstyle=face,
            )
        axes[-1].plot(one["time"], one["population_collapsed"], **LIMIT)
        axes[-1].plot(one["time"], one["theory_collapsed"], color=colour, **THEORY)
    styles = [
        Line2D([], [], color="0.2", linestyle="", marker="o", fillstyle=face, label=name)
        for name, face in zip(networks, ("full", "none"), strict=False)
    ]
    axes[-1].legend(
        handles=[
            *styles,
            Line2D([], [], color="0.2", label="theory (linear)", **THEORY),
            Line2D([], [], label="infinite batches", **LIMIT),
        ],
        loc="upper left",
        ncols=2,
    )
    axes[-1].set(xscale="log", xlabel="time t", ylabel="collapsed dimensions", title="(c) in time")
    axes[-1].set_ylim(-0.5, 1.4 * dataset.sizes["mode"])
    return drawn
