"""NT-Xent: from which noise on a mode vanishes, for infinitely many Gaussian samples.

Unit embeddings have no scale of their own, so that modes compete for a share of the length. d
strong modes are equal, and all others weak: of such a mode the loss knows, to first order in its
strength, how the views agree along it, and how much length it takes from the strong ones. Of the
two views, a is the variance along a mode, and k the covariance between them; views are equal in
law. Everything is dimensionless.
"""

import numpy as np
import scipy
from jaxtyping import Float

from linsim.arrays import Array

NODES = 40  # of each of the rules for the lengths and the angle


def mean_cosine(dims: int, temperature: float) -> float:
    """The mean cosine between an anchor and its negatives under the softmax, where embeddings are
    uniform on the sphere.

        c = I_{d/2}(1/tau) / I_{d/2 - 1}(1/tau)

    Source: this project, docs/theory.md, Eq. (ntxent) (the mean of von Mises and Fisher's
    distribution).

    Args:
        dims: The number d of dimensions, at least 2.
        temperature: The temperature tau > 0.

    Returns:
        The mean, between 0 and 1.

    Example:
        At low temperatures only close neighbours count:

        >>> [round(mean_cosine(8, tau), 3) for tau in (0.05, 0.5, 5.0)]
        [0.836, 0.238, 0.025]
    """
    return float(
        scipy.special.ive(dims / 2, 1 / temperature)
        / scipy.special.ive(dims / 2 - 1, 1 / temperature)
    )


def agreement(dims: int, correlation: float) -> tuple[float, float]:
    """How the two views agree in the strong modes, weighted as a weak mode feels it.

        s0 = E[cos / |z|^2] / E[1/|z|^2],   s1 = E[1/(|z| |z'|)] / E[1/|z|^2]

    z and z' are standard normal in d dimensions, with this correlation in each, and cos is the
    cosine between them.

    Source: this project, docs/theory.md, Eq. (ntxent); by Gauss's rules.

    Args:
        dims: The number d >= 3 of strong modes.
        correlation: The correlation r of the views in these, between 0 and 1.

    Returns:
        The pair (s0, s1); (1, 1) for equal views.

    Raises:
        ValueError: For fewer than three dimensions, in which E[1/|z|^2] is infinite.

    Example:
        >>> [round(each, 3) for each in agreement(8, 0.8)]
        [0.723, 0.964]
    """
    if dims < 3:
        raise ValueError(f"NT-Xent's threshold is known from 3 strong modes on; got {dims}")
    if correlation == 1:
        return 1.0, 1.0
    # the weight 1/|z|^2 takes two dimensions from the distribution of the length
    squares, weights = (
        np.asarray(each) for each in scipy.special.roots_genlaguerre(NODES, dims / 2 - 2)
    )
    along, along_weights = scipy.special.roots_hermitenorm(NODES)
    across, across_weights = (
        np.asarray(each) for each in scipy.special.roots_genlaguerre(NODES, (dims - 1) / 2 - 1)
    )
    length = np.sqrt(2 * squares)[:, None, None]
    rest = np.sqrt(1 - correlation**2)
    first = correlation * length + rest * along[:, None]
    second = np.sqrt(first**2 + rest**2 * 2 * across)
    mass = weights[:, None, None] * along_weights[:, None] * across_weights
    mass = mass / mass.sum()
    return float(np.sum(mass * first / second)), float(np.sum(mass * length / second))


def growth_rate(
    variance: float | Float[Array, "..."],
    covariance: float | Float[Array, "..."],
    *,
    dims: int,
    correlation: float,
    temperature: float,
    length: float,
) -> float | Float[Array, "..."]:
    """The growth rate of a weak mode beside d equal strong ones.

        dm/dt = 2 r m,   r = (2/tau) [k s1 - a (s0 - c)] / ((d - 2) v)

    with s0 and s1 of `agreement` and c of `mean_cosine`; v is the variance of the embedding along a
    strong mode. The mode vanishes if a/k > s1/(s0 - c): if noise is more than what the temperature
    bears. At low temperatures c -> 1, and a mode of any noise is kept; where the strong modes are
    free of noise, the limit is a/k = 1/(1 - c).

    Source: this project, docs/theory.md, Eq. (ntxent). MEAN over anchors; infinitely many samples.

    Args:
        variance: The variance a of either view in the weak mode.
        covariance: The covariance k between the views in it.
        dims: The number d >= 3 of strong modes.
        correlation: The correlation of the views in these.
        temperature: The temperature tau > 0.
        length: The variance v of the embedding along each strong mode.

    Returns:
        The rate r, in the broadcast shape of variance and covariance.

    Example:
        >>> setting = {"dims": 8, "correlation": 0.8, "length": 1.0}
        >>> [bool(growth_rate(3.0, 1.0, temperature=t, **setting) > 0) for t in (0.1, 0.5)]
        [True, False]
    """
    s0, s1 = agreement(dims, correlation)
    pull = np.asarray(variance) * (s0 - mean_cosine(dims, temperature))
    return 2 / temperature * (np.asarray(covariance) * s1 - pull) / ((dims - 2) * length)


def threshold(dims: int, correlation: float, temperature: float) -> float:
    """The ratio a/k of a mode's variance to the covariance of the views from which on it vanishes.

        s1 / (s0 - c);   infinite if c >= s0

    Source: this project, docs/theory.md, Eq. (ntxent); see `growth_rate`.

    Args:
        dims: The number d >= 3 of strong modes.
        correlation: The correlation of the views in these.
        temperature: The temperature tau > 0.

    Returns:
        The ratio.

    Example:
        >>> [round(threshold(8, 0.8, tau), 2) for tau in (0.1, 0.5, 5.0)]
        [37.19, 1.99, 1.38]
    """
    s0, s1 = agreement(dims, correlation)
    margin = s0 - mean_cosine(dims, temperature)
    return s1 / margin if margin > 0 else float("inf")
