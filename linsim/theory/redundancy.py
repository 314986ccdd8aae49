"""VICReg and Barlow Twins: where the hinge pushes, and where training ends.

Both losses ask each coordinate of the embedding for unit variance (or normalise it) and punish
correlations between coordinates, but weakly. A rotation of the embedding can give all coordinates
the same variance whatever the spectrum of their covariance, so that what noise leaves of the
spectrum is decided by the price of a correlation alone. Modes are those of the views' second
moments, which must be equal for both views: a is the variance of a view along a mode, c that of the
views' difference, h = m a that of the embedding. Everything is dimensionless.
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
import scipy
from jax.scipy.special import gammainc, gammaln
from jaxtyping import Float

from linsim.arrays import Array
from linsim.losses.redundancy import (
    BARLOW_REDUNDANCY,
    COVARIANCE,
    EPSILON,
    INVARIANCE,
    VARIANCE,
)

Real = float | Float[Array, "..."]
Modes = Float[Array, "d"]


def hinge_slope(variance: Real, epsilon: Real = EPSILON) -> Float[Array, "..."]:
    """The derivative of VICReg's hinge max(0, 1 - sqrt(v + epsilon)) by the variance v.

        -1 / (2 sqrt(v + epsilon)) below v = 1 - epsilon, and 0 above

    By the standard deviation s = sqrt(v) it is -s / sqrt(s^2 + epsilon), which vanishes for s far
    below sqrt(epsilon) and is -1 above: the hinge does not hold a collapsed coordinate off zero, it
    lets it grow exponentially until it reaches sqrt(epsilon), and at a constant speed from there.

    Source: Bardes et al. 2022 (arXiv 2105.04906), Eq. 1 and 2.

    Args:
        variance: The variance v >= 0 of a coordinate.
        epsilon: What the loss adds to it.

    Returns:
        The derivative, in the broadcast shape of the arguments.

    Example:
        >>> [round(float(hinge_slope(v)), 4) for v in (0.0, 0.2499, 1.0)]
        [-50.0, -1.0, 0.0]
    """
    deviation = jnp.sqrt(jnp.asarray(variance) + epsilon)
    return jnp.where(deviation < 1, -0.5 / deviation, 0.0)


def mean_hinge_slope(variance: Real, epsilon: Real, batch_size: int) -> Float[Array, "..."]:
    """The derivative of the hinge's mean over batches of Gaussian samples by the variance v.

        -1/(2 sqrt(v + epsilon)) E[sqrt(chi^2/nu); v chi^2/nu < 1 - epsilon],   nu = N - 1

    because the variance of a batch is v chi^2_nu / nu. Where v is not close to epsilon the error is
    of order epsilon; near it, of order 1/N.

    Source: this project, docs/theory.md, "VICReg and Barlow Twins".

    Args:
        variance: The variance v >= 0 of a coordinate.
        epsilon: What the loss adds to it.
        batch_size: The number N of samples in a batch.

    Returns:
        The derivative, in the shape of `variance`.

    Example:
        The kink of the hinge is rounded, at half of its slope near v = 1:

        >>> [round(float(mean_hinge_slope(v, 1e-4, 128)), 3) for v in (0.5, 1.0, 2.0)]
        [-0.706, -0.245, -0.0]
    """
    freedom = batch_size - 1
    variance = jnp.asarray(variance)
    half = 0.5 * freedom
    mean_root = jnp.exp(gammaln(half + 0.5) - gammaln(half)) / jnp.sqrt(half)
    limit = half * (1 - epsilon) / jnp.maximum(variance, jnp.finfo(variance.dtype).tiny)
    below = gammainc(half + 0.5, jnp.minimum(limit, 1e6 * half))
    return -0.5 * mean_root * below / jnp.sqrt(variance + epsilon)


def vicreg_optimum(
    noise_to_variance: Modes,
    *,
    outputs: int | None = None,
    batch_size: int | None = None,
    invariance: float = INVARIANCE,
    variance: float = VARIANCE,
    covariance: float = COVARIANCE,
    epsilon: float = EPSILON,
) -> Modes:
    """The spectrum of the embedding's covariance that VICReg is lowest at: water-filling.

        h_k = max(0, s - lambda b_k) / (4 nu),   b_k = c_k/a_k

    The level s is such that the mean v of all n coordinates' variances is 1 - epsilon; or, where
    the hinge is too weak for that, such that s = 4 nu v + mu / (2 sqrt(v + epsilon)). A mode
    vanishes if b_k >= s/lambda. With half of the modes free of noise and the others equally noisy,
    that is b >= 8 nu/lambda = 0.32 as released; complete collapse needs every b_k >= mu/(2 lambda
    sqrt(epsilon)) = 50. In batches of N, correlations of samples cost a little, too, and the hinge
    is `mean_hinge_slope`.

    Source: this project, docs/theory.md, Eq. (vicreg). All coordinates have the same variance here,
    as a rotation of the embedding can give them; other minima are not excluded.

    Args:
        noise_to_variance: The ratios b of each mode, shape (d,); for views that do not commute, the
            eigenvalues of A^{-1/2} Sigma_n A^{-1/2}.
        outputs: The number n of coordinates (default: as many as modes).
        batch_size: The number N of samples in a batch (default: infinitely many).
        invariance: The weight lambda.
        variance: The weight mu.
        covariance: The weight nu > 0.
        epsilon: What the loss adds to a variance.

    Returns:
        The variances h of the embedding along each mode, shape (d,); divide by a for the strength
        m.

    Example:
        >>> vicreg_optimum(np.array([0.0, 0.16, 0.32, 0.64])).round(3).tolist()
        [2.333, 1.333, 0.333, 0.0]
    """
    b = invariance * np.asarray(noise_to_variance, dtype=float)
    width = outputs or len(b)
    order = np.argsort(b, kind="stable")[:width]
    costs, spread = b[order], 0.0 if batch_size is None else 1.0 / (batch_size - 1)
    price = 4 * covariance * (1 + spread)

    def push(v: float) -> float:
        """What another unit of variance is worth."""
        slope = (
            -0.5 / np.sqrt(v + epsilon)
            if batch_size is None
            else float(mean_hinge_slope(v, epsilon, batch_size))
        )
        return (price - 4 * covariance * spread * (width - 1)) * v - variance * slope

    def excess(v: float) -> float:
        return _level(costs, v * width * price) - push(v)

    found = np.zeros(len(b))
    if excess(0.0) >= 0:
        return found
    top = 1 - epsilon if batch_size is None else 4.0
    v = top if excess(top) <= 0 else _root(excess, top)
    found[order] = np.maximum(_level(costs, v * width * price) - costs, 0.0) / price
    return found


def barlow_optimum(correlation: Modes, redundancy: float = BARLOW_REDUNDANCY) -> Modes:
    """The spectrum of the embedding's covariance that Barlow Twins is lowest at, in units in which
    every coordinate has variance 1.

        h_k = max(0, q r_k + s) / (lambda r_k^2),   sum_k h_k = d,   q = 1 - (1 - lambda) g,
        g = (1/d) sum_k r_k h_k

    r_k is the correlation of the two views along a mode, and g that of every coordinate. Where the
    best modes are free of noise, no mode vanishes; otherwise noise has a threshold: with a share p
    of modes at r_1 and the others at r_2, these vanish if r_1 - r_2 >= lambda r_1^2/(p (1 - (1 -
    lambda) r_1)).

    Source: this project, docs/theory.md, Eq. (barlow-twins). It is the global minimum for lambda <
    1, as many outputs as inputs, and widths in which a real Hadamard matrix exists (1, 2, 4, 8, 12,
    16, ..), without the epsilon of the batch normalisation.

    Args:
        correlation: The correlations r of each mode, 0 < r <= 1, shape (d,).
        redundancy: The weight lambda of the off-diagonal entries, between 0 and 1.

    Returns:
        The variances h of the embedding along each mode, shape (d,), of mean 1.

    Raises:
        ValueError: If a correlation is not positive.

    Example:
        >>> barlow_optimum(np.array([1.0, 0.5])).round(4).tolist()
        [1.9415, 0.0585]
        >>> barlow_optimum(np.array([0.8, 0.5])).round(4).tolist()
        [2.0, 0.0]
    """
    r = np.asarray(correlation, dtype=float)
    if not np.all(r > 0):
        raise ValueError(f"correlations of the views must be positive; got {r}")

    def spectrum(q: float) -> Modes:
        """The variances at a given q: the offset s by sorting out the modes that vanish."""
        weights = 1 / (redundancy * r**2)
        order = np.argsort(-q * r)
        totals = np.cumsum(weights[order])
        offsets = (len(r) - np.cumsum((q * r * weights)[order])) / totals
        kept = np.max(np.flatnonzero(q * r[order] + offsets > 0))
        return np.maximum(q * r + offsets[kept], 0.0) * weights

    def residual(q: float) -> float:
        return q - 1 + (1 - redundancy) * float(np.mean(r * spectrum(q)))

    return spectrum(_root(residual, 1.0 + float(r.max())))


def _root(function: Callable[[float], float], top: float) -> float:
    """The zero of an increasing function between 0 and `top`."""
    return scipy.optimize.root_scalar(
        function, bracket=(0.0, top), method="brentq", xtol=1e-15, rtol=1e-14
    ).root


def _level(costs: Modes, total: float) -> float:
    """The level s with sum_k max(0, s - cost_k) = total, for sorted costs."""
    levels = (total + np.cumsum(costs)) / np.arange(1, len(costs) + 1)
    return float(levels[np.max(np.flatnonzero(levels >= costs))])
