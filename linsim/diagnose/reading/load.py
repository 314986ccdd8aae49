"""A file and a person's choices in, a checked matrix out, with what was taken for what."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from linsim.config import BadInput
from linsim.diagnose.reading import files, matrices
from linsim.diagnose.reading.choices import SUFFIXES, TABLES, ZIPPED, Choices


@dataclasses.dataclass(frozen=True)
class Loaded:
    """What a file gave."""

    array: np.ndarray
    labels: np.ndarray | None = None
    taken: tuple[str, ...] = ()
    """What was taken for what, in words; nothing where there was nothing to choose."""


def embeddings(path: Path, choices: Choices = Choices()) -> Loaded:  # noqa: B008 (it is frozen)
    """The embeddings of a file, one sample to a row, and their labels if there are any. Raises:
    BadInput.
    """
    found = raw(path, choices)
    array = matrices.samples(found.array, str(path), pool=choices.pool, transpose=choices.transpose)
    if found.labels is not None and len(found.labels) != len(array):
        raise BadInput(
            f"--labels {choices.labels} holds {len(found.labels)} values, and must hold one for "
            f"each of the {len(array)} samples of {path}"
        )
    return dataclasses.replace(found, array=matrices.enough(array, str(path)))


def layers(
    paths: tuple[Path, ...],
    choices: Choices = Choices(),  # noqa: B008
) -> tuple[np.ndarray, np.ndarray]:
    """Two adjacent layers' matrices (h, d) and (n, h) from two files, or by two names from one.
    Raises: BadInput.
    """
    names = choices.names
    if len(paths) == 1 and len(names) == 2:
        paths, each = (paths[0], paths[0]), [(name,) for name in names]
    elif len(paths) == 2:
        each = [(name,) for name in names] if len(names) == 2 else [names, names]
    else:
        given = " ".join(map(str, paths))
        raise BadInput(
            f"--weights {given} is not allowed: it must be two files, or one file with --names W1 "
            "W2"
        )
    raws = [
        raw(path, dataclasses.replace(choices, names=which)).array
        for path, which in zip(paths, each, strict=True)
    ]
    first, second = (
        matrices.kernel(array, str(path), hidden=hidden, transpose=choices.transpose)
        for hidden, (array, path) in enumerate(zip(raws, paths, strict=True))
    )
    return adjacent(first, second)


def adjacent(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two layers, if the second reads from what the first writes to. Raises: BadInput."""
    if second.shape[1] != first.shape[0]:
        raise BadInput(
            f"--weights of shapes {first.shape} and {second.shape} are not allowed: the second's "
            "columns must be the first's rows (--transpose if both are stored as inputs x outputs)"
        )
    return first, second


def raw(path: Path, choices: Choices) -> Loaded:
    """What a file holds, unchecked. Raises: BadInput."""
    name = path.name.lower()
    if not name.endswith(SUFFIXES):
        raise BadInput(f"{path} is not allowed: it must be a file ending in {', '.join(SUFFIXES)}")
    try:
        if name.endswith((*TABLES, *ZIPPED)):
            from linsim.diagnose.reading import tables

            return Loaded(**vars(tables.read(path, choices)))
        return _named(path, choices)
    except BadInput:
        raise
    except Exception as error:  # each format has its own kinds of damage
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise BadInput(
            f"{path} cannot be read ({reason}); it must be a whole {path.suffix} file of numbers"
        ) from None


def _named(path: Path, choices: Choices) -> Loaded:
    arrays = files.held(path, choices.dtype)
    labels: Any = None
    if choices.labels:
        labels = np.ravel(arrays[files.chosen(path, arrays, (choices.labels,))]())
        arrays = {name: read for name, read in arrays.items() if name != choices.labels}
    name = files.chosen(path, arrays, choices.names)
    return Loaded(np.asanyarray(arrays[name]()), labels)
