"""Figures of the projectors (paper, Figures 7b, 9, 10 and 12): spectra, probes, gradient ranks."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from linsim import ablation
from linsim.plots.style import MARKERS, floor, plt


def projectors(dataset: xr.Dataset) -> Figure:
    """(a) representation spectra, (b) probe accuracies, (c) accuracy against d0, (d) gradient spectra at r and behind the block.

    Args: dataset of `experiments/directclr.py`. Returns: Figure.
    """
    figure, axes = plt.subplots(2, 2, figsize=(9.6, 7.0))
    _spectra(axes[0, 0], dataset)
    _accuracies(axes[0, 1], dataset)
    _against_d0(axes[1, 0], dataset)
    _gradients(axes[1, 1], dataset)
    return figure


def _styles(dataset: xr.Dataset) -> list[tuple[str, tuple, str]]:
    """(setup, colour, marker) of every setup."""
    names = dataset["projector"].values.tolist()
    shades = plt.get_cmap("cividis")(np.linspace(0, 0.9, len(names)))
    return [(name, tuple(shade), mark) for name, shade, mark in zip(names, shades, MARKERS * 2, strict=False)]


def _spectra(axis: Axes, dataset: xr.Dataset) -> None:
    spectrum = dataset["representation_spectrum"]
    rank = np.arange(1, dataset.sizes["mode"] + 1)
    for name, colour, mark in _styles(dataset):
        median = spectrum.sel(projector=name).median("seed")
        axis.plot(rank, median / median.max(), color=colour, marker=mark, markevery=12, label=ablation.SETUPS[name])
    axis.set(yscale="log", xlabel="rank", ylabel="eigenvalue / largest", title="(a) covariance of the representation r")
    axis.set_ylim(1e-3 * floor((spectrum / spectrum.max("mode")).values), 2)  # room for the legend
    axis.legend(loc="lower left", ncols=2)


def _accuracies(axis: Axes, dataset: xr.Dataset) -> None:
    names = dataset["projector"].values.tolist()
    place = np.arange(len(names))[::-1]
    count = dataset.sizes["labels"]
    below, text_below = (
        ("raw_accuracy", "raw pixels") if "raw_accuracy" in dataset else ("untrained_accuracy", "untrained encoder")
    )
    for index, labels in enumerate(dataset["labels"].values):
        shade = plt.get_cmap("cividis")(0.9 * index / count)
        shift = 0.2 * (index - (count - 1) / 2)
        rows = dataset["probe_accuracy"].sel(feature="r", labels=labels)
        intervals = [ablation.interval(100 * rows.sel(projector=name).values) for name in names]
        means = [each.mean for each in intervals]
        halves = np.nan_to_num([each.high - each.mean for each in intervals])
        text = "all labels" if labels == "all" else f"{labels} per class"
        axis.errorbar(means, place - shift, xerr=halves, color=shade, marker=MARKERS[index], linestyle="", label=text)
        raw = 100 * float(dataset[below].sel(labels=labels).mean())
        axis.axvline(raw, color=shade, linestyle=":", linewidth=1.0)
    axis.plot([], [], color="0.2", linestyle=":", label=text_below)
    axis.set(
        yticks=place, yticklabels=[ablation.SETUPS[name] for name in names], xlabel="probe accuracy on r, %", title="(b) probes"
    )
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)


def _against_d0(axis: Axes, dataset: xr.Dataset) -> None:
    axis.set(xlabel="d0, coordinates that the loss sees", ylabel="probe accuracy on r, %", title="(c) DirectCLR against d0")
    if "sweep_probe_accuracy" not in dataset:
        axis.text(0.5, 0.5, "not run (--d0-sweep)", transform=axis.transAxes, ha="center")
        return
    d0, accuracy = dataset["d0"].values, dataset["sweep_probe_accuracy"]
    order = np.argsort(d0)
    for index, labels in enumerate(dataset["labels"].values):
        shade = plt.get_cmap("cividis")(0.9 * index / dataset.sizes["labels"])
        intervals = [ablation.interval(100 * accuracy.isel(d0=k).sel(labels=labels).values) for k in order]
        bounds = np.nan_to_num([[each.mean - each.low, each.high - each.mean] for each in intervals]).T
        text = "all labels" if labels == "all" else f"{labels} per class"
        axis.errorbar(d0[order], [each.mean for each in intervals], yerr=bounds, color=shade, marker=MARKERS[index], label=text)
        if "none" in dataset["projector"].values:
            none = 100 * float(dataset["probe_accuracy"].sel(projector="none", feature="r", labels=labels).mean())
            axis.axhline(none, color=shade, linestyle=":", linewidth=1.0)
    axis.plot([], [], color="0.2", linestyle=":", label="no projector")
    axis.set_xscale("symlog", base=2, linthresh=4)
    axis.set_xticks(d0[order], [str(value) for value in d0[order]])
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)


def _gradients(axis: Axes, dataset: xr.Dataset) -> None:
    spectrum = dataset["gradient_spectrum"]
    rank = np.arange(1, dataset.sizes["mode"] + 1)
    shown = [name for name in ("none", "directclr", "directclr-linear-block") if name in dataset["projector"].values]
    for name, shade, mark in zip(shown, (0.0, 0.45, 0.85), MARKERS, strict=False):
        for place, line in (("representation", ":"), ("behind the last block", "-")):
            values = spectrum.sel(projector=name, place=place).median("seed")
            text = f"{ablation.SETUPS[name]}: at {'r' if place == 'representation' else 'h'}"
            colour = plt.get_cmap("cividis")(shade)
            axis.plot(rank, values / values.max(), color=colour, linestyle=line, marker=mark, markevery=12, label=text)
    axis.axvline(dataset.attrs["d0"] + 0.5, color="0.5", linewidth=0.7)
    axis.text(dataset.attrs["d0"] + 2, 1.1, "d0", color="0.3", va="bottom")
    axis.set(yscale="log", ylim=(1e-8, 4), xlabel="rank", ylabel="singular value / largest")
    axis.set_title("(d) gradient of one batch")
    axis.legend(loc="center right")
