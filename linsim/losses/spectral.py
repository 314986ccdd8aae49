"""Losses that factorise a matrix of second moments: quartic polynomials in the weights of a linear
model, whose theory is that of any data with the same second moments (`linsim.theory.spectral`).
"""

import jax.numpy as jnp

from linsim.arrays import jitted
from linsim.losses.views import Embeddings, Scalar, pair


@jitted
def spectral_contrastive(z: Embeddings, z_pos: Embeddings) -> Scalar:
    """The spectral contrastive loss, with negatives from the second view.

        L = -(2/N) sum_i z_i . z'_i + 1/(N (N - 1)) sum_{i != j} (z_i . z'_j)^2

    Embeddings are not normalised. The mean over independent batches does not depend on N. No N x N
    array is made.

    Source: HaoChen et al. 2021 (arXiv 2106.04156), section 3; docs/theory.md, Eq.
    (factorisation), is its mean. MEAN over positive and negative pairs.

    Args:
        z: Embeddings of the anchor view, shape (N, n), N >= 2.
        z_pos: Embeddings z' of the second view, positives and negatives, shape (N, n).

    Returns:
        The loss, a scalar of any sign.

    Example:
        Orthogonal embeddings of length r with equal views: -2 r^2, without bound, since no two
        samples share a direction:

        >>> import jax.numpy as jnp
        >>> z = jnp.eye(3)
        >>> [float(spectral_contrastive(r * z, r * z)) for r in (1.0, 2.0)]
        [-2.0, -8.0]
    """
    z, z_pos = pair(z, z_pos)
    count = len(z)
    own = jnp.sum(z * z_pos, axis=1)
    moment, moment_pos = (jnp.matmul(v.T, v, precision="highest") for v in (z, z_pos))
    others = jnp.sum(moment * moment_pos) - jnp.sum(own**2)
    return -2 * jnp.mean(own) + others / (count * (count - 1))


@jitted
def linear_barlow_twins(z: Embeddings, z_pos: Embeddings) -> Scalar:
    """Barlow Twins as theory has it: without normalisation, and with equal weight on all entries.

        L = |C - I|_F^2,   C = (1/2N) sum_i (z_i z'_i^T + z'_i z_i^T)

    Embeddings are not centred.

    Source: Simon et al. 2023 (arXiv 2303.15438), section 4; docs/theory.md, Eq.
    (factorisation), is its mean. MEAN over samples inside C.

    Args:
        z: Embeddings of the first view, shape (N, n).
        z_pos: Embeddings z' of the second view, shape (N, n).

    Returns:
        The loss, a scalar >= 0.

    Example:
        Each dimension that has not been learned costs 1:

        >>> import jax.numpy as jnp
        >>> z = jnp.sqrt(2.0) * jnp.array([[1.0, 0.0], [0.0, 1.0]])
        >>> [round(float(linear_barlow_twins(z * on, z * on)), 6) for on in (0.0, 1.0)]
        [2.0, 0.0]
    """
    z, z_pos = pair(z, z_pos)
    cross = jnp.matmul(z.T, z_pos, precision="highest") / len(z)
    return jnp.sum((0.5 * (cross + cross.T) - jnp.eye(len(cross), dtype=cross.dtype)) ** 2)
