"""The figure of the singular values of two linear layers in time (paper, section 5.3, Figure 6)."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from linsim.spectra import DIMENSIONAL
from linsim.studies.singular_values.theory import ESCAPED
from linsim.studies.style import (
    BOUND,
    INK,
    LIMIT,
    MEASURED,
    PAGE,
    THEORY,
    Ordered,
    ceiling,
    decades,
    figure,
    floor,
    headline,
    key,
    look,
    measured,
    named,
    ranks,
)

SAME = 0.05  # relative: W2 is drawn if a mode that grew is further from W1 than that
NAMES = {"w1_singular_values": "singular value of W₁", "w2_singular_values": "singular value of W₂"}
NAMES |= {"embedding_spectrum": "eigenvalue of covariance"}


def draw(dataset: xr.Dataset) -> Figure:
    """The paper's Figure 6: the singular values of W1 in time, those of W2 where they differ, and
    the eigenvalues of the embedding covariance; and when each mode escapes.

    Markers: simulation; black: the theory of this batch size from the run's own start; dashed:
    Theorem 3 integrated with the measured pull. A run that only the theory of infinite batches
    covers is compared with that, dotted. A mode has escaped when s1 s2 is ten times its start; in
    infinite batches it does about 1/(2 λ(0) w0) after it.
    Args: dataset of the study; the first noise and init_scale are drawn, and but for the escapes
    the first seed. Returns: Figure.
    """
    with look():
        return _drawn(dataset.isel(noise=0, init_scale=0))


def _drawn(runs: xr.Dataset) -> Figure:
    run = runs.isel(seed=0)
    difference = _difference(run)
    names = [name for name in NAMES if name != "w2_singular_values" or difference > SAME]
    drawn = figure(PAGE, 2.9)
    axes = drawn.subplots(1, len(names) + 1)
    width = 5.4 / len(axes)
    modes = Ordered(np.arange(1, run.sizes["hidden_mode"] + 1), "mode")
    for axis, name, letter in zip(axes, names, "abc", strict=False):
        _in_time(axis, run, name, modes)
        headline(axis, letter, _told(runs, name, difference), width)
    _escapes(axes[-1], runs, modes, "abcd"[len(names)], width)
    modes.key(drawn, axes)
    key(drawn, _handles(run))
    return drawn


def _difference(run: xr.Dataset) -> float:
    """How far the final singular values of W2 are from those of W1 at most, relative to the largest
    of both, nan if training diverged; 0 where nothing is left of either.
    """
    first, second = (run[f"w{k}_singular_values"].isel(time=-1).values for k in (1, 2))
    largest = max(first.max(), second.max())
    return float(np.max(np.abs(first - second)) / largest) if largest != 0 else 0.0


def _exact(run: xr.Dataset) -> bool:
    """Whether the theory of the run's batch size is known."""
    return bool(np.isfinite(run["theory_w1_singular_values"]).all())


def _in_time(axis: Axes, run: xr.Dataset, name: str, modes: Ordered) -> None:
    time = run["time"].values[1:]
    which, style = ("theory_", THEORY) if _exact(run) else ("population_", LIMIT)
    layer = {"w1_singular_values": 0, "w2_singular_values": 1}.get(name)
    values = run[name].values[1:]
    decades(axis, "y", floor(run[name].values), ceiling(run[name].values))
    every = max(1, len(time) // 15)
    for mode, (_, colour, mark) in zip(range(values.shape[1]), modes, strict=False):
        seen: dict[str, Any] = {"color": colour, "marker": mark, "markersize": 2.4, **MEASURED}
        axis.plot(time[::every], values[::every, mode], **seen)
        axis.plot(time, run[f"{which}{name}"].values[1:, mode], **style)
        theorem = run["theorem_3"].values[1:, :, mode]
        shown = theorem[:, layer] if layer is not None else np.prod(theorem, axis=1) ** 2
        axis.plot(time, shown, **(BOUND | {"color": colour}))
    decades(axis, "x", 0.8 * time[0], 1.25 * time[-1])
    axis.set(xlabel="time t", ylabel=NAMES[name])


def _grown(runs: xr.Dataset, prefix: str = "") -> xr.DataArray:
    """When s1 s2 has first grown ESCAPED-fold; inf if it has not."""
    strength = runs[f"{prefix}w1_singular_values"] * runs[f"{prefix}w2_singular_values"]
    passed = strength > ESCAPED * strength.isel(time=0)
    return passed["time"].where(passed, np.inf).min("time")


def _typical(runs: xr.Dataset, prefix: str = "") -> np.ndarray:
    """When each mode has grown so far in the middle one of the seeds."""
    return np.median(_grown(runs, prefix).transpose("seed", "hidden_mode").values, axis=0)


def _escapes(axis: Axes, runs: xr.Dataset, modes: Ordered, letter: str, width: float) -> None:
    """When each mode escapes; at the upper edge if it does not."""
    when = _grown(runs).transpose("seed", "hidden_mode").values
    end, start = float(runs["time"][-1]), float(runs["time"][1])
    high = 4 * end
    decades(axis, "y", 0.5 * start, high)
    middle = _typical(runs)
    number = np.asarray(modes.values)
    axis.axhline(end, color="0.6", linewidth=0.6)
    prefix = "theory_" if _exact(runs.isel(seed=0)) else "population_"
    theory = _typical(runs, prefix)
    axis.plot(number, np.where(np.isfinite(theory), theory, np.nan), **THEORY)
    escape = runs["escape_time"].transpose("seed", "hidden_mode").median("seed").values
    axis.plot(number, np.where(escape < high, escape, np.nan), **LIMIT)
    for place, colour, mark in modes:
        k = place - 1
        if np.isfinite(middle[k]):
            late = when[:, k].max()
            bars = np.array([[middle[k] - when[:, k].min()], [min(late, high) - middle[k]]])
            axis.errorbar([place], [middle[k]], bars, color=colour, marker=mark, elinewidth=0.7)
        else:
            axis.plot([place], [2 * end], color=colour, marker="^", markersize=3, **MEASURED)
    ranks(axis, len(number), "mode")
    axis.set_ylabel("time of escape")
    stays = int((~np.isfinite(middle)).sum())
    told = f"{stays} of {len(number)} modes have not escaped by t = {end:.4g} (▲)"
    told = told if stays else f"All {len(number)} modes escape by t = {end:.4g}"
    headline(axis, letter, told, width)


def _told(runs: xr.Dataset, name: str, difference: float) -> str:
    run = runs.isel(seed=0)
    end = run.isel(time=-1)
    if not np.isfinite(end[name]).all():
        return "Training diverges"
    if name == "embedding_spectrum":
        values = end[name].values
        weak = int((values < DIMENSIONAL * values.max()).sum())
        return f"{weak} of {len(values)} dimensions of the embedding collapse"
    grown, total = int(np.isfinite(_typical(runs)).sum()), run.sizes["hidden_mode"]
    if name == "w2_singular_values":
        return f"W₂ differs by up to {100 * difference:.2g} % of the largest"
    alike = "; W₂\u00a0alike" if difference <= SAME else ""
    return f"{grown} of {total} modes of W₁ grow{alike}"


def _handles(run: xr.Dataset) -> list[Any]:
    exact = named(THEORY, "theory of this batch size and rate")
    limit = named(LIMIT, "infinite batches")
    return [
        measured("simulation"),
        *([exact] if _exact(run) else []),
        named(BOUND, "Theorem 3 with the measured pull", color=INK),
        limit,
        named({"color": "0.6", "linewidth": 0.6}, "end of training"),
    ]
