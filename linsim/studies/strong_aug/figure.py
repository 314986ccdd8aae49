"""Figures of one linear layer (paper, section 4): spectra under strong augmentation."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from linsim.studies.strong_aug.judgement import at_batch_size, infinite_strength
from linsim.studies.style import (
    BLOCK_COLOURS,
    LIMIT,
    MARKERS,
    SPREAD,
    THEORY,
    cividis,
    figure,
    floor,
    look,
)


def draw(dataset: xr.Dataset) -> Figure:
    """The paper's Figure 3 with theory: (a) weight spectrum, (b) its evolution, (c) embedding
    spectrum.

    Markers: medians over seeds; lines and bands: the theory of this batch size and learning rate,
    with the middle 90 % of single runs. Losses without it are compared with infinite batches.
    Args: dataset of `experiments/strong_aug.py`; the first init_scale is drawn. Returns: Figure.
    """
    with look():
        return _drawn(dataset.isel(init_scale=0))


def _drawn(dataset: xr.Dataset) -> Figure:
    drawn = figure(9.6, 3.3)
    axes = drawn.subplots(1, 3, width_ratios=(1, 1.15, 1))
    end = dataset.isel(time=-1)
    _final_spectra(axes[0], end, "weight_singular_values", power=1)
    _final_spectra(axes[2], end, "embedding_spectrum", power=2)
    axes[0].set(title=f"(a) weights at t = {float(end['time']):.4g}", ylabel="singular value of W")
    axes[2].set(title="(c) embeddings", ylabel="eigenvalue of embedding covariance")
    axes[2].legend(title="noise", handles=_noise_handles(dataset), loc="lower left")
    _evolution(axes[1], dataset.isel(noise=_shown_noise(dataset)))
    drawn.legend(handles=_style_handles(dataset), loc="outside lower center", ncols=4)
    return drawn


def _shown_noise(dataset: xr.Dataset) -> int:
    """Panel (b) shows the strongest noise that theory does not let collapse, else the weakest of
    all.
    """
    kept = np.flatnonzero(dataset["predicted_collapsed"].values == 0)
    noise = dataset["noise"].values
    return int(kept[np.argmax(noise[kept])]) if len(kept) else int(np.argmin(noise))


def _colours(dataset: xr.Dataset) -> list:
    return [cividis()(f) for f in np.linspace(0.0, 0.85, dataset.sizes["noise"])]


def _noise_handles(dataset: xr.Dataset) -> list[Line2D]:
    styles = zip(dataset["noise"].values, _colours(dataset), MARKERS * 10, strict=False)
    return [
        Line2D([], [], color=colour, marker=marker, label=f"{noise:g}")
        for noise, colour, marker in styles
    ]


def _style_handles(dataset: xr.Dataset) -> list:
    simulated = Line2D([], [], color="0.2", marker="o", linestyle="", label="simulation")
    limit = Line2D([], [], label="infinite batches", **LIMIT)
    if not at_batch_size(dataset):
        return [simulated, limit]
    return [
        simulated,
        Line2D([], [], color="0.2", label="theory at this batch size and rate", **THEORY),
        Patch(color="0.2", label="90 % of single runs", **SPREAD),
        limit,
    ]


def _final_spectra(axis: Axes, end: xr.Dataset, name: str, *, power: int) -> None:
    rank = np.arange(1, end.sizes["mode"] + 1)
    measured = end[name]
    median = measured.median("seed").values
    low, high = measured.min("seed").values, measured.max("seed").values
    for index, (colour, marker) in enumerate(zip(_colours(end), MARKERS * 10, strict=False)):
        bars = np.stack([median - low, high - median])[:, index]
        axis.errorbar(rank, median[index], bars, color=colour, marker=marker, linestyle="")
        if at_batch_size(end):
            one = end.isel(noise=index)
            line, bottom, top = (
                one[f"theory_{which}"].values ** power
                for which in ("weight_singular_values", "singular_value_low", "singular_value_high")
            )
            axis.plot(rank, line, color=colour, **THEORY)
            axis.fill_between(rank, bottom, top, color=colour, **SPREAD)
        elif f"population_{name}" in end:
            axis.plot(rank, end[f"population_{name}"].isel(noise=index).median("seed"), **LIMIT)
    axis.set(yscale="log", xlabel="rank", ylim=(floor(median), 3 * np.nanmax(high)))
    axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def _evolution(axis: Axes, dataset: xr.Dataset) -> None:
    time = dataset["time"].values[1:]
    values = dataset["weight_singular_values"].median("seed").values[1:]
    split = values.shape[1] - dataset.attrs["noisy_dims"]
    limit = infinite_strength(dataset)
    blocks = (("clean", slice(0, split)), ("noisy", slice(split, None)))
    for (block, modes), colour in zip(blocks, BLOCK_COLOURS, strict=True):
        shown = values[::3, modes]
        axis.plot(time[::3], shown, color=colour, marker=".", markersize=2.5, linestyle="")
        axis.plot(time, np.sqrt(limit.sel(block=block).values[1:]), **LIMIT)
        theory = dataset["theory_block_strength"].sel(block=block).values[1:]
        axis.plot(time, np.sqrt(theory), color=colour, **THEORY)
        if at_batch_size(dataset) and shown.shape[1]:
            low = dataset["theory_singular_value_low"].values[1:, modes].min(axis=1)
            high = dataset["theory_singular_value_high"].values[1:, modes].max(axis=1)
            axis.fill_between(time, low, high, color=colour, **SPREAD)
    axis.set(
        xscale="log",
        yscale="log",
        xlabel="time t = learning rate × steps",
        ylabel="singular value of W",
    )
    axis.set_ylim(bottom=floor(values[-1]))
    axis.set_title(f"(b) evolution at noise {float(dataset['noise']):g}")
