"""From an array of any shape to a matrix of finite real numbers, one sample to a row."""

import numpy as np

from linsim.config import BadInput
from linsim.diagnose.moments import blocks
from linsim.diagnose.reading.arrays import is_real
from linsim.diagnose.reading.choices import Pool


def samples(array: np.ndarray, what: str, *, pool: Pool, transpose: bool) -> np.ndarray:
    """Embeddings as a matrix (N, d).

    Args: array; what it is called in messages; pool: what becomes of axes between the first and the
    last; transpose: whether samples are columns. Raises: BadInput.
    """
    if transpose:
        array = array.T
    if array.ndim > 2 and array.size and pool != "none":
        patches = array.reshape(len(array), -1, array.shape[-1])
        if pool == "each":
            array = patches.reshape(-1, array.shape[-1])
        else:
            exact = np.float64 if array.dtype == np.float64 else np.float32
            array = patches[:, 0] if pool == "first" else patches.mean(axis=1, dtype=exact)
    elif array.ndim > 2 and array.size:
        raise BadInput(
            f"{what} holds an array of shape {array.shape}, and must hold a matrix, one row a "
            "sample; --pool mean, first or each makes one of (N, patches, d)"
        )
    return checked(array, what)


def kernel(array: np.ndarray, what: str, *, hidden: int, transpose: bool) -> np.ndarray:
    """Weights as a matrix that has the hidden units of two layers along its axis `hidden`.

    A convolution (out, in, height, width) has them along its first axis, as what it writes to, or
    its second, as what it reads from; all other axes are the other side. Raises: BadInput.
    """
    if transpose:
        array = array.T
    if array.ndim > 2:
        array = np.moveaxis(array, hidden, 0).reshape(array.shape[hidden], -1)
        array = array if hidden == 0 else array.T
    return checked(array, what)


def checked(array: np.ndarray, what: str) -> np.ndarray:
    """The array, if it is a matrix of finite real numbers. Raises: BadInput."""
    if array.ndim != 2 or array.size == 0:
        raise BadInput(
            f"{what} holds an array of shape {array.shape}, and must hold a matrix, one row a "
            "sample"
        )
    if not is_real(array.dtype):
        raise BadInput(f"{what} holds values of type {array.dtype}, and must hold real numbers")
    first = 0
    for rows in blocks(array):
        bad = np.argwhere(~np.isfinite(rows.astype(np.float64, copy=False)))
        if len(bad):
            row, column = bad[0]
            raise BadInput(
                f"{what} holds {rows[row, column]} at row {first + row}, column {column} (from 0), "
                "and all values must be finite"
            )
        first += len(rows)
    return array


def enough(array: np.ndarray, what: str) -> np.ndarray:
    """The embeddings, if they are two or more. Raises: BadInput."""
    if len(array) < 2:
        raise BadInput(
            f"{what} holds one sample, and needs at least two: a spectrum of covariances cannot "
            "be told from one"
        )
    return array
