"""What a run prints: a short table of measured beside predicted values, and a verdict that can fail."""

import json

import numpy as np
import xarray as xr

EARLY_ALPHA = 0.1  # the population theory is compared at the last record with a mean alpha_ii below this
SETTLED_EFOLDS = 0.1  # a block whose m would change by fewer e-folds over the whole training has settled


def divergence(dataset: xr.Dataset) -> str | None:
    """One sentence about the first run that diverged, or None if every recorded value is finite."""
    bad = ~np.isfinite(dataset["loss"])
    if not bad.any():
        return None
    where = next(iter(np.argwhere(bad.transpose("noise", "init_scale", "seed", "time").values)))
    noise, step = dataset["noise"].values[where[0]], dataset["step"].values[where[3]]
    return (
        f"training diverged by step {step} at noise {noise:g} ({int(bad.any('time').sum())} of "
        f"{bad.isel(time=0).size} runs): --learning-rate times the noise variance of x' - x must stay below 2"
    )


def early_record(dataset: xr.Dataset) -> int:
    """Index of the last record at which the median alpha_ii is still below EARLY_ALPHA (at least the second record)."""
    early = np.flatnonzero(dataset["alpha_ii"].median("seed").values < EARLY_ALPHA)
    return max(int(early[-1]) if len(early) else 0, 1)


def late_rate(dataset: xr.Dataset) -> np.ndarray:
    """Each block's mean growth rate over the last half of training, median over seeds. Returns: (blocks,)."""
    time = dataset["time"].values
    spans = np.diff(time, prepend=time[0]) * (time > 0.5 * time[-1])
    return (dataset["block_rate"].median("seed").transpose("block", "time").values * spans).sum(1) / spans.sum()


def state(rate: float, time: float) -> str:
    """vanishing, settled or growing, by the growth rate times the training time against SETTLED_EFOLDS."""
    if abs(rate) * time < SETTLED_EFOLDS:
        return "settled"
    return "growing" if rate > 0 else "vanishing"


def collapsed_dimensions(dataset: xr.Dataset, threshold: float) -> xr.DataArray:
    """Collapsed dimensions at the end of each run: singular values of W below `threshold` times the largest."""
    values = dataset["weight_singular_values"].isel(time=-1)
    return (values < threshold * values.max("mode")).sum("mode")


def strong_augmentation(dataset: xr.Dataset) -> str:
    """Table and verdict of `experiments/strong_aug.py`."""
    threshold = dataset.attrs["collapse_threshold"]
    counts = collapsed_dimensions(dataset, threshold)
    lines, wrong = [_setting(dataset)], []
    for i, j in np.ndindex(dataset.sizes["noise"], dataset.sizes["init_scale"]):
        one, measured = dataset.isel(noise=i, init_scale=j), counts.isel(noise=i, init_scale=j)
        predicted = int(one["predicted_collapsed"])
        lines += _one_setting(one, measured, predicted)
        agrees = np.all(measured.values == predicted)
        if not agrees:
            wrong.append(_disagreement(one, measured, predicted))
    total = dataset.sizes["noise"] * dataset.sizes["init_scale"]
    return "\n".join([*lines, "", _verdict(total, wrong)])


def _setting(dataset: xr.Dataset) -> str:
    views = {"one": "one noisy view", "two": "two noisy views"}[dataset.attrs["views"]]
    return (
        f"{dataset.attrs['loss']} loss (mean over anchors), {views}, batches of {dataset.attrs['batch_size']} "
        f"({dataset.attrs['batches']}), {dataset.sizes['seed']} seeds, {dataset.attrs['dtype']}; "
        "m = squared singular value per mode, medians over seeds"
    )


def _number(value: float) -> str:
    return "-" if np.isnan(value) else "grows" if np.isinf(value) else f"{value:.4g}"


def _one_setting(one: xr.Dataset, measured: xr.DataArray, predicted: int) -> list[str]:
    early, time = early_record(one), one["time"].values
    median = one.drop_vars("initial_weights").median("seed")
    alpha = median["alpha_ii"].values
    smallest = median["contrast_eigenvalues"].isel(mode=-1).values
    rates = late_rate(one)
    header = f"noise {float(one['noise']):g}"
    if len(json.loads(one.attrs["config"])["init_scale"]) > 1:
        header += f", init scale {float(one['init_scale']):g}"
    rows = [
        "",
        header,
        f"  {'':6} {'m early, t = ' + format(time[early], '.3g'):^23} {'m end, t = ' + format(time[-1], '.5g'):^23}"
        f" {'m settled, predicted':^23}",
        f"  {'block':6}" + "".join(f" {name:>11}" for name in ("measured", "population", "measured", "condensed"))
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
        cells = "".join(f" {_number(float(value)):>11}" for value in values)
        rows.append(f"  {block:6}{cells} {rates[k]:>12.3g}  {state(rates[k], time[-1])}")
    rows.append(
        f"  collapsed dimensions: measured {_range(measured)}, predicted {predicted}, of {one.sizes['mode']};  smallest "
        f"eigenvalue of X/N {smallest[0]:.3g} -> {smallest[-1]:.3g};  mean alpha_ii {alpha[0]:.3g} -> {alpha[-1]:.4f}"
    )
    return rows


def _range(counts: xr.DataArray) -> str:
    low, high = int(counts.min()), int(counts.max())
    return str(low) if low == high else f"{low} to {high}"


def _disagreement(one: xr.Dataset, measured: xr.DataArray, predicted: int) -> str:
    rates = late_rate(one)
    noisy = state(rates[1], float(one["time"][-1])) if np.isfinite(rates[1]) else "empty"
    return f"noise {float(one['noise']):g}: {_range(measured)} collapsed, {predicted} predicted, noisy block {noisy}"


def _verdict(total: int, wrong: list[str]) -> str:
    if not wrong:
        return f"verdict: collapsed dimensions as predicted in all {total} settings" if total > 1 else (
            "verdict: collapsed dimensions as predicted"
        )
    return f"verdict: NOT as predicted in {len(wrong)} of {total} settings ({'; '.join(wrong)})"
