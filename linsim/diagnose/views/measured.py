"""What the pairs themselves, Gaussian or not, say of each direction at the predicted strengths.

A direction k is kept if a weak map in it lowers the loss, that is if the negatives push more than
the augmentation pulls (Lemma 2), both weighted by the softmax over the other directions:

    ratio_k = 2 sum_i (1 - alpha_ii) n_ik^2 / sum_{i != j} alpha_ij (x_i - x_j)_k^2,   m_k = 0

For Gaussian pairs directions are independent, alpha says nothing of direction k, and the ratio is
r_k. Elsewhere it differs as far as samples that are hard in the other directions, which alpha
picks, have other variances in this one: it is r_k times the augmentation's variance among hard rows
over that among all, and over the same of the negatives. NumPy float64.
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
    not a number where no sample is ever hard to tell.

    hard_noise, hard_negatives: mean square of the augmentation, and of the difference to a
    negative, weighted by the softmax, over that of all rows and of all negatives. (k,) each.
    """

    ratios: Float[np.ndarray, "k"]
    errors: Float[np.ndarray, "k"]
    hard_noise: Float[np.ndarray, "k"]
    hard_negatives: Float[np.ndarray, "k"]


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
    sums = np.zeros((5, batches, len(m)))
    for b in range(batches):
        x, n = taken[b % len(taken)]
        chosen = rng.choice(rows, batch_size, replace=batch_size > rows)
        sums[:, b] = _sums(x[chosen] @ vectors, n[chosen] @ vectors, m)
    with np.errstate(divide="ignore", invalid="ignore"):
        pulls, pushes = sums[:2]
        pull, push, weight, noise, negatives = sums.sum(axis=1)
        ratio = 2 * pull / push
        rest = (2 * pulls - ratio * pushes) / pushes.mean(axis=0)
        errors = rest.std(axis=0, ddof=1) / np.sqrt(batches)
        count = batches * batch_size
        hard = pull / weight / (noise / count)
        near = push / weight / (negatives / (count * (batch_size - 1)))
    return Own(ratio, errors, hard, near)


def _sums(x: Float[np.ndarray, "N k"], n: Float[np.ndarray, "N k"], m: Float[np.ndarray, "k"]):
    """Sums over one batch, (5, k): of (1 - alpha_ii) n_ik^2, of alpha_ij (x_i - x_j)_k^2, of
    alpha_ij, i != j, of n_ik^2 and of (x_i - x_j)_k^2.
    """
    size = len(x)
    z = x * np.sqrt(m)
    squares = np.sum(z**2, axis=1)
    scores = z @ z.T - 0.5 * (squares[:, None] + squares)
    scores[np.arange(size), np.arange(size)] = -0.5 * np.sum(m * n**2, axis=1)
    none = _negatives(scores)
    found = np.zeros((5, len(m)))
    for k, strength in enumerate(m):
        apart, noise = (x[:, k, None] - x[:, k]) ** 2, n[:, k] ** 2
        weights = none
        if strength > 0:
            weights = _negatives(scores + 0.5 * strength * (apart + np.diag(noise)))
        left = weights.sum(axis=1)
        found[:, k] = left @ noise, np.sum(weights * apart), left.sum(), noise.sum(), apart.sum()
    return found


def _negatives(scores: Float[np.ndarray, "N N"]) -> Float[np.ndarray, "N N"]:
    """The softmax's weights, with those of the positives set to zero."""
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    np.fill_diagonal(weights, 0.0)
    return weights
