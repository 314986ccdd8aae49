"""Linear JEPA and masked autoencoders of any depth: which modes are learned when (Littwin et al.
2024, arXiv 2407.03475).

An encoder of L balanced layers and a head V behind it, all of singular value v in a mode, so that
the encoder has w = v^L. Of the two views, lambda = E[x x'] is the covariance in the mode, sigma^2 =
E[x^2] the variance of the encoded view, and rho = lambda/sigma^2 the regression coefficient. A JEPA
predicts the other view's embedding, held fixed; an autoencoder reconstructs the other view.
Modes that start aligned stay so, and do not see one another:

    JEPA:         dv/dt = v^{2L} (lambda - v sigma^2)          settles at v = rho
    autoencoder:  dv/dt = v^L (lambda - v^{L+1} sigma^2)       settles at v = rho^{1/(L+1)}

Time is learning rate times steps on the mean of half the squared error.
"""

import numpy as np
import scipy
from jaxtyping import Float

from linsim.arrays import Array

Real = float | Float[Array, "..."]


def jepa_settled(regression: Real, depth: int) -> Real:
    """The singular value of the encoder at which a linear JEPA settles in a mode.

        w = rho^L

    Source: this project, docs/theory.md, Eq. (jepa); Littwin et al. 2024 (arXiv 2407.03475). It
    holds from a balanced, aligned start; no weight decay.

    Args:
        regression: The regression coefficient rho > 0 of the mode.
        depth: The number L of layers of the encoder.

    Returns:
        The value w, in the shape of `regression`.

    Example:
        Depth widens the gap between a clean mode and one with noise of variance 1 in each view:

        >>> [float(jepa_settled(0.5, depth)) for depth in (1, 2, 4)]
        [0.5, 0.25, 0.0625]
    """
    return np.asarray(regression) ** depth


def autoencoder_settled(regression: Real, depth: int) -> Real:
    """The singular value of the encoder at which a linear autoencoder settles in a mode.

        w = rho^{L/(L + 1)}

    Source: this project, docs/theory.md, Eq. (jepa); Littwin et al. 2024 (arXiv 2407.03475). It
    holds from a balanced, aligned start; no weight decay.

    Args:
        regression: The regression coefficient rho > 0 of the mode.
        depth: The number L of layers of the encoder.

    Returns:
        The value w, in the shape of `regression`.

    Example:
        >>> [round(float(autoencoder_settled(0.25, depth)), 3) for depth in (1, 3)]
        [0.5, 0.354]
    """
    return np.asarray(regression) ** (depth / (depth + 1))


def jepa_time(value: Real, start: Real, depth: int, covariance: Real, regression: Real) -> Real:
    """The time at which a mode of a linear JEPA has grown from `start` to `value`, exactly.

        t = 1/lambda { sum_{n=1}^{2L-1} (v0^{-n} - v^{-n}) / (n rho^{2L-1-n})
                       + rho^{1-2L} ln [v (rho - v0) / (v0 (rho - v))] }

    The leading term at small v0, v0^{1-2L}/((2L - 1) lambda), is blind to rho; the next one is not:
    of two modes with the same lambda, the one with the larger rho is learned earlier by

        (1/rho_2 - 1/rho_1) v0^{2-2L} / ((2L - 2) lambda)   (L = 1: ln(1/v0) for the fraction)

    which grows without bound as v0 -> 0, although it becomes small against the time itself.

    Source: this project, docs/theory.md, Eq. (jepa); the expansion is that of Littwin et al. 2024
    (arXiv 2407.03475).

    Args:
        value: The singular value v of each layer that is to be reached, below rho.
        start: The initial singular value v0 of each layer.
        depth: The number L of layers of the encoder.
        covariance: The covariance lambda > 0 of the views in the mode.
        regression: The regression coefficient rho > 0 of the mode.

    Returns:
        The time, in the broadcast shape of the arguments.

    Example:
        >>> [round(float(jepa_time(0.25, 0.05, 1, 1.0, rho)), 2) for rho in (1.0, 0.5)]
        [17.85, 20.39]
    """
    v, v0, rho = (np.asarray(each, dtype=float) for each in (value, start, regression))
    powers = sum((v0**-n - v**-n) / (n * rho ** (2 * depth - 1 - n)) for n in range(1, 2 * depth))
    logarithm = np.log(v * (rho - v0) / (v0 * (rho - v)))
    return (powers + rho ** (1 - 2 * depth) * logarithm) / np.asarray(covariance)


def autoencoder_time(
    value: Real, start: Real, depth: int, covariance: Real, regression: Real
) -> Real:
    """The time at which a mode of a linear autoencoder has grown from `start` to `value`, exactly.

        t = 1/lambda { (v0^{1-L} - v^{1-L})/(L - 1) + G(v) - G(v0) }    (L = 1: ln(v/v0) first),
        G(v) = v^2/(2 rho) 2F1(1, 2/(L+1); 1 + 2/(L+1); v^{L+1}/rho)

    What depends on rho stays bounded as v0 -> 0: an autoencoder learns modes by lambda alone.

    Source: this project, docs/theory.md, Eq. (jepa).

    Args:
        value: The singular value v of each layer that is to be reached, below rho^{1/(L+1)}.
        start: The initial singular value v0 of each layer.
        depth: The number L of layers of the encoder.
        covariance: The covariance lambda > 0 of the views in the mode.
        regression: The regression coefficient rho > 0 of the mode.

    Returns:
        The time, in the broadcast shape of the arguments.

    Example:
        >>> [round(float(autoencoder_time(0.25, 0.05, 1, 1.0, rho)), 2) for rho in (1.0, 0.5)]
        [1.64, 1.67]
    """
    v, v0, rho = (np.asarray(each, dtype=float) for each in (value, start, regression))
    order = 2 / (depth + 1)

    def rest(u):
        return u**2 / (2 * rho) * scipy.special.hyp2f1(1, order, 1 + order, u ** (depth + 1) / rho)

    free = np.log(v / v0) if depth == 1 else (v0 ** (1 - depth) - v ** (1 - depth)) / (depth - 1)
    return (free + rest(v) - rest(v0)) / np.asarray(covariance)
