"""Groups of equal modes of a linear model, what theory says of them at one point of training, and
the anchors over which it averages.
"""

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import scipy

from linsim.theory.mellin import Values

MOST_NODES = 2000  # of a product rule over groups; more groups are sampled
ANCHORS = 1024  # quasi-random anchors of full matrices, and where a product rule is too large


@dataclass(frozen=True)
class Modes:
    """A group of equal modes, by the second moments of a pair of views. Make it with `Modes.of`.

    Fields: variance a of the anchors; noise_variance c of the augmentation x' - x; covariance rho
    of the two; count: how many modes there are.

    Example:
        Eight modes of variance 1, with noise of variance 1 on one of the two views:

        >>> Modes.of(1.0, 1.0, 0.0, 8)
        Modes(variance=1.0, noise_variance=1.0, covariance=0.0, count=8)
    """

    variance: float
    noise_variance: float
    covariance: float
    count: int

    @classmethod
    def of(cls, variance: float, noise_variance: float, covariance: float, count: int) -> "Modes":
        """The group of `count` modes with the given second moments.

        Source: this project, docs/theory.md, "Any batch size".

        Args:
            variance: The variance a > 0 of the anchor view in each mode.
            noise_variance: The variance c >= 0 of the augmentation x' - x in each mode.
            covariance: The covariance rho of x with x' - x in each mode: 0 if the anchor view is
                clean, and -s^2 for two views with noise of variance s^2 each.
            count: The number of modes, at least 1.

        Returns:
            The group.

        Raises:
            ValueError: If a variance is out of range, the covariance is larger than the variances
                allow, or there is no mode.

        Example:
            Two noisy views with s = 1:

            >>> Modes.of(2.0, 2.0, -1.0, 8).conditional_variance
            1.5
        """
        if not variance > 0 or noise_variance < 0 or count < 1:
            raise ValueError(
                "need variance > 0, noise >= 0, count >= 1; "
                f"got {variance}, {noise_variance}, {count}"
            )
        if covariance**2 > variance * noise_variance * (1 + 1e-12):
            raise ValueError(
                f"covariance {covariance} is too large for variances {variance} and "
                f"{noise_variance}"
            )
        return cls(float(variance), float(noise_variance), float(covariance), int(count))

    @property
    def conditional_variance(self) -> float:
        """The variance c - rho^2/a of the augmentation given the anchor."""
        return max(self.noise_variance - self.covariance**2 / self.variance, 0.0)

    @property
    def pull(self) -> float:
        """u = 2a - c, the growth rate of a weak mode; negative beyond the collapse threshold."""
        return 2 * self.variance - self.noise_variance

    @property
    def spread(self) -> float:
        """v = 2ac - rho^2, the determinant of the covariance of x_i - x_j with x'_i - x_i."""
        return 2 * self.variance * self.noise_variance - self.covariance**2


class Quadrature(NamedTuple):
    """How finely theory averages over a batch.

    radii: the nodes for the squared length of an anchor in each group of modes; sampled: the number
    of quasi-random anchors, a power of two, where a product of such nodes would be too large; rare:
    the weight of nodes that are left out; contours: of the distance loss, how many there are per
    factor of two in a strength; step: of the dot loss's lattice in ln u.
    """

    radii: int
    sampled: int
    rare: float
    contours: int
    step: float


# contrasts are right to 1e-6, and to 1e-3, enough for a picture: see `finite_batch.predict`
FINE = Quadrature(radii=12, sampled=ANCHORS, rare=1e-10, contours=2, step=0.25)
COARSE = Quadrature(radii=6, sampled=ANCHORS // 8, rare=1e-5, contours=1, step=0.5)


class Prediction(NamedTuple):
    """What the theory says at one point: mean loss, contrast matrix, mean alpha_ii.

    The contrast is one eigenvalue of X_N per group, (G,), or the matrix (d, d).
    """

    loss: float
    contrast: Values
    alpha_ii: float


class Anchors(NamedTuple):
    """Squared lengths r^2 of standard normal anchors in each group, (A, G), and weights (A,)."""

    squares: Values
    weights: Values


@cache
def product_anchors(counts: tuple[int, ...], quadrature: Quadrature = FINE) -> Anchors:
    """Anchors for groups of so many modes each: generalised Gauss-Laguerre rules, or where their
    product would be too large, quasi-random ones.
    """
    radii, sampled, rare, *_ = quadrature
    if radii ** len(counts) > MOST_NODES:
        return Anchors(chi_squares(counts, sampled), np.full(sampled, 1 / sampled))
    rules = [_radial_rule(count, radii) for count in counts]
    squares = _product([nodes for nodes, _ in rules])
    weights = _product([weights for _, weights in rules]).prod(axis=1)
    kept = weights > rare
    return Anchors(squares[kept], weights[kept] / weights[kept].sum())


def _radial_rule(count: int, radii: int) -> tuple[Values, Values]:
    """Nodes r^2 and weights for the squared length of a standard normal vector of `count`
    entries (Golub and Welsch's eigenvalue form of the rule).
    """
    shape, n = count / 2 - 1, np.arange(radii)
    nodes, vectors = scipy.linalg.eigh_tridiagonal(
        2 * n + 1 + shape, np.sqrt(n[1:] * (n[1:] + shape))
    )
    return 2 * nodes, vectors[0] ** 2


def _product(columns: list[Values]) -> Values:
    return np.stack(np.meshgrid(*columns, indexing="ij"), axis=-1).reshape(-1, len(columns))


def chi_squares(counts: tuple[int, ...], number: int) -> Values:
    """`number` quasi-random (scrambled Sobol', always the same) squared lengths per group."""
    points = _sobol(len(counts), number)
    return np.stack(
        [scipy.special.chdtri(k, 1 - u) for k, u in zip(counts, points.T, strict=True)], axis=1
    )


@cache
def normal_anchors(dim: int, number: int) -> Values:
    """`number` quasi-random standard normal vectors (scrambled Sobol', always the same)."""
    return scipy.special.ndtri(_sobol(dim, number))


def _sobol(dim: int, number: int) -> Values:
    return scipy.stats.qmc.Sobol(dim, rng=0).random(number)
