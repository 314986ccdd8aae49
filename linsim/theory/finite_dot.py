"""The dot loss of a batch of N samples, averaged over batches: what `linsim.theory.finite_batch`
computes it with, for groups of equal modes and for full matrices.

The score of a negative, g = x^T S y' / tau, and that of the positive, p = x^T S x' / tau, are
Gaussian given the anchor x. With b the variance of the positive view in a mode and k = a + rho its
covariance with the anchor,

    g ~ N(0, sum_k m_k^2 b_k x_k^2 / tau^2)
    p ~ N(sum_k m_k (k_k / a_k) x_k^2 / tau, sum_k m_k^2 (c_k - rho_k^2/a_k) x_k^2 / tau^2)

so that phi and psi are one function of three numbers,

    L(v; mu, s) = E exp(-e^(v + mu + s z)),   z ~ N(0, 1),   u = e^v

a step exp(-e^v) blurred by a Gaussian. On a lattice of v that is a product of Fourier transforms,
for all v and all anchors at once. Derivatives are multiplications by the wave number: by mu that
by v, and by s^2 half the second one (heat equation). NumPy float64; the absolute error of phi and
psi is below 1e-8.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple, cast

import numpy as np
import scipy

from linsim.theory.mellin import Values
from linsim.theory.modes import FINE, Modes, Prediction, Quadrature, normal_anchors, product_anchors

BELOW, ABOVE = 30.0, 7.0  # of the lattice beyond the scores; exp(-e^v) falls fast above
DEVIATIONS = 7.0  # of the scores that count
STEP_AT, STEP_WIDTH = -0.5772, 1.2825  # mean and deviation of the density -d/dv exp(-e^v)


def of_groups(
    groups: Sequence[Modes],
    strengths: Values,
    batch_size: int,
    temperature: float,
    quadrature: Quadrature = FINE,
) -> Prediction:
    """Loss, contrast per group and alpha_ii at strengths (G,)."""
    anchors = product_anchors(tuple(group.count for group in groups), quadrature)
    a, view, towards, rest, count = _moments(groups)
    squares, m = a * anchors.squares, strengths / temperature
    scores = Scores.of(squares, m, view, towards, rest)
    average = averaged(scores, anchors.weights, batch_size, quadrature.step)
    spread, mean, blur = (slope @ squares for slope in average.slopes)
    slopes = (2 * m * (view * spread + rest * blur) + towards * mean) / temperature
    return Prediction(average.loss, -2 * slopes / count, average.alpha_ii)


def stiffness(
    groups: Sequence[Modes], strengths: Values, batch_size: int, temperature: float
) -> Values:
    """`finite_batch.stiffness` of the dot loss, (G, G).

    An entry e of S between modes of g and h changes the mean of the positive's score by
    e x_g x_h (t_g + t_h), and a variance sum_k m_k^2 v_k x_k^2 by 2 e x_g x_h (v_g m_g + v_h m_h)
    + e^2 (v_g x_h^2 + v_h x_g^2), with v = b or c - rho^2/a, t = k/a and tau = 1.
    """
    anchors = product_anchors(tuple(group.count for group in groups))
    a, view, towards, rest, count = _moments(groups)
    squares, m, others = a * anchors.squares, strengths / temperature, batch_size - 1
    scores = Scores.of(squares, m, view, towards, rest)
    lattice = Lattice.reaching(scores, FINE.step)
    phi = lattice.blurred(np.zeros_like(scores.mean), scores.negative, (0, 2, 4))
    psi = lattice.blurred(scores.mean, scores.positive, range(5))
    measure = FINE.step * anchors.weights[:, None]
    push = measure * (1 - _power(phi[0], others))
    by_phi = -measure * others * _power(phi[0], others - 1)
    twice = -measure * others * (others - 1) * _power(phi[0], max(others - 2, 0)) * psi[0]
    found = np.zeros((len(count), len(count)))
    for g, h in zip(*np.triu_indices(len(count)), strict=True):
        pair = np.sqrt(squares[:, g] * squares[:, h] / (count[g] * (count[h] + 2 * (g == h))))
        x_g, x_h = squares[:, g] / count[g], squares[:, h] / count[h]
        mean = (pair * (towards[g] + towards[h]))[:, None]
        negative, positive = (
            (pair * 2 * (v[g] * m[g] + v[h] * m[h]))[:, None] for v in (view, rest)
        )
        negative_2, positive_2 = (2 * (v[g] * x_h + v[h] * x_g)[:, None] for v in (view, rest))
        phi_1 = 0.5 * negative * phi[2]
        phi_2 = 0.5 * negative_2 * phi[2] + 0.25 * negative**2 * phi[4]
        psi_1 = mean * psi[1] + 0.5 * positive * psi[2]
        psi_2 = (mean**2 + 0.5 * positive_2) * psi[2] + mean * positive * psi[3]
        psi_2 += 0.25 * positive**2 * psi[4]
        changes = by_phi * (phi_2 * psi[0] + 2 * phi_1 * psi_1) + twice * phi_1**2 + push * psi_2
        found[g, h] = found[h, g] = np.sum(changes) / temperature**2
    return found


def _moments(groups: Sequence[Modes]) -> tuple[Values, Values, Values, Values, Values]:
    """a, b, k/a, c - rho^2/a and the number of modes of every group, each (G,)."""
    columns = [
        (
            g.variance,
            g.variance + g.noise_variance + 2 * g.covariance,
            1 + g.covariance / g.variance,
            g.conditional_variance,
            g.count,
        )
        for g in groups
    ]
    a, view, towards, rest, count = np.array(columns, dtype=float).T
    return a, view, towards, rest, count


def of_weights(
    w: Values,
    data_cov: Values,
    noise_cov: Values,
    covariance: Values | None,
    batch_size: int,
    anchors: int,
    temperature: float,
) -> Prediction:
    """Loss, contrast matrix and alpha_ii of weights W, see `finite_batch.predict_weights`."""
    shared = np.zeros_like(data_cov) if covariance is None else covariance
    shift = np.linalg.solve(data_cov, shared)  # x -> mean of x' - x
    view, rest = data_cov + shared + shared.T + noise_cov, noise_cov - shared.T @ shift
    x = normal_anchors(len(data_cov), anchors) @ np.linalg.cholesky(data_cov).T
    y, centre = x @ (w.T @ w) / temperature, x + x @ shift
    scores = Scores(
        np.sum((y @ view) * y, axis=1),
        np.sum(y * centre, axis=1),
        np.maximum(np.sum((y @ rest) * y, axis=1), 0.0),
    )
    average = averaged(scores, np.full(anchors, 1 / anchors), batch_size, FINE.step)
    spread, mean, blur = (slope[:, None] for slope in average.slopes)
    slope = x.T @ (2 * (spread * (y @ view) + blur * (y @ rest)) + mean * centre) / temperature
    return Prediction(average.loss, -slope - slope.T, average.alpha_ii)


class Scores(NamedTuple):
    """Of every anchor: variance of a negative's score, mean and variance of the positive's; (A,)
    each.
    """

    negative: Values
    mean: Values
    positive: Values

    @classmethod
    def of(
        cls, squares: Values, m: Values, view: Values, towards: Values, rest: Values
    ) -> "Scores":
        """The scores of anchors with squared lengths (A, G) in groups of modes. Args: m/tau, b,
        k/a and c - rho^2/a of every group, (G,) each.
        """
        return cls(squares @ (m**2 * view), squares @ (m * towards), squares @ (m**2 * rest))


class Average(NamedTuple):
    """Loss, alpha_ii, and the derivatives of the loss by `Scores`, (3, A)."""

    loss: float
    alpha_ii: float
    slopes: Values


def averaged(scores: Scores, weights: Values, batch_size: int, step: float) -> Average:
    """The average over anchors with weights (A,) and over u, on a lattice of so wide steps."""
    lattice = Lattice.reaching(scores, step)
    others = batch_size - 1
    phi = lattice.blurred(np.zeros_like(scores.mean), scores.negative, (0, 2))
    psi = lattice.blurred(scores.mean, scores.positive, (0, 1, 2))
    measure, rest = step * weights[:, None], _power(phi[0], others - 1)
    push = measure * (1 - phi[0] * rest)
    by_phi = -measure * others * rest * psi[0]
    slopes = [0.5 * by_phi * phi[2], push * psi[1], 0.5 * push * psi[2]]
    return Average(
        float(np.sum(push * psi[0])),
        float(np.sum((push - measure) * psi[1])),
        np.array([slope.sum(axis=1) for slope in slopes]),
    )


def _power(phi: Values, exponent: int) -> Values:
    """phi^exponent for 0 <= phi <= 1, much faster than the power of floats."""
    return np.exp(exponent * np.log(np.maximum(phi, np.finfo(float).tiny)))


class Lattice(NamedTuple):
    """Points v, evenly spaced, and what remains of exp(-e^v) less a normal distribution's step of
    the same place and width, as a Fourier transform over wave numbers. Waves that steps of 0.25
    miss are weaker than e^(-pi^2/0.5).
    """

    v: Values
    waves: Values
    remainder: Values

    @classmethod
    def reaching(cls, scores: Scores, step: float) -> "Lattice":
        """The lattice with such steps on which nothing of the scores is cut off."""
        widest = np.sqrt(max(scores.negative.max(), scores.positive.max()))
        reach = np.abs(scores.mean).max() + DEVIATIONS * widest
        below, above = (int(np.ceil((reach + margin) / step)) for margin in (BELOW, ABOVE))
        number = cast(int, scipy.fft.next_fast_len(below + above, real=True))
        v = step * (np.arange(number) - below)
        fall = np.exp(-np.exp(np.minimum(v, 7.0)))
        remainder = np.fft.rfft(fall - scipy.special.ndtr((STEP_AT - v) / STEP_WIDTH))
        return cls(v, 2 * np.pi * np.fft.rfftfreq(len(v), step), remainder)

    def blurred(self, mean: Values, variance: Values, orders: Collection[int]) -> dict[int, Values]:
        """L and its derivatives by v, by their orders, of every anchor, each (A, V). Args: mean and
        variance of the scores (A,); which orders are wanted, 0 for L itself.
        """
        waves = self.waves
        damped = self.remainder * np.exp(-0.5 * np.multiply.outer(variance, waves**2))
        if np.any(mean):
            damped *= np.exp(1j * np.multiply.outer(mean, waves))
        width = np.sqrt(STEP_WIDTH**2 + variance)[:, None]
        z = (STEP_AT - self.v - mean[:, None]) / width
        density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
        found = {}
        for order in orders:
            remainder = np.fft.irfft((1j * waves) ** order * damped, len(self.v), axis=1)
            if order == 0:
                found[order] = np.clip(remainder + scipy.special.ndtr(z), 0.0, 1.0)
            else:
                of_step = density * scipy.special.eval_hermitenorm(order - 1, z) / width**order
                found[order] = remainder - of_step
        return found
