"""Directions that embeddings lack by construction, which are named and not counted as collapse.

- A column that never changes (a dead unit) has no variance.
- Columns that equal one another have one direction of variance between them.
- Rows of constant sum (softmax, one-hot, LayerNorm without scale) have none along (1, .., 1).
- Rows of constant norm that all point nearly the same way have little along their mean.

The last two are directions v whose standard deviation |R v| / sqrt(N) is checked on the factor R:
it must be below 1 % of what a random direction has.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float

from linsim.diagnose.moments import Moments
from linsim.spectra import DIMENSIONAL

SAME = 1e-6  # relative range of norms that count as one


@dataclasses.dataclass(frozen=True)
class Structure:
    """What was found, in words, and how many directions of no variance it explains."""

    directions: int
    named: tuple[str, ...]


def find(moments: Moments) -> Structure:
    """Look for structure in embeddings."""
    constant = moments.low == moments.high
    copies = _copies(moments, constant)
    named, explained = [], []
    if constant.any() and not constant.all():
        named.append(_counted(int(constant.sum()), "constant column"))
        explained.extend(np.eye(moments.width)[constant])
    if copies:
        named.append(_counted(len(copies), "column") + f" that {_repeat(len(copies))} another")
        explained.extend(_difference(moments.width, pair) for pair in copies)
    small = np.sqrt(DIMENSIONAL / moments.width) * np.linalg.norm(moments.factor)
    everywhere = np.full(moments.width, moments.width**-0.5)
    if moments.width > 1 and np.linalg.norm(moments.factor @ everywhere) < small:
        named.append("rows of constant sum (as of softmax or LayerNorm)")
        explained.append(everywhere)
    low, high = moments.norms
    if high > 0 and high - low <= max(SAME, 4 * moments.roundoff) * high:
        named.append("rows of constant norm")
        towards = moments.mean / max(np.linalg.norm(moments.mean), np.finfo(float).tiny)
        if moments.width > 1 and 0 < np.linalg.norm(moments.factor @ towards) < small:
            explained.append(towards)
    return Structure(_independent(explained), tuple(named))


def _copies(moments: Moments, constant: Bool[np.ndarray, "d"]) -> list[tuple[int, int]]:
    """Pairs of equal columns that vary, each with the first of its kind."""
    factor, width = moments.factor, moments.width
    size = np.linalg.norm(factor, axis=0) + np.sqrt(moments.count) * np.abs(moments.mean)
    mark = np.random.default_rng(0).standard_normal(len(factor)) @ factor + moments.mean
    order = [int(k) for k in np.argsort(mark, kind="stable") if not constant[k]]
    pairs, first = [], None
    for k in order:
        if first is not None and abs(mark[k] - mark[first]) <= 1e-10 * size[k]:
            off = np.linalg.norm(factor[:, k] - factor[:, first])
            mean = abs(moments.mean[k] - moments.mean[first]) * np.sqrt(moments.count)
            if off + mean <= 1e-10 * size[k] * np.sqrt(width):
                pairs.append((first, k))
                continue
        first = k
    return pairs


def _difference(width: int, pair: tuple[int, int]) -> Float[np.ndarray, "d"]:
    direction = np.zeros(width)
    direction[list(pair)] = 0.5**0.5, -(0.5**0.5)
    return direction


def _independent(directions: list[np.ndarray]) -> int:
    return int(np.linalg.matrix_rank(np.array(directions), tol=1e-6)) if directions else 0


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}{'s' if count > 1 else ''}"


def _repeat(count: int) -> str:
    return "repeat" if count > 1 else "repeats"
