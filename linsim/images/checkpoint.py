"""The state of an unfinished training in one file, written atomically and read back bit by bit.

A state is any tree of arrays.
"""

import io
import zipfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

from linsim.sweeps import results


def save(tree: Any, path: Path) -> None:
    """Write the arrays of a tree (`results.write`: the file is old or new, never half).

    Raises: CannotWrite.
    """
    buffer = io.BytesIO()
    np.savez(buffer, *(np.asarray(leaf) for leaf in jax.tree.leaves(tree)))
    results.write(buffer.getbuffer(), path)


def load(like: Any, path: Path) -> Any:
    """The tree saved at a path, or None if there is none that fits.

    None stands for no file, a damaged one, and other shapes or dtypes than those of `like`.

    Args: like: a tree of arrays, or of their shapes and dtypes; path.
    Returns: a tree like it of arrays.
    """
    expected, structure = jax.tree.flatten(like)
    try:
        with np.load(path) as held:
            leaves = [held[name] for name in held.files]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None
    found = [(leaf.shape, leaf.dtype) for leaf in leaves]
    return (
        structure.unflatten(leaves)
        if found == [(leaf.shape, leaf.dtype) for leaf in expected]
        else None
    )
