"""Tables of one linear layer (paper, section 4)."""

import json

import numpy as np
import xarray as xr

from linsim.studies.words import collapsed_count, count_range, number

EARLY_ALPHA = (
    0.1  # the population theory is compared at the last record with a mean alpha_ii below this
)
SETTLED_EXPONENT = (
    0.1  # a block whose m changes more slowly than t^0.1 (either way) at the end has settled
)


def early_record(dataset: xr.Dataset) -> int:
    """Index of the last record at which the median alpha_ii is still below EARLY_ALPHA (at least
    the second record).
    """
    early = np.flatnonzero(dataset["alpha_ii"].median("seed").values < EARLY_ALPHA)
    return max(int(early[-1]) if len(early) else 0, 1)


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
    lines, remarks = [_setting(dataset)], []
    for i, j in np.ndindex(dataset.sizes["noise"], dataset.sizes["init_scale"]):
        one, measured = dataset.isel(noise=i, init_scale=j), counts.isel(noise=i, init_scale=j)
        lines += _one_setting(one, measured)
        remarks.append(_judge(one, measured))
    return "\n".join([*lines, "", _verdict(remarks, dataset.attrs["no_theory"])])


def _setting(dataset: xr.Dataset) -> str:
    views = {"one": "one noisy view", "two": "two noisy views"}[dataset.attrs["views"]]
    return (
        f"{dataset.attrs['loss']} loss (mean over anchors), {views}, batches of "
        f"{dataset.attrs['batch_size']} "
        f"({dataset.attrs['batches']}), {dataset.sizes['seed']} seeds, {dataset.attrs['dtype']}; "
        "m = squared singular value per mode, medians over seeds"
    )


def _one_setting(one: xr.Dataset, measured: xr.DataArray) -> list[str]:
    early, time = early_record(one), one["time"].values
    median = one.drop_vars("initial_weights").median("seed")
    alpha = median["alpha_ii"].values
    smallest = median["contrast_eigenvalues"].isel(mode=-1).values
    exponents, above_rounding = late_exponent(one), resolved(one)
    header = f"noise {float(one['noise']):g}"
    if len(json.loads(one.attrs["config"])["init_scale"]) > 1:
        header += f", init scale {float(one['init_scale']):g}"
    rows = [
        "",
        header,
        f"  {'':6} {'m early, t = ' + format(time[early], '.3g'):^23} "
        f"{'m end, t = ' + format(time[-1], '.5g'):^23}"
        f" {'m settled, predicted':^23}",
        f"  {'block':6}"
        + "".join(f" {name:>11}" for name in ("measured", "population", "measured", "condensed"))
        + f" {'population':>11} {'condensed':>11} {'growth rate':>12}  state",
    ]
    for k, block in enumerate(one["block"].values):
        values = (
            median["block_strength"].values[early, k],
            median["population_block_strength"].values[early, k],
            median["block_strength"].values[-1, k],
            one["condensed_block_strength"].values[-1, k],
            one["population_settled"].values[k],
            one["condensed_settled"].values[k],
        )
        if np.isnan(values[0]):
            continue
        cells = "".join(f" {number(float(value)):>11}" for value in values)
        rows.append(
            f"  {block:6}{cells} {exponents[k] / time[-1]:>12.3g}  "
            f"{state(float(exponents[k]), bool(above_rounding[k]))}"
        )
    rows.append(
        f"  collapsed dimensions: measured {count_range(measured)}, predicted "
        f"{number(float(one['predicted_collapsed']))}, "
        f"of {one.sizes['mode']};  smallest "
        f"eigenvalue of X/N {smallest[0]:.3g} -> {smallest[-1]:.3g};  mean alpha_ii "
        f"{alpha[0]:.3g} -> {alpha[-1]:.4f}"
    )
    return rows


def _judge(one: xr.Dataset, measured: xr.DataArray) -> tuple[str, str]:
    """("agrees" | "on the way" | "differs" | "unknown", what to say about it) of one setting.

    A block that theory lets vanish and that is vanishing is on the way until the cut-off counts all
    of it.
    """
    if one.attrs["no_theory"]:
        return "unknown", ""
    predicted = int(one["predicted_collapsed"])
    if np.all(measured.values == predicted):
        return "agrees", ""
    noisy = state(float(late_exponent(one)[1]), bool(resolved(one)[1]))
    outcome = "on the way" if noisy == "vanishing" and measured.max() < predicted else "differs"
    counted = f"{count_range(measured)} of {predicted} predicted"
    return outcome, f"noise {float(one['noise']):g}: {counted}, noisy block {noisy}"


def _verdict(remarks: list[tuple[str, str]], no_theory: str) -> str:
    parts = []
    for outcome, wording in (
        ("agrees", "collapsed dimensions as predicted"),
        ("on the way", "still collapsing, as predicted"),
        ("differs", "NOT as predicted"),
        ("unknown", f"nothing to compare with ({no_theory})"),
    ):
        said = [remark for kind, remark in remarks if kind == outcome]
        if said:
            detail = "; ".join(filter(None, said))
            parts.append(
                f"{wording} in {len(said)} of {len(remarks)} settings"
                + (f" ({detail})" if detail else "")
            )
    return "verdict: " + ", ".join(parts)
