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

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

from linsim.theory.mellin import Values
from linsim.theory.modes import Modes, Prediction, normal_anchors, product_anchors

STEP = 0.25  # of the lattice; waves that it misses are weaker than e^(-pi^2/(2 STEP))
MARGIN = 30.0  # of the lattice beyond the scores
DEVIATIONS = 7.0  # of the scores that count
STEP_AT, STEP_WIDTH = -0.5772, 1.2825  # mean and deviation of the density -d/dv exp(-e^v)


def of_groups(
    groups: Sequence[Modes], strengths: Values, batch_size: int, temperature: float
) -> Prediction:
    """Loss, contrast per group and alpha_ii at strengths (G,)."""
    anchors = product_anchors(tuple(group.count for group in groups))
    columns = [
        (
            g.variance * (g.variance + g.noise_variance + 2 * g.covariance),
            g.variance + g.covariance,
            g.variance * g.conditional_variance,
        )
        for g in groups
    ]
    negative, centre, positive = np.array(columns).T
    squares, m = anchors.squares, strengths / temperature
    scores = Scores(
        squares @ (m**2 * negative), squares @ (m * centre), squares @ (m**2 * positive)
    )
    average = averaged(scores, anchors.weights, batch_size)
    spread, mean, rest = (slope @ squares for slope in average.slopes)
    slopes = (2 * m * (negative * spread + positive * rest) + centre * mean) / temperature
    count = np.array([group.count for group in groups])
    return Prediction(average.loss, -2 * slopes / count, average.alpha_ii)


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
    average = averaged(scores, np.full(anchors, 1 / anchors), batch_size)
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


class Average(NamedTuple):
    """Loss, alpha_ii, and the derivatives of the loss by `Scores`, (3, A)."""

    loss: float
    alpha_ii: float
    slopes: Values


def averaged(scores: Scores, weights: Values, batch_size: int) -> Average:
    """The average over anchors with weights (A,) and over u."""
    lattice = Lattice.reaching(scores)
    others = batch_size - 1
    phi, _, phi_bent = lattice.blurred(np.zeros_like(scores.mean), scores.negative)
    psi, psi_slope, psi_bent = lattice.blurred(scores.mean, scores.positive)
    measure = STEP * weights[:, None]
    push = measure * (1 - phi**others)
    by_phi = -measure * others * phi ** (others - 1) * psi
    slopes = [0.5 * by_phi * phi_bent, push * psi_slope, 0.5 * push * psi_bent]
    return Average(
        float(np.sum(push * psi)),
        float(np.sum((push - measure) * psi_slope)),
        np.array([slope.sum(axis=1) for slope in slopes]),
    )


class Lattice(NamedTuple):
    """Points v, evenly spaced, and what remains of exp(-e^v) less a normal distribution's step of
    the same place and width, as a Fourier transform over wave numbers.
    """

    v: Values
    waves: Values
    remainder: Values

    @classmethod
    def reaching(cls, scores: Scores) -> "Lattice":
        """The lattice on which nothing of the scores is cut off."""
        widest = np.sqrt(max(scores.negative.max(), scores.positive.max()))
        reach = MARGIN + np.abs(scores.mean).max() + DEVIATIONS * widest
        number = 2 ** int(np.ceil(np.log2(2 * reach / STEP)))
        v = STEP * (np.arange(number) - number // 2)
        step = np.exp(-np.exp(np.minimum(v, 7.0)))
        remainder = np.fft.rfft(step - ndtr((STEP_AT - v) / STEP_WIDTH))
        return cls(v, 2 * np.pi * np.fft.rfftfreq(number, STEP), remainder)

    def blurred(self, mean: Values, variance: Values) -> tuple[Values, Values, Values]:
        """L and its first and second derivative by v, of every anchor, each (A, V). Args: mean and
        variance of the scores (A,).
        """
        waves = self.waves
        damped = self.remainder * np.exp(
            1j * np.multiply.outer(mean, waves) - 0.5 * np.multiply.outer(variance, waves**2)
        )
        width = np.sqrt(STEP_WIDTH**2 + variance)[:, None]
        z = (STEP_AT - self.v - mean[:, None]) / width
        density = np.exp(-0.5 * z**2) / (np.sqrt(2 * np.pi) * width)
        sloped = 1j * waves * damped
        value, slope, bent = (
            np.fft.irfft(part, len(self.v), axis=1)
            for part in (damped, sloped, 1j * waves * sloped)
        )
        return np.clip(value + ndtr(z), 0.0, 1.0), slope - density, bent - density * z / width
