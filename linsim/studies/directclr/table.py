"""The study's tables: probes and ranks beside the paper's, and its comparisons, judged."""

import json
from typing import get_args

import numpy as np
import xarray as xr

from linsim.studies import tabular
from linsim.studies.directclr import ablation
from linsim.studies.directclr.ablation import SETUPS, Comparison, Interval, Outcome

BASELINES = {"raw_accuracy": "raw pixels", "untrained_accuracy": "untrained encoder"}


LEGEND = (
    "probe: linear, on the representation r, on its first d0 coordinates and the others, and on h "
    "(r = h + f(h)); labels: per class, or all; ImageNet: the paper's Tables 1 and 2; "
    "RankMe: effective rank of r by its singular values, centred rank: of its covariance; "
    "collapsed: dimensions whose deviation is below {:g} % of the largest; rank at r, at h: of the "
    "gradient of one batch"
)


def rows(dataset: xr.Dataset) -> list[dict[str, object]]:
    """Mean and 95 % interval of each probe of every projector, and of RankMe and collapsed
    dimensions of r.
    """
    found: list[dict[str, object]] = []

    def add(setup: str, measure: str, values: xr.DataArray, feature: str = "r", labels: str = ""):
        mean, low, high = ablation.interval(values.values)
        row: dict[str, object] = {
            "projector": setup,
            "measure": measure,
            "feature": feature,
            "labels": labels,
        }
        found.append(row | {"mean": mean, "low": low, "high": high})

    for setup in map(str, dataset["projector"].values):
        one = dataset.sel(projector=setup)
        for feature in map(str, dataset["feature"].values):
            for labels in map(str, dataset["labels"].values):
                accuracy = one["probe_accuracy"].sel(feature=feature, labels=labels)
                add(setup, "probe accuracy", accuracy, feature, labels)
        add(setup, "RankMe", one["representation_rankme"])
        add(setup, "collapsed dimensions", one["collapsed"])
    return found


def tell(dataset: xr.Dataset) -> str:
    """Tables and verdict. Args: a Dataset of `compare`."""
    labels = [str(name) for name in dataset["labels"].values]
    lines = [_setting(dataset), *_reduced(dataset), ""]
    lines += [*_accuracies(dataset, labels), *_convolutional(dataset)]
    below = 100 * float(dataset.attrs["collapse_threshold"])
    lines += ["", *_ranks(dataset), *tabular.legend(LEGEND.format(below))]
    lines += ["", *_comparisons(dataset, labels), "", _correlations(dataset, labels)]
    return "\n".join([*lines, "", _verdict(dataset, labels)])


def _setting(dataset: xr.Dataset) -> str:
    attributes = dataset.attrs
    return (
        f"{attributes['data']}: NT-Xent (mean over anchors, temperature "
        f"{attributes['temperature']:g}), {attributes['steps']} steps of "
        f"{attributes['batch_size']}, r = h + f(h) of width {dataset.sizes['mode']}, "
        f"{_blocks(attributes)}, d0 = {attributes['d0']}, {dataset.sizes['seed']} seeds, "
        f"{attributes['dtype']}; accuracies in %; mean and 95 % interval"
    )


def _blocks(attributes: dict) -> str:
    """The encoder's blocks; of a convolutional one by stage, with its channels in the first."""
    if "blocks" in attributes:
        return f"{attributes['blocks']} blocks"
    blocks = " ".join(map(str, json.loads(attributes["config"])["blocks"]))
    return f"convolutional ({attributes['width']} channels, {blocks} blocks)"


def _reduced(dataset: xr.Dataset) -> list[str]:
    """What a preset leaves out of the paper's setting."""
    if dataset.attrs["preset"] != "cpu":
        return []
    return [
        "A REDUCED SETTING, made to end on two cores: a narrow network, a part of the images, made "
        "smaller, and few epochs; no stand-in for the paper's."
    ]


def _convolutional(dataset: xr.Dataset) -> list[str]:
    """Votes of the nearest neighbours, the online probe, and the speed."""
    if "knn_accuracy" not in dataset:
        return []
    features = [str(name) for name in dataset["feature"].values]
    lines = ["", _row("projector, neighbours of", [*features, "online"])]
    for setup in dataset["projector"].values:
        one = dataset.sel(projector=setup)
        cells = [_percent(one["knn_accuracy"].sel(feature=name)) for name in features]
        online = "online_test_accuracy" in one
        cells.append(_percent(one["online_test_accuracy"]) if online else "-")
        lines.append(_row(SETUPS[setup], cells))
    speed = float(dataset["images_per_second"].median())
    device = dataset.attrs["device"]
    how = f"{speed:.0f} images a second, each as two views (median over runs; {device})"
    return [*lines, "", how]


def _shown(value: Interval, digits: int = 1, scale: float = 1.0) -> str:
    if np.isnan(value.mean):
        return "-"
    half = "" if np.isnan(value.low) else f" ± {scale * (value.high - value.mean):.{digits}f}"
    return f"{scale * value.mean:.{digits}f}{half}"


def _row(name: str, cells: list[str]) -> str:
    return f"{name:30}" + "".join(f" {cell:>12}" for cell in cells)


def _accuracies(dataset: xr.Dataset, labels: list[str]) -> list[str]:
    """Probes on r with all labels and few, on its parts and h with all; the paper's column last."""
    parts = [str(name) for name in dataset["feature"].values[1:]]
    columns = [f"r, {name}" for name in labels] + [f"{part}, all" for part in parts]
    lines = [_row("projector, probe on, labels", [*columns, "ImageNet"])]
    others = {shown: dataset[name] for name, shown in BASELINES.items() if name in dataset}
    if 0 in dataset.get("d0", ()):
        others["untrained encoder"] = dataset["sweep_probe_accuracy"].sel(d0=0)
    for name, values in others.items():
        lines.append(_row(name, [_percent(values.sel(labels=each)) for each in labels]))
    for setup in dataset["projector"].values:
        one = dataset["probe_accuracy"].sel(projector=setup)
        cells = [_percent(one.sel(feature="r", labels=name)) for name in labels]
        cells += [_percent(one.sel(feature=name, labels="all")) for name in parts]
        paper = ablation.PAPER.get(setup)
        lines.append(_row(SETUPS[setup], [*cells, "-" if paper is None else f"{paper:.1f}"]))
    return lines


def _percent(values: xr.DataArray) -> str:
    return _shown(ablation.interval(values.values), 1, 100.0)


def _ranks(dataset: xr.Dataset) -> list[str]:
    """Collapse of each representation, and ranks of a batch gradient at r and behind the block."""
    columns = ("RankMe of r", "centred rank", "collapsed", "rank at r", "rank at h")
    lines = [_row(f"projector (of {dataset.sizes['mode']} dimensions)", list(columns))]
    ranks = ablation.gradient_ranks(dataset)
    of_r = ("representation_rankme", "representation_rank", "collapsed")
    places = ("representation", "behind the last block")
    for setup in dataset["projector"].values:
        values = [dataset[name].sel(projector=setup) for name in of_r]
        values += [ranks.sel(projector=setup, place=place) for place in places]
        cells = [_shown(ablation.interval(value.values)) for value in values]
        lines.append(_row(SETUPS[setup], cells))
    return lines


def _comparisons(dataset: xr.Dataset, labels: list[str]) -> list[str]:
    """Each of the paper's comparisons: paired difference and outcome, for each number of labels."""
    columns = [f"{name} labels" if name == "all" else name for name in labels]
    header = f"{'the paper says':59} {'where':8}" + "".join(f" {name:>28}" for name in columns)
    asked = ablation.asked(dataset)
    note = (
        f"intervals that hold together with 95 % for all {len(asked)} of them; equal: by less than "
        f"{100 * ablation.MARGIN:g} point"
    )
    rows: dict[Comparison, str] = {}
    for comparison, name in asked:
        difference, outcome = ablation.judge(dataset, comparison, name)
        scale = 100.0 if comparison.measure == "probe" else 1.0
        start = f"{comparison.statement:59} {comparison.where:8}"
        cell = f"{outcome} ({_signed(difference, scale)})"
        rows[comparison] = rows.get(comparison, start) + f" {cell:>28}"
    return [header, *rows.values(), note]


def _signed(difference: Interval, scale: float) -> str:
    return ("+" if difference.mean >= 0 else "") + _shown(difference, 1, scale)


def _correlations(dataset: xr.Dataset, labels: list[str]) -> str:
    found = {name: ablation.rank_correlation(dataset, name) for name in labels}
    shown = ", ".join(f"{_correlation(value)} ({name})" for name, value in found.items())
    return (
        f"rank correlation of the probe's ordering with the paper's, by labels per class: {shown}"
    )


def _correlation(value: Interval) -> str:
    """Its mean and interval, unless that reaches over half of all possible values."""
    if value.high - value.low > 1:
        return f"{value.mean:.2f}, too few seeds to tell"
    return _shown(value, 2)


def _verdict(dataset: xr.Dataset, labels: list[str]) -> str:
    told, asked = [], ablation.asked(dataset)
    for name in labels:
        outcomes = [
            ablation.judge(dataset, comparison, name)[1]
            for comparison, judged_for in asked
            if judged_for == name
        ]
        counts = ", ".join(
            f"{outcomes.count(each)} {each}"
            for each in get_args(Outcome)
            if each != "cannot tell" or each in outcomes
        )
        told.append(f"{'all' if name == 'all' else name + ' per class'}: {counts}")
    return f"verdict: of {len(asked)} comparisons with the paper, by labels: {'; '.join(told)}"
