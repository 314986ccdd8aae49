"""How many dimensions a spectrum uses, by the names that the field has for it.

All of these measures ignore the scale of their input, and divide by the largest value before they
square or sum anything. docs/measures.md, "Which project prints which", says which project
means which of them by "rank".
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from linsim.arrays import Array, namespace, raised
from linsim.spectra.matrices import centred, singular_values

Embeddings = Float[Array, "N n"]
Spectrum = Float[Array, "k"]
Scalar = Float[Array, ""]


def _shares(values: Spectrum) -> Spectrum:
    """Non-negative values divided by their sum."""
    values = raised(values)
    scaled = values / values.max()
    return scaled / scaled.sum()


def _exp_entropy(weights: Spectrum) -> Scalar:
    """exp(-sum_k p_k log p_k) for non-negative weights p; zero weights contribute nothing."""
    xp = namespace(weights)
    zero = weights == 0
    return xp.asarray(xp.exp(-xp.sum(weights * xp.log(xp.where(zero, 1.0, weights)))))


def rankme(
    z: Embeddings, epsilon: float = 1e-7, *, centre: bool = False, squared: bool = False
) -> Scalar:
    """RankMe, a smooth count of the dimensions that a batch of embeddings uses.

        RankMe = exp(-sum_k p_k log p_k),   p_k = s_k / (sum_j s_j) + epsilon

    with the singular values s_k of the matrix z itself, which is NOT centred as published: a common
    offset of all embeddings counts as a dimension. Other projects compute variants under the same
    name, which the arguments give.

    Source: Garrido et al. 2023 (arXiv 2210.02885), Eq. 1.

    Args:
        z: Embeddings, one sample to a row, not all zero, shape (N, n).
        epsilon: The small number of the formula, by default as published.
        centre: Whether the mean is taken off first.
        squared: Whether s_k^2, the eigenvalues of z^T z (of the covariance, if centred), take the
            place of s_k.

    Returns:
        A scalar from 1 to min(N, n), up to a deviation of the order of epsilon.

    Example:
        Embeddings that use both dimensions equally, and embeddings on a line:

        >>> import jax.numpy as jnp
        >>> plane = jnp.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
        >>> round(float(rankme(plane)), 3), round(float(rankme(plane.at[:, 1].set(0.0))), 3)
        (2.0, 1.0)

        An offset counts, unless it is taken off:

        >>> round(float(rankme(plane + 100.0)), 1), round(float(rankme(plane + 100.0, centre=True)))
        (1.0, 2)
    """
    values = singular_values(centred(z) if centre else z)
    return rankme_of(values, epsilon, squared=squared)


def rankme_of(values: Spectrum, epsilon: float = 1e-7, *, squared: bool = False) -> Scalar:
    """RankMe of singular values that are known already; see `rankme`.

    Source: Garrido et al. 2023 (arXiv 2210.02885), Eq. 1.

    Args:
        values: The singular values s_k, min(N, n) of them, not all zero, shape (k,).
        epsilon: The small number of the formula.
        squared: Whether their squares take their place.

    Returns:
        A scalar.

    Example:
        >>> import numpy as np
        >>> round(float(rankme_of(np.array([1.0, 1.0, 0.0]))), 3)
        2.0
    """
    scaled = raised(values) / values.max()
    return _exp_entropy(_shares(scaled**2 if squared else scaled) + epsilon)


def effective_rank(singular_values: Spectrum) -> Scalar:
    """The effective rank, a smooth count of the singular values that matter.

        exp(-sum_k p_k log p_k),   p_k = s_k / sum_j s_j

    Source: Roy and Vetterli 2007.

    Args:
        singular_values: The singular values s_k, non-negative, not all zero, shape (k,).

    Returns:
        A scalar from 1 (one value alone) to k (all equal).

    Example:
        The start of the paper's two-layer figures has 16 singular values that decay exponentially,
        and about half of them matter:

        >>> import jax.numpy as jnp
        >>> round(float(effective_rank(jnp.exp(-0.35 * jnp.arange(16)))), 1)
        7.6
    """
    return _exp_entropy(_shares(singular_values))


def participation_ratio(eigenvalues: Spectrum) -> Scalar:
    """The participation ratio, a smooth count of the eigenvalues that matter.

        (sum_k lambda_k)^2 / sum_k lambda_k^2

    It weighs large eigenvalues more than the entropy of `effective_rank` does.

    Source: this project, docs/theory.md, "Measures".

    Args:
        eigenvalues: The eigenvalues lambda_k, non-negative, not all zero, shape (k,).

    Returns:
        A scalar from 1 (one value alone) to k (all equal).

    Example:
        >>> import jax.numpy as jnp
        >>> spectra = ([1.0, 1.0, 1.0], [1.0, 1.0, 0.0], [3.0, 1.0, 0.0])
        >>> [round(float(participation_ratio(jnp.array(values))), 3) for values in spectra]
        [3.0, 2.0, 1.6]
    """
    xp = namespace(eigenvalues)
    return xp.asarray(1.0 / xp.sum(_shares(eigenvalues) ** 2))


def stable_rank(w: Float[Array, "n d"]) -> Scalar:
    """The stable rank of a matrix, a lower bound on its rank that small changes hardly move.

        |W|_F^2 / |W|_2^2 = sum_k s_k^2 / max_k s_k^2

    Source: Rudelson and Vershynin 2007.

    Args:
        w: The matrix, not zero, shape (n, d).

    Returns:
        A scalar from 1 to min(n, d).

    Example:
        >>> import jax.numpy as jnp
        >>> round(float(stable_rank(jnp.diag(jnp.array([2.0, 1.0, 1.0])))), 6)
        1.5
    """
    values, xp = singular_values(w), namespace(w)
    return xp.asarray(xp.sum((values / values[0]) ** 2))


class PowerLaw(NamedTuple):
    """A power law lambda_k ~ k^-exponent fitted to a spectrum, and how good the fit is."""

    exponent: Scalar
    """alpha; larger for a faster decay, nan with fewer than two values to fit."""
    first: int
    """The first rank of the fit, from 1."""
    last: Scalar
    """The last rank of the fit: beyond it there is no value, or only rounding."""
    r_squared: Scalar
    """The share of the variance of log lambda_k that the fit explains, from 0 to 1; nan where all
    are equal."""


def power_law(
    eigenvalues: Spectrum, first: int = 1, last: int | None = None, *, cut: float | None = None
) -> PowerLaw:
    """The power law by which a spectrum decays, fitted by least squares of log lambda_k on log k.

        lambda_k ~ k^-alpha,   k = first, ..., last

    Source: Agrawal et al. 2022 (alpha-ReQ).

    Args:
        eigenvalues: The eigenvalues lambda_k, largest first, shape (K,).
        first: The first rank of the fit, at least 1.
        last: The last rank of the fit; None for all.
        cut: Values at most this fraction of the largest are rounding, and are left out with all
            behind them; None for K eps with the machine precision eps, which is what a solver of
            eigenvalues can tell from zero. Give 0 for squared singular values, which are cut
            already.

    Returns:
        The fit.

    Example:
        >>> import numpy as np
        >>> fit = power_law(np.array([1.0, 2**-1.5, 3**-1.5, 1e-18, 1e-19]))
        >>> round(float(fit.exponent), 6), int(fit.last), round(float(fit.r_squared), 6)
        (1.5, 3, 1.0)
    """
    eigenvalues, xp = raised(eigenvalues), namespace(eigenvalues)
    count = len(eigenvalues)
    floor = count * np.finfo(eigenvalues.dtype).eps if cut is None else cut
    rank = xp.arange(1, count + 1)
    real = eigenvalues > floor * eigenvalues.max()
    used = real & (rank >= first) & (rank <= (count if last is None else last))
    log_value = xp.log(xp.where(used, eigenvalues, 1.0))
    slope, r_squared = _line(xp.log(rank.astype(eigenvalues.dtype)), log_value, used)
    known = ~xp.isnan(eigenvalues).any()
    return PowerLaw(
        xp.asarray(xp.where(known, -slope, xp.nan)),
        first,
        xp.asarray(xp.where(known, xp.max(xp.where(used, rank, 0)), xp.nan)),
        xp.asarray(xp.where(known, r_squared, xp.nan)),
    )


def _line(x: Spectrum, y: Spectrum, used: Bool[Array, "k"]) -> tuple[Scalar, Scalar]:
    """Slope of the least-squares line through the points that are used, and its R^2."""
    xp = namespace(x, y, used)
    count = xp.maximum(used.sum(), 1)
    dx, dy = (xp.where(used, v - xp.sum(v * used) / count, 0.0) for v in (x, y))
    xx, xy, yy = (dx**2).sum(), (dx * dy).sum(), (dy**2).sum()
    slope = xp.where(xx > 0, xy / xp.where(xx > 0, xx, 1.0), xp.nan)
    explained = xx * yy > 0
    return slope, xp.where(explained, xy**2 / xp.where(explained, xx * yy, 1.0), xp.nan)


def alpha_req(
    eigenvalues: Spectrum, first: int = 1, last: int | None = None, *, cut: float | None = None
) -> Scalar:
    """alpha-ReQ, the exponent of the power law by which a spectrum decays.

        lambda_k ~ k^-alpha,   k = first, ..., last

    See `power_law`, which also says how good the fit is and where it ends.

    Source: Agrawal et al. 2022 (alpha-ReQ).

    Args:
        eigenvalues: The eigenvalues lambda_k, largest first, shape (K,).
        first: The first rank of the fit, at least 1.
        last: The last rank of the fit; None for all.
        cut: The fraction of the largest value below which values are rounding; see `power_law`.

    Returns:
        alpha, a scalar: larger for a faster decay, and nan with fewer than two values to fit.

    Example:
        >>> import jax.numpy as jnp
        >>> round(float(alpha_req(3.0 * jnp.arange(1.0, 9.0) ** -1.5)), 6)
        1.5
    """
    return power_law(eigenvalues, first, last, cut=cut).exponent


def components(eigenvalues: Spectrum, share: float) -> Scalar:
    """How many principal components hold a share of the variance.

        min{ K : sum_{k <= K} lambda_k >= share * sum_k lambda_k }

    Source: this project, docs/theory.md, "Measures".

    Args:
        eigenvalues: The eigenvalues lambda_k of a covariance, largest first, not all zero, (k,).
        share: The share of the variance, above 0 and at most 1.

    Returns:
        The number, a whole number in floating point; nan for zeros or values that are not numbers.

    Example:
        >>> import numpy as np
        >>> [int(components(np.array([6.0, 3.0, 1.0]), share)) for share in (0.5, 0.9, 0.99)]
        [1, 2, 3]
    """
    xp, shares = namespace(eigenvalues), _shares(eigenvalues)
    eps = len(shares) * np.finfo(shares.dtype).eps
    reached = xp.cumsum(shares) >= share - eps
    return xp.asarray(xp.where(xp.isnan(shares).any(), xp.nan, 1.0 + xp.argmax(reached)))
