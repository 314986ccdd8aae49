"""What the pairs themselves, Gaussian or not, say of each direction at the predicted strengths.

A direction k is kept if a weak map in it lowers the loss, that is if the negatives push more than
the augmentation pulls (Lemma 2), both weighted by the softmax over the other directions:

    ratio_k = 2 sum_i (1 - alpha_ii) n_ik^2 / sum_{i != j} alpha_ij (x_i - x_j)_k^2,   m_k = 0

For Gaussian pairs directions are independent, alpha says nothing of direction k, and the ratio is
r_k. Elsewhere it differs as far as samples that are hard in the other directions, which alpha
picks, have other variances in this one. NumPy float64.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linsim.diagnose.views.moments import Role

ROWS = 8192  # that all batches hold together
MOST_BATCHES = 64
FEWEST_BATCHES = 8
LARGE = 1e6  # stands for the strength of a direction without noise


class Own(NamedTuple):
    """Ratio of every direction at the predicted strengths, and its standard error over batches;
    not a number where no sample is ever hard to tell. (k,) each.
    """

    ratios: Float[np.ndarray, "k"]
    errors: Float[np.ndarray, "k"]


def own_ratios(
    taken: list[Role],
    vectors: Float[np.ndarray, "d k"],
    strengths: Float[np.ndarray, "k"],
    batch_size: int,
    rng: np.random.Generator,
) -> Own:
    """The ratio that decides over each direction, on random batches of the rows.

    Source: paper, Lemma 2; this project, docs/views.md, "Where the data are not Gaussian".
    Args: roles of the pairs; directions; their predicted strengths; batch size; random generator.
    """
    m = np.minimum(strengths, LARGE)
    rows = len(taken[0][0])
    batches = int(np.clip(ROWS // batch_size, FEWEST_BATCHES, MOST_BATCHES))
    pulls, pushes = np.zeros((2, batches, len(m)))
    for b in range(batches):
        x, n = taken[b % len(taken)]
        chosen = rng.choice(rows, batch_size, replace=batch_size > rows)
        pulls[b], pushes[b] = _sums(x[chosen] @ vectors, n[chosen] @ vectors, m)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = 2 * pulls.sum(axis=0) / pushes.sum(axis=0)
        rest = (2 * pulls - ratio * pushes) / pushes.mean(axis=0)
    return Own(ratio, rest.std(axis=0, ddof=1) / np.sqrt(batches))


def _sums(x: Float[np.ndarray, "N k"], n: Float[np.ndarray, "N k"], m: Float[np.ndarray, "k"]):
    """Sums over one batch: of (1 - alpha_ii) n_ik^2 and of alpha_ij (x_i - x_j)_k^2, (k,) each."""
    size = len(x)
    z = x * np.sqrt(m)
    squares = np.sum(z**2, axis=1)
    scores = z @ z.T - 0.5 * (squares[:, None] + squares)
    scores[np.arange(size), np.arange(size)] = -0.5 * np.sum(m * n**2, axis=1)
    none = _negatives(scores)
    pulls, pushes = np.zeros((2, len(m)))
    for k, strength in enumerate(m):
        apart = (x[:, k, None] - x[:, k]) ** 2
        weights = none
        if strength > 0:
            np.fill_diagonal(apart, n[:, k] ** 2)
            weights = _negatives(scores + 0.5 * strength * apart)
        pulls[k], pushes[k] = weights.sum(axis=1) @ n[:, k] ** 2, np.sum(weights * apart)
    return pulls, pushes


def _negatives(scores: Float[np.ndarray, "N N"]) -> Float[np.ndarray, "N N"]:
    """The softmax's weights, with those of the positives set to zero."""
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    np.fill_diagonal(weights, 0.0)
    return weights
