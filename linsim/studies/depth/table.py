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
        f"t = {float(last['time']):g}; "
        f"collapsed dimensions of {dataset.sizes['mode']}",
        "",
        f"{'layers':>6} {'balanced flow':>14}"
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
            f"{layers:>6} {number(float(one['predicted_collapsed'])):>14}{cells}  "
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
    return "\n".join([*lines, "", f"verdict: {'; '.join(remarks)}"])
