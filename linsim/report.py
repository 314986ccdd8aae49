"""What a run prints: a short table of measured beside predicted values, and a verdict that can fail."""

import json

import numpy as np
import xarray as xr

from linsim.modes import STATES
from linsim.spectra import kinds_found

EARLY_ALPHA = 0.1  # the population theory is compared at the last record with a mean alpha_ii below this
BOUNDARY_AGREEMENT = 0.95  # of the phase diagram's cells away from the predicted boundary
SETTLED_EXPONENT = 0.1  # a block whose m changes more slowly than t^0.1 (either way) at the end has settled


def divergence(dataset: xr.Dataset) -> str | None:
    """One sentence about the first run that diverged, or None if every recorded value is finite."""
    bad = dataset["loss"].copy(data=~np.isfinite(dataset["loss"].values))
    if not bad.any():
        return None
    first = dict(zip(map(str, bad.dims), np.argwhere(bad.values)[0], strict=True))
    step = dataset["step"].values[max(first["time"], 1)]  # the first record repeats the second
    settings = {name: dataset[name].values[index] for name, index in first.items() if name not in ("seed", "time")}
    where = ", ".join(f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in settings.items())
    return (
        f"training diverged by step {step} at {where} ({int(bad.any('time').sum())} of {bad.isel(time=0).size} runs): "
        "the learning rate, or time over --steps, must be lower (distance loss: below 2 over the variance of x' - x)"
    )


def early_record(dataset: xr.Dataset) -> int:
    """Index of the last record at which the median alpha_ii is still below EARLY_ALPHA (at least the second record)."""
    early = np.flatnonzero(dataset["alpha_ii"].median("seed").values < EARLY_ALPHA)
    return max(int(early[-1]) if len(early) else 0, 1)


def late_exponent(dataset: xr.Dataset) -> np.ndarray:
    """d ln m / d ln t of each block, by least squares over the last factor 4 in time; median over seeds, (blocks,)."""
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


def collapsed_dimensions(dataset: xr.Dataset, threshold: float) -> xr.DataArray:
    """Collapsed dimensions at the end of each run: singular values of W below `threshold` times the largest."""
    values = dataset["weight_singular_values"].isel(time=-1)
    return (values < threshold * values.max("mode")).sum("mode")


def strong_augmentation(dataset: xr.Dataset) -> str:
    """Table and verdict of `experiments/strong_aug.py`."""
    threshold = dataset.attrs["collapse_threshold"]
    counts = collapsed_dimensions(dataset, threshold)
    lines, remarks = [_setting(dataset)], []
    for i, j in np.ndindex(dataset.sizes["noise"], dataset.sizes["init_scale"]):
        one, measured = dataset.isel(noise=i, init_scale=j), counts.isel(noise=i, init_scale=j)
        lines += _one_setting(one, measured)
        remarks.append(_judge(one, measured))
    return "\n".join([*lines, "", _verdict(remarks)])


def _setting(dataset: xr.Dataset) -> str:
    views = {"one": "one noisy view", "two": "two noisy views"}[dataset.attrs["views"]]
    return (
        f"{dataset.attrs['loss']} loss (mean over anchors), {views}, batches of {dataset.attrs['batch_size']} "
        f"({dataset.attrs['batches']}), {dataset.sizes['seed']} seeds, {dataset.attrs['dtype']}; "
        "m = squared singular value per mode, medians over seeds"
    )


def _number(value: float) -> str:
    return "-" if np.isnan(value) else "grows" if np.isinf(value) else f"{value:.4g}"


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
        f"  {'':6} {'m early, t = ' + format(time[early], '.3g'):^23} {'m end, t = ' + format(time[-1], '.5g'):^23}"
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
        cells = "".join(f" {_number(float(value)):>11}" for value in values)
        rows.append(f"  {block:6}{cells} {exponents[k] / time[-1]:>12.3g}  {state(exponents[k], above_rounding[k])}")
    rows.append(
        f"  collapsed dimensions: measured {_range(measured)}, predicted {int(one['predicted_collapsed'])}, "
        f"of {one.sizes['mode']};  smallest "
        f"eigenvalue of X/N {smallest[0]:.3g} -> {smallest[-1]:.3g};  mean alpha_ii {alpha[0]:.3g} -> {alpha[-1]:.4f}"
    )
    return rows


def _range(counts: xr.DataArray) -> str:
    low, high = int(counts.min()), int(counts.max())
    return str(low) if low == high else f"{low} to {high}"


def _judge(one: xr.Dataset, measured: xr.DataArray) -> tuple[str, str]:
    """("agrees" | "on the way" | "differs", what to say about it) of one setting.

    A block that theory lets vanish and that is vanishing is on the way until the cut-off counts all of it.
    """
    predicted = int(one["predicted_collapsed"])
    if np.all(measured.values == predicted):
        return "agrees", ""
    noisy = state(late_exponent(one)[1], resolved(one)[1])
    outcome = "on the way" if noisy == "vanishing" and measured.max() < predicted else "differs"
    remark = f"noise {float(one['noise']):g}: {_range(measured)} of {predicted} predicted, noisy block {noisy}"
    return outcome, remark


def _verdict(remarks: list[tuple[str, str]]) -> str:
    parts = []
    for outcome, wording in (
        ("agrees", "collapsed dimensions as predicted"),
        ("on the way", "still collapsing, as predicted"),
        ("differs", "NOT as predicted"),
    ):
        said = [remark for kind, remark in remarks if kind == outcome]
        if said:
            detail = "; ".join(filter(None, said))
            parts.append(f"{wording} in {len(said)} of {len(remarks)} settings" + (f" ({detail})" if detail else ""))
    return "verdict: " + ", ".join(parts)


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
    counts = [f"{_range((states == k).sum('hidden_mode'))} {name}" for k, name in enumerate(STATES)]
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
        f"verdict: {_range(measured)} of {dataset.sizes['hidden_mode']} modes have escaped (s1 s2 grown {ESCAPED:g}-fold) by t = "
        f"{float(dataset['time'][-1]):g}, {comparison} the {_range(in_population)} of the population flow "
        f"({_range(by_time)} escape times have passed)"
    )


def _escaped(dataset: xr.Dataset, prefix: str) -> xr.DataArray:
    strength = dataset[f"{prefix}w1_singular_values"] * dataset[f"{prefix}w2_singular_values"]
    return (strength.isel(time=-1, drop=True) > ESCAPED * strength.isel(time=0, drop=True)).sum("hidden_mode")


def phases(dataset: xr.Dataset) -> str:
    """Table and verdict of `experiments/phase_diagram.py`: in how many cells every seed counts what theory predicts."""
    agrees = (dataset["collapsed"] == dataset["predicted_collapsed"]).all("seed")
    away = (dataset["near_boundary"] == 0).transpose(*agrees.dims)
    lines = [
        f"distance loss (mean over anchors), fresh batches of {dataset.attrs['batch_size']}, {dataset.attrs['dim']} dimensions "
        f"({dataset.attrs['noisy_dims']} noisy), {dataset.sizes['noise']} x {dataset.sizes['init_scale']} cells x "
        f"{dataset.sizes['seed']} seeds, {dataset.attrs['dtype']}",
        "",
        f"{'model':18} {'time':>6} {'away from boundary':>22} {'all cells':>10} {'own flow':>9} {'worst':>6} {'alpha_ii':>9}",
    ]
    remarks = []
    for model in dataset["model"].values:
        one, good, far = dataset.sel(model=model), agrees.sel(model=model).values, away.sel(model=model).values
        inside, total = int((good & far).sum()), int(far.sum())
        miss = (one["collapsed"] - one["predicted_collapsed"]).transpose("noise", "init_scale", "seed").values[far]
        own = one["population_collapsed"]
        own_share = "-" if own.isnull().all() else f"{100 * float((one['collapsed'] == own).mean()):.1f} %"
        largest = miss.flat[np.argmax(np.abs(miss))]
        lines.append(
            f"{model:18} {float(one['end_time']):>6g} {f'{inside} of {total} ({100 * inside / total:.1f} %)':>22} "
            f"{100 * good.mean():>8.1f} % {own_share:>9} {largest:>+6g} {float(one['alpha_ii'].isel(time=-1).max()):>9.3f}"
        )
        remarks.append(f"{model} {'as predicted' if inside >= BOUNDARY_AGREEMENT * total else 'NOT as predicted'}")
    return "\n".join(
        [
            *lines,
            "",
            f"verdict ({100 * BOUNDARY_AGREEMENT:g} % of cells further than one cell from the boundary): {'; '.join(remarks)}",
        ]
    )


def depth(dataset: xr.Dataset) -> str:
    """Table and verdict of `experiments/depth.py`: collapsed dimensions by depth, measured over the seeds and predicted."""
    last = dataset.isel(time=-1)
    lines = [
        f"distance loss (mean over anchors), one noisy view, noise {dataset.attrs['noise']:g}, batches of "
        f"{dataset.attrs['batch_size']}, {dataset.sizes['seed']} seeds, {dataset.attrs['dtype']}, t = {float(last['time']):g}; "
        f"collapsed dimensions of {dataset.sizes['mode']}",
        "",
        f"{'layers':>6} {'balanced flow':>14}"
        + "".join(f" {network:>10}" for network in dataset["network"].values)
        + "  alpha_ii",
    ]
    for layers in dataset["depth"].values:
        one = last.sel(depth=layers)
        cells = "".join(f" {_range(one['collapsed'].sel(network=network)):>10}" for network in dataset["network"].values)
        lines.append(f"{layers:>6} {int(one['predicted_collapsed']):>14}{cells}  {float(one['alpha_ii'].mean()):.3f}")
    remarks = []
    for network in dataset["network"].values:
        counts = last["collapsed"].sel(network=network).sortby("depth").mean("seed").values
        grows = "grow with depth" if np.all(np.diff(counts) > 0) else "do NOT grow with depth"
        remarks.append(f"{network}: collapsed dimensions {grows} ({', '.join(f'{count:.1f}' for count in counts)})")
    return "\n".join([*lines, "", f"verdict: {'; '.join(remarks)}"])


def kinds(dataset: xr.Dataset) -> str:
    """Table and verdict of `experiments/collapse_kinds.py`: the kind of collapse of every run and of its population flow."""
    first, last = dataset.isel(time=0), dataset.isel(time=-1)
    lines = [
        f"one linear layer, noise {dataset.attrs['base_noise']:g} and, in {dataset.attrs['noisy_dims']} of "
        f"{dataset.sizes['mode']} coordinates, {dataset.attrs['noise']:g}; fresh batches of {dataset.attrs['batch_size']}, mean "
        f"losses, weight decay {dataset.attrs['weight_decay']:g}, {dataset.sizes['seed']} seeds, {dataset.attrs['dtype']}, "
        f"t = {float(last['time']):g}",
        "",
        f"{'objective':18} {'variance left':>14} {'smallest/largest':>17} {'population':>12}  verdict (of the population flow)",
    ]
    agrees = 0
    for objective in dataset["objective"].values:
        end, flow = (
            last[name].sel(objective=objective).median("seed") for name in ("embedding_spectrum", "population_embedding_spectrum")
        )
        left = float(end.sum() / first["embedding_spectrum"].sel(objective=objective).median("seed").sum())
        found, expected = (kinds_found(last[name].sel(objective=objective).values) for name in ("kind", "population_kind"))
        agrees += found == expected
        lines.append(
            f"{objective:18} {left:>14.3g} {float(end.min() / end.max()):>17.3g} {float(flow.min() / flow.max()):>12.3g}  "
            f"{found} ({expected})"
        )
    return "\n".join(
        [*lines, "", f"verdict: the kind of the population flow in {agrees} of {dataset.sizes['objective']} objectives"]
    )
