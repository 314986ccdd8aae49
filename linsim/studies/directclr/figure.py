"""The study's figure (paper, Figures 7b, 9, 10 and 12): spectra, probes, gradient spectra."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from linsim.studies.directclr import ablation
from linsim.studies.style import MARKERS, cividis, figure, floor, look

LEGEND_BELOW: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.14), "ncols": 2}


def draw(dataset: xr.Dataset) -> Figure:
    """The figure of a result of the study.

    (a) spectra of the representation; (b) accuracies of the probes; (c) accuracy against d0;
    (d) spectra of the gradient at r and behind the last block.
    Args: a Dataset of `compare`. Returns: Figure.
    """
    with look():
        drawn = figure(9.6, 7.0)
        axes = drawn.subplots(2, 2)
        _spectra(axes[0, 0], dataset)
        _accuracies(axes[0, 1], dataset)
        _against_d0(axes[1, 0], dataset)
        _gradients(axes[1, 1], dataset)
        return drawn


def _styles(dataset: xr.Dataset) -> list[tuple[str, tuple, str]]:
    """(setup, colour, marker) of every setup."""
    names = dataset["projector"].values.tolist()
    shades = cividis()(np.linspace(0, 0.9, len(names)))
    styles = zip(names, shades, MARKERS * 2, strict=False)
    return [(name, tuple(shade), mark) for name, shade, mark in styles]


def _label_styles(dataset: xr.Dataset) -> list[tuple[str, Any, str, str]]:
    """(labels per class, colour, marker, words) of every number of labels."""
    names = [str(name) for name in dataset["labels"].values]
    shades = [cividis()(0.9 * index / len(names)) for index in range(len(names))]
    words = ["all labels" if name == "all" else f"{name} per class" for name in names]
    return list(zip(names, shades, MARKERS, words, strict=False))


def _spectra(axis: Axes, dataset: xr.Dataset) -> None:
    spectrum = dataset["representation_spectrum"]
    rank = np.arange(1, dataset.sizes["mode"] + 1)
    for name, colour, mark in _styles(dataset):
        median = spectrum.sel(projector=name).median("seed")
        look_of: Any = {"color": colour, "marker": mark, "label": ablation.SETUPS[name]}
        axis.plot(rank, median / median.max(), markevery=12, **look_of)
    axis.set(yscale="log", xlabel="rank", ylabel="eigenvalue / largest")
    axis.set_title("(a) covariance of the representation r")
    lowest = floor((spectrum / spectrum.max("mode")).values)
    axis.set_ylim(1e-5 * lowest, 2)  # room for the legend
    axis.legend(loc="lower left", ncols=2)


def _accuracies(axis: Axes, dataset: xr.Dataset) -> None:
    names = dataset["projector"].values.tolist()
    place = np.arange(len(names))[::-1]
    count = dataset.sizes["labels"]
    raw = "raw_accuracy" in dataset
    below, text_below = (
        ("raw_accuracy", "raw pixels") if raw else ("untrained_accuracy", "untrained encoder")
    )
    for index, (labels, shade, mark, text) in enumerate(_label_styles(dataset)):
        shift = 0.2 * (index - (count - 1) / 2)
        rows = dataset["probe_accuracy"].sel(feature="r", labels=labels)
        found = [ablation.interval(100 * rows.sel(projector=name).values) for name in names]
        halves = np.nan_to_num([each.high - each.mean for each in found])
        look_of: Any = {"color": shade, "marker": mark, "linestyle": "", "label": text}
        axis.errorbar([each.mean for each in found], place - shift, xerr=halves, **look_of)
        without = 100 * float(dataset[below].sel(labels=labels).mean())
        axis.axvline(without, color=shade, linestyle=":", linewidth=1.0)
    axis.plot([], [], color="0.2", linestyle=":", label=text_below)
    axis.set(xlabel="probe accuracy on r, %", title="(b) probes")
    axis.set_yticks(place, [ablation.SETUPS[name] for name in names])
    axis.legend(**LEGEND_BELOW)


def _against_d0(axis: Axes, dataset: xr.Dataset) -> None:
    axis.set(xlabel="d0, coordinates that the loss sees", ylabel="probe accuracy on r, %")
    axis.set_title("(c) DirectCLR against d0")
    if "sweep_probe_accuracy" not in dataset:
        axis.text(0.5, 0.5, "not run (--d0-sweep)", transform=axis.transAxes, ha="center")
        return
    accuracy = _accuracy_against_d0(dataset)
    d0 = accuracy["d0"].values
    for labels, shade, mark, text in _label_styles(dataset):
        rows = accuracy.sel(labels=labels)
        found = [ablation.interval(100 * rows.sel(d0=value).values) for value in d0]
        bounds = [[each.mean - each.low, each.high - each.mean] for each in found]
        means = [each.mean for each in found]
        look_of: Any = {"color": shade, "marker": mark, "label": text}
        axis.errorbar(d0, means, yerr=np.nan_to_num(bounds).T, **look_of)
        if "none" in dataset["projector"].values:
            plain = dataset["probe_accuracy"].sel(projector="none", feature="r", labels=labels)
            axis.axhline(100 * float(plain.mean()), color=shade, linestyle=":", linewidth=1.0)
    axis.plot([], [], color="0.2", linestyle=":", label="no projector")
    axis.set_xscale("symlog", base=2, linthresh=4)
    axis.set_xticks(d0, [str(value) for value in d0])
    axis.legend(**LEGEND_BELOW)


def _accuracy_against_d0(dataset: xr.Dataset) -> xr.DataArray:
    """Probes on r under DirectCLR by d0: those of the sweep, and the one among the projectors."""
    swept, chosen = dataset["sweep_probe_accuracy"], dataset.attrs["d0"]
    if chosen not in swept["d0"] and "directclr" in dataset["projector"]:
        one = dataset["probe_accuracy"].sel(projector="directclr", feature="r", drop=True)
        swept = xr.concat([swept, one.expand_dims(d0=[chosen])], "d0")
    return swept.sortby("d0")


def _gradients(axis: Axes, dataset: xr.Dataset) -> None:
    spectrum = dataset["gradient_spectrum"]
    rank = np.arange(1, dataset.sizes["mode"] + 1)
    wanted = ("none", "directclr", "directclr-linear-block")
    shown = [name for name in wanted if name in dataset["projector"].values]
    for name, shade, mark in zip(shown, (0.0, 0.45, 0.85), MARKERS, strict=False):
        for place, line in (("representation", ":"), ("behind the last block", "-")):
            values = spectrum.sel(projector=name, place=place).median("seed")
            text = f"{ablation.SETUPS[name]}: at {'r' if place == 'representation' else 'h'}"
            look_of: Any = {"color": cividis()(shade), "linestyle": line, "marker": mark}
            axis.plot(rank, values / values.max(), markevery=12, label=text, **look_of)
    axis.axvline(dataset.attrs["d0"] + 0.5, color="0.5", linewidth=0.7)
    axis.text(dataset.attrs["d0"] + 2, 1.1, "d0", color="0.3", va="bottom")
    axis.set(yscale="log", ylim=(1e-8, 4), xlabel="rank", ylabel="singular value / largest")
    axis.set_title("(d) gradient of one batch")
    axis.legend(**LEGEND_BELOW)
