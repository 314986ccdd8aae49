"""Phase diagrams: measured and predicted counts over noise and initial scale."""

from typing import Any

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import QuadMesh
from matplotlib.colors import BoundaryNorm, Colormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from linsim.studies.phase_diagram.table import NAMES
from linsim.studies.style import (
    CUTOFF,
    HALO,
    INK,
    LIMIT,
    MEASURED,
    PAGE,
    SPREAD,
    THEORY,
    THRESHOLD,
    band,
    ceiling,
    decades,
    figure,
    floor,
    headline,
    key,
    look,
    measured,
    named,
    sequential,
)

EDGE: dict[str, Any] = THEORY | {"linewidth": 1.0}
DOTTED: dict[str, Any] = LIMIT | {"color": "black"}
ESCAPE: dict[str, Any] = {"color": "black", "linestyle": "--", "linewidth": 0.9, "marker": ""}


def draw(dataset: xr.Dataset) -> Figure:
    """Collapsed dimensions over noise and initial scale; below, measured minus predicted. One
    column per model.

    Black lines: where the theory of this batch size crosses the cut-off, one line per mode; dotted:
    the same in infinite batches; dashed: where these have a block escape in time; red: their
    threshold √2. Of a model whose count is the same in every cell the weakest dimension is drawn
    instead, against the noise: median and range over initial scales and seeds.
    Args: dataset of the study. Returns: Figure.
    """
    with look():
        return _drawn(dataset)


def _drawn(dataset: xr.Dataset) -> Figure:
    models = dataset["model"].values
    count = len(models)
    drawn = figure(PAGE, 4.0)
    axes = drawn.subplots(2, count, squeeze=False)
    width = 5.5 / count - 0.25
    varied = [_varies(dataset.sel(model=model)) for model in models]
    for column, model in enumerate(models):
        one = dataset.sel(model=model)
        top, bottom = axes[:, column]
        (_maps if varied[column] else _weakest)(top, bottom, one)
        headline(top, "abcdefgh"[column], _told(one, str(model)), width)
        headline(bottom, "abcdefgh"[count + column], _told_of_misses(one), width)
        bottom.set_xlabel("noise")
        top.tick_params(labelbottom=False)
        if column and varied[column]:
            for axis in (top, bottom):
                axis.tick_params(labelleft=False)
    if any(varied):
        first = int(np.argmax(varied))
        for axis in axes[:, first]:
            axis.set_ylabel("initial scale")
            axis.tick_params(labelleft=True)
        _bars(drawn, axes, dataset.sizes["mode"])
    key(drawn, _handles(dataset, varied))
    return drawn


def _varies(one: xr.Dataset) -> bool:
    """Whether the count differs from cell to cell, in the runs or in theory."""
    counts = (one["collapsed"], one["theory_collapsed"])
    return len(np.unique(np.concatenate([each.values.ravel() for each in counts]))) > 1


def _counts_map(dims: int) -> tuple[Colormap, BoundaryNorm]:
    """A light map, on which black lines are legible, of 0 to dims."""
    shades = sequential()(np.linspace(0.35, 1.0, dims + 1))
    return ListedColormap(shades), BoundaryNorm(np.arange(-0.5, dims + 1), dims + 1)


def _misses_map(dims: int) -> tuple[Colormap, BoundaryNorm]:
    """From -dims to dims, white at 0."""
    shades = matplotlib.colormaps["PuOr"](np.linspace(0.05, 0.95, 2 * dims + 1))
    shades[dims] = 1.0
    return ListedColormap(shades), BoundaryNorm(np.arange(-dims - 0.5, dims + 1), 2 * dims + 1)


def _bars(drawn: Figure, axes: np.ndarray, dims: int) -> None:
    """What the colours of both rows mean."""
    every = -(-(dims + 1) // 6)
    for row, (maps, name, first) in enumerate(
        ((_counts_map, "collapsed", 0), (_misses_map, "measured − predicted", -dims))
    ):
        colours, norm = maps(dims)
        shades = ScalarMappable(norm=norm, cmap=colours)
        bar = drawn.colorbar(shades, ax=axes[row, :], label=name, pad=0.015, aspect=25)
        ticks = range(0, dims + 1, every)
        bar.set_ticks(sorted({*ticks, *(-tick for tick in ticks)}) if first else list(ticks))
        bar.ax.minorticks_off()


def _maps(top: Axes, bottom: Axes, one: xr.Dataset) -> None:
    """Counts over noise and initial scale, and their difference from theory's."""
    dims = one.sizes["mode"]
    miss = (one["collapsed"] - one["theory_collapsed"]).mean("seed")
    _phase_map(top, one["collapsed"].mean("seed"), *_counts_map(dims))
    _phase_map(bottom, miss, *_misses_map(dims))
    for axis in (top, bottom):
        _boundaries(axis, one)


def _phase_map(axis: Axes, values: xr.DataArray, colours: Colormap, norm: BoundaryNorm) -> QuadMesh:
    cells = values.transpose("init_scale", "noise")
    shown: dict[str, Any] = {"cmap": colours, "norm": norm, "rasterized": True}
    x, y = cells["noise"], cells["init_scale"]
    return axis.pcolormesh(x, y, cells, shading="nearest", **shown)


def _boundaries(axis: Axes, one: xr.Dataset) -> None:
    cutoff = one.attrs["cutoff"]
    limit = _logarithm(one["predicted_deviation"])
    limit = limit.rename(fine_noise="noise", fine_init_scale="init_scale")
    for block in limit["block"]:
        _contour(axis, limit.sel(block=block), cutoff, DOTTED)
    noise, scale = limit["noise"].values, limit["init_scale"].values
    for escape in one["escape_boundary"].values:
        inside = np.where((escape <= scale[-1]) & (escape >= scale[0]), escape, np.nan)
        axis.plot(noise, inside, path_effects=HALO, **ESCAPE)
    if str(one["model"].values) == "one-view":
        axis.axvline(np.sqrt(2), path_effects=HALO, zorder=4, **THRESHOLD)
    exact = _logarithm(one["theory_embedding_deviation"]).mean("seed")
    for mode in exact["mode"]:
        _contour(axis, exact.sel(mode=mode), cutoff, EDGE)
    decades(axis, "y", scale[0], scale[-1])
    axis.set_xlim(noise[0], noise[-1])


def _logarithm(deviation: xr.DataArray) -> xr.DataArray:
    return deviation.copy(data=np.log(np.maximum(deviation.values, np.finfo(float).tiny)))


def _contour(axis: Axes, deviation: xr.DataArray, cutoff: float, line: dict[str, Any]) -> None:
    """Where a logarithm crosses the cut-off's, if it does."""
    values = deviation.transpose("init_scale", "noise")
    if values.min() < np.log(cutoff) < values.max():
        drawn = axis.contour(
            values["noise"],
            values["init_scale"],
            values,
            [np.log(cutoff)],
            colors=line["color"],
            linewidths=line["linewidth"],
            linestyles=line["linestyle"],
        )
        drawn.set_path_effects([withStroke(linewidth=line["linewidth"] + 1.4, foreground="white")])


def _weakest(top: Axes, bottom: Axes, one: xr.Dataset) -> None:
    """The deviation of the weakest dimension against the noise, and in per cent of theory's."""
    noise, cutoff = one["noise"].values, float(one.attrs["cutoff"])
    found, theory, limit = (
        one[f"{prefix}embedding_deviation"].min("mode").transpose("noise", ...).values
        for prefix in ("", "theory_", "population_")
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        off = 100 * (found / theory - 1)
    for axis, values in ((top, found), (bottom, off)):
        flat = values.reshape(len(noise), -1)
        spread: dict[str, Any] = {"color": INK, **SPREAD}
        axis.fill_between(noise, flat.min(axis=1), flat.max(axis=1), **spread)
        axis.plot(noise, np.median(flat, axis=1), "o", color=INK, markersize=2, **MEASURED)
        axis.set_xlim(noise[0], noise[-1])
    for values, style in ((theory, THEORY), (limit, DOTTED)):
        top.plot(noise, np.median(values.reshape(len(noise), -1), axis=1), **style)
    top.axhline(cutoff, **CUTOFF)
    decades(top, "y", min(0.5 * cutoff, floor(found)), ceiling(found))
    top.set_ylabel("weakest deviation")
    bottom.axhline(0, **THEORY)
    bottom.set_ylabel("off theory, %")


def _told(one: xr.Dataset, model: str) -> str:
    """The model, when it is looked at, and how many dimensions have collapsed."""
    counts, dims = one["collapsed"], one.sizes["mode"]
    name, time = NAMES.get(model, model), f"t = {float(one['end_time']):g}"
    if counts.isnull().any():
        return f"{name}, {time}: training diverges"
    low, high = int(counts.min()), int(counts.max())
    told = "none" if high == 0 else f"{low}" if low == high else f"{low} to {high}"
    return f"{name}, {time}: {told} of {dims} collapse"


def _told_of_misses(one: xr.Dataset) -> str:
    """In how many of the runs the count is as predicted."""
    miss = (one["collapsed"] - one["theory_collapsed"]).values
    if np.isnan(miss).any():
        return "nothing to compare"
    share = 100 * float((miss == 0).mean())
    return f"{'all' if share == 100 else f'{share:.1f} % of'} runs as predicted"


def _handles(dataset: xr.Dataset, varied: list[bool]) -> list[Any]:
    models = [str(name) for name in dataset["model"].values]
    maps = [name for name, differs in zip(models, varied, strict=True) if differs]
    handles: list[Any] = [named(EDGE, "theory of this batch size")]
    handles.append(named(DOTTED, "infinite batches"))
    if "one-view" in maps:
        handles.append(named(THRESHOLD, "threshold √2 of infinite batches"))
    if "two-layers" in maps:
        handles.append(named(ESCAPE, "above: they escape in time"))
    if not all(varied):
        handles.append(named(CUTOFF, f"cut-off {float(dataset.attrs['cutoff']):g}"))
        handles.append(measured("weakest dimension, median"))
        handles.append(band("range over scales and seeds"))
    return handles
