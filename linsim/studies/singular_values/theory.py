"""Theorem 3 for the very runs that were trained, under each run's own measured pull, and the escape
times of its modes.
"""

import numpy as np
import xarray as xr

from linsim.studies.theory import covers, silence
from linsim.studies.two_layers import TwoLayerSettings, fixed_run
from linsim.theory import population, singular
from linsim.training.loss import SolvedLoss
from linsim.training.run import Run
from linsim.training.views import mode_moments

ESCAPED = 10.0  # a mode has escaped once s1 s2 is this many times its start


def compare(dataset: xr.Dataset, settings: TwoLayerSettings) -> xr.Dataset:
    """`dataset` of two-layer runs with Theorem 3 integrated for each, the escape times, and how
    many modes have escaped; nan where theory is silent.
    """
    run = fixed_run(settings)
    start = (dataset["w1_singular_values"] * dataset["w2_singular_values"]).isel(time=0, drop=True)
    start = start.transpose("noise", "init_scale", "seed", "hidden_mode")
    growth = np.full(start.shape, np.nan)
    if covers(run) and isinstance(run.loss, SolvedLoss):
        growth = run.loss.growth_rate(mode_moments(mode_noise(dataset, run), run.views))
    escape = start.copy(data=population.escape_time(start.values, 2, np.asarray(growth)))
    dataset = dataset.assign(
        theorem_3=theorem_3(dataset), escape_time=escape, escaped=escaped(dataset, "")
    )
    return dataset.assign_attrs(no_theory=silence(run))


def escaped(dataset: xr.Dataset, prefix: str) -> xr.DataArray:
    """How many modes of each run have escaped at the end. Args: dataset; prefix of the layers'
    names: none for the runs, theory_ or population_.
    """
    strength = dataset[f"{prefix}w1_singular_values"] * dataset[f"{prefix}w2_singular_values"]
    return (strength.isel(time=-1, drop=True) > ESCAPED * strength.isel(time=0, drop=True)).sum(
        "hidden_mode"
    )


def mode_noise(dataset: xr.Dataset, run: Run) -> np.ndarray:
    """Noise variance v1_k^T Sigma_a v1_k of one view in each initial mode, (..., hidden_mode);
    modes without a direction, beyond the rank of W1, get 0.
    """
    w1 = dataset["initial_w1"].transpose("noise", "init_scale", "seed", "hidden", "input").values
    v1 = np.linalg.svd(w1, full_matrices=False)[2]
    unit = np.einsum("...kd,de,...ke->...k", v1, np.asarray(run.unit_noise()), v1)
    unit = np.pad(unit, [(0, 0)] * 3 + [(0, dataset.sizes["hidden_mode"] - unit.shape[-1])])
    return dataset["noise"].values[:, None, None, None] ** 2 * unit


def theorem_3(dataset: xr.Dataset) -> xr.DataArray:
    """Theorem 3 for each run, from its initial singular values under its own measured pull: (...,
    time, layer, mode).
    """
    pull, time = dataset["mode_pull"].transpose(..., "time", "hidden_mode"), dataset["time"].values
    impulse = np.cumsum(pull.values * np.diff(time, prepend=time[0])[:, None], axis=-2)
    layers = (dataset[f"w{layer}_singular_values"].transpose(*pull.dims).values for layer in (1, 2))
    first, second = (np.broadcast_to(values[..., :1, :], impulse.shape) for values in layers)
    solved = np.stack(singular.aligned_values(first, second, impulse), axis=-2)
    return xr.DataArray(solved, dims=(*pull.dims[:-1], "layer", "hidden_mode"))
