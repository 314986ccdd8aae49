"""The table of the singular values of two linear layers in time."""

import numpy as np
import xarray as xr

from linsim.studies.two_layers.words import one_by_one, setting
from linsim.studies.words import count_range, number

ESCAPED = 10.0  # a mode has escaped once s1 s2 is this many times its start


def tell(dataset: xr.Dataset) -> str:
    """Table of the first run's modes and the verdict over all runs."""
    run = dataset.isel(noise=0, init_scale=0, seed=0)
    end = run.isel(time=-1)
    lines = [
        setting(dataset),
        "",
        f"{'mode':>4} {'start':>9} {'s1':>9} {'theory':>9} {'Theorem 3':>10} {'s2':>9} "
        f"{'theory':>9} {'Theorem 3':>10} {'s1, N = inf':>12} {'escape time':>12}",
    ]
    for k in range(run.sizes["hidden_mode"]):
        s1, s2 = (float(end[f"w{layer}_singular_values"][k]) for layer in (1, 2))
        lines.append(
            f"{k + 1:>4} {float(run['w1_singular_values'][0, k]):>9.3g} {s1:>9.3g} "
            f"{number(float(end['theory_w1_singular_values'][k])):>9} "
            f"{float(end['theorem_3'].sel(layer=0)[k]):>10.3g} {s2:>9.3g} "
            f"{number(float(end['theory_w2_singular_values'][k])):>9} "
            f"{float(end['theorem_3'].sel(layer=1)[k]):>10.3g} "
            f"{number(float(end['population_w1_singular_values'][k])):>12} "
            f"{float(run['escape_time'][k]):>12.4g}"
        )
    settings = one_by_one(dataset)
    verdicts = "; ".join(f"{name}{_singular_verdict(one)}" for name, one in settings)
    return "\n".join([*lines, "", f"verdict: {verdicts}"])


def _singular_verdict(dataset: xr.Dataset) -> str:
    measured = _escaped(dataset, "")
    told = (
        f"{count_range(measured)} of {dataset.sizes['hidden_mode']} modes have escaped "
        f"(s1 s2 grown {ESCAPED:g}-fold) "
        f"by t = {float(dataset['time'][-1]):g}"
    )
    if dataset.attrs["no_theory"]:
        return f"{told}; cannot be told from theory ({dataset.attrs['no_theory']})"
    by_time = (dataset["escape_time"] < float(dataset["time"][-1])).sum("hidden_mode")
    passed = f"{count_range(by_time)} escape times have passed"
    if dataset.attrs["solver"] == "population":
        return f"{told}; {passed}; nothing to compare with, as the runs are the population flow"
    in_population = _escaped(dataset, "population_")
    infinite = f"{count_range(in_population)} of the population flow ({passed})"
    if np.isnan(dataset["theory_w1_singular_values"]).any():
        comparison = "as many as" if measured.equals(in_population) else "not as many as"
        return f"{told}, {comparison} the {infinite}; this batch size cannot be told"
    expected = _escaped(dataset, "theory_")
    equal = int((measured == expected).sum())
    return (
        f"{told}; as many as the theory of this batch size in {equal} of {measured.size} runs, "
        f"their final s1 s2 {_deviation(dataset)}; in infinite batches: {infinite}"
    )


def _deviation(dataset: xr.Dataset) -> str:
    """How far the products s1 s2 of the escaped modes are from theory, mean over runs."""
    end = dataset.isel(time=-1)
    product, expected = (
        (end[f"{prefix}w1_singular_values"] * end[f"{prefix}w2_singular_values"])
        for prefix in ("", "theory_")
    )
    start = (dataset["w1_singular_values"] * dataset["w2_singular_values"]).isel(time=0, drop=True)
    grown = (product > ESCAPED * start) & (expected > ESCAPED * start)
    if not grown.any():
        return "not compared, as none has in both"
    ratio = (product / expected - 1).where(grown)
    typical = float(np.abs(ratio.mean("seed")).max())
    return f"within {100 * typical:.2g} % of it in the mean over runs"


def _escaped(dataset: xr.Dataset, prefix: str) -> xr.DataArray:
    strength = dataset[f"{prefix}w1_singular_values"] * dataset[f"{prefix}w2_singular_values"]
    return (strength.isel(time=-1, drop=True) > ESCAPED * strength.isel(time=0, drop=True)).sum(
        "hidden_mode"
    )
