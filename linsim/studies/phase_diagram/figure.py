"""Phase diagrams: measured and predicted counts over noise and initial scale."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import BoundaryNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from linsim.studies.style import cividis, figure, look

LINE: dict[str, Any] = {"linestyle": "-", "linewidth": 1.2}
LIMIT_LINE: dict[str, Any] = {"linestyle": ":", "linewidth": 1.0}
ESCAPE_LINE: dict[str, Any] = {"linestyle": "--", "linewidth": 1.0}
PANELS = {
    "one-view": "one layer, one noisy view",
    "two-views": "one layer, two noisy views",
    "two-layers": "two layers, balanced",
    "two-layers-random": "two layers, random start",
}


def draw(dataset: xr.Dataset) -> Figure:
    """Collapsed dimensions over noise and initial scale; below, measured minus predicted. One
    column per model.

    Solid lines: where the theory of this batch size crosses the cut-off, one line per mode; dotted:
    the same in infinite batches; dashed: the population's threshold and escape times.
    Args: dataset of the study. Returns: Figure.
    """
    with look():
        return _drawn(dataset)


def _drawn(dataset: xr.Dataset) -> Figure:
    count = dataset.sizes["model"]
    drawn = figure(2.3 * count + 1.2, 4.6)
    axes = drawn.subplots(2, count, squeeze=False, sharex=True, sharey=True)
    dims = dataset.sizes["mode"]
    images: list[QuadMesh] = []
    counts = BoundaryNorm(np.arange(-0.5, dims + 1), cividis().N)
    for column, model in enumerate(dataset["model"].values):
        one = dataset.sel(model=model)
        miss = (one["collapsed"] - one["theory_collapsed"]).mean("seed")
        images = [
            _phase_map(axes[0, column], one["collapsed"].mean("seed"), "cividis", counts),
            _phase_map(axes[1, column], miss, "PuOr", Normalize(-dims, dims)),
        ]
        for axis, colour in zip(axes[:, column], ("white", "0.3"), strict=True):
            _boundaries(axis, one, colour)
        axes[0, column].set_title(
            f"{PANELS.get(str(model), model)}\nat t = {float(one['end_time']):g}"
        )
        axes[1, column].set_xlabel("noise")
    for row, label in enumerate(("collapsed dimensions", "measured − predicted")):
        axes[row, 0].set_ylabel("initial scale")
        drawn.colorbar(
            images[row], ax=axes[row, :], label=label, pad=0.02, ticks=MaxNLocator(5, integer=True)
        )
    handles = [
        Line2D([], [], color="0.3", label="theory at this batch size", **LINE),
        Line2D([], [], color="0.3", label="infinite batches", **LIMIT_LINE),
        Line2D([], [], color="0.3", label="its threshold √2 and escape times", **ESCAPE_LINE),
    ]
    drawn.legend(handles=handles, loc="outside lower center", ncols=3)
    return drawn


def _phase_map(axis: Axes, values: xr.DataArray, colours: str, norm: Normalize) -> QuadMesh:
    cells = values.transpose("init_scale", "noise")
    return axis.pcolormesh(
        cells["noise"], cells["init_scale"], cells, shading="nearest", cmap=colours, norm=norm
    )


def _boundaries(axis: Axes, one: xr.Dataset, colour: str) -> None:
    cutoff = one.attrs["cutoff"]
    exact = _logarithm(one["theory_embedding_deviation"]).mean("seed")
    for mode in exact["mode"]:
        _contour(axis, exact.sel(mode=mode), cutoff, colour, LINE)
    limit = _logarithm(one["predicted_deviation"])
    limit = limit.rename(fine_noise="noise", fine_init_scale="init_scale")
    for block in limit["block"]:
        _contour(axis, limit.sel(block=block), cutoff, colour, LIMIT_LINE)
    noise, scale = limit["noise"].values, limit["init_scale"].values
    for escape in one["escape_boundary"].values:
        inside = np.where(escape <= scale[-1], escape, np.nan)
        axis.plot(noise, inside, color=colour, **ESCAPE_LINE)
    if one["model"] == "one-view":
        axis.axvline(np.sqrt(2), color=colour, **ESCAPE_LINE)
    axis.set(yscale="log", xlim=(noise[0], noise[-1]), ylim=(scale[0], scale[-1]))


def _logarithm(deviation: xr.DataArray) -> xr.DataArray:
    return deviation.copy(data=np.log(np.maximum(deviation.values, np.finfo(float).tiny)))


def _contour(
    axis: Axes, deviation: xr.DataArray, cutoff: float, colour: str, line: dict[str, Any]
) -> None:
    """Where a logarithm crosses the cut-off's, if it does."""
    values = deviation.transpose("init_scale", "noise")
    if values.min() < np.log(cutoff) < values.max():
        drawn = axis.contour(
            values["noise"],
            values["init_scale"],
            values,
            [np.log(cutoff)],
            colors=colour,
            linewidths=line["linewidth"],
            linestyles=line["linestyle"],
        )
        if colour == "white":
            drawn.set_path_effects([withStroke(linewidth=line["linewidth"] + 1, foreground="0.2")])
