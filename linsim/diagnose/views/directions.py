"""Which directions of the data an augmentation hits hardest, and how surely.

The generalised eigenvalues r of (Sigma_n, Sigma) are noise over data variance in directions that
are uncorrelated in both: the modes of the theory, with variance 1 and noise variance r. NumPy
float64.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linsim.diagnose.views.moments import Moments, Role, moments

SAMPLES_AT_ONCE = 50  # of the bootstrap
Spectrum = Float[np.ndarray, "k"]


class Directions(NamedTuple):
    """The k directions, largest ratio first.

    vectors (d, k): v with v^T Sigma v = 1, or, where the anchors have no variance at all,
    v^T Sigma_n v = 1; ratios r (k,), infinite there; covariances v^T E[x n^T] v (k,); coupling:
    what the theory leaves out, the share of the augmentation's variance that the anchors of other
    directions explain, by E[x n^T] (symmetrised), on average.
    """

    vectors: Float[np.ndarray, "d k"]
    ratios: Spectrum
    covariances: Spectrum
    coupling: float


class Unseen(NamedTuple):
    """Ratios of directions on rows that they were not found from.

    ratios (k,); samples (B, k), ratios of bootstrap samples; covariances (B, k) likewise.
    """

    ratios: Spectrum
    samples: Float[np.ndarray, "B k"]
    covariances: Float[np.ndarray, "B k"]


def leading(data: Float[np.ndarray, "d d"], components: int | None) -> Float[np.ndarray, "d c"]:
    """The leading principal components of the anchors, or all coordinates."""
    if components is None:
        return np.eye(len(data))
    return np.linalg.eigh(data)[1][:, ::-1][:, :components]


def directions(found: Moments, frame: Float[np.ndarray, "d c"]) -> Directions:
    """The directions that both covariances share, in the span of a frame.

        Sigma_n v = r Sigma v

    Both are whitened by their sum T, in which theta = 1/(1 + r) are the eigenvalues of Sigma: so a
    direction without any data variance is one with theta = 0, and no inverse of Sigma is needed.
    Directions in which neither view varies are left out.

    Source: this project, docs/theory.md, Eq. (generalised).

    Example:
        >>> found = Moments(np.diag([1.0, 2.0, 0.0]), np.diag([3.0, 1.0, 0.0]), np.zeros((3, 3)))
        >>> directions(found, np.eye(3)).ratios.round(6).tolist()
        [3.0, 0.5]
    """
    data, noise = (frame.T @ matrix @ frame for matrix in (found.data, found.noise))
    values, vectors = np.linalg.eigh(data + noise)
    alive = values > rounding(values)
    whiten = frame @ (vectors[:, alive] / np.sqrt(values[alive]))
    theta, turn = np.linalg.eigh(whiten.T @ found.data @ whiten)
    theta = np.where(theta > rounding(np.ones_like(theta)), np.minimum(theta, 1.0), 0.0)
    with np.errstate(divide="ignore"):
        ratios = (1 - theta) / theta
    found_vectors = whiten @ turn / np.sqrt(np.where(theta > 0, theta, 1.0))
    cross = found_vectors.T @ found.cross @ found_vectors
    cross = 0.5 * (cross + cross.T)
    spread = np.where(np.isfinite(ratios), ratios, 1.0)
    noisy = spread > 0
    explained = np.sum(cross**2, axis=0) - np.diag(cross) ** 2
    coupling = float(np.mean(explained[noisy] / spread[noisy])) if noisy.any() else 0.0
    return Directions(found_vectors, ratios, np.diag(cross), coupling)


def rounding(values: Spectrum) -> float:
    """Eigenvalues below are rounding errors."""
    return 8 * len(values) * np.finfo(float).eps * float(np.max(values, initial=0.0))


def unseen(
    taken: list[Role],
    frame: Float[np.ndarray, "d c"],
    count: int,
    samples: int,
    rng: np.random.Generator,
) -> Unseen:
    """The ratios of directions on unseen rows, with bootstrap samples of those rows.

    Directions that are picked because they are extreme look more extreme than they are, and a
    plain bootstrap, which picks again from what was picked, doubles that (El Karoui and Purdom
    2016). So the directions are found from one half of the rows and their ratio is taken on the
    other, and the other way round; then rows, with their shares in all ratios, are resampled. Of
    more and larger parts the directions would share rows, and the intervals would be too narrow
    (Bates, Hastie and Tibshirani 2024).

    Source: this project, docs/views.md, "How sure it is".
    Args: roles of the pairs; the frame of `directions`; count: how many directions all rows have;
    how many bootstrap samples; a random generator.
    """
    rows = len(taken[0][0])
    shares = np.zeros((3, rows, count))
    one, other = np.array_split(rng.permutation(rows), 2)
    for kept, held in ((one, other), (other, one)):
        vectors = directions(moments([(x[kept], n[kept]) for x, n in taken]), frame).vectors
        found = min(count, vectors.shape[1])
        for x, n in taken:
            p, q = x[held] @ vectors[:, :found], n[held] @ vectors[:, :found]
            for share, value in zip(shares, (p * p, q * q, p * q), strict=True):
                share[held, :found] += value
    sums = [
        np.stack([share.T @ counts for share in shares])
        for counts in _resampled(rows, samples, rng)
    ]
    data, noise, cross = np.concatenate(sums, axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = shares[1].sum(axis=0) / shares[0].sum(axis=0)
        return Unseen(whole, (noise / data).T, (cross / data).T)


def _resampled(rows: int, samples: int, rng: np.random.Generator):
    """How often each row is drawn in each bootstrap sample, (rows, some samples) at a time."""
    for start in range(0, samples, SAMPLES_AT_ONCE):
        number = min(SAMPLES_AT_ONCE, samples - start)
        drawn = rng.integers(rows, size=(number, rows))
        yield np.stack([np.bincount(each, minlength=rows) for each in drawn], axis=1).astype(float)
