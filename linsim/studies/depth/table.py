"""The table of networks of several depths."""

import numpy as np
import xarray as xr

from linsim.studies import tabular
from linsim.studies.tabular import Column
from linsim.studies.words import count_range, number

LEGEND = (
    "collapsed dimensions of each network, smallest to largest over the seeds; theory: of balanced "
    "linear layers at this batch size and learning rate; alpha_ii: mean share of an anchor's "
    "positive in its softmax"
)


def rows(dataset: xr.Dataset) -> list[dict[str, object]]:
    """Every depth: counts by theory, and of each network over the seeds."""
    last, found = dataset.isel(time=-1), []
    for layers in dataset["depth"].values:
        one = last.sel(depth=layers)
        row: dict[str, object] = {
            "layers": int(layers),
            "theory": float(one["theory_collapsed"]),
            "infinite_batches": float(one["population_collapsed"]),
        }
        for network in map(str, dataset["network"].values):
            counts = one["collapsed"].sel(network=network)
            row[network] = count_range(counts)
            row[f"{network}_mean"] = float(counts.mean())
        found.append(row | {"alpha_ii": float(one["alpha_ii"].mean())})
    return found


def tell(dataset: xr.Dataset) -> str:
    """Table and verdict of the study: collapsed dimensions by depth, measured over the seeds and
    predicted.
    """
    last = dataset.isel(time=-1)
    networks = [str(name) for name in dataset["network"].values]
    columns = [
        Column("layers", "layers"),
        Column("theory", "theory", number),
        Column("infinite_batches", "infinite batches", number),
        *(Column(name, "ReLU" if name == "relu" else name) for name in networks),
        Column("alpha_ii", "alpha_ii", "{:.3f}".format),
    ]
    setting = (
        f"distance loss (mean over anchors), one noisy view, noise {dataset.attrs['noise']:g}, "
        f"batches of {dataset.attrs['batch_size']}, {dataset.sizes['seed']} seeds, "
        f"{dataset.attrs['dtype']}, t = {float(last['time']):g}; collapsed dimensions of "
        f"{dataset.sizes['mode']}"
    )
    remarks = [_growth(dataset, network) for network in networks]
    if "linear" in networks and not np.isnan(last["theory_collapsed"]).any():
        counts = last["collapsed"].sel(network="linear")
        equal = int((counts == last["theory_collapsed"]).sum())
        remarks.append(f"linear: as many as theory predicts in {equal} of {counts.size} runs")
    table = [*tabular.lines(columns, rows(dataset)), *tabular.legend(LEGEND)]
    return "\n".join([setting, "", *table, "", f"verdict: {'; '.join(remarks)}"])


def _growth(dataset: xr.Dataset, network: str) -> str:
    """Whether training makes more dimensions collapse in deeper networks, beyond what their starts
    differ by.
    """
    counts = dataset["collapsed"].sel(network=network).sortby("depth").mean("seed")
    start, end = counts.isel(time=0).values, counts.isel(time=-1).values
    told = f"{_numbers(end)} collapsed dimensions, {_numbers(start)} at the start"
    if len(end) < 2:
        return f"{network}: {told}; one depth cannot tell whether they grow with it"
    if np.all(end == start):
        return f"{network}: {told}; nothing has changed yet, more --steps would tell"
    grows = "grow with depth" if np.all(np.diff(end) > 0) else "do NOT grow with depth"
    return f"{network}: collapsed dimensions {grows} ({told})"


def _numbers(counts: np.ndarray) -> str:
    return ", ".join(f"{count:g}" for count in np.round(counts, 1))
