"""DirectPred and IsoLoss of a linear encoder: the predictor is the root of the embedding's second
moment, P = (W A W^T)^{1/2} (Tian et al. 2021, arXiv 2102.06810; Halvagal et al. 2023, arXiv
2212.04858).

s is the variance of a view along a mode and k the covariance of the two views, rho = k/s. By the
predictor's value v = w sqrt(s), which is the standard deviation of the embedding, modes follow

    DirectPred:   dv/dt = v^2 (k - v s)     (as of a learned, balanced predictor, `theory.jepa`)
    IsoLoss:      dv/dt = v (k - v s)

Both end at v = rho: noise makes modes weak, and removes none. IsoLoss is logistic, with the rate k
from beginning to end. That is equal for modes in which views covary equally, whatever their noise;
it is not for modes of unequal k. DirectPred's rate, k v at the start and k^2/s in the end, also
depends on the start and on the noise.

Time is learning rate times steps on the mean of half the squared error. Without moving averages.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from linsim.arrays import Array

Real = float | Float[Array, "..."]


def root(moment: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """The symmetric root of a positive semi-definite matrix.

        P P = F,   P = P^T >= 0

    Source: Tian et al. 2021 (arXiv 2102.06810), section 4, with epsilon = 0.

    Args:
        moment: The matrix F, shape (n, n). What rounding leaves below zero is taken to be zero.

    Returns:
        The root, shape (n, n).

    Example:
        >>> root(jnp.diag(jnp.array([4.0, 9.0]))).tolist()
        [[2.0, 0.0], [0.0, 3.0]]
    """
    values, axes = jnp.linalg.eigh(moment)
    return (axes * jnp.sqrt(jnp.maximum(values, 0.0))) @ axes.T


def predictor_value(
    time: Real, start: Real, variance: Real, covariance: Real, weight_decay: Real = 0.0
) -> Real:
    """The predictor's value in a mode of IsoLoss in time, exactly.

        v(t) = v0 e^{gt} / (1 + v0 (e^{gt} - 1) s/g),   g = k - eta

    Source: this project, docs/theory.md, "DirectPred and IsoLoss".

    Args:
        time: The time t.
        start: The initial value v0 = w(0) sqrt(s).
        variance: The variance s of a view in the mode.
        covariance: The covariance k of the views in the mode.
        weight_decay: The weight decay eta, which must not be k itself.

    Returns:
        The value v, in the broadcast shape of the arguments.

    Example:
        Noise does not change when half of the end is reached from a start at a tenth of it:

        >>> s = np.array([1.25, 7.25])
        >>> np.round(predictor_value(np.log(9.0), 0.1 / s, s, 1.0) * s, 6).tolist()
        [0.5, 0.5]
    """
    growth = np.asarray(covariance) - weight_decay
    grown, v0 = np.exp(growth * time), np.asarray(start)
    return v0 * grown / (1 + v0 * (grown - 1) * np.asarray(variance) / growth)


def settled(variance: Real, covariance: Real, weight_decay: Real = 0.0) -> Real:
    """The strength m = w^2 at which a mode of IsoLoss settles.

        m = v^2/s,   v = max(k - eta, 0)/s

    With weight decay a mode vanishes if eta >= k, whatever its noise. Under DirectPred, as with a
    learned predictor, it does from eta > k^2/(4s) on.

    Source: this project, docs/theory.md, "DirectPred and IsoLoss".

    Args:
        variance: The variance s of a view in the mode.
        covariance: The covariance k of the views in the mode.
        weight_decay: The weight decay eta >= 0.

    Returns:
        The strength m, in the broadcast shape of the arguments.

    Example:
        >>> [float(settled(2.0, 1.0, eta)) for eta in (0.0, 0.5, 1.0)]
        [0.125, 0.03125, 0.0]
    """
    s = np.asarray(variance)
    return (np.maximum(np.asarray(covariance) - weight_decay, 0.0) / s) ** 2 / s


def closing_rate(variance: Real, covariance: Real, *, isotropic: bool) -> Real:
    """How fast a mode closes in on where it settles, without weight decay.

        IsoLoss: k;   DirectPred: k^2/s

    Source: this project, docs/theory.md, "DirectPred and IsoLoss".

    Args:
        variance: The variance s of a view in the mode.
        covariance: The covariance k of the views in the mode.
        isotropic: Whether it is IsoLoss.

    Returns:
        The rate, in the broadcast shape of variance and covariance.

    Example:
        >>> [float(closing_rate(4.0, 1.0, isotropic=each)) for each in (True, False)]
        [1.0, 0.25]
    """
    k = np.asarray(covariance)
    return k * np.ones_like(variance) if isotropic else k**2 / np.asarray(variance)
