"""Averages over the softmax of a batch, by Mellin-Barnes contours (this project,
docs/theory.md, Eq. (mellin)).

`linsim.theory.finite_batch` needs, for random squared lengths q = |h|^2 / 2 of Gaussian vectors h,

    f(v) = E exp(-e^(v - q)) = 1/(2 pi i) int Gamma(-s) e^(s v) M(s) ds,   M(s) = E e^(-s q)

to the left of s = 0; to the right of it, 0 < Re s < 1, the same integral is -(1 - f). M is a
product over the modes, so that f at all v of many laws at once is one matrix product. Three devices
keep the relative error of both f and 1 - f below about 1e-8 where they count:

- for v <= 2 the power series 1 - f = -sum_k (-e^v)^k M(k) / k!, all of whose terms are real;
- above, contours for v in (2, 8], (8, 32], ...: hyperbolas through the saddle point of the
  integrand that open to the left around the branch points of M. They are taken left of zero where
  f is wanted and right of it where 1 - f is, since each is tiny where the other is not;
- a grid of v that is uniform near zero and grows exponentially further out, where f varies slowly.

Everything is NumPy float64.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy

Values = np.ndarray

SERIES_END = 2.0  # the power series is used up to this v
TERMS = 45
WINDOW = 4.0  # ratio of the ends of the window that one contour serves
NODE_STEP = 0.12
GRID_STEP = 0.5  # in v: the integrands are analytic for |Im v| < pi/2, so the error is e^(-2 pi^2)
NEGLIGIBLE = 38.0  # e^-38 is less than a rounding error
STRETCH_FROM, STRETCH = 12.0, 3.0  # the grid of v is t + e^((t - STRETCH_FROM)/STRETCH)
LEFT_OF_ZERO, RIGHT_OF_ZERO = -1, 1

_FROM_ZERO = np.geomspace(1e-10, 0.55, 120)  # candidate crossings to the right of zero
_HALF = np.geomspace(1e-10, 0.5, 80)
_OF_LEFT = np.concatenate([_HALF, 1 - _HALF[-2::-1]])  # to the left, as parts of the way
_FROM_ZERO_GAMMA = np.array([math.lgamma(1 - s) for s in _FROM_ZERO]) - np.log(_FROM_ZERO)


@dataclass(frozen=True)
class SquaredLength:
    """The law of q = |h|^2 / 2 for Gaussian vectors h, one law per anchor, by groups of modes.

        M(s) = E e^(-s q) = prod_g (1 + s v_g)^(-k_g/2) exp(-s t_g / (2 (1 + s v_g)))

    variance: v_g >= 0 of one mode, (G,); count: the number k_g of modes, (G,); mean: the squared
    length t_g >= 0 of the mean of h in the group, (A, G) for A anchors, or (1, G) for all alike.
    """

    variance: Values
    count: Values
    mean: Values

    def log_moment(self, s: Values) -> Values:
        """ln M(s) of every law. Args: s (J,), real or complex. Returns: (A, J)."""
        bracket = 1 + np.multiply.outer(s, self.variance)
        spread = -0.5 * (np.log(bracket) @ self.count)
        if not self.mean.any():
            return np.broadcast_to(spread, (len(self.mean), len(s)))
        return spread - 0.5 * self.mean @ (s[:, None] / bracket).T

    def typical(self) -> "SquaredLength":
        """The one law with the mean of the laws' means, by which contours are chosen."""
        return SquaredLength(self.variance, self.count, self.mean.mean(axis=0, keepdims=True))

    def branch(self) -> float:
        """Where the branch cut of M begins, -1/max v; -inf without variance."""
        largest = float(np.max(self.variance, initial=0.0))
        return -1 / largest if largest > 0 else -np.inf

    def pull_back(self, slopes: Values, s: Values) -> tuple[Values, Values]:
        """Derivatives by `variance` (G,) and `mean` (as it is) of a function of the ln M.

        Args: slopes (A, J), its derivatives by ln M(s_j) of every anchor, real parts to be summed;
        s (J,).
        """
        factor, total = s[:, None] / (1 + np.multiply.outer(s, self.variance)), slopes.sum(axis=0)
        variance, mean = -0.5 * self.count * (total @ factor), -0.5 * slopes @ factor
        if self.mean.any():
            by_mean = slopes.T @ self.mean if len(self.mean) > 1 else np.outer(total, self.mean[0])
            variance = variance + 0.5 * (by_mean * factor**2).sum(axis=0)
        return variance.real, mean.real


class Transform(NamedTuple):
    """A linear map from M at nodes s (J,) to f or 1 - f, to the left or the right of zero:
    values = Re(M @ kernel), kernel (J, V).

    The kernel is kept as the real matrix that acts on real and imaginary parts in turn.
    """

    nodes: Values
    rows: Values
    side: int

    @classmethod
    def of(cls, nodes: Values, kernel: Values, side: int) -> "Transform":
        """The transform with a kernel, real if the nodes are real."""
        flat = np.ascontiguousarray(kernel.conj().T).view(float)
        return cls(nodes, np.ascontiguousarray(flat.T), side)

    def forward(self, moments: Values) -> Values:
        """Re(moments @ kernel), (A, V)."""
        return moments.view(float) @ self.rows

    def backward(self, by_values: Values) -> Values:
        """by_values @ kernel.T, (A, J)."""
        return (by_values @ self.rows.T).view(self.nodes.dtype).conj()

    def samples(self, law: SquaredLength) -> "Samples":
        """f and 1 - f of a law near the one that the transform was chosen for."""
        moments = np.exp(law.log_moment(self.nodes))
        found = np.clip(self.forward(moments), 0.0, 1.0)
        pair = (1 - found, found) if self.side == RIGHT_OF_ZERO else (found, 1 - found)
        return Samples(*pair, self, moments)


class Samples(NamedTuple):
    """f and 1 - f of every law on one piece of the grid, (A, V), and how they came about."""

    value: Values
    complement: Values
    transform: Transform
    moments: Values

    def descent(self) -> Values:
        """-df/dv, (A, V)."""
        return self.transform.side * self.transform.forward(self.moments * self.transform.nodes)

    def slopes(self, by_value: Values) -> Values:
        """Derivatives by ln M at the nodes (A, J), of which real parts count, from those by f
        (A, V).
        """
        return -self.transform.side * self.transform.backward(by_value) * self.moments

    def changes(self, first: Values, second: Values) -> tuple[Values, Values]:
        """First and second derivatives of f (A, V) by a parameter, from those of ln M (A, J)."""
        moved = self.moments * first
        bent = self.moments * (first**2 + second)
        sign = -self.transform.side
        return sign * self.transform.forward(moved), sign * self.transform.forward(bent)


class Piece(NamedTuple):
    """A piece of the grid of the integral over v: its weights (V,), and the transforms that give
    1 - f of the negatives and f of the positives on it, each relatively right where it is tiny.
    """

    weights: Values
    negatives: Transform
    positives: Transform


def plan(negatives: SquaredLength, positives: SquaredLength, lowest: float) -> list[Piece]:
    """The grid from `lowest`, below which the integrand is proportional to e^v, to where the f of
    the positives is negligible, and the transforms on its pieces.

    They serve all laws with the same counts whose variances and means are slightly smaller.
    """
    points, weights = _grid(lowest, positives)
    pieces, start, edge = [], 0, SERIES_END
    while start < len(points):
        stop = int(np.searchsorted(points, edge, side="right"))
        if stop > start:
            v = points[start:stop]
            transforms = transform(negatives, v, tail=False), transform(positives, v, tail=True)
            pieces.append(Piece(weights[start:stop], *transforms))
        start, edge = stop, edge * WINDOW
    return pieces


def _grid(lowest: float, positives: SquaredLength) -> tuple[Values, Values]:
    """Points v, increasing, and their weights."""
    ends = np.arange(4.0, 80.0, 2 * GRID_STEP)
    bound = _saddle_heights(positives, _stretched(ends), LEFT_OF_ZERO)[1].min(axis=0)
    top = ends[np.argmax(bound < -NEGLIGIBLE)] if (bound < -NEGLIGIBLE).any() else ends[-1]
    first = np.floor(lowest / GRID_STEP)
    steps = GRID_STEP * np.arange(first, top / GRID_STEP + 1)
    weights = GRID_STEP * (1 + np.exp((steps - STRETCH_FROM) / STRETCH) / STRETCH)
    weights[0] += GRID_STEP / np.expm1(GRID_STEP)  # the points below, where f falls as e^v
    return _stretched(steps), weights


def _stretched(t: Values) -> Values:
    return t + np.exp((t - STRETCH_FROM) / STRETCH)


def transform(law: SquaredLength, v: Values, *, tail: bool) -> Transform:
    """The transform for one piece of a grid. Args: v (V,); tail: whether f itself must be right
    relatively where it is tiny, instead of 1 - f.
    """
    if v[-1] <= SERIES_END:
        return _series(v)
    return _contour(law, v, LEFT_OF_ZERO if tail else RIGHT_OF_ZERO)


def _series(v: Values) -> Transform:
    k = np.arange(1.0, TERMS + 1)
    signs = np.where(k % 2 == 1, 1.0, -1.0)
    kernel = signs[:, None] * np.exp(
        np.multiply.outer(k, v) - scipy.special.gammaln(k + 1)[:, None]
    )
    return Transform.of(k, kernel, RIGHT_OF_ZERO)


def _contour(law: SquaredLength, v: Values, side: int) -> Transform:
    """Upper half of the hyperbola for one window, through the saddle point of the typical law for
    1 - f, and of the sum of all laws for f, whose tails differ widely.

    Of the window's two ends the one where the wanted function is larger decides how far the saddle
    may be missed: the geometric mean of the ends for 1 - f, which rises, the lower end for f.
    """
    middle = np.array([np.sqrt(v[0] * v[-1]) if side == RIGHT_OF_ZERO else 1.3 * v[0]])
    typical = law.typical()
    crossings, heights = _saddle_heights(typical if side == RIGHT_OF_ZERO else law, middle, side)
    crossing = crossings[np.argmin(heights[:, 0])]
    left, right = (
        (crossing, 1 - crossing)
        if side == RIGHT_OF_ZERO
        else (crossing - typical.branch(), -crossing)
    )
    opening = 0.2 if v[0] < SERIES_END * WINDOW else 0.4
    width = min(left / (1 - np.sin(opening)), 1.5 * right)
    theta = (np.arange(120) + 0.5) * NODE_STEP
    s = crossing + width * np.sin(opening) * (1 - np.cosh(theta))
    s = s + 1j * width * np.cos(opening) * np.sinh(theta)
    step = width * NODE_STEP
    step = step * (1j * np.cos(opening) * np.cosh(theta) - np.sin(opening) * np.sinh(theta))
    gamma = scipy.special.loggamma(-s)
    size = (gamma + typical.log_moment(s)[0]).real + np.log(np.abs(step))
    sizes = size[:, None] + np.multiply.outer(s.real, v[[0, -1]])
    negligible = np.maximum.accumulate(sizes) - sizes > NEGLIGIBLE
    done = negligible.all(axis=1)
    kept = slice(0, int(np.argmax(done)) if done.any() else len(s))
    exponent = gamma[kept, None] + np.multiply.outer(s[kept], v)
    kernel = -side * np.exp(exponent) * (step[kept] / (1j * np.pi))[:, None]
    return Transform.of(s[kept], kernel, side)


def _saddle_heights(law: SquaredLength, v: Values, side: int) -> tuple[Values, Values]:
    """Candidate crossings of the real axis (C,), and ln |Gamma(-s) e^(s v) M(s)| there, summed
    over the laws, (C, V).

    The integrand's magnitude on the real axis is smallest at its saddle point, and bounds the
    integral.
    """
    if side == RIGHT_OF_ZERO:
        crossings, gamma = _FROM_ZERO, _FROM_ZERO_GAMMA
    else:
        crossings = -min(-law.branch(), 12.0) * _OF_LEFT
        gamma = scipy.special.gammaln(-crossings)
    heights = gamma + scipy.special.logsumexp(law.log_moment(crossings), axis=0)
    return crossings, heights[:, None] + np.multiply.outer(crossings, v)
