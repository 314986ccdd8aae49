"""Tables of deeper networks, and of the kinds of collapse."""

import numpy as np
import xarray as xr

from linsim.report.words import count_range
from linsim.spectra import kinds_found


def depth(dataset: xr.Dataset) -> str:
    """Table and verdict of `experiments/depth.py`: collapsed dimensions by depth, measured over the seeds and predicted."""
    last = dataset.isel(time=-1)
    lines = [
        f"distance loss (mean over anchors), one noisy view, noise {dataset.attrs['noise']:g}, batches of "
        f"{dataset.attrs['batch_size']}, {dataset.sizes['seed']} seeds, {dataset.attrs['dtype']}, t = {float(last['time']):g}; "
        f"collapsed dimensions of {dataset.sizes['mode']}",
        "",
        f"{'layers':>6} {'balanced flow':>14}"
        + "".join(f" {network:>10}" for network in dataset["network"].values)
        + "  alpha_ii",
    ]
    for layers in dataset["depth"].values:
        one = last.sel(depth=layers)
        cells = "".join(f" {count_range(one['collapsed'].sel(network=network)):>10}" for network in dataset["network"].values)
        lines.append(f"{layers:>6} {int(one['predicted_collapsed']):>14}{cells}  {float(one['alpha_ii'].mean()):.3f}")
    remarks = []
    for network in dataset["network"].values:
        counts = last["collapsed"].sel(network=network).sortby("depth").mean("seed").values
        grows = "grow with depth" if np.all(np.diff(counts) > 0) else "do NOT grow with depth"
        remarks.append(f"{network}: collapsed dimensions {grows} ({', '.join(f'{count:.1f}' for count in counts)})")
    return "\n".join([*lines, "", f"verdict: {'; '.join(remarks)}"])


def kinds(dataset: xr.Dataset) -> str:
    """Table and verdict of `experiments/collapse_kinds.py`: the kind of collapse of every run and of its population flow."""
    first, last = dataset.isel(time=0), dataset.isel(time=-1)
    lines = [
        f"one linear layer, noise {dataset.attrs['base_noise']:g} and, in {dataset.attrs['noisy_dims']} of "
        f"{dataset.sizes['mode']} coordinates, {dataset.attrs['noise']:g}; fresh batches of {dataset.attrs['batch_size']}, mean "
        f"losses, weight decay {dataset.attrs['weight_decay']:g}, {dataset.sizes['seed']} seeds, {dataset.attrs['dtype']}, "
        f"t = {float(last['time']):g}",
        "",
        f"{'objective':18} {'variance left':>14} {'smallest/largest':>17} {'population':>12}  verdict (of the population flow)",
    ]
    agrees = 0
    for objective in dataset["objective"].values:
        end, flow = (
            last[name].sel(objective=objective).median("seed") for name in ("embedding_spectrum", "population_embedding_spectrum")
        )
        left = float(end.sum() / first["embedding_spectrum"].sel(objective=objective).median("seed").sum())
        found, expected = (kinds_found(last[name].sel(objective=objective).values) for name in ("kind", "population_kind"))
        agrees += found == expected
        lines.append(
            f"{objective:18} {left:>14.3g} {float(end.min() / end.max()):>17.3g} {float(flow.min() / flow.max()):>12.3g}  "
            f"{found} ({expected})"
        )
    return "\n".join(
        [*lines, "", f"verdict: the kind of the population flow in {agrees} of {dataset.sizes['objective']} objectives"]
    )
