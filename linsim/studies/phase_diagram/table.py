"""Table of the phase diagrams."""

import numpy as np
import xarray as xr

AGREEMENT = 0.95  # of the runs away from the predicted boundary, for the verdict


def tell(dataset: xr.Dataset) -> str:
    """Table and verdict of the study: in how many runs the count is the one that theory predicts
    from that run's own start.
    """
    lines = [
        f"distance loss (mean over anchors), fresh batches of {dataset.attrs['batch_size']}, "
        f"{dataset.attrs['dim']} dimensions ({dataset.attrs['noisy_dims']} noisy), "
        f"{dataset.sizes['noise']} x {dataset.sizes['init_scale']} cells x "
        f"{dataset.sizes['seed']} seeds, {dataset.attrs['dtype']}",
        "runs with as many collapsed dimensions as theory predicts from their own start:",
        "",
        f"{'model':18} {'time':>6} {'away from boundary':>23} {'all':>8} {'worst':>6} "
        f"{'infinite batches, all':>22} {'alpha_ii':>9}",
    ]
    remarks = []
    for model in dataset["model"].values:
        one = dataset.sel(model=model)
        miss = (one["collapsed"] - one["theory_collapsed"]).values
        far = (one["near_boundary"] == 0).values
        inside, total = int((far & (miss == 0)).sum()), int(far.sum())
        limit = float((one["collapsed"] == one["population_collapsed"]).mean())
        lines.append(
            f"{model:18} {float(one['end_time']):>6g} "
            f"{f'{inside} of {total} ({_per_cent(inside / total)})' if total else 'no run':>23} "
            f"{_per_cent((miss == 0).mean()):>8} {miss.flat[np.argmax(np.abs(miss))]:>+6g} "
            f"{_per_cent(limit):>22} {float(one['alpha_ii'].isel(time=-1).max()):>9.3f}"
        )
        flat = one["theory_collapsed"].min() == one["theory_collapsed"].max()
        remarks.append(f"{model} {_remark(inside, total)}" + " (no boundary here)" * bool(flat))
    return "\n".join(
        [
            *lines,
            "",
            f"verdict ({100 * AGREEMENT:g} % of the runs further than one cell from the boundary "
            f"that theory predicts): {'; '.join(remarks)}",
        ]
    )


def _per_cent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _remark(inside: int, total: int) -> str:
    if not total:
        return "not to be judged, for every cell lies at the boundary"
    return "as predicted" if inside >= AGREEMENT * total else "NOT as predicted"
