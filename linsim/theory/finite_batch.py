"""Training at any batch size and any time: the exact mean dynamics (this project, docs/theory.md).

This theory is not in the paper. For a batch of N independent samples the distance loss per anchor
is a single integral. With log(1 + Y) = int_0^inf (1 - e^(-l Y)) e^(-l) dl/l, and since the N - 1
negatives of an anchor x are independent given x,

    l_N(W) = E_x int du/u [1 - phi(u; x)^(N - 1)] psi(u; x)
    phi(u; x) = E_y exp(-u e^(-|W(x - y)|^2 / 2)),    y an independent anchor
    psi(u; x) = E exp(-u e^(-|W(x' - x)|^2 / 2) | x)

Both averages are one-dimensional contour integrals (`linsim.theory.mellin`). The contrast matrix is
X_N = -2 dl_N/dS with S = W^T W. Gradient flow of one layer on fresh batches, in the limit of small
learning rates, is dW/dt = W X_N; for more layers Lemma 3 holds with it.

Its limits are the other theories of this package. For N = 2 the loss is that of single pairs,
E log(1 + e^eta); for N -> infinity it is log N plus that of `linsim.theory.population`; and once
alpha_ii -> 1 it is N - 1 times the pair loss, `linsim.theory.late_time`.

Notation: in one mode the anchors have variance a, the augmentation x' - x has variance c, and the
two have covariance rho (zero for one noisy view). m = sigma^2 is the strength of the mode, with
sigma its singular value. Given x, the augmentation has mean rho x / a and variance c - rho^2/a.

Normalisation: mean over anchors; time is learning rate times steps on that loss. NumPy float64.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
from scipy.integrate import solve_ivp
from scipy.linalg import eigh_tridiagonal
from scipy.special import chdtri, ndtri
from scipy.stats import qmc

from linsim.theory import mellin
from linsim.theory.mellin import Piece, SquaredLength, Values

RADII = 12  # nodes for the squared length of the anchor in one group of modes
MOST_NODES = 2000  # of a product rule over groups; more groups are sampled
ANCHORS = 1024  # quasi-random anchors where a product rule would be too large
SMALLEST_WEIGHT = 1e-10  # anchors so rare are left out
BELOW = 15.0  # how far below its bend the integrand is followed in ln u; then it is exact
PLANS = 4  # per factor of two in each strength
SMALLEST = 1e-30  # strengths below share plans
NUDGE = 1e-4  # of time, for the derivative of a velocity along itself
TOLERANCE = 1e-5  # of flows: per step, in the logarithm of a strength or relative to a weight
FEW = 64  # numbers to integrate up to which a Jacobian by differences can be afforded


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


def predict(
    groups: Sequence[Modes], strengths: Values | Sequence[float], *, batch_size: int
) -> Prediction:
    """Loss, contrast matrix and alpha_ii of one linear map at given strengths of its modes.

        X_g = -(2 / k_g) dl_N/dm_g,   k_g modes in group g

    so that gradient flow is dm_g/dt = 2 m_g X_g.

    Source: this project, docs/theory.md, "Any batch size". Distance loss, mean over anchors.

    Args:
        groups: The G groups of modes.
        strengths: The strength m = sigma^2 >= 0 of each group, shape (G,).
        batch_size: The number N >= 2 of samples in a batch.

    Returns:
        The prediction; its contrast has shape (G,).

    Raises:
        ValueError: If a batch has fewer than two samples, a strength is negative or not finite, or
            their number is not that of the groups.

    Example:
        Weak modes grow at the rate (2a - c) (1 - 1/N), for alpha_ii = 1/N:

        >>> groups = [Modes.of(1.0, 0.0, 0.0, 8), Modes.of(1.0, 0.5, 0.0, 8)]
        >>> point = predict(groups, [1e-9, 1e-9], batch_size=4)
        >>> [round(float(x), 6) for x in point.contrast], round(point.alpha_ii, 6)
        ([1.5, 1.125], 0.25)
    """
    average, (through_phi, through_psi) = strength_slopes(groups, strengths, batch_size)
    count = np.array([group.count for group in groups])
    return Prediction(average.loss, -2 * (through_phi + through_psi) / count, average.alpha_ii)


def strength_slopes(
    groups: Sequence[Modes], strengths: Values | Sequence[float], batch_size: int
) -> tuple["_Average", Values]:
    """The averages of `predict`, and the derivatives of the loss by the strengths through phi and
    through psi, (2, G).
    """
    m = _checked(groups, strengths, batch_size)
    laws = Laws.of(groups, m)
    average = _average(
        laws.negatives, laws.positives, laws.anchors.weights, batch_size, laws.plan(batch_size)
    )
    return average, sum((laws.strength_slopes(part) for part in average.parts), np.zeros(()))


def loss(groups: Sequence[Modes], strengths: Values | Sequence[float], *, batch_size: int) -> float:
    """The mean loss l_N of one linear map, see `predict`.

    Source: this project, docs/theory.md, "Any batch size". Distance loss, mean over anchors.

    Args:
        groups: The G groups of modes.
        strengths: The strength m = sigma^2 >= 0 of each group, shape (G,).
        batch_size: The number N >= 2 of samples in a batch.

    Returns:
        The loss; log N for W = 0.

    Raises:
        ValueError: As `predict` does.

    Example:
        >>> clean = [Modes.of(1.0, 0.0, 0.0, 8)]
        >>> bool(abs(loss(clean, [0.0], batch_size=128) - np.log(128)) < 1e-8)
        True
        >>> loss(clean, [2.0], batch_size=128) < loss(clean, [1.0], batch_size=128)
        True
    """
    return predict(groups, strengths, batch_size=batch_size).loss


def flow(
    times: Values,
    start: Values | Sequence[float],
    groups: Sequence[Modes],
    *,
    batch_size: int,
    depth: int = 1,
    learning_rate: float = 0.0,
    tolerance: float = TOLERANCE,
) -> Values:
    """The strengths of groups of modes in time, trained on fresh batches from a balanced start.

        d ln(m_g)/dt = 2 L r_g,   r_g = m_g^(1 - 1/L) X_g

    for the product of L balanced layers, m its squared singular values. With a learning rate eta
    this is the interpolated *map* of gradient descent, s <- s (1 + eta r) for the singular values
    s = m^(1/(2L)) of every layer, up to terms of order eta^2:

        d ln(m_g)/dt = f_g - (eta/2) sum_h (df_g / d ln m_h) f_h
        f_g = (2 L / eta) log(1 + eta r_g)

    Source: this project, docs/theory.md, "Any batch size". Distance loss, mean over anchors.

    Args:
        times: The times at which the strengths are wanted, increasing, shape (T,). The flow starts
            at times[0].
        start: The strength m > 0 of each group at the start, shape (G,).
        groups: The G groups of modes.
        batch_size: The number N >= 2 of samples in a batch.
        depth: The number of layers L >= 1.
        learning_rate: The rate eta >= 0 on the mean loss; zero is the limit of small rates.
        tolerance: The error per step of the integration, in the logarithm of a strength.

    Returns:
        The strengths m = sigma^2 of the product, shape (T, G).

    Raises:
        ValueError: As `predict` does, or if a strength is zero at the start.
        ArithmeticError: If the integration fails.

    Example:
        Eight clean and eight noisy modes in batches of 128. The noisy ones settle near 0.27 while
        the clean ones grow on:

        >>> groups = [Modes.of(1.0, 0.0, 0.0, 8), Modes.of(1.0, 1.0, 0.0, 8)]
        >>> path = flow(np.array([0.0, 16.0, 64.0]), [0.01, 0.01], groups, batch_size=128)
        >>> np.round(path, 3).tolist()
        [[0.01, 0.01], [2.906, 0.258], [4.22, 0.272]]
    """
    m = _checked(groups, start, batch_size)
    if np.any(m == 0):
        raise ValueError(f"a flow needs strengths > 0 at its start; got {start}")

    def field(log_m: Values) -> Values:
        m = np.exp(log_m)
        rate = m ** (1 - 1 / depth) * predict(groups, m, batch_size=batch_size).contrast
        return 2 * depth * _per_step(rate, learning_rate)

    return np.exp(_integrated(field, np.log(m), times, learning_rate, (tolerance, tolerance)))


def _per_step(rate: Values, learning_rate: float) -> Values:
    """log(1 + eta r)/eta, the rate of the logarithm that a factor 1 + eta r per step amounts to."""
    if learning_rate == 0:
        return rate
    return np.log1p(np.maximum(learning_rate * rate, -0.999)) / learning_rate


def _integrated(
    field, start: Values, times: Values, learning_rate: float, tolerances: tuple[float, float]
) -> Values:
    """dy/dt = f - (eta/2) f' f, whose flow meets the map y <- y + eta f to second order in eta, at
    given times, (T, *start.shape). Args: tolerances: relative and absolute.
    """

    def velocity(_, y: Values) -> Values:
        f = field(y)
        if learning_rate == 0:
            return f
        half = 0.5 * learning_rate
        return f - (field(y + NUDGE * f) - f) * (half / NUDGE)

    times = np.asarray(times, dtype=float)
    solution = solve_ivp(
        velocity,
        (times[0], times[-1]),
        start,
        "LSODA" if len(start) <= FEW else "RK45",
        times,
        rtol=tolerances[0],
        atol=tolerances[1],
    )
    if not solution.success:
        raise ArithmeticError(f"the flow could not be integrated: {solution.message}")
    return solution.y.T


def predict_weights(
    w: Values,
    data_cov: Values,
    noise_cov: Values,
    covariance: Values | None = None,
    *,
    batch_size: int,
    anchors: int = ANCHORS,
) -> Prediction:
    """Loss, contrast matrix and alpha_ii of any linear map W; the covariances need not commute.

        X_N = -2 dl_N/dS,   S = W^T W

    The average over the anchor x is taken over quasi-random points in the eigenbasis of
    Sigma^(1/2) S Sigma^(1/2): 1024 give X_N to about 0.5 %. The derivatives are exact for these
    points and contain no derivative of an eigenvector: with one noisy view ln phi and ln psi are
    functions of eigenvalues alone, and with two, of S and x through inverse matrices.

    Source: this project, docs/theory.md, "Any batch size". Distance loss, mean over anchors.

    Args:
        w: Weights W of the linear model, shape (n, d).
        data_cov: Covariance Sigma of the anchor view, shape (d, d), positive definite.
        noise_cov: Covariance Sigma_n of the augmentation x' - x, shape (d, d).
        covariance: E[x (x' - x)^T], shape (d, d); None where the anchor view is clean.
        batch_size: The number N >= 2 of samples in a batch.
        anchors: The number of quasi-random anchors, a power of two.

    Returns:
        The prediction; its contrast is the symmetric matrix X_N, shape (d, d).

    Raises:
        ValueError: If a batch has fewer than two samples or the weights are not finite.

    Example:
        For degenerate modes it is the multiple of the unit matrix that `predict` gives:

        >>> eye = np.eye(4)
        >>> x = predict_weights(eye, eye, 0.5 * eye, batch_size=8).contrast
        >>> group = predict([Modes.of(1.0, 0.5, 0.0, 4)], [1.0], batch_size=8).contrast
        >>> bool(np.allclose(x, group * eye, atol=0.01))
        True
    """
    if not np.all(np.isfinite(w)):
        raise ValueError("the weights must be finite")
    _check_batch_size(batch_size)
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


def contrast_matrix(
    w: Values, data_cov: Values, noise_cov: Values, *, batch_size: int, anchors: int = ANCHORS
) -> Values:
    """The contrast matrix X_N of one linear map with one noisy view, see `predict_weights`.

    Source: this project, docs/theory.md, "Any batch size". Distance loss, mean over anchors.

    Args:
        w: Weights W of the linear model, shape (n, d).
        data_cov: Covariance Sigma of the data, shape (d, d), positive definite.
        noise_cov: Covariance Sigma_n of the augmentation, shape (d, d).
        batch_size: The number N >= 2 of samples in a batch.
        anchors: The number of quasi-random anchors, a power of two.

    Returns:
        X_N, symmetric, shape (d, d).

    Raises:
        ValueError: As `predict_weights` does.

    Example:
        For weak weights it is (2 Sigma - Sigma_n)(1 - 1/N):

        >>> sigma, noise = np.diag([1.0, 2.0]), np.array([[0.5, 0.2], [0.2, 1.0]])
        >>> x = contrast_matrix(1e-6 * np.eye(2), sigma, noise, batch_size=4)
        >>> bool(np.allclose(x, 0.75 * (2 * sigma - noise), atol=0.01))
        True
    """
    return predict_weights(w, data_cov, noise_cov, batch_size=batch_size, anchors=anchors).contrast


def layer_flow(
    times: Values,
    layers: Sequence[Values],
    data_cov: Values,
    noise_cov: Values,
    covariance: Values | None = None,
    *,
    batch_size: int,
    learning_rate: float = 0.0,
    anchors: int = ANCHORS,
    tolerance: float = TOLERANCE,
) -> tuple[Values, ...]:
    """Linear layers in time, from any start, trained on fresh batches.

        dW_l/dt = (W_L .. W_(l+1))^T W X_N (W_(l-1) .. W_1)^T,   W = W_L .. W_1

    With a learning rate it is the interpolated map of gradient descent, as in `flow`.

    Source: paper, Lemma 3, for any number of layers; this project, docs/theory.md, "Any batch
    size". Distance loss, mean over anchors.

    Args:
        times: The times at which the layers are wanted, increasing, shape (T,). The flow starts at
            times[0].
        layers: The layers (W_1, ..., W_L) at the start, first layer first.
        data_cov: Covariance Sigma of the anchor view, shape (d, d), positive definite.
        noise_cov: Covariance Sigma_n of the augmentation x' - x, shape (d, d).
        covariance: E[x (x' - x)^T], shape (d, d); None where the anchor view is clean.
        batch_size: The number N >= 2 of samples in a batch.
        learning_rate: The rate eta >= 0 on the mean loss; zero is the limit of small rates.
        anchors: The number of quasi-random anchors, a power of two.
        tolerance: The error per step of the integration, relative to each weight.

    Returns:
        The layers at the times, each of shape (T, out, in).

    Raises:
        ValueError: As `predict_weights` does.
        ArithmeticError: If the integration fails.

    Example:
        Two balanced layers stay balanced:

        >>> eye = np.eye(3)
        >>> w1, w2 = layer_flow(
        ...     np.array([0.0, 3.0]), [0.3 * eye, 0.3 * eye], eye, 0.1 * eye, batch_size=16
        ... )
        >>> bool(np.allclose(w1[-1] @ w1[-1].T, w2[-1].T @ w2[-1], atol=1e-4))
        True
    """
    sizes = np.cumsum([0, *(layer.size for layer in layers)])

    def unpack(flat: Values) -> list[Values]:
        return [
            flat[..., a:b].reshape(*flat.shape[:-1], *layer.shape)
            for a, b, layer in zip(sizes[:-1], sizes[1:], layers, strict=True)
        ]

    def field(flat: Values) -> Values:
        weights = unpack(flat)
        total = _product_of(weights)
        x = predict_weights(
            total, data_cov, noise_cov, covariance, batch_size=batch_size, anchors=anchors
        ).contrast
        return np.concatenate([rate.ravel() for rate in _layer_rates(weights, total @ x)])

    start = np.concatenate([np.asarray(layer, dtype=float).ravel() for layer in layers])
    tolerances = tolerance, 1e-3 * tolerance
    return tuple(unpack(_integrated(field, start, times, learning_rate, tolerances)))


def _product_of(layers: Sequence[Values]) -> Values:
    total = layers[0]
    for layer in layers[1:]:
        total = layer @ total
    return total


def _layer_rates(layers: Sequence[Values], push: Values) -> list[Values]:
    """(W_L .. W_(l+1))^T push (W_(l-1) .. W_1)^T for every layer."""
    below: list[Values] = [np.eye(layers[0].shape[1])]
    for layer in layers[:-1]:
        below.append(layer @ below[-1])
    rates: list[Values] = []
    for layer, bottom in zip(reversed(layers), reversed(below), strict=True):
        rates.append(push @ bottom.T)
        push = layer.T @ push
    return rates[::-1]


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
        strengths = _rounded(negatives.variance), _rounded(self.law.variance)
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


@cache
def normal_anchors(dim: int, number: int) -> Values:
    """`number` quasi-random standard normal vectors (scrambled Sobol', always the same)."""
    return ndtri(qmc.Sobol(dim, rng=0).random(number))


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

    groups: Sequence[Modes]
    strengths: Values
    anchors: Anchors
    negatives: SquaredLength
    positives: SquaredLength

    @classmethod
    def of(cls, groups: Sequence[Modes], strengths: Values) -> "Laws":
        """The laws at given strengths (G,)."""
        a, c, offset, count = _moments(groups)
        anchors = product_anchors(tuple(g.count for g in groups))
        mean = strengths * offset * anchors.squares if np.any(offset) else np.zeros((1, len(count)))
        return cls(
            groups,
            strengths,
            anchors,
            SquaredLength(strengths * a, count, strengths * a * anchors.squares),
            SquaredLength(strengths * c, count, mean),
        )

    def plan(self, batch_size: int) -> list[Piece]:
        """How the integral over ln u is done: as for somewhat larger strengths, see `_rounded`."""
        return _plan_of_groups(tuple(self.groups), _rounded(self.strengths), batch_size)

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


def _moments(groups: Sequence[Modes]) -> tuple[Values, Values, Values, Values]:
    """a, c - rho^2/a, rho^2/a and count of every group, each (G,)."""
    columns = [
        (g.variance, g.conditional_variance, g.covariance**2 / g.variance, g.count) for g in groups
    ]
    a, c, offset, count = np.array(columns, dtype=float).T
    return a, c, offset, count


def _rounded(strengths: Values) -> tuple[float, ...]:
    """Strengths rounded up to few values, so that those along a flow share plans."""
    return tuple(2 ** (np.ceil(PLANS * np.log2(np.maximum(strengths, SMALLEST))) / PLANS))


@lru_cache(256)
def _plan_of_groups(
    groups: tuple[Modes, ...], strengths: tuple[float, ...], batch_size: int
) -> list[Piece]:
    laws = Laws.of(groups, np.array(strengths))
    return _plan(laws.negatives, laws.positives, batch_size)


@lru_cache(256)
def _plan_of_strengths(
    negatives: tuple[float, ...], positives: tuple[float, ...], anchors: int, batch_size: int
) -> list[Piece]:
    """The plan for full matrices with one noisy view."""
    z, one = normal_anchors(len(negatives), anchors), np.ones(len(negatives))
    apart = SquaredLength(np.array(positives), one, 0 * one[None])
    return _plan(SquaredLength(np.array(negatives), one, negatives * z**2), apart, batch_size)


def _plan(negatives: SquaredLength, positives: SquaredLength, batch_size: int) -> list[Piece]:
    nearest = float(negatives.log_moment(np.ones(1)).max())
    lowest = -np.logaddexp(0.0, np.log(batch_size - 1) + nearest) - BELOW
    return mellin.plan(negatives, positives, lowest)


def _checked(groups: Sequence[Modes], strengths, batch_size: int) -> Values:
    m = np.asarray(strengths, dtype=float)
    if m.shape != (len(groups),) or not np.all(np.isfinite(m)) or np.any(m < 0):
        raise ValueError(f"strengths must be {len(groups)} finite numbers >= 0; got {strengths}")
    _check_batch_size(batch_size)
    return m


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 2:
        raise ValueError(f"batch_size must be at least 2; got {batch_size}")


@cache
def product_anchors(counts: tuple[int, ...]) -> Anchors:
    """Anchors for groups of so many modes each: generalised Gauss-Laguerre rules, or where their
    product would be too large, quasi-random ones.
    """
    if RADII ** len(counts) > MOST_NODES:
        return Anchors(chi_squares(counts, ANCHORS), np.full(ANCHORS, 1 / ANCHORS))
    rules = [_radial_rule(count) for count in counts]
    squares = _product([nodes for nodes, _ in rules])
    weights = _product([weights for _, weights in rules]).prod(axis=1)
    kept = weights > SMALLEST_WEIGHT
    return Anchors(squares[kept], weights[kept] / weights[kept].sum())


def _radial_rule(count: int) -> tuple[Values, Values]:
    """Nodes r^2 and weights for the squared length of a standard normal vector of `count`
    entries (Golub and Welsch's eigenvalue form of the rule).
    """
    shape, n = count / 2 - 1, np.arange(RADII)
    nodes, vectors = eigh_tridiagonal(2 * n + 1 + shape, np.sqrt(n[1:] * (n[1:] + shape)))
    return 2 * nodes, vectors[0] ** 2


def _product(columns: list[Values]) -> Values:
    return np.stack(np.meshgrid(*columns, indexing="ij"), axis=-1).reshape(-1, len(columns))


def chi_squares(counts: tuple[int, ...], number: int) -> Values:
    """`number` quasi-random (scrambled Sobol', always the same) squared lengths per group."""
    points = qmc.Sobol(len(counts), rng=0).random(number)
    return np.stack([chdtri(k, 1 - u) for k, u in zip(counts, points.T, strict=True)], axis=1)
