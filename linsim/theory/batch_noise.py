"""The noise xi = X - X_N of contrast matrices of single batches, measured on random ones that have
the moments of given groups of modes.

One clean and one noisy view or two, distance or dot loss, mean over anchors. NumPy float64.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from linsim.theory.mellin import Values
from linsim.theory.modes import Modes

BATCH_ROWS = 10_000  # rows of all random batches at one point
FEWEST_BATCHES = 48
PAIRS_AT_ONCE = 1_300_000  # of samples, whose softmax a cache still holds


class BatchNoise(NamedTuple):
    """Second moments of xi = X - X_N on one batch, by groups.

    between: variance D_gh of an entry between two different modes of g and h, (G, G); diagonal:
    variance of a diagonal entry, (G,); traces: covariance of the mean diagonal entries, (G, G).
    """

    between: Values
    diagonal: Values
    traces: Values


def contrast_of_batches(
    x: Values, x_pos: Values, strengths: Values, temperature: float | None = None
) -> Values:
    """The contrast matrix of each of B batches under W = diag(sqrt(strengths)), (B, d, d). Args:
    views (B, N, d); strengths of the d modes; temperature of the dot loss, None for distances.
    """
    if temperature is None:
        return _of_distances(x, x_pos, strengths)
    weights = (x * (strengths / temperature)) @ x_pos.transpose(0, 2, 1)
    weights -= weights.max(axis=2, keepdims=True)
    np.exp(weights, out=weights)
    mean = weights @ x_pos / weights.sum(axis=2, keepdims=True)
    towards = x.transpose(0, 2, 1) @ (x_pos - mean) / (x.shape[1] * temperature)
    return towards + towards.transpose(0, 2, 1)


def _of_distances(x: Values, x_pos: Values, strengths: Values) -> Values:
    """Of the distance loss. What is summed over all pairs of samples is a product of matrices with
    the softmax's numerators, which are divided by their sums afterwards.
    """
    z, step, index = x * np.sqrt(strengths), x_pos - x, np.arange(x.shape[1])
    squares = 0.5 * np.sum(z**2, axis=-1)
    weights = z @ z.transpose(0, 2, 1)
    weights -= squares[:, :, None]
    weights -= squares[:, None, :]
    weights[:, index, index] = -0.5 * np.sum(strengths * step**2, axis=-1)
    weights -= weights.max(axis=2, keepdims=True)
    np.exp(weights, out=weights)
    own = weights[:, index, index]
    weights[:, index, index] = 0
    pulled = weights.sum(axis=2)
    total = pulled + own
    given = pulled / total  # by the softmax to the others of an anchor's batch
    taken = (1 / total)[:, None, :] @ weights  # by a sample in theirs
    across = x.transpose(0, 2, 1) @ (weights @ x / total[..., None])
    contrast = x.transpose(0, 2, 1) @ (x * (given[..., None] + taken.transpose(0, 2, 1)))
    contrast -= across + across.transpose(0, 2, 1)
    contrast -= step.transpose(0, 2, 1) @ (step * given[..., None])
    return contrast / x.shape[1]


def members(groups: Sequence[Modes]) -> Values:
    """The group of each of the d modes, (d,)."""
    return np.repeat(np.arange(len(groups)), [group.count for group in groups])


def random_views(
    groups: Sequence[Modes], batches: int, batch_size: int, rng: np.random.Generator
) -> tuple[Values, Values]:
    """Anchors and positives of B random batches with the moments of the groups, (B, N, d) each."""
    a, rho, rest = (
        np.array([getattr(group, name) for group in groups])[members(groups)]
        for name in ("variance", "covariance", "conditional_variance")
    )
    x = rng.normal(size=(batches, batch_size, len(a))) * np.sqrt(a)
    return x, x + (x * (rho / a) + rng.normal(size=x.shape) * np.sqrt(rest))


def batch_noise(
    groups: Sequence[Modes],
    strengths: Values,
    *,
    batch_size: int,
    rng: np.random.Generator,
    rows: int = BATCH_ROWS,
    temperature: float | None = None,
) -> BatchNoise:
    """The second moments of xi, measured on random batches. Args: groups; strengths (G,); N;
    generator; rows of all batches together; temperature of the dot loss, None for distances.
    """
    member = members(groups)
    batches = max(rows // batch_size, FEWEST_BATCHES)
    few = max(1, min(batches, PAIRS_AT_ONCE // batch_size**2))
    found = []
    for first in range(0, batches, few):
        views = random_views(groups, min(few, batches - first), batch_size, rng)
        found.append(contrast_of_batches(*views, np.asarray(strengths)[member], temperature))
    x_n = np.concatenate(found)
    mean = np.zeros((len(member), len(member)))
    diagonal = np.einsum("bii->bi", x_n)
    groupwise = np.stack([diagonal[:, member == g].mean(axis=1) for g in range(len(groups))], 1)
    mean[np.diag_indices(len(member))] = groupwise.mean(axis=0)[member]
    squares = np.mean((x_n - mean) ** 2, axis=0)
    apart = ~np.eye(len(member), dtype=bool)
    between = np.zeros((len(groups), len(groups)))
    for g, h in np.ndindex(between.shape):
        block = np.outer(member == g, member == h) & apart
        between[g, h] = squares[block].mean() if block.any() else 0.0
    own = np.array([np.diag(squares)[member == g].mean() for g in range(len(groups))])
    return BatchNoise(between, own, np.atleast_2d(np.cov(groupwise.T)))
