"""Table of the phase diagrams."""

import numpy as np
import xarray as xr

BOUNDARY_AGREEMENT = 0.95  # of the phase diagram's cells away from the predicted boundary


def tell(dataset: xr.Dataset) -> str:
    """Table and verdict of the study: in how many cells every seed counts what theory predicts."""
    agrees = (dataset["collapsed"] == dataset["predicted_collapsed"]).all("seed")
    away = (dataset["near_boundary"] == 0).transpose(*agrees.dims)
    lines = [
        f"distance loss (mean over anchors), fresh batches of {dataset.attrs['batch_size']}, "
        f"{dataset.attrs['dim']} dimensions "
        f"({dataset.attrs['noisy_dims']} noisy), {dataset.sizes['noise']} x "
        f"{dataset.sizes['init_scale']} cells x "
        f"{dataset.sizes['seed']} seeds, {dataset.attrs['dtype']}",
        "",
        f"{'model':18} {'time':>6} {'away from boundary':>22} {'all cells':>10} {'own flow':>9} "
        f"{'worst':>6} {'alpha_ii':>9}",
    ]
    remarks = []
    for model in dataset["model"].values:
        one, good, far = (
            dataset.sel(model=model),
            agrees.sel(model=model).values,
            away.sel(model=model).values,
        )
        inside, total = int((good & far).sum()), int(far.sum())
        miss = (
            (one["collapsed"] - one["predicted_collapsed"])
            .transpose("noise", "init_scale", "seed")
            .values[far]
        )
        own = one["population_collapsed"]
        own_share = (
            "-" if own.isnull().all() else f"{100 * float((one['collapsed'] == own).mean()):.1f} %"
        )
        largest = miss.flat[np.argmax(np.abs(miss))]
        lines.append(
            f"{model:18} {float(one['end_time']):>6g} "
            f"{f'{inside} of {total} ({100 * inside / total:.1f} %)':>22} "
            f"{100 * good.mean():>8.1f} % {own_share:>9} {largest:>+6g} "
            f"{float(one['alpha_ii'].isel(time=-1).max()):>9.3f}"
        )
        remarks.append(
            f"{model} "
            f"{'as predicted' if inside >= BOUNDARY_AGREEMENT * total else 'NOT as predicted'}"
        )
    return "\n".join(
        [
            *lines,
            "",
            f"verdict ({100 * BOUNDARY_AGREEMENT:g} % of cells further than one cell from the "
            f"boundary): {'; '.join(remarks)}",
        ]
    )
