"""Tables of one linear layer (paper, section 4)."""

import json

import numpy as np
import xarray as xr

from linsim.studies import tabular
from linsim.studies.strong_aug.judgement import (
    Judgement,
    at_batch_size,
    comparisons,
    expected,
    in_errors,
    judge,
)
from linsim.studies.tabular import Column
from linsim.studies.words import collapsed_count, count_range, number

SETTLED_EXPONENT = (
    0.1  # a block whose m changes more slowly than t^0.1 (either way) at the end has settled
)


def late_exponent(dataset: xr.Dataset) -> np.ndarray:
    """d ln m / d ln t of each block, by least squares over the last factor 4 in time; median over
    seeds, (blocks,).
    """
    late = dataset.isel(time=dataset["time"].values >= 0.25 * float(dataset["time"][-1]))
    log_time = np.log(late["time"].values)
    strength = late["block_strength"].transpose("time", "seed", "block").values
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = np.polyfit(log_time, np.log(strength).reshape(len(log_time), -1), 1)[0]
    return np.median(slopes.reshape(strength.shape[1:]), axis=0)


def resolved(one: xr.Dataset) -> np.ndarray:
    """Whether a block's final m stands above the rounding of the singular values, (blocks,)."""
    largest = one["weight_singular_values"].isel(time=-1).median("seed").max("mode").values
    resolution = 10 * np.finfo(one["weight_singular_values"].dtype).eps * largest
    return one["block_strength"].isel(time=-1).median("seed").values > resolution**2


def state(exponent: float, is_resolved: bool) -> str:
    """vanishing, settled or growing, by the exponent of m in time against SETTLED_EXPONENT."""
    if not is_resolved or exponent < -SETTLED_EXPONENT:
        return "vanishing"
    return "growing" if exponent > SETTLED_EXPONENT else "settled"


def tell(dataset: xr.Dataset) -> str:
    """Table and verdict of the study."""
    threshold = dataset.attrs["collapse_threshold"]
    counts = collapsed_count(dataset["weight_singular_values"].isel(time=-1), threshold)
    lines, judged = [_setting(dataset)], []
    for i, j in np.ndindex(dataset.sizes["noise"], dataset.sizes["init_scale"]):
        one, measured = dataset.isel(noise=i, init_scale=j), counts.isel(noise=i, init_scale=j)
        lines += _one_setting(one, measured)
        judged.append((_name(one), _judgement(one, measured, counts.isel(seed=0).size)))
    return "\n".join([*lines, "", *tabular.legend(LEGEND), "", _verdict(judged, dataset)])


def _name(one: xr.Dataset) -> str:
    """What is told apart of a setting."""
    name = f"noise {float(one['noise']):g}"
    if len(json.loads(one.attrs["config"])["init_scale"]) > 1:
        name += f", init scale {float(one['init_scale']):g}"
    return name


def _setting(dataset: xr.Dataset) -> str:
    views = {"one": "one noisy view", "two": "two noisy views"}[dataset.attrs["views"]]
    depth, exponent = dataset.attrs["depth"], dataset.attrs["data_exponent"]
    layers = f"{depth} layers, " if depth > 1 else ""
    data = f"data variances k^-{exponent:g}, " if exponent else ""
    exact = at_batch_size(dataset)
    theory = "at this batch size and learning rate" if exact else "of infinite batches"
    return (
        f"{dataset.attrs['loss']} loss (mean over anchors), {views}, {layers}{data}batches of "
        f"{dataset.attrs['batch_size']} "
        f"({dataset.attrs['batches']}), {dataset.sizes['seed']} seeds, {dataset.attrs['dtype']}; "
        f"theory {theory}"
    )


COLUMNS = [
    Column("block", "  block", "  {}".format, left=True),
    Column("time", "time t", "{:.4g}".format),
    Column("m", "m measured", "{:.4g}".format),
    Column("theory", "theory", number),
    Column("off_per_cent", "off", lambda off: "-" if np.isnan(off) else f"{off:+.2g} %"),
    Column("off_errors", "in std. errors", lambda off: "-" if np.isnan(off) else in_errors(off)),
    Column("settles_at", "settles at", lambda value: "" if value is None else number(value)),
    Column(
        "infinite_batches", "infinite batches", lambda value: "" if value is None else number(value)
    ),
    Column("state", "state", lambda value: value or ""),
]
LEGEND = (
    "m: squared singular value per mode, mean over the seeds; theory: of the same; off: measured "
    "less theory, in per cent and in standard errors of the mean; settles at: where m settles late "
    "in these batches, and in infinite ones; state, from the last factor 4 in time: growing and "
    f"vanishing, faster than t^{SETTLED_EXPONENT:g} up or down (or gone below rounding), else "
    "settled; X/N: the contrast matrix per anchor; alpha_ii: an anchor's positive in its softmax"
)


def rows(dataset: xr.Dataset) -> list[dict[str, object]]:
    """Both blocks of every setting, at the times that are compared."""
    found: list[dict[str, object]] = []
    for i, j in np.ndindex(dataset.sizes["noise"], dataset.sizes["init_scale"]):
        one = dataset.isel(noise=i, init_scale=j)
        point = {"noise": float(one["noise"]), "init_scale": float(one["init_scale"])}
        found += [point | row for row in _blocks(one)]
    return found


def _blocks(one: xr.Dataset) -> list[dict[str, object]]:
    """Both blocks of one setting, at the times that are compared."""
    ends = dict(zip(one["block"].values, _end(one), strict=True))
    last, found = float(one["time"][-1]), []
    for each in comparisons(one):
        row: dict[str, object] = {
            "block": each.block,
            "time": each.time,
            "m": each.measured,
            "theory": each.theory,
            "off_per_cent": 100 * each.off,
            "off_errors": each.errors,
        }
        end = ends[each.block]
        found.append(row | (end if each.time == last else dict.fromkeys(end)))
    return found


def _one_setting(one: xr.Dataset, measured: xr.DataArray) -> list[str]:
    median = one[["contrast_eigenvalues", "alpha_ii"]].median("seed")
    alpha, smallest = median["alpha_ii"].values, median["contrast_eigenvalues"].values[:, -1]
    return [
        "",
        _name(one),
        *tabular.lines(COLUMNS, _blocks(one)),
        f"  collapsed dimensions: measured {count_range(measured)}, theory {expected(one)}, of "
        f"{one.sizes['mode']};  smallest eigenvalue of X/N {smallest[0]:.3g} -> "
        f"{smallest[-1]:.3g};  mean alpha_ii {alpha[0]:.3g} -> {alpha[-1]:.4f}",
    ]


def _end(one: xr.Dataset) -> list[dict[str, object]]:
    """Where each block settles late and in infinite batches, and its state."""
    exponents, above_rounding = late_exponent(one), resolved(one)
    return [
        {
            "settles_at": float(one["late_settled"][k]),
            "infinite_batches": float(one["population_settled"][k]),
            "state": state(float(exponents[k]), bool(above_rounding[k])),
        }
        for k in range(one.sizes["block"])
    ]


def _judgement(one: xr.Dataset, measured: xr.DataArray, settings: int) -> Judgement:
    """Of one setting, by the theory that is known of it."""
    if one.attrs["no_theory"]:
        return Judgement("cannot tell", one.attrs["no_theory"])
    if at_batch_size(one):
        return judge(one, measured, settings)
    return _against_infinite_batches(one, measured)


def _against_infinite_batches(one: xr.Dataset, measured: xr.DataArray) -> Judgement:
    """Where theory knows infinite batches and times only, the count alone is compared; a noisy
    block that is to vanish and is vanishing may still do so.
    """
    predicted = int(one["predicted_collapsed"])
    if np.all(measured.values == predicted):
        return Judgement("agrees")
    noisy = state(float(late_exponent(one)[1]), bool(resolved(one)[1]))
    counted = f"{count_range(measured)} of {predicted} collapsed dimensions, noisy block {noisy}"
    if noisy == "vanishing" and measured.max() < predicted:
        return Judgement("cannot tell", f"{counted}: more --steps")
    return Judgement("disagrees", counted)


def _verdict(judged: list[tuple[str, Judgement]], dataset: xr.Dataset) -> str:
    """How many settings agree, and what is said of the others."""
    parts = []
    for outcome in ("agrees", "disagrees", "cannot tell"):
        said = [(name, found.reason) for name, found in judged if found.outcome == outcome]
        if said:
            parts.append(f"{outcome} in {len(said)} of {len(judged)} settings{_reasons(said)}")
    return f"verdict: {'; '.join(parts)}{_compared(dataset)}"


def _reasons(said: list[tuple[str, str]]) -> str:
    reasons = list(dict.fromkeys(reason for _, reason in said))
    if not any(reasons):
        return ""
    if len(reasons) == 1 and len(said) > 1:
        return f" ({reasons[0]})"
    return " (" + "; ".join(f"{name}: {reason}" for name, reason in said) + ")"


def _compared(dataset: xr.Dataset) -> str:
    if dataset.attrs["no_theory"]:
        return ""
    if at_batch_size(dataset):
        return "; compared: strengths and collapsed dimensions, at this batch size and rate"
    return "; compared: collapsed dimensions, in infinite batches"
