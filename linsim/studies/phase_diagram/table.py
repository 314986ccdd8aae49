"""Table of the phase diagrams."""

import numpy as np
import xarray as xr

from linsim.studies import tabular
from linsim.studies.tabular import Column

AGREEMENT = 0.95  # of the runs away from the predicted boundary, for the verdict


NAMES = {
    "one-view": "one layer, one noisy view",
    "two-views": "one layer, two noisy views",
    "two-layers": "two layers, balanced",
    "two-layers-random": "two layers, random start",
}
COLUMNS = [
    Column("model", "model", lambda name: NAMES.get(str(name), str(name)), left=True),
    Column("time", "time", "{:g}".format),
    Column("away", "away from the boundary"),
    Column("agreeing", "all", lambda share: _per_cent(share)),
    Column("worst", "worst", "{:+g}".format),
    Column("agreeing_infinite_batches", "all, infinite batches", lambda share: _per_cent(share)),
    Column("alpha_ii", "alpha_ii", "{:.3f}".format),
]
LEGEND = (
    "runs with as many collapsed dimensions as theory predicts from their own start: of those "
    "further than one cell from the boundary, and of all; worst: measured less predicted count "
    "of the run that is furthest off; alpha_ii: largest mean share of an anchor's positive in its "
    "softmax, at the end"
)


def rows(dataset: xr.Dataset) -> list[dict[str, object]]:
    """How every model agrees with theory."""
    found: list[dict[str, object]] = []
    for model in map(str, dataset["model"].values):
        one = dataset.sel(model=model)
        miss = (one["collapsed"] - one["theory_collapsed"]).values
        inside, total = _far(one)
        share = f"{inside} of {total} ({_per_cent(inside / total)})" if total else "no run"
        found.append(
            {
                "model": model,
                "time": float(one["end_time"]),
                "away": share,
                "away_agreeing": inside,
                "away_runs": total,
                "agreeing": float((miss == 0).mean()),
                "worst": float(miss.flat[np.argmax(np.abs(miss))]),
                "agreeing_infinite_batches": float(
                    (one["collapsed"] == one["population_collapsed"]).mean()
                ),
                "alpha_ii": float(one["alpha_ii"].isel(time=-1).max()),
            }
        )
    return found


def _far(one: xr.Dataset) -> tuple[int, int]:
    """Of the runs away from the boundary: how many agree, and how many there are."""
    miss = (one["collapsed"] - one["theory_collapsed"]).values
    far = (one["near_boundary"] == 0).values
    return int((far & (miss == 0)).sum()), int(far.sum())


def tell(dataset: xr.Dataset) -> str:
    """Table and verdict of the study: in how many runs the count is the one that theory predicts
    from that run's own start.
    """
    setting = (
        f"distance loss (mean over anchors), fresh batches of {dataset.attrs['batch_size']}, "
        f"{dataset.attrs['dim']} dimensions ({dataset.attrs['noisy_dims']} noisy), "
        f"{dataset.sizes['noise']} x {dataset.sizes['init_scale']} cells x "
        f"{dataset.sizes['seed']} seeds, {dataset.attrs['dtype']}"
    )
    remarks = []
    for model in dataset["model"].values:
        one = dataset.sel(model=model)
        flat = one["theory_collapsed"].min() == one["theory_collapsed"].max()
        remarks.append(f"{model} {_remark(*_far(one))}" + " (no boundary here)" * bool(flat))
    verdict = (
        f"verdict ({100 * AGREEMENT:g} % of the runs further than one cell from the boundary "
        f"that theory predicts): {'; '.join(remarks)}"
    )
    table = [*tabular.lines(COLUMNS, rows(dataset)), *tabular.legend(LEGEND)]
    return "\n".join([setting, "", *table, "", verdict])


def _per_cent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _remark(inside: int, total: int) -> str:
    if not total:
        return "not to be judged, for every cell lies at the boundary"
    return "as predicted" if inside >= AGREEMENT * total else "NOT as predicted"
