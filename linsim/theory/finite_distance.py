"""The distance loss of a batch of N samples, averaged over batches: what
`linsim.theory.finite_batch` computes it with, for groups of equal modes and for full matrices.

Both averages of the integrand, phi over one negative and psi over the positive, are averages over
the squared length of a Gaussian vector, contour integrals of `linsim.theory.mellin`. Derivatives go
back through the same arrays. NumPy float64.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from linsim.theory import mellin
from linsim.theory.mellin import Piece, SquaredLength, Values
from linsim.theory.modes import (
    FINE,
    Anchors,
    Modes,
    Prediction,
    Quadrature,
    normal_anchors,
    product_anchors,
)

BELOW = 15.0  # how far below its bend the integrand is followed in ln u; then it is exact
SMALLEST = 1e-6  # strengths below share plans, which they hardly bend


def of_groups(
    groups: Sequence[Modes], strengths: Values, batch_size: int, quadrature: Quadrature = FINE
) -> Prediction:
    """Loss, contrast per group and alpha_ii at strengths (G,)."""
    average, (through_phi, through_psi) = strength_slopes(groups, strengths, batch_size, quadrature)
    count = np.array([group.count for group in groups])
    return Prediction(average.loss, -2 * (through_phi + through_psi) / count, average.alpha_ii)


def strength_slopes(
    groups: Sequence[Modes], strengths: Values, batch_size: int, quadrature: Quadrature = FINE
) -> tuple["_Average", Values]:
    """The averages, and the derivatives of the loss by the strengths through phi and
    through psi, (2, G).
    """
    laws = Laws.of(groups, strengths, quadrature)
    average = _average(
        laws.negatives, laws.positives, laws.anchors.weights, batch_size, laws.plan(batch_size)
    )
    return average, sum((laws.strength_slopes(part) for part in average.parts), np.zeros(()))


def stiffness_parts(groups: Sequence[Modes], strengths: Values, batch_size: int) -> Values:
    """`finite_batch.stiffness` through phi alone, and the rest, (2, G, G)."""
    laws = Laws.of(groups, np.asarray(strengths, dtype=float))
    others, weights = batch_size - 1, laws.anchors.weights
    pairs = [(g, h) for g in range(len(groups)) for h in range(g, len(groups))]
    found = np.zeros((2, len(groups), len(groups)))
    for piece in laws.plan(batch_size):
        phi = piece.negatives.samples(laws.negatives)
        psi = piece.positives.samples(laws.positives)
        log_phi = np.log1p(-np.minimum(phi.complement, 1 - 1e-16))
        measure = weights[:, None] * piece.weights
        once = measure * others * np.exp((others - 1) * log_phi)
        twice = measure * others * (others - 1) * np.exp((others - 2) * log_phi)
        repelled = -measure * np.expm1(others * log_phi)
        for g, h in pairs:
            phi_1, phi_2 = phi.changes(*laws.negative_changes(phi.transform.nodes, g, h))
            psi_1, psi_2 = psi.changes(*laws.positive_changes(psi.transform.nodes, g, h))
            found[0, g, h] -= np.sum((once * phi_2 + twice * phi_1**2) * psi.value)
            found[1, g, h] += np.sum(repelled * psi_2 - 2 * once * phi_1 * psi_1)
    return found + np.triu(found, 1).transpose(0, 2, 1)


def of_weights(
    w: Values,
    data_cov: Values,
    noise_cov: Values,
    covariance: Values | None,
    batch_size: int,
    anchors: int,
) -> Prediction:
    """Loss, contrast matrix and alpha_ii of weights W, see `finite_batch.predict_weights`."""
    s = w.T @ w
    root = _root(data_cov)
    strengths, basis = _descending(root @ s @ root)
    z, frame = normal_anchors(len(s), anchors), root @ basis
    negatives = SquaredLength(strengths, np.ones(len(s)), strengths * z**2)
    if covariance is None or not np.any(covariance):
        positives = _Apart(s, np.asarray(noise_cov, dtype=float))
    else:
        towards = np.linalg.solve(root, covariance).T @ basis  # z -> mean of x' - x
        rest = noise_cov - covariance.T @ np.linalg.solve(data_cov, covariance)
        positives = _Together(s, rest, z @ towards.T)
    plan = positives.plan(negatives, batch_size)
    average = _average(negatives, positives.law, np.full(anchors, 1 / anchors), batch_size, plan)
    slope = np.zeros_like(s)
    for part in average.parts:
        if positives.independent:  # the sign of every z_k is then free, and z z^T diagonal
            by_strength, by_mean = negatives.pull_back(part.negatives, part.negative_nodes)
            slope += (frame * (by_strength + np.sum(by_mean * z**2, axis=0))) @ frame.T
        else:
            slope += _negative_slope(part, strengths, z, frame)
        slope += positives.slope(part)
    return Prediction(average.loss, -slope - slope.T, average.alpha_ii)


class _Part(NamedTuple):
    """Derivatives of a loss by ln M at the nodes of one piece of the grid, for both laws."""

    negative_nodes: Values
    negatives: Values
    positive_nodes: Values
    positives: Values


class _Apart:
    """Positives whose augmentation does not depend on the anchor."""

    independent = True

    def __init__(self, s: Values, noise_cov: Values) -> None:
        root = _root(noise_cov)
        strengths, basis = _descending(root @ s @ root)
        self.frame = root @ basis
        self.law = SquaredLength(strengths, np.ones(len(s)), np.zeros((1, len(s))))

    def plan(self, negatives: SquaredLength, batch_size: int) -> list[Piece]:
        """How the integral over ln u is done: as for somewhat larger strengths."""
        strengths = (_rounded(law.variance, FINE.contours) for law in (negatives, self.law))
        return _plan_of_strengths(*strengths, len(negatives.mean), batch_size)

    def slope(self, part: _Part) -> Values:
        """Derivative of the loss by S through psi."""
        by_strength, _ = self.law.pull_back(part.positives, part.positive_nodes)
        return (self.frame * by_strength) @ self.frame.T


class _Together:
    """Positives whose augmentation has the mean y (A, d) and the covariance Q given the anchor."""

    independent = False

    def __init__(self, s: Values, rest: Values, y: Values) -> None:
        root, half = _root(rest), _root(s)
        strengths, basis = _descending(half @ rest @ half)
        self.y, self.h = y, y @ half @ basis
        self.back = rest @ half @ basis
        self.root = root
        self.inner = s
        self.law = SquaredLength(strengths, np.ones(len(s)), self.h**2)

    def plan(self, negatives: SquaredLength, batch_size: int) -> list[Piece]:
        """How the integral over ln u is done."""
        return _plan(negatives, self.law, batch_size)

    def slope(self, part: _Part) -> Values:
        """Derivative of the loss by S through psi: that of ln M = -ln det(1 + s Q S)/2
        - s y^T S (1 + s Q S)^-1 y / 2 is -s ((1 + s Q S)^-1 Q + v v^T) / 2, v = (1 + s Q S)^-1 y.
        """
        s, slopes, m = part.positive_nodes, part.positives, self.law.variance
        factor = 1 / (1 + np.multiply.outer(s, m))
        first = np.real(slopes @ s)
        second = (slopes @ (s[:, None] ** 2 * factor)).real
        mixed = self.y.T @ (self.h * second) @ self.back.T
        means = (self.y.T * first) @ self.y - mixed - mixed.T
        means += self.back @ _outer(slopes * s**3, factor, self.h) @ self.back.T
        total = slopes.sum(axis=0) * s
        strengths, basis = _descending(self.root @ self.inner @ self.root)
        frame = self.root @ basis
        variance = np.real(total @ (1 / (1 + np.multiply.outer(s, strengths))))
        return -0.5 * ((frame * variance) @ frame.T + means)


def _negative_slope(part: _Part, strengths: Values, z: Values, frame: Values) -> Values:
    """Derivative of the loss by S through phi, for anchors x = frame z."""
    s, slopes = part.negative_nodes, part.negatives
    factor = 1 / (1 + np.multiply.outer(s, strengths))
    inner = np.diag(np.real((slopes.sum(axis=0) * s) @ factor)) + _outer(slopes * s, factor, z)
    return -0.5 * frame @ inner @ frame.T


def _outer(slopes: Values, factor: Values, vectors: Values) -> Values:
    """Re sum_ij slopes_ij (factor_j * vectors_i) (factor_j * vectors_i)^T, (d, d)."""
    count, dim = vectors.shape
    pairs = (factor[:, :, None] * factor[:, None, :]).reshape(len(factor), -1)
    weights = np.real(slopes @ pairs).reshape(count, dim, dim)
    return np.einsum("ikl,ik,il->kl", weights, vectors, vectors, optimize=True)


def _root(matrix: Values) -> Values:
    """The symmetric square root of a symmetric positive semi-definite matrix."""
    values, vectors = np.linalg.eigh(np.asarray(matrix, dtype=float))
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T


def _descending(matrix: Values) -> tuple[Values, Values]:
    """Eigenvalues, clipped at zero, and eigenvectors of a symmetric matrix, largest first."""
    values, vectors = np.linalg.eigh(matrix)
    return np.maximum(values[::-1], 0.0), vectors[:, ::-1]


class _Average(NamedTuple):
    loss: float
    alpha_ii: float
    parts: list[_Part]


def _average(
    negatives: SquaredLength,
    positives: SquaredLength,
    weights: Values,
    batch_size: int,
    plan: Sequence[Piece],
) -> _Average:
    """The average over anchors and u: loss, alpha_ii and derivatives by ln M."""
    others = batch_size - 1
    loss, alpha, parts = 0.0, 0.0, []
    for piece in plan:
        phi, psi = piece.negatives.samples(negatives), piece.positives.samples(positives)
        log_phi = np.log1p(-np.minimum(phi.complement, 1 - 1e-16))
        measure = weights[:, None] * piece.weights
        by_psi = -measure * np.expm1(others * log_phi)
        by_phi = -measure * others * np.exp((others - 1) * log_phi) * psi.value
        loss += float(np.sum(by_psi * psi.value))
        alpha += float(np.sum(measure * np.exp(others * log_phi) * psi.descent()))
        if len(positives.mean) < len(weights):
            by_psi = by_psi.sum(axis=0, keepdims=True)
        parts.append(
            _Part(phi.transform.nodes, phi.slopes(by_phi), psi.transform.nodes, psi.slopes(by_psi))
        )
    return _Average(loss, alpha, parts)


class Laws(NamedTuple):
    """The laws of the negatives' and the positives' squared lengths for groups of modes."""

    groups: tuple[Modes, ...]
    strengths: Values
    quadrature: Quadrature
    anchors: Anchors
    negatives: SquaredLength
    positives: SquaredLength

    @classmethod
    def of(
        cls, groups: Sequence[Modes], strengths: Values, quadrature: Quadrature = FINE
    ) -> "Laws":
        """The laws at given strengths (G,)."""
        groups = tuple(groups)
        a, c, offset, count = _moments(groups)
        anchors = product_anchors(tuple(g.count for g in groups), quadrature)
        mean = strengths * offset * anchors.squares if np.any(offset) else np.zeros((1, len(count)))
        return cls(
            groups,
            strengths,
            quadrature,
            anchors,
            SquaredLength(strengths * a, count, strengths * a * anchors.squares),
            SquaredLength(strengths * c, count, mean),
        )

    def plan(self, batch_size: int) -> list[Piece]:
        """How the integral over ln u is done: as for somewhat larger strengths, see `_rounded`."""
        rounded = _rounded(self.strengths, self.quadrature.contours)
        return _plan_of_groups(self.groups, rounded, batch_size, self.quadrature)

    def strength_slopes(self, part: "_Part") -> Values:
        """Derivatives of the loss by the strengths through phi and through psi, (2, G), from those
        by ln M.
        """
        a, c, offset, _ = _moments(self.groups)
        squares = self.anchors.squares
        variance, mean = self.negatives.pull_back(part.negatives, part.negative_nodes)
        through_phi = a * (variance + np.sum(mean * squares, axis=0))
        variance, mean = self.positives.pull_back(part.positives, part.positive_nodes)
        through_psi = c * variance
        if np.any(offset):
            through_psi += offset * np.sum(mean * squares, axis=0)
        return np.stack([through_phi, through_psi])

    def negative_changes(self, s: Values, g: int, h: int) -> tuple[Values, Values]:
        """Derivatives of the negatives' ln M at s (J,) by an entry of S between two modes of g and
        h, first (A, J), as if x_a x_b were the root of its mean square, and second.
        """
        a, _, _, _ = _moments(self.groups)
        return self._changes(s, g, h, self.negatives.variance, a, a)

    def positive_changes(self, s: Values, g: int, h: int) -> tuple[Values, Values]:
        """The same of the positives' ln M."""
        _, c, offset, _ = _moments(self.groups)
        return self._changes(s, g, h, self.positives.variance, c, offset)

    def _changes(self, s, g: int, h: int, variance: Values, spread: Values, offset: Values):
        """With b = 1 + s m v: first -s y_g y_h / (b_g b_h), second s^2 (v_g v_h + y_g^2 v_h / b_g
        + y_h^2 v_g / b_h) / (b_g b_h), for v the variance of one mode and y its mean.
        """
        count, squares = [group.count for group in self.groups], self.anchors.squares
        pair = squares[:, g] * squares[:, h] / (count[g] * (count[h] + (2 if g == h else 0)))
        y_g, y_h = (squares[:, [k]] / count[k] * offset[k] for k in (g, h))
        b_g, b_h = (1 + s * variance[k] for k in (g, h))
        first = -np.sqrt(offset[g] * offset[h] * pair)[:, None] * (s / (b_g * b_h))
        second = spread[g] * spread[h] + y_g * (spread[h] / b_g) + y_h * (spread[g] / b_h)
        return first, second * (s**2 / (b_g * b_h))


@lru_cache(256)
def _moments(groups: tuple[Modes, ...]) -> tuple[Values, Values, Values, Values]:
    """a, c - rho^2/a, rho^2/a and count of every group, each (G,)."""
    columns = [
        (g.variance, g.conditional_variance, g.covariance**2 / g.variance, g.count) for g in groups
    ]
    a, c, offset, count = np.array(columns, dtype=float).T
    return a, c, offset, count


def _rounded(strengths: Values, number: int) -> tuple[float, ...]:
    """Strengths rounded up to so many values per factor of two, so that those along a flow share
    plans.
    """
    return tuple(2 ** (np.ceil(number * np.log2(np.maximum(strengths, SMALLEST))) / number))


@lru_cache(256)
def _plan_of_groups(
    groups: tuple[Modes, ...], strengths: tuple[float, ...], batch_size: int, quadrature: Quadrature
) -> list[Piece]:
    laws = Laws.of(groups, np.array(strengths), quadrature)
    return _plan(laws.negatives, laws.positives, batch_size)


@lru_cache(256)
def _plan_of_strengths(
    negatives: tuple[float, ...], positives: tuple[float, ...], anchors: int, batch_size: int
) -> list[Piece]:
    """The plan for full matrices with one noisy view."""
    z, one = normal_anchors(len(negatives), anchors), np.ones(len(negatives))
    apart = SquaredLength(np.array(positives), one, 0 * one[None])
    variance = np.array(negatives)
    return _plan(SquaredLength(variance, one, variance * z**2), apart, batch_size)


def _plan(negatives: SquaredLength, positives: SquaredLength, batch_size: int) -> list[Piece]:
    nearest = float(negatives.log_moment(np.ones(1)).max())
    lowest = -np.logaddexp(0.0, np.log(batch_size - 1) + nearest) - BELOW
    return mellin.plan(negatives, positives, lowest)
