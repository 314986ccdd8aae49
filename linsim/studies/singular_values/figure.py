"""The figure of the singular values of two linear layers in time (paper, section 5.3, Figure 6)."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from linsim.studies.style import cividis, figure, floor, look


def draw(dataset: xr.Dataset) -> Figure:
    """The paper's Figure 6 a-c: singular values of W1, W2 and of the embedding covariance in time,
    log scale.

    Solid: simulation; dotted: Theorem 3 integrated with the measured pull; dashed: population flow;
    ticks: escape times.
    Args: dataset of the study; the first noise, init_scale and seed are drawn. Returns: Figure.
    """
    with look():
        return _drawn(dataset.isel(noise=0, init_scale=0, seed=0))


def _drawn(run: xr.Dataset) -> Figure:
    drawn = figure(9.6, 3.5)
    axes = drawn.subplots(1, 3)
    panels = (("w1_singular_values", 0), ("w2_singular_values", 1), ("embedding_spectrum", None))
    titles = ("(a) singular values of W1", "(b) singular values of W2", "(c) embedding covariance")
    time = run["time"].values[1:]
    for axis, (name, layer), title in zip(axes, panels, titles, strict=True):
        count = run[name].shape[-1]
        for mode, shade in enumerate(np.linspace(0, 0.85, count)):
            colour = cividis()(shade)
            axis.plot(time, run[name].values[1:, mode], color=colour, linewidth=1.0)
            axis.plot(
                time,
                run[f"population_{name}"].values[1:, mode],
                color=colour,
                linestyle="--",
                linewidth=0.6,
            )
            if mode < run.sizes["hidden_mode"]:
                theorem = run["theorem_3"].values[1:, :, mode]
                values = theorem[:, layer] if layer is not None else np.prod(theorem, axis=1) ** 2
                axis.plot(time, values, color=colour, linestyle=":", linewidth=1.2)
        _mark_escapes(axis, run["escape_time"].values, time[-1])
        axis.set(xscale="log", yscale="log", xlabel="time t", title=title)
        axis.set_ylim(floor(run[name].values[-1]), 4 * float(run[name].max()))
    handles = [
        Line2D([], [], color="0.2", label="simulation"),
        Line2D([], [], color="0.2", linestyle=":", label="Theorem 3"),
        Line2D([], [], color="0.2", linestyle="--", linewidth=0.6, label="population"),
        Line2D([], [], color="0.2", linestyle="", marker="|", markersize=8, label="escape times"),
    ]
    drawn.legend(handles=handles, loc="outside lower center", ncols=4)
    return drawn


def _mark_escapes(axis: Axes, escapes: np.ndarray, end: float) -> None:
    """A tick below the axis at every escape time until the end."""
    passed = escapes[escapes < end]
    style = {"color": "0.2", "markersize": 8, "clip_on": False}
    axis.plot(passed, 0 * passed, "|", transform=axis.get_xaxis_transform(), **style)
