"""The table of the bench of losses."""

from typing import Any

import numpy as np
import xarray as xr

from linsim.spectra import kinds_found
from linsim.studies import tabular
from linsim.studies.losses import effects
from linsim.studies.tabular import Column

AXES = ("objective", "noise", "batch_size", "weight_decay", "depth")
GONE = 1e-3  # of the strength that modes start with


LEGEND = (
    "m: strength (eigenvalue of W W^T) of the clean and of the noisy modes at the end, mean over "
    "seeds; off: simulation against theory, in per cent and in standard errors; by noise: what "
    "theory of this batch size and rate adds to the flow of the mean, clean / noisy, in per cent; "
    "settles at: noisy / clean where theory ends; threshold: the noise from which on the noisier "
    "half vanishes; collapse is the kind that is found, and in brackets the predicted one"
)


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
    setting = (
        f"linear encoders, noise {attrs['base_noise']:g} on {views} and, in "
        f"{attrs['noisy_dims']} of {dataset.sizes['mode']} coordinates, more; "
        f"{', '.join([*fixed, ''])}{dataset.sizes['seed']} seeds, {attrs['dtype']}, "
        f"t = {float(dataset['time'][-1]):g}"
    )
    found = rows(dataset)
    shown = [_shown(row) for row in found]
    table = [*tabular.lines(_columns(several), shown), *tabular.legend(LEGEND)]
    known = [row["kind"] == row["predicted"] for row in found if row["predicted"] is not None]
    silent = len(found) - len(known)
    verdict = (
        f"verdict: the kind of collapse that theory predicts in {sum(known)} of {len(known)} "
        "settings" + (f"; nothing is known of {silent}" if silent else "")
    )
    return "\n".join([setting, "", *table, "", *effects.lines(dataset, found, AXES[1:]), verdict])


def _columns(several: list[str]) -> list[Column]:
    return [
        Column("objective", "loss", left=True),
        *(Column(axis, axis.replace("_", " "), "{:g}".format) for axis in several),
        Column("clean_m", "clean m", "{:.3g}".format),
        Column("clean_off", "off"),
        Column("noisy_m", "noisy m", "{:.3g}".format),
        Column("noisy_off", "off"),
        Column("by_noise", "by noise"),
        Column("noisy_by_clean", "noisy / clean", "{:.3g}".format),
        Column("settles_at", "settles at", _number),
        Column("threshold", "threshold", _threshold),
        Column("kind", "collapse", left=True),
    ]


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """A row as its line tells it."""
    predicted = f" ({row['predicted']})" if row["predicted"] is not None else ""
    offs = {f"{block}_off": _off(row, block) for block in ("clean", "noisy")}
    offs["by_noise"] = " / ".join(_added(row[f"{block}_by_noise"]) for block in ("clean", "noisy"))
    return row | offs | {"kind": f"{row['kind']}{predicted}"}


def _off(row: dict[str, Any], block: str) -> str:
    """How far the mean over seeds is from theory, in per cent and in standard errors."""
    percent, errors = row[f"{block}_off_percent"], row[f"{block}_off_errors"]
    if row[f"{block}_gone"]:
        return "both gone"
    if np.isnan(percent):
        return "-"
    return f"{percent:+.3g}" + (f" ({errors:+.1f})" if np.isfinite(errors) else "")


def _added(percent: float) -> str:
    return "-" if np.isnan(percent) or percent == 0 else f"{percent:+.2g}"


def rows(dataset: xr.Dataset) -> list[dict[str, Any]]:
    """The numbers of the table, one row a setting."""
    stacked = dataset[list(AXES)].stack(point=AXES)["point"].values
    points: list[dict[str, Any]] = [dict(zip(AXES, values, strict=True)) for values in stacked]
    return [_row(dataset.sel(point), point) for point in points]


def _row(one: xr.Dataset, point: dict[str, Any]) -> dict[str, Any]:
    measured, theory, flow = (
        block_strengths(one[f"{name}embedding_spectrum"], one)
        for name in ("", "theory_", "population_")
    )
    gone = GONE * float(measured.isel(time=0).mean())
    measured, theory = measured.isel(time=-1), theory.isel(time=-1)
    mean, row = measured.mean("seed"), dict(point)
    for block in ("clean", "noisy"):
        at = measured.sel(block=block), theory.sel(block=block)
        percent, errors = _apart(*at)
        row |= {
            f"{block}_m": float(mean.sel(block=block)),
            f"{block}_off_percent": percent,
            f"{block}_off_errors": errors,
            f"{block}_by_noise": _apart(at[1], flow.isel(time=-1).sel(block=block))[0],
            f"{block}_gone": max(float(values.max()) for values in at) < gone,
        }
    clean, noisy = one["settled"].values
    return row | {
        "noisy_by_clean": float(mean.sel(block="noisy") / mean.sel(block="clean")),
        "settles_at": float(noisy / clean) if clean > 0 else np.nan,
        "threshold": float(one["noise_threshold"]),
        "kind": _kind(one["kind"].values),
        "predicted": _kind(one["theory_kind"].values),
    }


def _apart(measured: xr.DataArray, theory: xr.DataArray) -> tuple[float, float]:
    """Measured less theory over the seeds: in per cent, and in standard errors."""
    difference = measured - theory
    mean, level = float(difference.mean()), float(theory.mean())
    percent = 100 * mean / level if level else np.nan
    if measured.sizes["seed"] < 2:
        return percent, np.nan
    error = float(difference.std("seed", ddof=1)) / np.sqrt(difference.sizes["seed"])
    return percent, mean / error if error > 0 else np.nan


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


def _kind(places: np.ndarray) -> str | None:
    return None if np.any(places < 0) else kinds_found(places)


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3g}"


def _threshold(value: float) -> str:
    return "-" if np.isnan(value) else "none" if np.isinf(value) else f"{value:.3g}"
