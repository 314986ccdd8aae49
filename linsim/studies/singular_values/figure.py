"""The figure of the singular values of two linear layers in time (paper, section 5.3, Figure 6)."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from linsim.studies.style import POPULATION, THEORY, cividis, figure, floor, look

THEORY_LABELS = ("theory of infinite batches", "theory of this batch size and rate")


def draw(dataset: xr.Dataset) -> Figure:
    """The paper's Figure 6 a-c: singular values of W1, W2 and of the embedding covariance in time,
    log scale.

    Markers: simulation; solid: the theory of this batch size from the run's own start; dotted:
    Theorem 3 integrated with the measured pull; ticks: escape times in infinite batches. A run that
    only the theory of infinite batches covers is compared with that, dashed.
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
    exact = bool(np.isfinite(run["theory_w1_singular_values"]).all())
    which, style = ("theory_", THEORY) if exact else ("population_", POPULATION)
    for axis, (name, layer), title in zip(axes, panels, titles, strict=True):
        count = run[name].shape[-1]
        for mode, shade in enumerate(np.linspace(0, 0.85, count)):
            colour = cividis()(shade)
            measured = run[name].values[1:, mode]
            axis.plot(time[::4], measured[::4], color=colour, marker=".", linestyle="")
            axis.plot(time, run[f"{which}{name}"].values[1:, mode], color=colour, **style)
            if mode < run.sizes["hidden_mode"]:
                theorem = run["theorem_3"].values[1:, :, mode]
                values = theorem[:, layer] if layer is not None else np.prod(theorem, axis=1) ** 2
                axis.plot(time, values, color=colour, linestyle=":", linewidth=1.2)
        _mark_escapes(axis, run["escape_time"].values, time[-1])
        axis.set(xscale="log", yscale="log", xlabel="time t", title=title)
        axis.set_ylim(floor(run[name].values[-1]), 4 * float(run[name].max()))
    handles = [
        Line2D([], [], color="0.2", marker=".", linestyle="", label="simulation"),
        Line2D([], [], color="0.2", label=THEORY_LABELS[exact], **style),
        Line2D([], [], color="0.2", linestyle=":", label="Theorem 3 with the measured pull"),
        Line2D([], [], color="0.2", linestyle="", marker="|", markersize=8, label="escape times"),
    ]
    drawn.legend(handles=handles, loc="outside lower center", ncols=4)
    return drawn


def _mark_escapes(axis: Axes, escapes: np.ndarray, end: float) -> None:
    """A tick below the axis at every escape time until the end."""
    passed = escapes[escapes < end]
    style = {"color": "0.2", "markersize": 8, "clip_on": False}
    axis.plot(passed, 0 * passed, "|", transform=axis.get_xaxis_transform(), **style)
