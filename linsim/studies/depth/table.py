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
    remarks = []
    for network in dataset["network"].values:
        counts = last["collapsed"].sel(network=network).sortby("depth").mean("seed").values
        grows = "grow with depth" if np.all(np.diff(counts) > 0) else "do NOT grow with depth"
        remarks.append(
            f"{network}: collapsed dimensions {grows} "
            f"({', '.join(f'{count:.1f}' for count in counts)})"
        )
    if "linear" in dataset["network"].values and not np.isnan(last["theory_collapsed"]).any():
        counts = last["collapsed"].sel(network="linear")
        equal = int((counts == last["theory_collapsed"]).sum())
        remarks.append(f"linear: as many as theory predicts in {equal} of {counts.size} runs")
    return "\n".join([*lines, "", f"verdict: {'; '.join(remarks)}"])
