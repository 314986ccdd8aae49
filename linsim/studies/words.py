"""What all tables share: numbers, ranges of counts, and what a diverged run is told."""

import numpy as np
import xarray as xr


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


def number(value: float) -> str:
    return "-" if np.isnan(value) else "grows" if np.isinf(value) else f"{value:.4g}"


def count_range(counts: xr.DataArray) -> str:
    low, high = int(counts.min()), int(counts.max())
    return str(low) if low == high else f"{low} to {high}"


def collapsed_count(values: xr.DataArray, fraction: float, dim: str = "mode") -> xr.DataArray:
    """Collapsed dimensions: how many values along `dim` lie below `fraction` times the largest.

    The definition is that of `linsim.spectra.collapsed_dimensions`, for many spectra at once; all
    values count if the largest is zero, and a spectrum that holds a nan has a count of nan.
    Args: values, not negative: singular values, or with the square of the fraction eigenvalues.
    Returns: the counts, without `dim`.
    """
    largest = values.max(dim, skipna=False)
    below = ~(values >= fraction * largest) | (largest <= 0)
    return below.sum(dim).where(largest.notnull())
