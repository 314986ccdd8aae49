"""The table of the singular values of two linear layers in time."""

import numpy as np
import xarray as xr

from linsim.studies import tabular
from linsim.studies.singular_values.theory import ESCAPED, escaped
from linsim.studies.tabular import Column
from linsim.studies.two_layers.words import named, one_by_one, runs, setting
from linsim.studies.words import count_range, number


def columns() -> list[Column]:
    """What the table shows of each mode."""
    three = "{:.3g}".format
    return [
        Column("mode", "mode"),
        Column("start", "start", three),
        Column("s1", "s1", three),
        Column("s1_theory", "theory", number),
        Column("s1_theorem_3", "Theorem 3", three),
        Column("s2", "s2", three),
        Column("s2_theory", "theory", number),
        Column("s2_theorem_3", "Theorem 3", three),
        Column("s1_infinite_batches", "s1, infinite batches", number),
        Column("escape_time", "escape time", "{:.4g}".format),
    ]


LEGEND = (
    "start: s1 at t = 0; s1, s2: singular values of W1 and W2 at the end; theory: of this batch "
    "size, from the run's own start; Theorem 3: integrated with the measured pull, inf where it "
    "blows up; escape time: in infinite batches, 1/(2 λ(0) w0); a mode has escaped once s1 s2 is "
    f"{ESCAPED:g} times its start"
)


def rows(dataset: xr.Dataset) -> list[dict[str, object]]:
    """Every mode of every run, at the end; of the first run first."""
    found: list[dict[str, object]] = []
    for point in runs(dataset):
        run = dataset.isel(point)
        end, theorem = run.isel(time=-1), run["theorem_3"].isel(time=-1)
        for k in range(run.sizes["hidden_mode"]):
            row: dict[str, object] = {
                "mode": k + 1,
                "start": float(run["w1_singular_values"][0, k]),
            }
            for layer in (1, 2):
                values = f"w{layer}_singular_values"
                row[f"s{layer}"] = float(end[values][k])
                row[f"s{layer}_theory"] = float(end[f"theory_{values}"][k])
                row[f"s{layer}_theorem_3"] = float(theorem.sel(layer=layer - 1)[k])
            row["s1_infinite_batches"] = float(end["population_w1_singular_values"][k])
            row["escape_time"] = float(run["escape_time"][k])
            found.append(named(run) | row)
    return found


def tell(dataset: xr.Dataset) -> str:
    """Table of the first run's modes and the verdict over all runs."""
    first = rows(dataset.isel(noise=[0], init_scale=[0], seed=[0]))
    verdicts = "; ".join(f"{name}{_singular_verdict(one)}" for name, one in one_by_one(dataset))
    table = [*tabular.lines(columns(), first), *tabular.legend(LEGEND)]
    return "\n".join([setting(dataset), "", *table, "", f"verdict: {verdicts}"])


def _singular_verdict(dataset: xr.Dataset) -> str:
    measured = escaped(dataset, "")
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
    in_population = escaped(dataset, "population_")
    infinite = f"{count_range(in_population)} of the population flow ({passed})"
    if np.isnan(dataset["theory_w1_singular_values"]).any():
        comparison = "as many as" if measured.equals(in_population) else "not as many as"
        return f"{told}, {comparison} the {infinite}; this batch size cannot be told"
    expected = escaped(dataset, "theory_")
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
