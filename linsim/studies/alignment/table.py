"""The table of the alignment of two linear layers."""

import numpy as np
import xarray as xr

from linsim.studies.two_layers.modes import STATES
from linsim.studies.two_layers.words import one_by_one, setting
from linsim.studies.words import count_range

IDENTITY_TOLERANCE = {
    "float64": 1e-9,
    "float32": 1e-4,
}  # of the alignment identity, in units of s^2


def tell(dataset: xr.Dataset) -> str:
    """Table of the first run's modes, and the verdict over all runs."""
    run = dataset.isel(noise=0, init_scale=0, seed=0)
    end = run.isel(time=-1)
    diagonal = np.abs(np.diag(end["alignment"].values))
    lines = [
        setting(dataset),
        "",
        f"{'mode':>4} {'s1':>9} {'s2':>9} {'|A_kk|':>8} {'bound':>7} {'group':>6} {'angle':>7}  "
        "state",
    ]
    for k in range(run.sizes["hidden_mode"]):
        lines.append(
            f"{k + 1:>4} {end['w1_singular_values'].values[k]:>9.3g} "
            f"{end['w2_singular_values'].values[k]:>9.3g} "
            f"{diagonal[k]:>8.3f} {end['alignment_bound'].values[k]:>7.3f} "
            f"{int(run['mode_group'][k]) + 1:>6} "
            f"{float(run['group_angle'][k]):>7.1f}  {STATES[int(run['mode_state'][k])]}"
        )
    settings = one_by_one(dataset)
    verdicts = "; ".join(f"{name}{_alignment_verdict(one)}" for name, one in settings)
    return "\n".join([*lines, "", f"verdict: {verdicts}"])


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
