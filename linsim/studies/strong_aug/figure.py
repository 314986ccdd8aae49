"""Figures of one linear layer (paper, section 4): spectra under strong augmentation."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from linsim.studies.style import (
    BLOCK_COLOURS,
    CONDENSED,
    MARKERS,
    POPULATION,
    cividis,
    figure,
    floor,
    look,
)


def draw(dataset: xr.Dataset) -> Figure:
    """The paper's Figure 3 with both theories: (a) weight spectrum, (b) its evolution, (c)
    embedding spectrum.

    Args: dataset of `experiments/strong_aug.py`; the first init_scale is drawn. Returns: Figure.
    """
    with look():
        return _drawn(dataset.isel(init_scale=0))


def _drawn(dataset: xr.Dataset) -> Figure:
    drawn = figure(9.6, 3.1)
    axes = drawn.subplots(1, 3, width_ratios=(1, 1.15, 1))
    end = dataset.isel(time=-1)
    _final_spectra(axes[0], end, "weight_singular_values", "singular value of W")
    _final_spectra(axes[2], end, "embedding_spectrum", "eigenvalue of embedding covariance")
    _condensed_spectrum(axes[0], end)
    axes[0].set_title(f"(a) weights at t = {float(end['time']):.4g}")
    axes[2].set_title("(c) embeddings")
    axes[2].legend(title="noise", handles=_noise_handles(dataset), loc="lower left")
    _evolution(axes[1], dataset.isel(noise=_shown_noise(dataset)))
    axes[0].legend(handles=_style_handles(dataset), loc="lower left")
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


def _style_handles(dataset: xr.Dataset) -> list[Line2D]:
    handles = [
        Line2D([], [], color="0.2", marker="o", label="simulation"),
        Line2D([], [], color="0.2", label="population", **POPULATION),
    ]
    if np.isfinite(dataset["condensed_block_strength"]).any():
        handles.append(Line2D([], [], color="0.2", label="condensed", **CONDENSED))
    return handles


def _final_spectra(axis: Axes, end: xr.Dataset, name: str, label: str) -> None:
    rank = np.arange(1, end.sizes["mode"] + 1)
    measured, predicted = end[name], end[f"population_{name}"].median("seed").values
    median = measured.median("seed").values
    low, high = measured.min("seed").values, measured.max("seed").values
    axis.set_ylim(floor(median), 3 * np.nanmax([high.max(), predicted.max()]))
    for index, (colour, marker) in enumerate(zip(_colours(end), MARKERS * 10, strict=False)):
        axis.fill_between(rank, low[index], high[index], color=colour, alpha=0.25, linewidth=0)
        axis.plot(rank, median[index], color=colour, marker=marker)
        axis.plot(rank, predicted[index], color=colour, **POPULATION)
    axis.set(yscale="log", xlabel="rank", ylabel=label)
    axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def _condensed_spectrum(axis: Axes, end: xr.Dataset) -> None:
    strength = np.sqrt(end["condensed_block_strength"].values)
    split = end.sizes["mode"] - end.attrs["noisy_dims"]
    rank = np.arange(1, end.sizes["mode"] + 1)
    for index, colour in enumerate(_colours(end)):
        axis.plot(rank, np.where(rank <= split, *strength[index]), color=colour, **CONDENSED)


def _evolution(axis: Axes, dataset: xr.Dataset) -> None:
    time = dataset["time"].values[1:]
    values = dataset["weight_singular_values"].median("seed").values[1:]
    split = values.shape[1] - dataset.attrs["noisy_dims"]
    for start, stop, colour in (
        (0, split, BLOCK_COLOURS[0]),
        (split, values.shape[1], BLOCK_COLOURS[1]),
    ):
        axis.plot(time, values[:, start:stop], color=colour, linewidth=0.6)
    for block, colour in (("clean", BLOCK_COLOURS[0]), ("noisy", "#7d6f1c")):
        population = dataset["population_block_strength"].median("seed").sel(block=block).values[1:]
        condensed = dataset["condensed_block_strength"].sel(block=block).values[1:]
        axis.plot(time, np.sqrt(population), color=colour, **POPULATION)
        axis.plot(time, np.sqrt(condensed), color=colour, **CONDENSED)
    axis.set(
        xscale="log",
        yscale="log",
        xlabel="time t = learning rate × steps",
        ylabel="singular value of W",
    )
    axis.set_ylim(bottom=floor(values[-1]))
    axis.set_title(f"(b) evolution at noise {float(dataset['noise']):g}")
