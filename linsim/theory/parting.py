"""How equal modes part from a small start (this project, docs/theory.md, Eq. (parting)).

The theory of mean training keeps equal modes equal. Samples do not: their covariance has unequal
eigenvalues, and with several layers the modes that it favours leave the others behind.
"""

import numpy as np

from linsim.theory.mellin import Values


def parting(
    growth: Values | float | int, *, depth: int, modes: int, samples: Values | float | int
) -> Values | float:
    """The standard deviation of ln m among equal modes of balanced layers that are still weak.

        delta ln m = ((k + 2)(k - 1)/(k n))^(1/2) (g^(1 - 1/L) - 1)/(1 - 1/L)

    for k clean modes that grew by the factor g in strength on n samples; with one layer the last
    factor is ln g. It is the square root of the mean variance over data, to first order in it.

    Source: this project, docs/theory.md, Eq. (parting).

    Args:
        growth: The factor g >= 1 by which the strengths m have grown.
        depth: The number of layers L >= 1.
        modes: The number k >= 1 of equal modes.
        samples: The number n of degrees of freedom of the samples' covariance: N - 1 for every
            batch of N fresh samples, or those of a data set.

    Returns:
        The standard deviation of ln m, in the shape of growth and samples.

    Raises:
        ValueError: If depth, modes or samples are out of range.

    Example:
        With more layers the same samples part the modes further:

        >>> [round(float(parting(100.0, depth=n, modes=8, samples=1000)), 3) for n in (1, 2, 3)]
        [0.431, 1.684, 2.883]
    """
    if depth < 1 or modes < 1 or np.any(np.asarray(samples) <= 0):
        raise ValueError(
            f"need depth >= 1, modes >= 1, samples > 0; got {depth}, {modes}, {samples}"
        )
    power = 1 - 1 / depth
    grown = np.log(growth) if depth == 1 else (np.power(growth, power) - 1) / power
    return np.sqrt((modes + 2) * (modes - 1) / (modes * np.asarray(samples))) * grown
