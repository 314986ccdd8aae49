"""The study's figure (paper, Figures 7b, 9, 10 and 12): probes, ranks, spectra and gradients."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from linsim.studies.directclr import ablation
from linsim.studies.style import (
    BOUND,
    DIVERGED,
    INK,
    MARKERS,
    MEASURED,
    PAGE,
    SPREAD,
    Ordered,
    band,
    decades,
    figure,
    floor,
    headline,
    key,
    look,
    measured,
    named,
    note_if_none,
    ranks,
)

# The setups whose spectra are drawn, each with a colour of its own (Okabe and Ito 2008) and a mark.
FOLLOWED = {
    "none": ("#000000", "o"),
    "nonlinear": ("#d55e00", "s"),
    "directclr": ("#0072b2", "D"),
    "directclr-linear-block": ("#cc79a7", "^"),
    "shuffled": ("#009e73", "P"),
}
PLACES = {"representation": "r", "behind the last block": "h"}
NOTHING = "nothing is left: all values are zero, or training has diverged"
RESOLVED = 1e-8  # lower end of a normalised gradient's singular values


def draw(dataset: xr.Dataset) -> Figure:
    """The figure of a result of the study.

    Accuracies of the probes on r, and RankMe of r, of every projector; spectra of the covariance of
    r, and of the gradient of one batch at r and behind the last block (h), of some of them; and,
    where it was asked for, the accuracy of DirectCLR against d0. Markers are means (spectra:
    medians) over seeds, bars 95 % intervals of the mean, bands the range of the seeds.
    Args: a Dataset of `compare`. Returns: Figure.
    """
    with look():
        return _drawn(dataset)


def _drawn(dataset: xr.Dataset) -> Figure:
    names = dataset["projector"].values.tolist()
    drawn = figure(PAGE, 3.2 + 0.14 * len(names))
    heights = (0.9 + 0.14 * len(names), 2.0)
    upper, lower = (
        drawn.add_subfigure(row) for row in drawn.add_gridspec(2, 1, height_ratios=heights)
    )
    left, right = upper.subplots(1, 2, sharey=True, width_ratios=(1.5, 1))
    labels = _labels(dataset)
    _probes(left, dataset, labels)
    _rankme(right, dataset)
    shown = [name for name in FOLLOWED if name in names] or names[:4]
    swept = "sweep_probe_accuracy" in dataset
    axes = lower.subplots(1, 3 if swept else 2)
    width = 6.0 / len(axes) - 0.25
    _spectra(axes[0], dataset, shown)
    _gradients(axes[1], dataset, shown)
    headline(left, "a", _told_of_probes(dataset), 2.9)
    headline(right, "b", _told_of_ranks(dataset), 1.9)
    headline(axes[0], "c", _told_of_spectra(dataset, shown), width)
    headline(axes[1], "d", _told_of_gradients(dataset, shown), width)
    if swept:
        _against_d0(axes[2], dataset, labels)
        headline(axes[2], "e", _told_of_d0(dataset), width)
    key(upper, _upper_handles(dataset, labels))
    key(lower, _lower_handles(dataset, shown, swept))
    return drawn


def _labels(dataset: xr.Dataset) -> Ordered:
    """The numbers of labels per class, fewest first."""
    names = [str(name) for name in dataset["labels"].values]
    names.sort(key=lambda name: np.inf if name == "all" else int(name))
    words = ["all labels" if name == "all" else f"{name} labels per class" for name in names]
    return Ordered(names, "labels", words)


def _look_of(name: str, shown: list[str]) -> tuple[Any, str]:
    """The colour and marker of a setup whose spectra are drawn."""
    return FOLLOWED.get(name, (INK, MARKERS[shown.index(name) % len(MARKERS)]))


def _baseline(dataset: xr.Dataset) -> tuple[str, str]:
    """What the probes are compared with: variable, and words."""
    if "raw_accuracy" in dataset:
        return "raw_accuracy", "probe on raw pixels"
    return "untrained_accuracy", "probe on an untrained encoder"


def _bars(values: list[np.ndarray], most: float) -> tuple[np.ndarray, np.ndarray]:
    """Means over seeds, and how far their intervals reach below and above, within 0 and the most
    that is possible; 0 where unknown. Args: values (seeds,) of each.
    """
    found = [ablation.interval(each) for each in values]
    means = np.array([each.mean for each in found])
    low, high = (np.clip([each[end] for each in found], 0, most) for end in (1, 2))
    return means, np.nan_to_num(np.stack([means - low, high - means])).clip(0)


def _probes(axis: Axes, dataset: xr.Dataset, labels: Ordered) -> None:
    names = dataset["projector"].values.tolist()
    place = np.arange(len(names))[::-1]
    for label, colour, mark in labels:
        rows = dataset["probe_accuracy"].sel(feature="r", labels=label)
        means, halves = _bars([100 * rows.sel(projector=name).values for name in names], 100.0)
        bars: dict[str, Any] = {"color": colour, "marker": mark, "elinewidth": 0.8, **MEASURED}
        axis.errorbar(means, place, xerr=halves, **bars)
        below = 100 * float(dataset[_baseline(dataset)[0]].sel(labels=label).mean())
        axis.axvline(below, **(BOUND | {"color": colour, "zorder": 0}))
    axis.set(xlabel="probe accuracy on r, %", ylim=(-0.7, len(names) - 0.3))
    axis.set_yticks(place, [ablation.SETUPS[name] for name in names])
    axis.grid(axis="y", color="0.92", linewidth=0.5)
    axis.set_axisbelow(True)


def _rankme(axis: Axes, dataset: xr.Dataset) -> None:
    names = dataset["projector"].values.tolist()
    place = np.arange(len(names))[::-1]
    found, dims = dataset["representation_rankme"], dataset.sizes["mode"]
    means, halves = _bars([found.sel(projector=name).values for name in names], float(dims))
    axis.errorbar(means, place, xerr=halves, marker="o", color=INK, elinewidth=0.8, **MEASURED)
    note_if_none(axis, means, DIVERGED)
    highest = float(np.nanmax(means + halves[1], initial=1.0))
    axis.set(xlabel=f"RankMe of r, at most {dims}", xlim=(0, 1.1 * highest))
    axis.grid(axis="y", color="0.92", linewidth=0.5)
    axis.set_axisbelow(True)


def _normalised(axis: Axes, spectrum: xr.DataArray, colour: Any, mark: str, **line: Any) -> None:
    """Median over seeds with their range, each spectrum relative to its largest value."""
    values = _relative(spectrum).transpose("seed", "mode").values
    rank = np.arange(1, values.shape[1] + 1)
    axis.fill_between(rank, values.min(axis=0), values.max(axis=0), color=colour, **SPREAD)
    every = max(1, len(rank) // 10)
    shown: dict[str, Any] = {"color": colour, "marker": mark, "markevery": every, **line}
    axis.plot(rank, np.median(values, axis=0), markeredgewidth=0, **shown)


def _relative(spectrum: xr.DataArray) -> xr.DataArray:
    """Spectra relative to their largest values; nan where these are zero."""
    largest = spectrum.max("mode")
    return spectrum / largest.where(largest > 0)


def _spectra(axis: Axes, dataset: xr.Dataset, shown: list[str]) -> None:
    spectrum = dataset["representation_spectrum"]
    for name in shown:
        _normalised(axis, spectrum.sel(projector=name), *_look_of(name, shown))
    relative = _relative(spectrum.sel(projector=shown)).values
    note_if_none(axis, relative, NOTHING)
    decades(axis, "y", floor(relative, 1e-9), 2.0)
    ranks(axis, dataset.sizes["mode"])
    axis.set_ylabel("eigenvalue")


def _gradients(axis: Axes, dataset: xr.Dataset, shown: list[str]) -> None:
    """At r solid, behind the last block dashed."""
    for name in _with_gradients(shown):
        for place, line in zip(PLACES, ("-", "--"), strict=True):
            spectrum = dataset["gradient_spectrum"].sel(projector=name, place=place)
            _normalised(axis, spectrum, *_look_of(name, shown), linestyle=line)
    drawn = dataset["gradient_spectrum"].sel(projector=_with_gradients(shown))
    note_if_none(axis, _relative(drawn).values, NOTHING)
    decades(axis, "y", RESOLVED, 2.0)
    ranks(axis, dataset.sizes["mode"])
    axis.axvline(int(dataset.attrs["d0"]) + 0.5, color="0.6", linewidth=0.6, zorder=0)
    axis.set_ylabel("singular value")


def _with_gradients(shown: list[str]) -> list[str]:
    """Three of them at most, that their lines can be told apart."""
    wanted = [name for name in ("none", "directclr", "directclr-linear-block") if name in shown]
    return wanted or shown[:3]


def _against_d0(axis: Axes, dataset: xr.Dataset, labels: Ordered) -> None:
    accuracy = _accuracy_against_d0(dataset)
    d0 = accuracy["d0"].values
    for label, colour, mark in labels:
        rows = accuracy.sel(labels=label)
        means, halves = _bars([100 * rows.sel(d0=value).values for value in d0], 100.0)
        bars: dict[str, Any] = {"color": colour, "marker": mark, "elinewidth": 0.8}
        axis.errorbar(d0, means, yerr=halves, linewidth=0.6, markeredgewidth=0, **bars)
    axis.set_xscale("symlog", base=2, linthresh=4)
    axis.set_xticks(d0, [str(value) for value in d0])
    axis.minorticks_off()
    axis.set(xlabel="d0 of DirectCLR", ylabel="accuracy, %")


def _accuracy_against_d0(dataset: xr.Dataset) -> xr.DataArray:
    """Probes on r under DirectCLR by d0: those of the sweep, and the one among the projectors."""
    swept, chosen = dataset["sweep_probe_accuracy"], dataset.attrs["d0"]
    if chosen not in swept["d0"] and "directclr" in dataset["projector"]:
        one = dataset["probe_accuracy"].sel(projector="directclr", feature="r", drop=True)
        swept = xr.concat([swept, one.expand_dims(d0=[chosen])], "d0")
    return swept.sortby("d0")


def _told_of_probes(dataset: xr.Dataset) -> str:
    """Whether projectors make a difference to the probes, by the study's own judgements."""
    held, against = [], []
    names = set(dataset["projector"].values.tolist()) - {"none", "shuffled"}
    if not names or "none" not in dataset["projector"]:
        return "What probes find in r"
    labels = [str(name) for name in dataset["labels"].values]
    for name in sorted(names):
        for label in labels:
            pair = (
                ablation.measured(dataset, (each, "r"), "probe", label) for each in (name, "none")
            )
            with_projector, without = pair
            found = ablation.interval(with_projector - without, len(names) * len(labels))
            held.append(found.low > 0)
            against.append(found.high < 0)
    if dataset.sizes["seed"] < 2:
        return "What probes find in r (one seed: no intervals)"
    better, worse = sum(held), sum(against)
    if not better and not worse:
        return "No projector's probe differs from none beyond chance"
    return f"Of {len(held)} probes behind a projector {better} beat none, {worse} fall behind"


def _told_of_ranks(dataset: xr.Dataset) -> str:
    means = dataset["representation_rankme"].mean("seed")
    if means.isnull().any():
        return "Training diverges"
    return f"r keeps a rank of {_range(means)}"


def _told_of_spectra(dataset: xr.Dataset, shown: list[str]) -> str:
    collapsed = dataset["collapsed"].sel(projector=shown)
    if collapsed.isnull().any():
        return "Spectra of r: training diverges"
    return f"{_range(collapsed)} of {dataset.sizes['mode']} dimensions of r collapse"


def _told_of_gradients(dataset: xr.Dataset, shown: list[str]) -> str:
    ranks_found = ablation.gradient_ranks(dataset).sel(projector=_with_gradients(shown))
    at = [ranks_found.sel(place=place).median("seed") for place in PLACES]
    return f"Gradients have rank {_range(at[0])} at r, {_range(at[1])} at h"


def _range(values: xr.DataArray) -> str:
    """The smallest and the largest value, in whole numbers."""
    low, high = f"{float(values.min()):.0f}", f"{float(values.max()):.0f}"
    return low if low == high else f"{low} to {high}"


def _told_of_d0(dataset: xr.Dataset) -> str:
    fewest = _labels(dataset).values[0]
    accuracy = 100 * _accuracy_against_d0(dataset).sel(labels=fewest).mean("seed")
    low, high = (
        accuracy.isel(d0=int(place)) for place in (accuracy.argmin("d0"), accuracy.argmax("d0"))
    )
    told = [f"{float(each):.0f} % at d0 = {int(each['d0'])}" for each in (low, high)]
    return f"Fewest labels: {told[0]}, {told[1]}"


def _upper_handles(dataset: xr.Dataset, labels: Ordered) -> list[Any]:
    handles: list[Any] = labels.handles()
    handles.append(named(BOUND, _baseline(dataset)[1]))
    if dataset.sizes["seed"] > 1:
        handles.append(named({"linewidth": 0.8}, f"95 % interval, {dataset.sizes['seed']} seeds"))
    return handles


def _lower_handles(dataset: xr.Dataset, shown: list[str], swept: bool) -> list[Any]:
    handles: list[Any] = []
    for name in shown:
        colour, mark = _look_of(name, shown)
        handles.append(measured(ablation.SETUPS[name], mark, color=colour, linestyle="-"))
    handles.append(named({"linewidth": 1.0, "linestyle": "-"}, "(d) gradient at r, largest 1"))
    handles.append(named({"linewidth": 1.0, "linestyle": "--"}, "(d) gradient at h"))
    handles.append(named({"color": "0.6", "linewidth": 0.6}, f"d0 = {int(dataset.attrs['d0'])}"))
    if dataset.sizes["seed"] > 1:
        handles.append(band("range of the seeds"))
    return handles
