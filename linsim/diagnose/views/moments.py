"""Second moments of pairs of views, estimated from rows, and how well they are known.

A pair is an anchor x and its positive x' = x + n; n is the augmentation. The loss sees anchors
through their differences, so x is centred, and the augmentation through |W n|^2, so n is not: a
shift that all positives share costs like noise of that square.

With anchors taken from both views each pair counts twice, once in either role, and every average is
over both. NumPy float64.
"""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

Square = Float[np.ndarray, "d d"]
Rows = Float[np.ndarray, "N d"]
Anchors = Literal["first", "both"]
Role = tuple[Rows, Rows]
PRODUCTS = (0, 0), (1, 1), (0, 1)  # of x and n, as in `Moments`


class Moments(NamedTuple):
    """Covariance of the anchors, second moment of the augmentation n, and E[x n^T], (d, d) each.

    With one role the covariance between the views is `data` + `cross`.
    """

    data: Square
    noise: Square
    cross: Square


def roles(x: Rows, y: Rows, anchors: Anchors) -> list[Role]:
    """Centred anchors and their augmentations, (N, d) each: one role, or both.

    Args: the two views x and y, row i of each two views of one sample; which of them are anchors.
    """
    step = y - x
    first = (x - x.mean(axis=0), step)
    return [first] if anchors == "first" else [first, (y - y.mean(axis=0), -step)]


def moments(taken: list[Role]) -> Moments:
    """The second moments, averaged over rows and roles.

        Sigma = E[x x^T],   Sigma_n = E[n n^T],   E[x n^T]

    Source: this project, docs/views.md, "What is estimated".

    Example:
        >>> x = np.array([[1.0], [-1.0]])
        >>> moments(roles(x, 1.5 * x, "first"))[1:]
        (array([[0.25]]), array([[0.5]]))
    """
    total = len(taken) * len(taken[0][0])
    data, noise, cross = (
        sum((role[i].T @ role[j] for role in taken), np.zeros(())) for i, j in PRODUCTS
    )
    return Moments(data / total, noise / total, cross / total)


def standard_errors(taken: list[Role], found: Moments) -> Moments:
    """The standard error of every entry, from the fourth moments of the rows.

        SE[E[u_a v_b]]^2 = (E[u_a^2 v_b^2] - E[u_a v_b]^2) / N

    The two roles of one pair are not independent, so they count as one row. Rows must be
    independent samples.
    """
    count = len(taken[0][0])
    errors = []
    for (i, j), mean in zip(PRODUCTS, found, strict=True):
        square = np.zeros_like(mean)
        for one in taken:
            for other in taken:
                square += (one[i] * other[i]).T @ (one[j] * other[j])
        square /= count * len(taken) ** 2
        errors.append(np.sqrt(np.maximum(square - mean**2, 0.0) / count))
    return Moments(*errors)


def relative_errors(found: Moments, errors: Moments) -> dict[str, float]:
    """Root of the summed squared standard errors over the Frobenius norm, for each matrix."""
    return {
        name: float(np.linalg.norm(error) / scale) if (scale := np.linalg.norm(value)) > 0 else 0.0
        for name, value, error in zip(found._fields, found, errors, strict=True)
    }


def asymmetry(x: Rows, y: Rows) -> float:
    """How differently the views are distributed: the largest difference of a coordinate's mean or
    variance between them, in standard errors of that difference.

    Below 4 or so the views may be two draws of one augmentation.
    """
    step = y - x
    centred, other = x - x.mean(axis=0), y - y.mean(axis=0)
    largest = 0.0
    for change in (step, other**2 - centred**2):
        spread = change.std(axis=0) / np.sqrt(len(x))
        known = spread > 0
        if known.any():
            largest = max(
                largest, float(np.max(np.abs(change.mean(axis=0)[known]) / spread[known]))
            )
    return largest
