"""Labelled results with provenance, written atomically (xarray, netCDF)."""

import contextlib
import datetime
import functools
import importlib.metadata
import io
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from linsim.config import CannotWrite, Checked

# One meaning per variable name, in every file.
LONG_NAMES = {
    "noise": "standard deviation of the additive noise, in units of the data's",
    "init_scale": "initial scale: root mean square singular value of W(0)",
    "seed": "independent run",
    "step": "training step",
    "time": "learning rate x steps on the mean loss",
    "mode": "index, largest first",
    "hidden_mode": "index of a mode of the hidden space, largest first (zeros where a layer has "
    "no rank)",
    "fine_noise": "noise, on the finer grid of the theory's curves",
    "fine_init_scale": "initial scale, on the finer grid of the theory's curves",
    "block": "clean or noisy coordinates",
    "initial_weights": "W at time 0",
    "initial_w1": "W1 at time 0",
    "initial_w2": "W2 at time 0",
    "weight_singular_values": "singular values of W",
    "embedding_spectrum": "eigenvalues of the covariance of the embedded clean data",
    "contrast_eigenvalues": "eigenvalues of the contrast matrix per anchor, X/N (mean since the "
    "last record)",
    "block_strength": "m of a block: squared entries of its columns of W, per column; noisy: "
    "without the clean columns' span",
    "population_settled": "population fixed point m* of one mode",
    "late_settled": "strength m at which one mode settles late on finite batches",
    "level": "standard deviation between runs of the logarithm of a block's strength",
    "left_out": "relative size of what theory leaves out of a block's strength",
    "singular_value_low": "5 % quantile over runs of the singular values of W",
    "singular_value_high": "95 % quantile over runs of the singular values of W",
    "collapsed_probability": "probability of a number of collapsed dimensions in one run",
    "count": "a number of collapsed dimensions",
    "embedding_deviation": "standard deviation of the anchors' embeddings along their principal "
    "axes, largest first",
    "predicted_deviation": "the same of a clean and a noisy mode of the balanced population flow",
    "collapsed": "collapsed dimensions",
    "objective": "what is trained: the loss, with or without predictor and stop-gradient",
    "scatter": "embeddings of clean samples along the two leading and the two trailing principal "
    "axes",
    "kind": "kind of collapse: 0 none, 1 dimensional, 2 complete",
    "projector": "what stands between representation and loss",
    "d0": "coordinates of the representation that the loss sees",
    "labels": "labels per class that the probe is trained on",
    "feature": "what is probed: the representation r, its parts, or h behind the last block",
    "probe_accuracy": "share of test images that a linear probe gets right",
    "knn_accuracy": "the same for the vote of the nearest training images",
    "online_accuracy": "share of an epoch's views that a detached probe, trained alongside, gets "
    "right",
    "online_test_accuracy": "share of test images that this probe gets right in the end",
    "untrained_accuracy": "probe accuracy of the untrained encoder",
    "images_per_second": "training images, each seen as two views, per second of training (median "
    "over epochs)",
    "raw_accuracy": "the same for a probe on raw pixels",
    "representation_spectrum": "eigenvalues of the covariance of the representations",
    "representation_rankme": "RankMe of the representations",
    "representation_rank": "effective rank of the centred representations: exp of the entropy of "
    "their singular values",
    "gradient_spectrum": "singular values of the gradient of one batch",
    "depth": "number of layers",
    "pair_imbalance": "Frobenius norm of W_l W_l^T - W_(l+1)^T W_(l+1) of adjacent layers",
    "pair_alignment": "|A_kk| of adjacent layers",
    "near_boundary": "1 where a neighbouring cell has another predicted count",
    "escape_boundary": "initial scale from which a block escapes by the end",
    "end_time": "learning rate x steps on the mean loss at the end",
    "predicted_collapsed": "collapsed dimensions predicted by the population theory",
    "w1_singular_values": "singular values of W1",
    "w2_singular_values": "singular values of W2",
    "alignment": "A = V2^T U1",
    "alignment_bound": "lower bound on |A_kk| from the conserved imbalance",
    "imbalance_norm": "spectral norm of C = W1 W1^T - W2^T W2",
    "identity_residual": "largest residual of A_jk (s1_k^2 - s2_j^2) = v2_j^T C u1_k with the "
    "conserved C",
    "mode_pull": "v1_k^T X/N v1_k",
    "alpha_ii": "softmax weight of the positive, mean over anchors (mean since the last record)",
    "loss": "mean loss per anchor (mean since the last record)",
}


THEORIES = {
    "population_": "population flow: ",
    "theory_": "theory of any batch size: ",
}  # prefixes of predicted observables


def labelled(
    arrays: Mapping[str, tuple[tuple[str, ...], Any]], coords: Mapping[str, Any]
) -> xr.Dataset:
    """A Dataset of (dimensions, array) by variable name, with long names. All quantities are
    dimensionless.
    """
    dataset = xr.Dataset(
        {name: (dims, np.asarray(values)) for name, (dims, values) in arrays.items()},
        coords=dict(coords),
    )
    for name, variable in dataset.variables.items():
        prefix, base = _theory(str(name))
        if base in LONG_NAMES:
            variable.attrs.update(long_name=THEORIES.get(prefix, "") + LONG_NAMES[base], units="1")
    return dataset


def _theory(name: str) -> tuple[str, str]:
    """The prefix of a theory and the name of the observable that it is a theory of."""
    for prefix in THEORIES:
        if name not in LONG_NAMES and name.startswith(prefix):
            return prefix, name.removeprefix(prefix)
    return "", name


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
    "embedding_deviation": ("mode",),
    "scatter": ("sample", "axis"),
    "representation_spectrum": ("mode",),
    "gradient_spectrum": ("place", "mode"),
    "probe_accuracy": ("feature", "labels"),
    "knn_accuracy": ("feature",),
    "online_accuracy": ("time",),
    "pair_imbalance": ("time", "pair"),
    "pair_alignment": ("time", "pair", "hidden_mode"),
    "alpha_ii": ("time",),
    "loss": ("time",),
}


def labelled_runs(
    arrays: Mapping[str, Any],
    leading: tuple[str, ...],
    coords: Mapping[str, Any],
    dims: Mapping[str, tuple[str, ...]] | None = None,
) -> xr.Dataset:
    """A Dataset of a sweep's observables: dimensions `leading`, then `dims` or TRAILING by the name
    behind the prefix of a theory.

    The axes of an observable without an entry in either are called <name>_0, <name>_1, ..
    """
    known = TRAILING | dict(dims or {})

    def trailing(name: str, count: int) -> tuple[str, ...]:
        return known.get(_theory(name)[1], tuple(f"{name}_{axis}" for axis in range(count)))

    named = {
        name: (*leading, *trailing(name, np.ndim(values) - len(leading)))
        for name, values in arrays.items()
    }
    return labelled({name: (named[name], values) for name, values in arrays.items()}, coords)


def _git(*words: str) -> str:
    command = ["git", "-C", str(Path(__file__).parent), *words]
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=5, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


@functools.cache
def _software() -> dict[str, str]:
    packages = ("linsim", "jax", "jaxlib", "optax", "diffrax", "numpy", "xarray")
    return {
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": str(_git("status", "--porcelain") != ""),
        "versions": json.dumps({name: _version(name) for name in packages}),
        "python": sys.version.split()[0],
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def provenance(settings: Checked, started: datetime.datetime) -> dict[str, str | int | float]:
    """Where a result comes from: all settings, command line, code version, packages, device, dtype,
    times.
    """
    fields = {name: value for name, value in vars(settings).items() if not name.startswith("_")}
    plain = {
        k: v
        for k, v in fields.items()
        if isinstance(v, str | int | float) and not isinstance(v, bool)
    }
    return plain | {
        "config": json.dumps(fields, default=str),
        "command": shlex.join(sys.argv),
        **_software(),
        "device": f"{jax.local_device_count()} x {jax.local_devices()[0].device_kind}",
        "dtype": str(jnp.zeros(()).dtype),
        "loss_normalisation": "mean over anchors",
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def write(content: bytes | memoryview, path: Path) -> Path:
    """Write a file so that `path` is old or new at every moment, never half. Returns: path. Raises:
    CannotWrite.
    """
    write_all({path: content})
    return path


def write_all(contents: Mapping[Path, bytes | memoryview]) -> None:
    """Write files under temporary names in their folders, sync them to disk, then rename all of
    them.

    Nothing is renamed before everything is written. A folder that is missing is made. Args:
    contents by path.
    Raises: CannotWrite, after removing the temporary files.
    """
    temporary = {path: path.with_name(f".{path.name}.{os.getpid()}.part") for path in contents}
    path = next(iter(contents))
    try:
        for path, content in contents.items():
            path.parent.mkdir(exist_ok=True)
            with open(temporary[path], "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for path in contents:
            os.replace(temporary[path], path)
    except OSError as error:
        raise CannotWrite(f"{path} could not be written ({error.strerror or error})") from None
    finally:
        for part in temporary.values():
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)


def encode(dataset: xr.Dataset) -> memoryview:
    """The netCDF file as bytes. They are made in memory, so that a full disk is met by plain Python
    and not inside HDF5.
    """
    return cast(memoryview, dataset.to_netcdf(engine="h5netcdf"))


def save(dataset: xr.Dataset, path: Path) -> Path:
    """Write a Dataset as netCDF, atomically (`write`). Returns: path. Raises: CannotWrite."""
    return write(encode(dataset), path)


def load(source: Path | io.BytesIO) -> xr.Dataset:
    """Read a saved Dataset into memory."""
    return xr.load_dataset(source, engine="h5netcdf")
