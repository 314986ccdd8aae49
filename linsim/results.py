"""Labelled results with provenance, written atomically (xarray, netCDF)."""

import dataclasses
import datetime
import importlib.metadata
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

# One meaning per variable name, in every file.
LONG_NAMES = {
    "noise": "standard deviation of the additive noise, in units of the data's",
    "init_scale": "initial scale: root mean square singular value of W(0)",
    "seed": "independent run",
    "step": "training step",
    "time": "learning rate x steps on the mean loss",
    "mode": "index, largest first",
    "hidden_mode": "index of a mode of the hidden space, largest first (zeros where a layer has no rank)",
    "block": "clean or noisy coordinates",
    "initial_weights": "W at time 0",
    "initial_w1": "W1 at time 0",
    "initial_w2": "W2 at time 0",
    "weight_singular_values": "singular values of W",
    "embedding_spectrum": "eigenvalues of the covariance of the embedded clean data",
    "contrast_eigenvalues": "eigenvalues of the contrast matrix per anchor, X/N (mean since the last record)",
    "block_strength": "m of a block: squared entries of its columns of W, per column; noisy: without the clean columns' span",
    "population_settled": "population fixed point m* of one mode",
    "condensed_settled": "late settled strength m of one mode on finite batches",
    "condensed_block_strength": "block's m in the condensed regime, from the median run's state when alpha_ii passes 0.5",
    "predicted_collapsed": "collapsed dimensions predicted by the population theory",
    "w1_singular_values": "singular values of W1",
    "w2_singular_values": "singular values of W2",
    "alignment": "A = V2^T U1",
    "alignment_bound": "lower bound on |A_kk| from the conserved imbalance",
    "imbalance_norm": "spectral norm of C = W1 W1^T - W2^T W2",
    "identity_residual": "largest residual of A_jk (s1_k^2 - s2_j^2) = v2_j^T C u1_k with the conserved C",
    "mode_pull": "v1_k^T X/N v1_k",
    "alpha_ii": "softmax weight of the positive, mean over anchors (mean since the last record)",
    "loss": "mean loss per anchor (mean since the last record)",
}


def labelled(arrays: Mapping[str, tuple[tuple[str, ...], Any]], coords: Mapping[str, Any]) -> xr.Dataset:
    """A Dataset of (dimensions, array) by variable name, with long names. All quantities are dimensionless."""
    dataset = xr.Dataset(
        {name: (dims, np.asarray(values)) for name, (dims, values) in arrays.items()},
        coords=dict(coords),
    )
    for name, variable in dataset.variables.items():
        base = str(name) if name in LONG_NAMES else str(name).removeprefix("population_")
        if base in LONG_NAMES:
            predicted = "population flow: " if base != name else ""
            variable.attrs.update(long_name=predicted + LONG_NAMES[base], units="1")
    return dataset


# Trailing dimensions of each observable, behind those of the sweep.
TRAILING = {
    "initial_weights": ("output", "input"),
    "initial_w1": ("hidden", "input"),
    "initial_w2": ("output", "hidden"),
    "weight_singular_values": ("time", "mode"),
    "embedding_spectrum": ("time", "mode"),
    "contrast_eigenvalues": ("time", "mode"),
    "block_strength": ("time", "block"),
    "w1_singular_values": ("time", "hidden_mode"),
    "w2_singular_values": ("time", "hidden_mode"),
    "alignment": ("time", "mode_w2", "mode_w1"),
    "alignment_bound": ("time", "hidden_mode"),
    "imbalance_norm": ("time",),
    "identity_residual": ("time",),
    "mode_pull": ("time", "hidden_mode"),
    "alpha_ii": ("time",),
    "loss": ("time",),
}


def labelled_runs(arrays: Mapping[str, Any], leading: tuple[str, ...], coords: Mapping[str, Any]) -> xr.Dataset:
    """A Dataset of a sweep's observables: dimensions `leading`, then TRAILING by the name behind "population_"."""
    dims = {name: (*leading, *TRAILING[name.removeprefix("population_")]) for name in arrays}
    return labelled({name: (dims[name], values) for name, values in arrays.items()}, coords)


def _git(*words: str) -> str:
    command = ["git", "-C", str(Path(__file__).parent), *words]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def provenance(config: Any, started: datetime.datetime) -> dict[str, str | int | float]:
    """Where a result comes from: full configuration, command line, code version, packages, device, dtype, times."""
    packages = ("linsim", "jax", "jaxlib", "optax", "diffrax", "numpy", "xarray")
    plain = {k: v for k, v in dataclasses.asdict(config).items() if isinstance(v, str | int | float) and not isinstance(v, bool)}
    return plain | {
        "config": json.dumps(dataclasses.asdict(config), default=str),
        "command": shlex.join(sys.argv),
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": str(_git("status", "--porcelain") != ""),
        "versions": json.dumps({name: importlib.metadata.version(name) for name in packages}),
        "python": sys.version.split()[0],
        "device": f"{len(jax.devices())} x {jax.devices()[0].device_kind}",
        "dtype": "float64" if config.x64 else "float32",
        "loss_normalisation": "mean over anchors",
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def save(dataset: xr.Dataset, path: Path) -> Path:
    """Write netCDF to a temporary name in the same folder, sync it to disk, rename: `path` is old or new, never half."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(handle)
    try:
        dataset.to_netcdf(temporary, engine="h5netcdf")
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def load(path: Path) -> xr.Dataset:
    """Read a saved Dataset into memory."""
    return xr.load_dataset(path, engine="h5netcdf")
