"""Phase diagrams: measured and predicted counts over noise and initial scale."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import BoundaryNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from linsim.studies.style import cividis, figure, look

PANELS = {
    "one-view": "one layer, one noisy view",
    "two-views": "one layer, two noisy views",
    "two-layers": "two layers, balanced",
    "two-layers-random": "two layers, random start",
}


def draw(dataset: xr.Dataset) -> Figure:
    """Collapsed dimensions over noise and initial scale; below, measured minus predicted. One
    column per model.

    Solid lines: where the population flow crosses the cut-off; dashed: its threshold and escape
    times.
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
        measured = one["collapsed"].mean("seed")
        misses = Normalize(-dims, dims)
        images = [
            _phase_map(axes[0, column], measured, "cividis", counts),
            _phase_map(axes[1, column], measured - one["predicted_collapsed"], "PuOr", misses),
        ]
        _phase_boundaries(axes[0, column], one, "white")
        _phase_boundaries(axes[1, column], one, "0.3")
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
        Line2D([], [], color="0.3", label="population flow at the cut-off"),
        Line2D([], [], color="0.3", linestyle="--", label="threshold √2, escape times"),
    ]
    drawn.legend(handles=handles, loc="outside lower center", ncols=2)
    return drawn


def _phase_map(axis: Axes, values: xr.DataArray, colours: str, norm: Normalize) -> QuadMesh:
    cells = values.transpose("init_scale", "noise")
    return axis.pcolormesh(
        cells["noise"], cells["init_scale"], cells, shading="nearest", cmap=colours, norm=norm
    )


def _phase_boundaries(axis: Axes, one: xr.Dataset, colour: str) -> None:
    cutoff = one.attrs["cutoff"]
    noise, scale = one["fine_noise"].values, one["fine_init_scale"].values
    for block in one["block"].values:
        deviation = (
            one["predicted_deviation"]
            .sel(block=block)
            .transpose("fine_init_scale", "fine_noise")
            .values
        )
        if deviation.min() < cutoff < deviation.max():
            axis.contour(
                noise,
                scale,
                np.log(np.maximum(deviation, np.finfo(float).tiny)),
                [np.log(cutoff)],
                colors=colour,
                linewidths=1.2,
                linestyles="-",
            )
        escape = one["escape_boundary"].sel(block=block).values
        axis.plot(
            noise,
            np.where(escape <= scale[-1], escape, np.nan),
            color=colour,
            linestyle="--",
            linewidth=1.0,
        )
    if np.isnan(one["escape_boundary"]).all() and one["predicted_collapsed"].max() > 0:
        axis.axvline(np.sqrt(2), color=colour, linestyle="--", linewidth=1.0)
    axis.set(yscale="log", xlim=(noise[0], noise[-1]), ylim=(scale[0], scale[-1]))
