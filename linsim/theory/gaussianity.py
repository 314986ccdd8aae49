"""SIGReg on Gaussian embeddings: its mean over batches of any size and all directions, exactly.

Along a unit direction a the embedding has the variance s = a^T C a, so that its characteristic
function is e^{-s t^2/2}, and the square of that of a batch of N samples is in the mean e^{-s t^2} +
(1 - e^{-s t^2})/N. What remains is the mean of e^{-a^T B a} over directions, which is a single
contour integral. Everything is dimensionless.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jax.scipy.special import gammaln
from jaxtyping import Float

from linsim.arrays import Array, jitted
from linsim.losses.gaussianity import nodes

Real = float | int | Float[Array, "..."]
Spectrum = Float[Array, "n"]
STEP, HALF = 0.1, 32  # of the contour: spacing at mu = 6, and nodes on its upper half


@jitted
def directions(exponents: Float[Array, "*batch n"]) -> tuple[Array, Array]:
    """The means of e^{-a^T B a} and of a_k^2 e^{-a^T B a} over all directions a.

        E e^{-sum_k b_k a_k^2} = Gamma(n/2)/(2 pi i) int e^p prod_k (p + b_k)^{-1/2} dp

    on a contour that leaves all -b_k to its left: here the parabola p = mu (1 + iu)^2, on which the
    trapezoid rule is good to 1e-12.

    Source: this project, docs/theory.md, Eq. (sigreg) (the normalising constant of Bingham's
    distribution; Kume and Wood 2005).

    Args:
        exponents: The eigenvalues b >= 0 of B, shape (.., n).

    Returns:
        The two means, of shapes (..) and (.., n); the second is minus the gradient of the first.

    Example:
        On the circle the mean of e^{-b a_1^2} is e^{-b/2} I_0(b/2):

        >>> value, _ = directions(jnp.array([2.0, 0.0]))
        >>> round(float(value), 5)
        0.46576
    """
    width = exponents.shape[-1]
    mu = max(6.0, 0.5 * width)
    step = STEP * math.sqrt(6 / mu)
    u = step * (np.arange(HALF) + 0.5)
    p = mu * (1 + 1j * u) ** 2
    shifted = exponents[..., None] + p
    log_terms = p - 0.5 * jnp.sum(jnp.log(shifted), axis=-2) + jnp.log(1 + 1j * u)
    terms = jnp.exp(log_terms + gammaln(0.5 * width)) * (2 * mu * step / np.pi)
    return jnp.sum(terms.real, axis=-1), jnp.sum(
        (0.5 * terms[..., None, :] / shifted).real, axis=-1
    )


def statistic(spectrum: Spectrum, batch_size: Real, limit: float = 5.0, knots: int = 17) -> Array:
    """SIGReg in the mean over batches and directions.

        N sum_t w_t [(1 - 1/N) E e^{-s t^2} - 2 e^{-t^2/2} E e^{-s t^2/2} + e^{-t^2} + 1/N]

    Source: this project, docs/theory.md, "SIGReg"; the loss is that of `linsim.losses.sigreg`.

    Args:
        spectrum: The eigenvalues of the embedding's covariance, shape (n,).
        batch_size: The number N of samples in a batch.
        limit: The end of the integral over t.
        knots: The number of its points.

    Returns:
        The mean, a scalar.

    Example:
        Standard normal embeddings are not at zero: what is left is the noise of the batch, and
        does not depend on its size:

        >>> [round(float(statistic(jnp.ones(4), N)), 4) for N in (16, 1024)]
        [1.0594, 1.0594]
    """
    t, weights, normal = nodes(limit, knots)
    squares = t[:, None] ** 2 * spectrum
    twice, once = directions(squares)[0], directions(0.5 * squares)[0]
    return weights @ (normal**2 + (1 - twice) / batch_size + twice - 2 * normal * once) * batch_size


def slopes(spectrum: Spectrum, batch_size: Real, limit: float = 5.0, knots: int = 17) -> Spectrum:
    """The derivatives of `statistic` by the eigenvalues of the embedding's covariance.

        N sum_t w_t t^2 [e^{-t^2/2} E a_k^2 e^{-s t^2/2} - (1 - 1/N) E a_k^2 e^{-s t^2}]

    They are finite where the embedding has collapsed, so that the gradient by the weights vanishes
    there with the weights: small modes grow exponentially, and leave a start w0 at a time that
    grows as log 1/w0.

    Source: this project, docs/theory.md, "SIGReg".

    Args:
        spectrum: The eigenvalues of the embedding's covariance, shape (n,).
        batch_size: The number N of samples in a batch.
        limit: The end of the integral over t.
        knots: The number of its points.

    Returns:
        The derivatives, shape (n,).

    Example:
        >>> import jax
        >>> spectrum = jnp.array([0.5, 1.5])
        >>> exact = jax.grad(statistic)(spectrum, 64)
        >>> bool(jnp.allclose(slopes(spectrum, 64), exact, rtol=1e-4))
        True
    """
    t, weights, normal = nodes(limit, knots)
    squares = t[:, None] ** 2 * spectrum
    twice, once = directions(squares)[1], directions(0.5 * squares)[1]
    by_node = normal[:, None] * once - (1 - 1 / batch_size) * twice
    return batch_size * (weights * t**2) @ by_node


def growth_rate(
    variance: Real,
    noise_variance: Real,
    outputs: int,
    batch_size: int,
    weight: Real,
    limit: float = 5.0,
    knots: int = 17,
) -> Real:
    """The growth rate of a vanishingly weak mode under LeJEPA where all else has collapsed, too.

        dm/dt = 2 r m,   r = (1/n) [2 lambda N f a - (1 - lambda) c / 2],
        f = sum_t w_t t^2 (1 - 1/N - e^{-t^2/2})

    for views of equal variance a, with c that of their difference. The mode vanishes if c >= 4
    lambda N f a / (1 - lambda): the threshold in the noise grows with the batch.

    Source: this project, docs/theory.md, Eq. (sigreg-rate).

    Args:
        variance: The variance a > 0 of a view in the mode.
        noise_variance: The variance c >= 0 of the difference of the views in the mode.
        outputs: The width n of the embedding.
        batch_size: The number N of samples in a batch.
        weight: The weight lambda of SIGReg.
        limit: The end of the integral over t.
        knots: The number of its points.

    Returns:
        The rate r, in the broadcast shape of the arguments.

    Example:
        Noise that batches of 128 bear makes a mode vanish in batches of 8:

        >>> [bool(growth_rate(2.0, 6.0, 16, N, 0.02) > 0) for N in (128, 8)]
        [True, False]
    """
    t, weights, normal = nodes(limit, knots)
    push = float(np.sum(weights * t**2 * (1 - 1 / batch_size - normal)))
    pull = 0.5 * (1 - weight) * jnp.asarray(noise_variance)
    return (2 * weight * batch_size * push * jnp.asarray(variance) - pull) / outputs


def optimum(
    variance: Float[Array, "G"],
    noise_variance: Float[Array, "G"],
    counts: tuple[int, ...],
    *,
    batch_size: int,
    weight: float,
    limit: float = 5.0,
    knots: int = 17,
) -> Float[Array, "G"]:
    """The strengths at which groups of equal modes settle under LeJEPA, with as many outputs as
    modes.

        the minimum over m >= 0 of (1 - lambda)/(4n) sum_k m_k c_k + lambda SIGReg(m a)

    for views of equal variance, SIGReg in the mean over batches and directions.

    Source: this project, docs/theory.md, "SIGReg".

    Args:
        variance: The variance a > 0 of a view in the modes of each group, shape (G,).
        noise_variance: The variance c >= 0 of the difference of the views in these, shape (G,).
        counts: How many modes each group has.
        batch_size: The number N of samples in a batch.
        weight: The weight lambda of SIGReg.
        limit: The end of its integral.
        knots: The number of its points.

    Returns:
        The strengths m, shape (G,); 0 where a mode vanishes.

    Example:
        Finite batches leave less than unit variance, since the noise of the characteristic function
        falls with it:

        >>> [optimum(np.ones(1), np.zeros(1), (8,), batch_size=N, weight=0.5).round(3).item()
        ...  for N in (16, 1024)]
        [0.879, 0.998]
    """
    pull = 0.25 * (1 - weight) * np.asarray(noise_variance) * counts / sum(counts)
    a = np.asarray(variance, dtype=float)

    def loss(strengths):
        value, steepness = _of_groups(strengths * a, counts, float(batch_size), limit, knots)
        towards = weight * np.asarray(steepness, dtype=float) * a + pull
        return weight * float(value) + pull @ strengths, towards

    tight = {"ftol": 1e-15, "gtol": 1e-10, "maxiter": 1000}
    bounds = [(0.0, None)] * len(counts)
    return scipy.optimize.minimize(
        loss, 1 / a, jac=True, method="L-BFGS-B", bounds=bounds, options=tight
    ).x


@functools.partial(jax.jit, static_argnums=(1, 3, 4))
def _of_groups(
    variances: Float[Array, "G"],
    counts: tuple[int, ...],
    batch_size: Real,
    limit: float,
    knots: int,
) -> tuple[Array, Float[Array, "G"]]:
    """`statistic` of groups of equal eigenvalues, and its derivatives by these."""
    group = np.repeat(np.arange(len(counts)), counts)
    spectrum = variances[group]
    steepness = slopes(spectrum, batch_size, limit, knots)
    value = statistic(spectrum, batch_size, limit, knots)
    return value, jax.ops.segment_sum(steepness, group, len(counts))
