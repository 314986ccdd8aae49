"""The table of the bench of losses."""

import numpy as np
import xarray as xr

from linsim.spectra import kinds_found

AXES = ("objective", "noise", "batch_size", "weight_decay", "depth")
GONE = 1e-3  # of the strength that modes start with


def tell(dataset: xr.Dataset) -> str:
    """Table and verdict: strengths of both blocks against theory, the kind of collapse, measured
    and predicted, and the threshold in the noise.
    """
    attrs = dataset.attrs
    views = "both views" if attrs["views"] == "two" else "one view"
    several = [axis for axis in AXES[1:] if dataset.sizes[axis] > 1]
    fixed = [
        f"{axis.replace('_', ' ')} {dataset[axis].values[0]:g}"
        for axis in AXES[1:]
        if axis not in several
    ]
    lines = [
        f"linear encoders, noise {attrs['base_noise']:g} on {views} and, in "
        f"{attrs['noisy_dims']} of {dataset.sizes['mode']} coordinates, more; "
        f"{', '.join([*fixed, ''])}{dataset.sizes['seed']} seeds, {attrs['dtype']}, "
        f"t = {float(dataset['time'][-1]):g}",
        "m: strength of the clean and of the noisy modes at the end; off: simulation against "
        "theory, in % (and in standard errors)",
        "",
        f"{'loss':20}"
        + "".join(f"{axis.replace('_', ' '):>13}" for axis in several)
        + f"{'clean m':>9} {'off':>14} {'noisy m':>10} {'off':>14} {'noisy/clean':>12} "
        f"{'settles at':>11} {'threshold':>10}  kind of collapse (predicted)",
    ]
    verdicts = []
    for point in _points(dataset):
        row, agrees = _row(dataset.sel(point), point, several)
        lines.append(row)
        verdicts.append(agrees)
    known = [agrees for agrees in verdicts if agrees is not None]
    silent = len(verdicts) - len(known)
    return "\n".join(
        [
            *lines,
            "",
            f"verdict: the kind of collapse that theory predicts in {sum(known)} of {len(known)} "
            f"settings" + (f"; nothing is known of {silent}" if silent else ""),
        ]
    )


def _points(dataset: xr.Dataset) -> list[dict]:
    stacked = dataset[list(AXES)].stack(point=AXES)["point"].values
    return [dict(zip(AXES, values, strict=True)) for values in stacked]


def _row(one: xr.Dataset, point: dict, several: list[str]) -> tuple[str, bool | None]:
    """A line of the table, and whether the kind of collapse is the predicted one."""
    blocks = {
        name: block_strengths(one[f"{name}embedding_spectrum"], one) for name in ("", "theory_")
    }
    measured, theory = (values.isel(time=-1) for values in blocks.values())
    mean, cells = measured.mean("seed"), []
    gone = GONE * float(blocks[""].isel(time=0).mean())
    for block, width in (("clean", 9), ("noisy", 10)):
        cells.append(f"{float(mean.sel(block=block)):>{width}.3g}")
        off = _off(measured.sel(block=block), theory.sel(block=block), gone)
        cells.append(f"{off:>14}")
    found, expected = (_kind(one[name].values) for name in ("kind", "theory_kind"))
    settled = one["settled"].values
    ratio = settled[1] / settled[0] if settled[0] > 0 else np.nan
    keys = "".join(f"{point[axis]:>13g}" for axis in several)
    line = (
        f"{point['objective']:20}{keys}{' '.join(cells)} "
        f"{float(mean.sel(block='noisy') / mean.sel(block='clean')):>12.3g} "
        f"{_number(ratio):>11} {_threshold(float(one['noise_threshold'])):>10}  {found}"
    )
    if expected is None:
        return line, None
    return f"{line} ({expected})", found == expected


def block_strengths(spectrum: xr.DataArray, dataset: xr.Dataset) -> xr.DataArray:
    """Mean strengths of the leading modes, as many as are clean, and of the others: the clean and
    the noisy block, where the noise keeps them apart.
    """
    noisy = int(dataset.attrs["noisy_dims"])
    split = dataset.sizes["mode"] - noisy
    parts = [
        part.mean("mode") if part.sizes["mode"] else part.sum("mode") * np.nan
        for part in (spectrum.isel(mode=slice(split)), spectrum.isel(mode=slice(split, None)))
    ]
    return xr.concat(parts, "block").assign_coords(block=["clean", "noisy"])


def _off(measured: xr.DataArray, theory: xr.DataArray, gone: float) -> str:
    """How far the mean over seeds is from theory, in per cent and in standard errors."""
    if max(float(measured.max()), float(theory.max())) < gone:
        return "both gone"
    difference = measured - theory
    off = float(100 * difference.mean() / theory.mean())
    if np.isnan(off):
        return "-"
    if measured.sizes["seed"] < 2:
        return f"{off:+.1f}"
    error = float(difference.std("seed", ddof=1) / np.sqrt(difference.sizes["seed"]))
    return f"{off:+.1f} ({float(difference.mean()) / error:+.1f})" if error > 0 else f"{off:+.1f}"


def _kind(places: np.ndarray) -> str | None:
    return None if np.any(places < 0) else kinds_found(places)


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3g}"


def _threshold(value: float) -> str:
    return "-" if np.isnan(value) else "none" if np.isinf(value) else f"{value:.3g}"
