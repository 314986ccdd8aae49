"""Tables of two linear layers (paper, section 5)."""

import numpy as np
import xarray as xr

from linsim.modes import STATES
from linsim.report.words import count_range

ESCAPED = 10.0  # a mode has escaped once s1 s2 is this many times its start
IDENTITY_TOLERANCE = {"float64": 1e-9, "float32": 1e-4}  # of the alignment identity, in units of s^2


def alignment(dataset: xr.Dataset) -> str:
    """Table of the first run's modes, and the verdict over all runs, of `experiments/alignment.py`."""
    run = dataset.isel(noise=0, init_scale=0, seed=0)
    end = run.isel(time=-1)
    diagonal = np.abs(np.diag(end["alignment"].values))
    lines = [
        _two_layer_setting(dataset),
        "",
        f"{'mode':>4} {'s1':>9} {'s2':>9} {'|A_kk|':>8} {'bound':>7} {'group':>6} {'angle':>7}  state",
    ]
    for k in range(run.sizes["hidden_mode"]):
        lines.append(
            f"{k + 1:>4} {end['w1_singular_values'].values[k]:>9.3g} {end['w2_singular_values'].values[k]:>9.3g} "
            f"{diagonal[k]:>8.3f} {end['alignment_bound'].values[k]:>7.3f} {int(run['mode_group'][k]) + 1:>6} "
            f"{float(run['group_angle'][k]):>7.1f}  {STATES[int(run['mode_state'][k])]}"
        )
    return "\n".join([*lines, "", _alignment_verdict(dataset)])


def _two_layer_setting(dataset: xr.Dataset) -> str:
    count = dataset["loss"].isel(time=0).size
    return (
        f"{dataset.attrs['loss']} loss (mean over anchors), {dataset.attrs['solver']}, {dataset.attrs['dtype']}, noise "
        f"{float(dataset['noise'][0]):g}, t = {float(dataset['time'][-1]):g}; table of the first of {count} runs"
    )


def _alignment_verdict(dataset: xr.Dataset) -> str:
    states = dataset["mode_state"]
    counts = [f"{count_range((states == k).sum('hidden_mode'))} {name}" for k, name in enumerate(STATES)]
    residual = float(dataset["identity_residual"].max())
    limit = IDENTITY_TOLERANCE[dataset.attrs["dtype"]]
    diagonal = np.abs(np.diagonal(dataset["alignment"].transpose(..., "mode_w2", "mode_w1").values, axis1=-2, axis2=-1))
    bound = dataset["alignment_bound"].transpose(..., "hidden_mode").values
    below = int(np.sum(diagonal < bound - limit))
    holds = "every entry obeys the identity" if residual <= limit else "the identity is VIOLATED"
    obeyed = "no entry lies below the bound" if below == 0 else f"{below} entries lie BELOW the bound"
    return (
        f"verdict: of {dataset.sizes['hidden_mode']} modes {', '.join(counts)}; {holds} (largest residual {residual:.1e}, "
        f"allowed {limit:.0e}); {obeyed}"
    )


def singular_values(dataset: xr.Dataset) -> str:
    """Table of the first run's modes and the verdict over all runs, of `experiments/singular_values.py`."""
    run = dataset.isel(noise=0, init_scale=0, seed=0)
    end = run.isel(time=-1)
    lines = [
        _two_layer_setting(dataset),
        "",
        f"{'mode':>4} {'start':>9} {'s1':>9} {'Theorem 3':>10} {'s2':>9} {'Theorem 3':>10} {'population':>11} "
        f"{'escape time':>12}",
    ]
    for k in range(run.sizes["hidden_mode"]):
        s1, s2 = (float(end[f"w{layer}_singular_values"][k]) for layer in (1, 2))
        lines.append(
            f"{k + 1:>4} {float(run['w1_singular_values'][0, k]):>9.3g} {s1:>9.3g} "
            f"{float(end['theorem_3'].sel(layer=0)[k]):>10.3g} {s2:>9.3g} {float(end['theorem_3'].sel(layer=1)[k]):>10.3g} "
            f"{float(end['population_w1_singular_values'][k]):>11.3g} {float(run['escape_time'][k]):>12.4g}"
        )
    return "\n".join([*lines, "", _singular_verdict(dataset)])


def _singular_verdict(dataset: xr.Dataset) -> str:
    measured = _escaped(dataset, "")
    in_population = _escaped(dataset, "population_")
    by_time = (dataset["escape_time"] < float(dataset["time"][-1])).sum("hidden_mode")
    comparison = "as many as" if measured.equals(in_population) else "NOT as many as"
    return (
        f"verdict: {count_range(measured)} of {dataset.sizes['hidden_mode']} modes have escaped (s1 s2 grown {ESCAPED:g}-fold) "
        f"by t = {float(dataset['time'][-1]):g}, {comparison} the {count_range(in_population)} of the population flow "
        f"({count_range(by_time)} escape times have passed)"
    )


def _escaped(dataset: xr.Dataset, prefix: str) -> xr.DataArray:
    strength = dataset[f"{prefix}w1_singular_values"] * dataset[f"{prefix}w2_singular_values"]
    return (strength.isel(time=-1, drop=True) > ESCAPED * strength.isel(time=0, drop=True)).sum("hidden_mode")
