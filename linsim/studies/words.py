"""What all tables share: counts of collapsed dimensions, numbers, ranges, and what is told of a
diverged run.
"""

import numpy as np
import xarray as xr

from linsim import spectra

ADVICE = {
    "distance": " (distance loss: below 2 over the variance of x' - x)",
    "dot": " (dot loss: below the temperature over twice the variance of the anchors)",
}


def divergence(dataset: xr.Dataset) -> str | None:
    """One sentence about the first run that diverged, or None if every recorded value is finite."""
    bad = dataset["loss"].copy(data=~np.isfinite(dataset["loss"].values))
    if not bad.any():
        return None
    first = dict(zip(map(str, bad.dims), np.argwhere(bad.values)[0], strict=True))
    step = dataset["step"].values[max(first["time"], 1)]  # the first record repeats the second
    settings = {
        name: dataset[name].values[index]
        for name, index in first.items()
        if name not in ("seed", "time")
    }
    where = ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in settings.items()
    )
    return (
        f"training diverged by step {step} at {where} ({int(bad.any('time').sum())} of "
        f"{bad.isel(time=0).size} runs): "
        f"the learning rate, or time over --steps, must be lower{ADVICE.get(_loss(dataset), '')}"
    )


def _loss(dataset: xr.Dataset) -> str:
    """The loss that was asked for; studies that offer no other train on distances."""
    return str(dataset.attrs.get("loss", "distance"))


def number(value: float) -> str:
    return "-" if np.isnan(value) else "grows" if np.isinf(value) else f"{value:.4g}"


def count_range(counts: xr.DataArray) -> str:
    low, high = int(counts.min()), int(counts.max())
    return str(low) if low == high else f"{low} to {high}"


def collapsed_count(
    values: xr.DataArray, fraction: float, dim: str = "mode", *, unit: float | None = None
) -> xr.DataArray:
    """`spectra.collapsed_dimensions` along a dimension of labelled spectra; nan where a value is
    not a number.
    """
    counts = xr.apply_ufunc(
        lambda spectrum: np.asarray(spectra.collapsed_dimensions(spectrum, fraction, unit=unit)),
        values,
        input_core_dims=[[dim]],
    )
    return counts if counts.isnull().any() else counts.astype(int)
