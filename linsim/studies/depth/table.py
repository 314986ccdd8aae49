"""The table of networks of several depths."""

import numpy as np
import xarray as xr

from linsim.studies.words import count_range, number


def tell(dataset: xr.Dataset) -> str:
    """Table and verdict of the study: collapsed dimensions by depth, measured over the seeds and
    predicted.
    """
    last = dataset.isel(time=-1)
    lines = [
        f"distance loss (mean over anchors), one noisy view, noise {dataset.attrs['noise']:g}, "
        "batches of "
        f"{dataset.attrs['batch_size']}, {dataset.sizes['seed']} seeds, {dataset.attrs['dtype']}, "
        f"t = {float(last['time']):g}; collapsed dimensions of {dataset.sizes['mode']}; theory: of "
        "balanced linear layers at this batch size and learning rate, and in infinite batches",
        "",
        f"{'layers':>6} {'theory':>7} {'N = inf':>8}"
        + "".join(f" {network:>10}" for network in dataset["network"].values)
        + "  alpha_ii",
    ]
    for layers in dataset["depth"].values:
        one = last.sel(depth=layers)
        cells = "".join(
            f" {count_range(one['collapsed'].sel(network=network)):>10}"
            for network in dataset["network"].values
        )
        lines.append(
            f"{layers:>6} {number(float(one['theory_collapsed'])):>7} "
            f"{number(float(one['population_collapsed'])):>8}{cells}  "
            f"{float(one['alpha_ii'].mean()):.3f}"
        )
    remarks = [_growth(dataset, network) for network in dataset["network"].values]
    if "linear" in dataset["network"].values and not np.isnan(last["theory_collapsed"]).any():
        counts = last["collapsed"].sel(network="linear")
        equal = int((counts == last["theory_collapsed"]).sum())
        remarks.append(f"linear: as many as theory predicts in {equal} of {counts.size} runs")
    return "\n".join([*lines, "", f"verdict: {'; '.join(remarks)}"])


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
