"""How strong a trained map leaves each direction: the exact theory at the batch size one trains
with, of Gaussian data with the estimated moments.

In the directions of `linsim.diagnose.views.directions` the map has S = W^T W diagonal, and its
entry m is the variance that the embeddings keep of a direction whose own variance is 1. The loss is
convex in S, since every score is linear in it, so there is one place where training ends.

For batches of two it is known in closed form. Telling the positive from one negative is a logistic
regression on D = x_i - x_j and n = x'_i - x_i, and for Gaussian pairs the log-likelihood ratio has
just the form of the scores:

    log p(D, n) / p(n, D) = sum_k m_k (D_k^2 - n_k^2) / 2,   m = (2a - c) / (2ac - rho^2)

so no other m has a lower loss. The same holds in larger batches once 1 - alpha_ii is small, since
the loss is then N - 1 times that of pairs. Else m is a few per cent larger, and is computed for up
to 24 groups of nearly equal ratios; between them its ratio to the closed form, which varies little,
is interpolated. NumPy float64.
"""

from typing import NamedTuple

import numpy as np
import scipy
from jaxtyping import Float

from linsim.theory import finite_distance, late_time
from linsim.theory.modes import Modes

THRESHOLD = 2.0
GROUPS = 24
CLEAN = 1e-6  # ratios below count as no noise at all: strengths are then unbounded
CONDENSED = 1e-3  # losses below are those of so many pairs, to this relative error
TOLERANCE = 1e-6
ACCEPTED = 1e-3  # of what should be zero at the solution
Spectrum = Float[np.ndarray, "*any k"]
Factors = Float[np.ndarray, "G"]


class Law(NamedTuple):
    """Strength over that of batches of two, as a function of ln r, at the groups' ratios."""

    log_ratios: Factors
    factors: Factors

    def strengths(self, ratios: Spectrum, covariances: Spectrum) -> Spectrum:
        """m of directions of such ratios and covariances among the same others."""
        lost, clean = ~(ratios < THRESHOLD), ratios < CLEAN
        safe = np.where(lost | clean, 1.0, ratios)
        bounded = np.where(lost | clean, 0.0, np.clip(covariances, -np.sqrt(safe), np.sqrt(safe)))
        found = of_pairs(safe, bounded)
        if len(self.factors):
            found = found * np.interp(np.log(safe), self.log_ratios, self.factors)
        return np.where(lost, 0.0, np.where(clean, np.inf, found))


class Settled(NamedTuple):
    """Where training ends: strengths m (k,), 0 for a lost direction and inf for one without noise;
    the loss there, per anchor; and the law that gave the strengths.
    """

    strengths: Float[np.ndarray, "k"]
    loss: float
    law: Law


def of_pairs(ratios: Spectrum, covariances: Spectrum) -> Spectrum:
    """The strength m = (2a - c) / (2ac - rho^2) with a = 1, c = r: exact for batches of two.

    Source: this project, docs/theory.md, Eq. (two).
    """
    return (2 - ratios) / (2 * ratios - covariances**2)


def settled(
    ratios: Float[np.ndarray, "k"], covariances: Float[np.ndarray, "k"], batch_size: int
) -> Settled:
    """The strength at which every direction settles under the distance loss, on fresh batches.

        d l_N / dm_k = 0 for r_k < 2,   m_k = 0 for r_k >= 2

    Directions without any noise grow for ever, and the others settle as they do beside them
    (`linsim.theory.late_time`).

    Source: this project, docs/views.md, "What is predicted". Mean over anchors.

    Args: ratios r >= 0 of noise to data variance; covariances of anchor and augmentation in each
    direction, in units of the anchor's variance; batch size N >= 2.

    Example:
        Two draws of one augmentation have rho = -r/2. Here r = 1:

        >>> found = [settled(np.ones(8), -np.ones(8) / 2, size).strengths for size in (2, 128)]
        >>> [round(float(strengths[0]), 2) for strengths in found]
        [0.57, 0.61]

        Eight directions with noise of their own variance on one view, beside eight clean ones:

        >>> found = settled(np.repeat([1.0, 0.0], 8), np.zeros(16), 128)
        >>> round(float(found.strengths[0]), 3), float(found.strengths[-1])
        (0.266, inf)
    """
    noisy = (ratios < THRESHOLD) & (ratios >= CLEAN)
    clean = int(np.sum(ratios < CLEAN))
    if not noisy.any():
        law, loss = Law(np.zeros(0), np.zeros(0)), 0.0 if clean else float(np.log(batch_size))
    else:
        groups = _groups(ratios[noisy], covariances[noisy])
        log_factors, loss = _grouped(groups, clean, batch_size)
        law = Law(np.log([group.noise_variance for group in groups]), np.exp(log_factors))
    return Settled(law.strengths(ratios, covariances), loss, law)


def _grouped(groups: list[Modes], clean: int, batch_size: int) -> tuple[Factors, float]:
    """The logarithms of the groups' factors over `of_pairs`, and the loss."""
    lead = np.array([group.pull / group.spread for group in groups])
    if clean:
        found = _solved(lambda t: _pair_slopes(groups, lead * np.exp(t), clean), lead)
        return found, 0.0
    pairs = (batch_size - 1) * late_time.pair_average(_at(groups, lead))[0]
    if pairs < CONDENSED or batch_size == 2:
        return np.zeros(len(groups)), pairs
    found = _solved(lambda t: _balance(groups, lead * np.exp(t), batch_size), lead)
    average, _ = finite_distance.strength_slopes(groups, lead * np.exp(found), batch_size)
    return found, average.loss


def _groups(ratios: Float[np.ndarray, "k"], covariances: Float[np.ndarray, "k"]) -> list[Modes]:
    """Groups of directions with about the same ratio, smallest first."""
    logs = np.log(ratios)
    width = max(float(np.ptp(logs)), 1e-9) / GROUPS
    member = np.minimum(((logs - logs.min()) / width).astype(int), GROUPS - 1)
    made = []
    for group in np.unique(member):
        inside = member == group
        ratio = float(ratios[inside].mean())
        limit = np.sqrt(ratio)
        covariance = float(np.clip(covariances[inside].mean(), -limit, limit))
        made.append(Modes.of(1.0, ratio, covariance, int(inside.sum())))
    return made


def _at(groups: list[Modes], m: Factors) -> list[tuple[Modes, float]]:
    return list(zip(groups, map(float, m), strict=True))


def _pair_slopes(groups: list[Modes], m: Factors, clean: int) -> Factors:
    """d ln l / dm per mode in the condensed regime, beside clean directions that have grown."""
    value, slopes = late_time.pair_average(_at(groups, m), clean / 2)
    return slopes / (value * np.array([group.count for group in groups]))


def _balance(groups: list[Modes], m: Factors, batch_size: int) -> Factors:
    """The logarithm of attraction over repulsion."""
    _, (repelled, attracted) = finite_distance.strength_slopes(groups, m, batch_size)
    return np.log(-attracted / repelled)


def _solved(slopes, lead: Factors) -> Factors:
    found = scipy.optimize.root(slopes, np.zeros_like(lead), tol=TOLERANCE)
    if not np.all(np.isfinite(found.x)) or np.max(np.abs(found.fun)) > ACCEPTED:
        raise ArithmeticError(f"the settled strengths were not found: {found.message}")
    return found.x
