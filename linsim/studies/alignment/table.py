"""The table of the alignment of two linear layers."""

import numpy as np
import xarray as xr

from linsim.studies import tabular
from linsim.studies.tabular import Column
from linsim.studies.two_layers.modes import ALIGNED_ANGLE, ALIGNED_COSINE, GROWN, STATES
from linsim.studies.two_layers.words import named, one_by_one, runs, setting
from linsim.studies.words import count_range

IDENTITY_TOLERANCE = {
    "float64": 1e-9,
    "float32": 1e-4,
}  # of the alignment identity, in units of s^2


def columns() -> list[Column]:
    """What the table shows of each mode."""
    three, short = "{:.3g}".format, "{:.3f}".format
    return [
        Column("mode", "mode"),
        Column("s1", "s1", three),
        Column("s2", "s2", three),
        Column("alignment", "|A_kk|", short),
        Column("bound", "bound", short),
        Column("group", "group"),
        Column("angle", "angle, degrees", "{:.1f}".format),
        Column("state", "state", left=True),
    ]


LEGEND = (
    "s1, s2: singular values of W1 and W2; |A_kk|: how far both layers share the direction of mode "
    "k, from 0 to 1; bound: what theory guarantees of it; group: modes so close that only their "
    "span has a meaning; angle: between the group's spans in both layers; collapsed: s1 s2 below "
    f"{100 * GROWN:g} % of the largest; aligned: |A_kk| from {ALIGNED_COSINE:g} on, as a group: "
    f"angle below {ALIGNED_ANGLE:g} degrees"
)


def rows(dataset: xr.Dataset) -> list[dict[str, object]]:
    """Every mode of every run, at the end; of the first run first."""
    found: list[dict[str, object]] = []
    for point in runs(dataset):
        run = dataset.isel(point)
        end = run.isel(time=-1)
        diagonal = np.abs(np.diag(end["alignment"].values))
        for k in range(run.sizes["hidden_mode"]):
            found.append(
                named(run)
                | {
                    "mode": k + 1,
                    "s1": float(end["w1_singular_values"][k]),
                    "s2": float(end["w2_singular_values"][k]),
                    "alignment": float(diagonal[k]),
                    "bound": float(end["alignment_bound"][k]),
                    "group": int(run["mode_group"][k]) + 1,
                    "angle": float(run["group_angle"][k]),
                    "state": STATES[int(run["mode_state"][k])],
                }
            )
    return found


def tell(dataset: xr.Dataset) -> str:
    """Table of the first run's modes, and the verdict over all runs."""
    first = rows(dataset.isel(noise=[0], init_scale=[0], seed=[0]))
    verdicts = "; ".join(f"{name}{_alignment_verdict(one)}" for name, one in one_by_one(dataset))
    table = [*tabular.lines(columns(), first), *tabular.legend(LEGEND)]
    return "\n".join([setting(dataset), "", *table, "", f"verdict: {verdicts}"])


def _alignment_verdict(dataset: xr.Dataset) -> str:
    states = dataset["mode_state"]
    counts = [
        f"{count_range((states == k).sum('hidden_mode'))} {name}" for k, name in enumerate(STATES)
    ]
    residual = float(dataset["identity_residual"].max())
    limit = IDENTITY_TOLERANCE[dataset.attrs["dtype"]]
    diagonal = np.abs(
        np.diagonal(
            dataset["alignment"].transpose(..., "mode_w2", "mode_w1").values, axis1=-2, axis2=-1
        )
    )
    bound = dataset["alignment_bound"].transpose(..., "hidden_mode").values
    below = int(np.sum(diagonal < bound - limit))
    holds = "every entry obeys the identity" if residual <= limit else "the identity is VIOLATED"
    obeyed = (
        "no entry lies below the bound" if below == 0 else f"{below} entries lie BELOW the bound"
    )
    return (
        f"of {dataset.sizes['hidden_mode']} modes {', '.join(counts)}; {holds} (largest "
        f"residual {residual:.1e}, "
        f"allowed {limit:.0e}); {obeyed}"
    )
