"""What the spectrum of N samples can tell of the spectrum they are drawn from.

Samples of data that is spread equally in all directions have a spread spectrum, the more so the
fewer they are: their smallest eigenvalue is (1 - sqrt(n/N))^2 times the true one, and zero for
N < n. The law of Marchenko and Pastur gives the whole spectrum. Bounds on the extreme eigenvalues,
which hold for any N and n, say what samples can prove.
"""

import numpy as np
import scipy
from jaxtyping import Float

Spectrum = Float[np.ndarray, "k"]


def isotropic_spectrum(count: int, width: int) -> Spectrum:
    """The spectrum that N samples of isotropic data show: the law of Marchenko and Pastur.

    The eigenvalues lambda of the covariance of N samples in n dimensions of unit variance have the
    density, for n <= N,

        sqrt((b - lambda) (lambda - a)) / (2 pi gamma lambda),   a, b = (1 -+ sqrt(gamma))^2

    with gamma = n / N. For n > N there are N of them that are not zero; they are n / N times those
    of N dimensions and n samples.

    Source: Marchenko and Pastur 1967. Covariances divided by N, mean known; with the mean
    estimated, as in `covariance_spectrum`, give N - 1.

    Args:
        count: The number of samples N, at least 1.
        width: The number of dimensions n, at least 1.

    Returns:
        The quantiles of the law at (k - 1/2) / min(N, n), largest first, shape (min(N, n),).

    Example:
        Four times as many samples as dimensions: eigenvalues lie between 1/4 and 9/4.

        >>> values = isotropic_spectrum(4000, 1000)
        >>> [round(float(v), 2) for v in (values[0], values.mean(), values[-1])]
        [2.23, 1.0, 0.25]
    """
    few, many = sorted((count, width))
    ratio = few / many
    angle = np.linspace(0.0, np.pi, 8193)
    values = 1 + ratio - 2 * ratio**0.5 * np.cos(angle)
    # lambda = middle - half cos(angle) takes the square-root edges out of the density
    density = np.sin(angle) ** 2 / np.maximum(values, np.finfo(float).tiny)
    share = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    wanted = (np.arange(few)[::-1] + 0.5) / few
    return np.interp(wanted * share[-1], share, values) * (many / count)


def smallest_certain(
    count: int, width: np.ndarray | int, risk: float = 1e-3
) -> Float[np.ndarray, "*k"]:
    """How small the smallest eigenvalue of isotropic samples gets by chance: not below this.

    It is the larger of two lower bounds on the quantile of the smallest eigenvalue of X^T X / N,
    where X is N x n with independent standard normal entries:

        P(lambda <= (1 - sqrt(n/N) - t)^2) <= e^{-N t^2 / 2}                       (n < N)
        P(N lambda <= x) <= 2 L x^{(k+1)/2} / (k + 1),   k = N - n,
        L = 2^{(k-1)/2} Gamma((N+1)/2) / (Gamma(n/2) Gamma(k+1))

    The first is sharp for many samples, the second near N = n.

    Source: Davidson and Szarek 2001, Theorem II.13; Edelman 1988, bound of the density.

    Args:
        count: The number of samples N, at least 1.
        width: The numbers of dimensions n, any shape.
        risk: The probability of a smaller value, at most.

    Returns:
        The bounds in units of the true variance, in the shape of `width`; 0 where n > N.

    Example:
        >>> [round(float(smallest_certain(400, n)), 3) for n in (4, 100, 400, 401)]
        [0.51, 0.129, 0.0, 0.0]
    """
    n = np.asarray(width, float)
    spare = np.maximum(count - n, 0.0)
    soft = np.maximum(1 - np.sqrt(n / count) - np.sqrt(2 * np.log(1 / risk) / count), 0.0) ** 2
    log_density = (
        (spare - 1) / 2 * np.log(2)
        + scipy.special.gammaln((count + 1) / 2)
        - scipy.special.gammaln(n / 2)
        - scipy.special.gammaln(spare + 1)
    )
    log_hard = 2 / (spare + 1) * (np.log(risk * (spare + 1) / 2) - log_density)
    return np.where(n > count, 0.0, np.maximum(soft, np.exp(log_hard) / count))


def largest_certain(count: int, width: int, risk: float = 1e-3) -> float:
    """How large the largest eigenvalue of isotropic samples gets by chance: not above this.

        P(lambda >= (1 + sqrt(n/N) + t)^2) <= e^{-N t^2 / 2}

    for the largest eigenvalue of X^T X / N with X as in `smallest_certain`.

    Source: Davidson and Szarek 2001, Theorem II.13.

    Args:
        count: The number of samples N, at least 1.
        width: The number of dimensions n.
        risk: The probability of a larger value, at most.

    Returns:
        The bound in units of the true variance.

    Example:
        >>> round(largest_certain(400, 100), 3)
        2.842
    """
    return float((1 + np.sqrt(width / count) + np.sqrt(2 * np.log(1 / risk) / count)) ** 2)
