"""The figure of the alignment of two linear layers (paper, section 5.2, Figure 5)."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch, Rectangle

from linsim.studies.style import (
    BOUND,
    INK,
    MEASURED,
    PAGE,
    SPREAD,
    THEORY,
    Ordered,
    band,
    decades,
    figure,
    headline,
    key,
    look,
    named,
    note,
    sequential,
    whole_ticks,
)
from linsim.studies.two_layers.modes import STATES

WIDTH = 1.95  # inches of a panel
GROUP: dict[str, Any] = {"fill": False, "edgecolor": "white", "linewidth": 1.4}
FOLLOWED = 3  # modes whose diagonal entries are drawn as curves
ALONE, TOGETHER = STATES.index("aligned"), STATES.index("aligned as a group")
CONSERVED = 0.02  # relative change of the imbalance up to which it counts as conserved


def draw(dataset: xr.Dataset) -> Figure:
    """The paper's Figure 5: |A|, A = V2ᵀU1, (a) at the start, (b) midway and (c) at the end, where
    modes that have no basis of their own are outlined; (d) its diagonal in time, of all modes, and
    (e) of the first, the middle and the last mode that grew, with theory and the exact lower bound;
    (f) the norm of the imbalance C = W1W1ᵀ − W2ᵀW2, which gradient flow conserves.

    Args: dataset of the study; the first noise and init_scale are drawn, and but for (f) the first
    seed. Returns: Figure.
    """
    with look():
        return _drawn(dataset.isel(noise=0, init_scale=0))


def _drawn(runs: xr.Dataset) -> Figure:
    drawn = figure(PAGE, 4.7)
    axes = drawn.subplots(2, 3)
    run = runs.isel(seed=0)
    time = run["time"].values
    middle = int(np.searchsorted(time, np.sqrt(time[1] * time[-1])))
    images = []
    for axis, record, letter in zip(axes[0], (0, middle, -1), "abc", strict=True):
        images.append(_matrix(axis, run["alignment"].values[record]))
        told = f" {_told_of_modes(run)}" if letter == "c" else ""
        headline(
            axis, letter, f"|A| at t = {time[record]:.4g}{':' if told else ''}{told}", WIDTH - 0.2
        )
    axes[0, 0].set_ylabel("mode of W₂")
    grouped = _outline_groups(axes[0, 2], run)
    drawn.colorbar(images[-1], ax=axes[0, :], label="|A|", pad=0.015, aspect=25)
    _diagonal(axes[1, 0], run)
    handles = _followed(axes[1, 1], run)
    _imbalance(axes[1, 2], runs)
    if grouped:
        text = "modes too close to tell apart, a group"
        handles.append(
            Patch(facecolor=sequential()(0.3), edgecolor="0.75", linewidth=1.2, label=text)
        )
    if runs.sizes["seed"] > 1:
        handles.append(band(f"(f) range of {runs.sizes['seed']} seeds; else seed {_seed(run)}"))
    key(drawn, handles)
    return drawn


def _seed(run: xr.Dataset) -> int:
    return int(run["seed"])


def _matrix(axis: Axes, matrix: np.ndarray) -> AxesImage:
    rows, columns = matrix.shape
    image = axis.imshow(
        np.abs(matrix),
        vmin=0,
        vmax=1,
        cmap=sequential(),
        extent=(0.5, columns + 0.5, rows + 0.5, 0.5),
        interpolation="none",
    )
    axis.set_xlabel("mode of W₁")
    for one in (axis.xaxis, axis.yaxis):
        whole_ticks(one)
    return image


def _outline_groups(axis: Axes, run: xr.Dataset) -> bool:
    """Outline the groups that are judged together, as not every mode aligns alone. Returns: whether
    there are any.
    """
    groups, states, found = run["mode_group"].values, run["mode_state"].values, False
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        if len(members) > 1 and np.any(states[members] != ALONE):
            corner, size = members[0] + 0.6, len(members) - 0.2
            axis.add_patch(Rectangle((corner, corner), size, size, **GROUP))
            found = True
    return found


def _entries(run: xr.Dataset, name: str) -> np.ndarray:
    """|A_kk| in time after the start, (T, modes)."""
    return np.abs(np.diagonal(run[name].values, axis1=1, axis2=2))[1:]


def _diagonal(axis: Axes, run: xr.Dataset) -> None:
    """|A_kk| of every mode as a map over time."""
    time, entries = run["time"].values[1:], _entries(run, "alignment")
    modes = entries.shape[1]
    between = np.sqrt(time[:-1] * time[1:])
    edges = np.concatenate([time[:1], between, time[-1:]]), np.arange(modes + 1) + 0.5
    shown: dict[str, Any] = {"cmap": sequential(), "vmin": 0, "vmax": 1, "rasterized": True}
    axis.pcolormesh(*edges, entries.T, **shown)
    decades(axis, "x", time[0], time[-1])
    axis.set(xlabel="time t", ylabel="mode k")
    axis.invert_yaxis()
    whole_ticks(axis.yaxis)
    known = np.isfinite(entries[-1])
    high = int((entries[-1][known] > 0.9).sum())
    headline(axis, "d", f"{high} of {modes} diagonal entries |Aₖₖ| end above 0.9", WIDTH)


def _followed(axis: Axes, run: xr.Dataset) -> list[Any]:
    """|A_kk| of some modes that grew. Returns: what the key says of them."""
    time, entries = run["time"].values[1:], _entries(run, "alignment")
    theory, bound = _entries(run, "theory_alignment"), run["alignment_bound"].values[1:]
    grown = np.flatnonzero(run["mode_state"].values > 0)
    places = np.unique(np.linspace(0, len(grown) - 1, FOLLOWED).round().astype(int))
    modes = Ordered(grown[places] + 1 if len(grown) else [], "mode")
    modes.words = [f"mode {mode}" for mode in modes.values]
    has_theory = bool(np.isfinite(theory).any())
    for number, colour, mark in modes:
        k = number - 1
        line = "" if has_theory else "-"
        every: dict[str, Any] = {"markevery": max(1, len(time) // 17)}
        axis.plot(
            time,
            entries[:, k],
            **(MEASURED | {"linestyle": line}),
            **every,
            color=colour,
            marker=mark,
        )
        axis.plot(time, np.where(bound[:, k] > 0, bound[:, k], np.nan), **BOUND)
        axis.plot(time, theory[:, k], **THEORY)
    decades(axis, "x", 0.8 * time[0], 1.25 * time[-1])
    axis.set(xlabel="time t", ylabel="|Aₖₖ|", ylim=(-0.02, 1.05))
    has_bound = bool((bound[:, grown[places]] > 0).any()) if len(grown) else False
    ending = entries[-1, grown]
    told = (
        f"The {len(grown)} modes that grew end at {ending.min():.2f} or more" if len(grown) else ""
    )
    headline(axis, "e", told or "No mode has grown", WIDTH)
    if not told:
        note(axis, "no mode has grown to a tenth of the strongest")
    handles = modes.handles()
    handles += [named(THEORY, "theory of the run's own start")] if has_theory else []
    return handles + ([named(BOUND, "exact lower bound")] if has_bound else [])


def _imbalance(axis: Axes, runs: xr.Dataset) -> None:
    time = runs["time"].values[1:]
    norms = runs["imbalance_norm"].transpose("seed", "time").values
    axis.fill_between(time, norms.min(axis=0)[1:], norms.max(axis=0)[1:], color=INK, **SPREAD)
    axis.plot(time, np.median(norms, axis=0)[1:], color=INK)
    decades(axis, "x", 0.8 * time[0], 1.25 * time[-1])
    finite = norms[np.isfinite(norms)]
    axis.set(xlabel="time t", ylabel="‖C‖, C = W₁W₁ᵀ − W₂ᵀW₂")
    axis.set_ylim(0, 1.2 * float(finite.max()) if finite.size and finite.max() > 0 else 1.0)
    headline(axis, "f", _told_of_imbalance(norms), WIDTH)


def _told_of_imbalance(norms: np.ndarray) -> str:
    start, end = float(np.median(norms[:, 0])), float(np.median(norms[:, -1]))
    if not np.isfinite(end):
        return "Training diverges"
    if start <= 0:
        return f"The layers start balanced; ‖C‖ ends at {end:.2g}"
    change = end / start - 1
    if abs(change) <= CONSERVED:
        return "The imbalance, the obstacle to alignment, is conserved"
    doing = "shrinks" if change < 0 else "grows"
    return f"The imbalance, which small steps conserve, {doing} by {100 * abs(change):.0f} %"


def _told_of_modes(run: xr.Dataset) -> str:
    """How many modes align, alone or as a group (`two_layers.modes.STATES`)."""
    states = run["mode_state"].values
    total, alone, group = len(states), int((states == ALONE).sum()), int((states == TOGETHER).sum())
    if not np.isfinite(run["alignment"].values[-1]).all():
        return "diverged"
    if alone == total:
        return f"all {total} align"
    if group:
        return f"{alone} of {total} align alone, {group} as a group"
    return f"{alone} of {total} align"
