"""The figure of networks of several depths (paper, Figure 11)."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from linsim.studies.style import (
    DIVERGED,
    HOLLOW,
    LIMIT,
    MEASURED,
    PAGE,
    SPREAD,
    THEORY,
    Ordered,
    band,
    below,
    ceiling,
    decades,
    figure,
    floor,
    headline,
    key,
    look,
    measured,
    named,
    note_if_none,
    ranks,
    whole_ticks,
)

RESOLUTION = 1e-13  # of eigenvalues that are squares of singular values in single precision
NETWORKS = {"linear": "linear layers", "relu": "ReLU layers"}


def draw(dataset: xr.Dataset) -> Figure:
    """The paper's Figure 11: the embedding spectrum by depth, for linear and for ReLU layers; and
    the collapsed dimensions of each in time.

    Markers: medians over seeds (in time: means) with the range as a band; black: the theory of this
    batch size and learning rate, for linear layers; dotted grey: infinite batches.
    Args: dataset of the study. Returns: Figure.
    """
    with look():
        return _drawn(dataset.sortby("depth"))


def _drawn(dataset: xr.Dataset) -> Figure:
    networks = [str(name) for name in dataset["network"].values]
    drawn = figure(PAGE, 4.6)
    axes = drawn.subplots(2, len(networks), squeeze=False, sharey="row")
    depths = Ordered(dataset["depth"].values, "layers")
    end = dataset.isel(time=-1)
    values = end["embedding_spectrum"].values
    decades(axes[0, 0], "y", floor(values, RESOLUTION), ceiling(values))
    for column, network in enumerate(networks):
        top, bottom = axes[:, column]
        _spectra(top, end, network, depths)
        _counts(bottom, dataset, network, depths)
        width = 5.5 / len(networks)
        headline(top, "ab"[column], _told_of_spectra(dataset, network), width)
        letter = "abcd"[len(networks) + column]
        headline(bottom, letter, _told_of_growth(dataset, network), width)
    axes[0, 0].set_ylabel("eigenvalue of covariance")
    axes[1, 0].set_ylabel("collapsed dimensions")
    depths.key(drawn, axes)
    key(drawn, _handles(dataset))
    return drawn


def _spectra(axis: Axes, end: xr.Dataset, network: str, depths: Ordered) -> None:
    ranks(axis, end.sizes["mode"])
    rank = np.arange(1, end.sizes["mode"] + 1)
    cutoff = float(end.attrs["collapse_threshold"]) ** 2
    hidden_anywhere = False
    note_if_none(axis, end["embedding_spectrum"].sel(network=network).values, DIVERGED)
    for layers, colour, mark in depths:
        spectrum = end["embedding_spectrum"].sel(network=network, depth=layers)
        median = spectrum.median("seed").values
        axis.fill_between(rank, spectrum.min("seed"), spectrum.max("seed"), color=colour, **SPREAD)
        kept = median >= cutoff * median.max()
        axis.plot(rank[kept], median[kept], color=colour, marker=mark, **MEASURED)
        axis.plot(rank[~kept], median[~kept], color=colour, marker=mark, **HOLLOW)
        if network == "linear":
            one = end.sel(depth=layers)
            axis.plot(rank, one["population_embedding_spectrum"], **LIMIT)
            axis.plot(rank, one["theory_embedding_spectrum"], **THEORY)
        hidden = median < axis.get_ylim()[0]
        below(axis, rank[hidden], colour)
        hidden_anywhere = hidden_anywhere or bool(hidden.any())
    if hidden_anywhere:
        axis.set_xlabel("rank (▼ below the frame)")


def _counts(axis: Axes, dataset: xr.Dataset, network: str, depths: Ordered) -> None:
    later = dataset.isel(time=slice(1, None))
    time = later["time"].values
    every = max(1, len(time) // 15)
    for layers, colour, mark in depths:
        one = later.sel(depth=layers)
        counts = one["collapsed"].sel(network=network).transpose("seed", "time").values
        low, high = counts.min(axis=0), counts.max(axis=0)
        axis.fill_between(time, low, high, color=colour, step="mid", **SPREAD)
        axis.plot(
            time[::every], counts.mean(axis=0)[::every], color=colour, marker=mark, **MEASURED
        )
        if network == "linear":
            axis.plot(time, one["population_collapsed"], **LIMIT)
            axis.plot(time, one["theory_collapsed"], **THEORY)
    dims = dataset.sizes["mode"]
    decades(axis, "x", 0.8 * time[0], 1.25 * time[-1])
    axis.axhline(dims, color="0.6", linewidth=0.6)
    axis.set(xlabel="time t = learning rate × steps", ylim=(-0.04 * dims - 0.1, 1.04 * dims + 0.1))
    whole_ticks(axis.yaxis)


def _end_counts(dataset: xr.Dataset, network: str) -> np.ndarray:
    """Collapsed dimensions at the end by depth, mean over seeds."""
    counts = dataset["collapsed"].sel(network=network).isel(time=-1)
    return counts.transpose("depth", "seed").values.mean(axis=1)


def _told_of_spectra(dataset: xr.Dataset, network: str) -> str:
    counts, name = _end_counts(dataset, network), NETWORKS.get(network, network)
    if not np.isfinite(counts).all():
        return f"{name}: training diverges"
    shown = f"{counts[0]:.3g}" if len(counts) == 1 else f"{counts[0]:.3g} to {counts[-1]:.3g}"
    layers = dataset["depth"].values
    deep = f"{layers[0]}" if len(layers) == 1 else f"{layers[0]} to {layers[-1]}"
    return f"{deep} {name}: {shown} of {dataset.sizes['mode']} dimensions collapse"


def _told_of_growth(dataset: xr.Dataset, network: str) -> str:
    counts, name = _end_counts(dataset, network), NETWORKS.get(network, network).split()[0]
    if not np.isfinite(counts).all():
        return f"{name}: training diverges"
    if len(counts) == 1:
        return f"{name}: collapsed dimensions in time"
    if np.all(np.diff(counts) > 0):
        return f"{name}: each layer more collapses more dimensions"
    if np.all(np.diff(counts) >= 0) and counts[-1] > counts[0]:
        return f"{name}: deeper networks collapse no fewer dimensions"
    return f"{name}: collapse does not grow with depth"


def _handles(dataset: xr.Dataset) -> list[Any]:
    seeds, share = dataset.sizes["seed"], 100 * float(dataset.attrs["collapse_threshold"])
    handles: list[Any] = [measured("simulation" if seeds == 1 else f"simulation, {seeds} seeds")]
    if seeds > 1:
        handles.append(band("range of the seeds"))
    if "linear" in dataset["network"].values and np.isfinite(dataset["theory_collapsed"]).any():
        handles.append(named(THEORY, "theory of this batch size and rate"))
        handles.append(named(LIMIT, "infinite batches"))
    words = f"collapsed: below {share:g} % of the largest deviation"
    handles.append(named(HOLLOW | {"marker": "o"}, words))
    handles.append(named({"color": "0.6", "linewidth": 0.6}, "all dimensions"))
    return handles
