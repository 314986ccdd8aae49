"""Tables of the projectors: probes and ranks beside the paper's, and what the seeds say about each of its comparisons."""

import json

import numpy as np
import xarray as xr

from linsim import ablation
from linsim.ablation import SETUPS, Interval


def projectors(dataset: xr.Dataset) -> str:
    """Tables and verdict of `experiments/directclr.py`."""
    labels = [str(name) for name in dataset["labels"].values]
    lines = [_setting(dataset), *_reduced(dataset), "", *_accuracies(dataset, labels), *_convolutional(dataset)]
    lines += ["", *_ranks(dataset), "", *_comparisons(dataset, labels)]
    correlations = ", ".join(f"{_shown(ablation.rank_correlation(dataset, name), 2)} ({name})" for name in labels)
    lines += ["", f"rank correlation of the probe's ordering with the paper's, by labels per class: {correlations}"]
    return "\n".join([*lines, "", _verdict(dataset, labels)])


def _setting(dataset: xr.Dataset) -> str:
    attributes = dataset.attrs
    return (
        f"{attributes['data']}: NT-Xent (mean over anchors, temperature {attributes['temperature']:g}), {attributes['steps']} "
        f"steps of {attributes['batch_size']}, r = h + f(h) of width {dataset.sizes['mode']}, {_blocks(attributes)}, d0 = "
        f"{attributes['d0']}, {dataset.sizes['seed']} seeds, {attributes['dtype']}; accuracies in %; mean and 95 % interval"
    )


def _blocks(attributes: dict) -> str:
    """The encoder's blocks; of a convolutional one by stage, with how many channels the first has."""
    if "blocks" in attributes:
        return f"{attributes['blocks']} blocks"
    return (
        f"convolutional ({attributes['width']} channels, {' '.join(map(str, json.loads(attributes['config'])['blocks']))} blocks)"
    )


def _reduced(dataset: xr.Dataset) -> list[str]:
    """What a preset leaves out of the paper's setting."""
    if dataset.attrs["preset"] != "cpu":
        return []
    return [
        "A REDUCED SETTING, made to end on two cores: a narrow network, a part of the images, made smaller, and few epochs; "
        "no stand-in for the paper's."
    ]


def _convolutional(dataset: xr.Dataset) -> list[str]:
    """Votes of the nearest neighbours, the online probe, and the speed."""
    if "knn_accuracy" not in dataset:
        return []
    lines = ["", _row("projector, neighbours of", [str(name) for name in dataset["feature"].values] + ["online"])]
    for setup in dataset["projector"].values:
        one = dataset.sel(projector=setup)
        cells = [_percent(one["knn_accuracy"].sel(feature=name)) for name in dataset["feature"].values]
        lines.append(
            _row(SETUPS[setup], [*cells, _percent(one["online_test_accuracy"]) if "online_test_accuracy" in one else "-"])
        )
    speed = float(dataset["images_per_second"].median())
    return [*lines, "", f"{speed:.0f} images a second, each as two views (median over runs; {dataset.attrs['device']})"]


def _shown(value: Interval, digits: int = 1, scale: float = 1.0) -> str:
    if np.isnan(value.mean):
        return "-"
    half = "" if np.isnan(value.low) else f" ± {scale * (value.high - value.mean):.{digits}f}"
    return f"{scale * value.mean:.{digits}f}{half}"


def _row(name: str, cells: list[str]) -> str:
    return f"{name:30}" + "".join(f" {cell:>12}" for cell in cells)


def _accuracies(dataset: xr.Dataset, labels: list[str]) -> list[str]:
    """Probes on r with all labels and with few, then on its parts and on h with all; the paper's column last."""
    parts = [str(name) for name in dataset["feature"].values[1:]]
    lines = [_row("projector, probe on, labels", [f"r, {name}" for name in labels] + [f"{p}, all" for p in parts] + ["ImageNet"])]
    names = {"raw_accuracy": "raw pixels", "untrained_accuracy": "untrained encoder"}
    others = {shown: dataset[name] for name, shown in names.items() if name in dataset}
    if 0 in dataset.get("d0", ()):
        others["untrained encoder"] = dataset["sweep_probe_accuracy"].sel(d0=0)
    lines += [_row(name, [_percent(values.sel(labels=each)) for each in labels]) for name, values in others.items()]
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
    """Collapse of each representation, and ranks of the batch gradient at r and behind the last block."""
    columns = ("RankMe of r", "centred rank", "collapsed", "rank at r", "rank at h")
    lines = [_row(f"projector (of {dataset.sizes['mode']} dimensions)", list(columns))]
    ranks = ablation.gradient_ranks(dataset)
    for setup in dataset["projector"].values:
        one = dataset.sel(projector=setup)
        values = [one[name] for name in ("representation_rankme", "representation_rank", "collapsed")]
        values += [ranks.sel(projector=setup, place=place) for place in ("representation", "behind the last block")]
        lines.append(_row(SETUPS[setup], [_shown(ablation.interval(value.values)) for value in values]))
    return lines


def _comparisons(dataset: xr.Dataset, labels: list[str]) -> list[str]:
    """Each of the paper's comparisons: paired difference and outcome, for each number of labels."""
    lines = [
        f"{'the paper says':52} {'where':8}" + "".join(f" {name + ' labels' if name == 'all' else name:>28}" for name in labels)
    ]
    for comparison in ablation.testable(dataset):
        cells = []
        for name in labels if comparison.measure == "probe" else labels[:1]:
            difference, outcome = ablation.judge(dataset, comparison, name)
            scale = 100.0 if comparison.measure == "probe" else 1.0
            cells.append(f"{outcome} ({_signed(difference, scale)})")
        lines.append(f"{comparison.statement:52} {comparison.where:8}" + "".join(f" {cell:>28}" for cell in cells))
    return lines


def _signed(difference: Interval, scale: float) -> str:
    return ("+" if difference.mean >= 0 else "") + _shown(difference, 1, scale)


def _verdict(dataset: xr.Dataset, labels: list[str]) -> str:
    told = []
    for name in labels:
        outcomes = [ablation.judge(dataset, comparison, name)[1] for comparison in ablation.testable(dataset)]
        counts = ", ".join(f"{outcomes.count(each)} {each}" for each in ("holds", "does not hold", "within noise"))
        told.append(f"{'all' if name == 'all' else name + ' per class'}: {counts}")
    return f"verdict: of {len(outcomes)} comparisons of the paper, by labels: {'; '.join(told)}"
