"""Tables of one linear layer (paper, section 4)."""

import json

import numpy as np
import xarray as xr

from linsim.studies.words import collapsed_count, count_range, number

SHOWN_FROM = 1.0  # the table's first row is of the first record at this time or later
RARE = 0.01  # a count is not expected if theory has it less often than this in as many runs
SETTLED_EXPONENT = (
    0.1  # a block whose m changes more slowly than t^0.1 (either way) at the end has settled
)


def shown_records(dataset: xr.Dataset) -> list[int]:
    """Records of the table: the first from SHOWN_FROM on, the geometric middle, and the last."""
    time = dataset["time"].values
    first = min(int(np.searchsorted(time, SHOWN_FROM)), len(time) - 1)
    middle = int(np.searchsorted(time, np.sqrt(time[first] * time[-1])))
    return sorted({first, middle, len(time) - 1})


def at_batch_size(dataset: xr.Dataset) -> bool:
    """Whether runs are compared with the theory of their batch size, or with infinite batches."""
    return bool(np.isfinite(dataset["theory_block_strength"]).any())


def predicted_strength(one: xr.Dataset) -> xr.DataArray:
    """Strengths of the blocks at this batch size, or in infinite batches where that is all that is
    known.
    """
    if at_batch_size(one):
        return one["theory_block_strength"]
    return infinite_strength(one)


def infinite_strength(dataset: xr.Dataset) -> xr.DataArray:
    """Strengths of the blocks in infinite batches, median over seeds where each has its own."""
    limit = dataset["population_block_strength"]
    return limit.median("seed") if "seed" in limit.dims else limit


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
    return "\n".join([*lines, "", _verdict(remarks, dataset)])


def _setting(dataset: xr.Dataset) -> str:
    views = {"one": "one noisy view", "two": "two noisy views"}[dataset.attrs["views"]]
    exact = at_batch_size(dataset)
    theory = "at this batch size and learning rate" if exact else "of infinite batches"
    return (
        f"{dataset.attrs['loss']} loss (mean over anchors), {views}, batches of "
        f"{dataset.attrs['batch_size']} "
        f"({dataset.attrs['batches']}), {dataset.sizes['seed']} seeds, {dataset.attrs['dtype']}; "
        f"m = squared singular value per mode, mean over seeds; theory {theory}; off: measured "
        "less theory, in per cent and in standard errors of the mean"
    )


def _one_setting(one: xr.Dataset, measured: xr.DataArray) -> list[str]:
    header = f"noise {float(one['noise']):g}"
    if len(json.loads(one.attrs["config"])["init_scale"]) > 1:
        header += f", init scale {float(one['init_scale']):g}"
    rows = [
        "",
        header,
        f"  {'block':6} {'t':>8} {'m measured':>12} {'theory':>11} {'off':>9} {'in s.e.':>8}"
        f" {'settles at':>11} {'N = inf':>9} {'state':>10}",
    ]
    exponents, above_rounding = late_exponent(one), resolved(one)
    for k, block in enumerate(one["block"].values):
        if one["block_strength"].isel(block=k).isnull().all():
            continue
        for record in shown_records(one):
            cells = _measured_and_predicted(one.isel(time=record, block=k))
            row = f"  {block:6} {float(one['time'][record]):>8.4g} {cells}"
            if record == one.sizes["time"] - 1:
                told = state(float(exponents[k]), bool(above_rounding[k]))
                row += (
                    f" {number(float(one['late_settled'][k])):>11}"
                    f" {number(float(one['population_settled'][k])):>9} {told:>10}"
                )
            rows.append(row)
    median = one[["contrast_eigenvalues", "alpha_ii"]].median("seed")
    alpha, smallest = median["alpha_ii"].values, median["contrast_eigenvalues"].values[:, -1]
    rows.append(
        f"  collapsed dimensions: measured {count_range(measured)}, theory {_expected(one)}, of "
        f"{one.sizes['mode']};  smallest eigenvalue of X/N {smallest[0]:.3g} -> "
        f"{smallest[-1]:.3g};  mean alpha_ii {alpha[0]:.3g} -> {alpha[-1]:.4f}"
    )
    return rows


def _measured_and_predicted(at: xr.Dataset) -> str:
    """Mean over seeds, theory, and how far they are apart in per cent and in standard errors: those
    that theory expects between runs, or where it has none those of the seeds.
    """
    values = at["block_strength"].values
    mean, theory = float(np.mean(values)), float(predicted_strength(at))
    error = theory * float(at["theory_level"]) / np.sqrt(len(values))
    if np.isnan(error) and len(values) > 1:
        error = float(np.std(values, ddof=1)) / np.sqrt(len(values))
    off = f"{100 * (mean - theory) / theory:+.2g} %" if theory > 0 else "-"
    errors = f"{(mean - theory) / error:+.1f}" if error > 0 else "-"
    return f"{mean:>12.4g} {number(theory):>11} {off:>9} {errors:>8}"


def _expected(one: xr.Dataset) -> str:
    """The counts of collapsed dimensions that theory expects, with their shares of all runs."""
    share = one["collapsed_probability"].values
    if np.isnan(share).any():
        return number(float(one["predicted_collapsed"]))
    likely = np.flatnonzero(share >= 0.005)
    if len(likely) == 1:
        return str(likely[0])
    return ", ".join(f"{count} ({100 * share[count]:.0f} %)" for count in likely)


def _judge(one: xr.Dataset, measured: xr.DataArray) -> tuple[str, str]:
    """("agrees" | "on the way" | "differs" | "unknown", what to say about it) of one setting.

    With the theory of the very batch size and time, a setting agrees unless one of its counts is
    one that so many runs show with a probability below RARE. With that of infinite batches and
    times alone, a block that is to vanish and is vanishing is on the way until the cut-off counts
    all of it.
    """
    if one.attrs["no_theory"]:
        return "unknown", ""
    setting, share = f"noise {float(one['noise']):g}", one["collapsed_probability"].values
    if not np.isnan(share).any():
        seen = 1 - (1 - share[measured.values.astype(int)]) ** measured.size  # in any of the runs
        rare = seen < RARE
        told = f"{setting}: measured {count_range(measured)}, theory {_expected(one)}"
        return ("differs", told) if rare.any() else ("agrees", "")
    predicted = int(one["predicted_collapsed"])
    if np.all(measured.values == predicted):
        return "agrees", ""
    noisy = state(float(late_exponent(one)[1]), bool(resolved(one)[1]))
    outcome = "on the way" if noisy == "vanishing" and measured.max() < predicted else "differs"
    counted = f"{count_range(measured)} of {predicted} predicted"
    return outcome, f"{setting}: {counted}, noisy block {noisy}"


def _verdict(remarks: list[tuple[str, str]], dataset: xr.Dataset) -> str:
    parts = []
    for outcome, wording in (
        ("agrees", "collapsed dimensions as predicted"),
        ("on the way", "still collapsing, as predicted"),
        ("differs", "NOT as predicted"),
        ("unknown", f"nothing to compare with ({dataset.attrs['no_theory']})"),
    ):
        said = [remark for kind, remark in remarks if kind == outcome]
        if said:
            detail = "; ".join(filter(None, said))
            parts.append(
                f"{wording} in {len(said)} of {len(remarks)} settings"
                + (f" ({detail})" if detail else "")
            )
    if at_batch_size(dataset):
        return "verdict: " + ", ".join(parts) + _deviations(dataset)
    return "verdict: " + ", ".join(parts)


def _deviations(dataset: xr.Dataset) -> str:
    """How far the blocks' final strengths are from theory at most, over all settings."""
    end = dataset.isel(time=-1)
    ratio = end["block_strength"].mean("seed") / end["theory_block_strength"] - 1
    errors = ratio / (end["theory_level"] / np.sqrt(end.sizes["seed"]))
    told = []
    for block in dataset["block"].values:
        worst = [np.abs(values.sel(block=block)).max() for values in (ratio, errors)]
        if np.isfinite(worst[0]):
            in_errors = f" and {float(worst[1]):.2g} s.e." if np.isfinite(worst[1]) else ""
            told.append(f"{block} {100 * float(worst[0]):.2g} %{in_errors}")
    return f", final strengths at most off theory by: {'; '.join(told)}" if told else ""
