"""Losses on the covariances of a batch that ask for unit variances and no correlations: Barlow
Twins, VICReg, whitening.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from linsim.arrays import Array, jitted
from linsim.losses.views import Embeddings, Real, Scalar, pair

# as released: weight of the off-diagonal entries, and what batch normalisation adds to a variance
BARLOW_REDUNDANCY, BARLOW_EPSILON = 0.0051, 1e-5
# as released: weights of VICReg's three terms, and what it adds to a variance
INVARIANCE, VARIANCE, COVARIANCE, EPSILON = 25.0, 25.0, 1.0, 1e-4


@jitted
def barlow_twins(
    z: Embeddings,
    z_pos: Embeddings,
    redundancy: Real = BARLOW_REDUNDANCY,
    epsilon: Real = BARLOW_EPSILON,
) -> Scalar:
    """Barlow Twins: the correlations of the two views' coordinates, held to the identity.

        L = sum_i (1 - r_ii)^2 + lambda sum_{i != j} r_ij^2
        r_ij = cov(z_i, z'_j) / sqrt((var z_i + epsilon) (var z'_j + epsilon))

    Covariances are over the batch, centred and divided by N (batch normalisation).

    Source: Zbontar et al. 2021 (arXiv 2103.03230), Eq. 1 and 2; lambda and epsilon as released. SUM
    over entries, MEAN over samples inside r.

    Args:
        z: Embeddings of the first view, shape (N, n).
        z_pos: Embeddings z' of the second view, shape (N, n).
        redundancy: The weight lambda >= 0 of the off-diagonal entries.
        epsilon: What is added to each variance.

    Returns:
        The loss, a scalar >= 0.

    Example:
        A copied coordinate costs only 2 lambda:

        >>> import jax.numpy as jnp
        >>> z = jnp.array([[1.0, 1.0], [-1.0, -1.0]])
        >>> round(float(barlow_twins(z, z, redundancy=0.1, epsilon=0.0)), 6)
        0.2
    """
    z, z_pos = pair(z, z_pos)
    unit, unit_pos = (
        (v - jnp.mean(v, axis=0)) * jax.lax.rsqrt(jnp.var(v, axis=0) + epsilon) for v in (z, z_pos)
    )
    r = jnp.matmul(unit.T, unit_pos, precision="highest") / len(z)
    diagonal = jnp.diag(r)
    return jnp.sum((1 - diagonal) ** 2) + redundancy * (jnp.sum(r**2) - jnp.sum(diagonal**2))


@jitted
def vicreg(
    z: Embeddings,
    z_pos: Embeddings,
    invariance: Real = INVARIANCE,
    variance: Real = VARIANCE,
    covariance: Real = COVARIANCE,
    epsilon: Real = EPSILON,
) -> Scalar:
    """VICReg: invariance, a hinge on each coordinate's standard deviation, and covariances.

        L = lambda sum_ij (z_ij - z'_ij)^2 / (N n)
            + mu/(2n) sum_j [max(0, 1 - sqrt(C_jj + epsilon)) + the same of C']
            + nu/n sum_{i != j} [C_ij^2 + C'_ij^2]

    C and C' are the views' covariances over the batch, centred and divided by N - 1. The hinge's
    gradient vanishes where a standard deviation is far below sqrt(epsilon).

    Source: Bardes et al. 2022 (arXiv 2105.04906), Eq. 1-6; the weights, epsilon and the factor 1/2
    of the hinge as released. MEAN over entries.

    Args:
        z: Embeddings of the first view, shape (N, n), N >= 2.
        z_pos: Embeddings z' of the second view, shape (N, n).
        invariance: The weight lambda >= 0.
        variance: The weight mu >= 0.
        covariance: The weight nu >= 0.
        epsilon: What is added to each variance.

    Returns:
        The loss, a scalar >= 0.

    Example:
        Complete collapse costs mu (1 - sqrt(epsilon)):

        >>> import jax.numpy as jnp
        >>> round(float(vicreg(jnp.zeros((4, 3)), jnp.zeros((4, 3)))), 4)
        24.75
    """
    z, z_pos = pair(z, z_pos)
    width = z.shape[1]

    def regular(v: Embeddings) -> Scalar:
        c = _covariance(v)
        deviation = jnp.sqrt(jnp.diag(c) + epsilon)
        hinge = jnp.sum(jnp.maximum(0.0, 1 - deviation))
        apart = jnp.sum(c**2) - jnp.sum(jnp.diag(c) ** 2)
        return (0.5 * variance * hinge + covariance * apart) / width

    return invariance * jnp.mean((z - z_pos) ** 2) + regular(z) + regular(z_pos)


@jitted
def whitening(z: Embeddings, z_pos: Embeddings) -> Scalar:
    """The squared distance of the views, whitened with their pooled covariance.

        L = (1/N) sum_i (z_i - z'_i)^T P^{-1} (z_i - z'_i),   P = (C + C')/2

    C and C' are the views' covariances over the batch, centred and divided by N - 1. An invertible
    linear map of the embeddings changes nothing, so that with as many dimensions as inputs a linear
    model has nothing to learn.

    Source: this project, after W-MSE (Ermolov et al. 2021, arXiv 2007.06346), which whitens all
    views of a batch in common, too. MEAN over samples.

    Args:
        z: Embeddings of the first view, shape (N, n), N > n.
        z_pos: Embeddings z' of the second view, shape (N, n).

    Returns:
        The loss, a scalar >= 0.

    Example:
        >>> import jax.numpy as jnp
        >>> z = jnp.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        >>> bool(jnp.isclose(whitening(z, 1.1 * z), whitening(7.0 * z, 7.7 * z)))
        True
    """
    z, z_pos = pair(z, z_pos)
    pooled = 0.5 * (_covariance(z) + _covariance(z_pos))
    step = z_pos - z
    return jnp.mean(jnp.sum(step * jnp.linalg.solve(pooled, step.T).T, axis=1))


def _covariance(z: Embeddings) -> Float[Array, "n n"]:
    """The covariance over a batch, divided by N - 1."""
    centred = z - jnp.mean(z, axis=0)
    return jnp.matmul(centred.T, centred, precision="highest") / (len(z) - 1)
