"""From a matrix to its spectrum: singular values, eigenvalues, covariances.

Spectra of covariances are squared singular values of the centred matrix, which squares no rounding,
and what rounding alone can have made is zero.
"""

import numpy as np
from jaxtyping import Float

from linsim.arrays import Array, namespace, raised

Embeddings = Float[Array, "N n"]
Spectrum = Float[Array, "k"]


def singular_values(w: Float[Array, "n d"]) -> Spectrum:
    """The singular values of a matrix, largest first.

    Source: this project, docs/theory.md, "Measures".

    Args:
        w: The matrix, shape (n, d).

    Returns:
        The singular values, shape (min(n, d),); all nan if any entry of w is not finite.

    Example:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> w = jnp.array([[0.0, 1.0, 0.0], [3.0, 0.0, 0.0]])
        >>> np.asarray(singular_values(w)).round(6).tolist()
        [3.0, 1.0]
    """
    w, xp = raised(w), namespace(w)
    if xp is np and not np.all(np.isfinite(w)):  # for which NumPy has no answer
        return np.full(min(w.shape), np.nan, w.dtype)
    return xp.linalg.svd(w, compute_uv=False)


def numerical_rank(values: Float[np.ndarray, "*batch k"]) -> Float[np.ndarray, "*batch"]:
    """How many singular values are certainly not zero, in view of rounding.

        #{k : s_k > sqrt(eps) max_j s_j}

    where eps is the machine precision of the values' dtype: sqrt(eps) is 1.5e-8 in float64 and
    3.5e-4 in float32, which rounding does not reach.

    Source: this project, docs/theory.md, "Measures".

    Args:
        values: The singular values, non-negative, in any order, shape (..., k).

    Returns:
        The counts, whole numbers in floating point, a NumPy array of shape (...); zero if all
        values are zero, nan if any is not a number.

    Example:
        >>> import numpy as np
        >>> numerical_rank(np.array([[1.0, 1e-7, 1e-9], [2.0, 0.0, 0.0]])).tolist()
        [2.0, 1.0]
    """
    values = np.asarray(values)
    largest = values.max(axis=-1, keepdims=True)
    counts = np.sum(values > np.sqrt(np.finfo(values.dtype).eps) * largest, axis=-1)
    return np.asarray(np.where(np.isnan(largest[..., 0]), np.nan, counts))


def eigenvalues(matrix: Float[Array, "d d"]) -> Spectrum:
    """The eigenvalues of a symmetric matrix, largest first.

    Source: this project, docs/theory.md, "Measures".

    Args:
        matrix: The symmetric matrix, shape (d, d).

    Returns:
        The eigenvalues, shape (d,); those below zero come last. All nan if any entry is not finite.

    Example:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> np.asarray(eigenvalues(jnp.array([[0.0, 2.0], [2.0, 0.0]]))).round(6).tolist()
        [2.0, -2.0]
    """
    matrix, xp = raised(matrix), namespace(matrix)
    if xp is np and not np.all(np.isfinite(matrix)):
        return np.full(len(matrix), np.nan, matrix.dtype)
    return xp.linalg.eigvalsh(matrix)[::-1]


def alignment_matrix(w1: Float[Array, "h d"], w2: Float[Array, "n h"]) -> Float[Array, "h h"]:
    """How the directions that one layer writes to match those that the next one reads from.

        A = V2^T U1,   W1 = U1 S1 V1^T,   W2 = U2 S2 V2^T

    U1 and V2 are complete orthonormal bases of the hidden space. The layers are aligned if |A| is
    the identity. Signs of singular vectors, and bases of equal singular values, are arbitrary, so
    compare |A| or subspaces (`linsim.theory.alignment.group_angle`).

    Source: paper, section 5.2; docs/theory.md, Eq. (alignment-matrix).

    Args:
        w1: Weights of the first layer, shape (h, d).
        w2: Weights of the second layer, shape (n, h).

    Returns:
        A, orthogonal, shape (h, h): columns follow the modes of W1 and rows those of W2, largest
        singular value first.

    Example:
        The first layer is strongest in the hidden direction in which the second is weakest:

        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> w1, w2 = jnp.diag(jnp.array([2.0, 1.0])), jnp.diag(jnp.array([1.0, 2.0]))
        >>> np.abs(alignment_matrix(w1, w2)).round(6).tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """
    xp = namespace(w1, w2)
    u1 = xp.linalg.svd(raised(w1), full_matrices=True)[0]
    return xp.linalg.svd(raised(w2), full_matrices=True)[2] @ u1


def covariance(z: Embeddings) -> Float[Array, "n n"]:
    """The covariance matrix of a batch of embeddings.

        C = sum_i (z_i - mean)(z_i - mean)^T / N

    Source: paper, section 3.

    Args:
        z: Embeddings, one sample to a row, shape (N, n).

    Returns:
        C, symmetric, shape (n, n); the sum is divided by N, not by N - 1.

    Example:
        >>> import jax.numpy as jnp
        >>> covariance(jnp.array([[1.0, 5.0], [3.0, 5.0]])).tolist()
        [[1.0, 0.0], [0.0, 0.0]]
    """
    deviations = centred(z)
    return deviations.T @ deviations / len(z)


def covariance_spectrum(z: Embeddings) -> Spectrum:
    """The spectrum of the embedding covariance: how much variance each direction holds.

        lambda_k = s_k^2 / N

    with the singular values s_k of the centred embeddings, so that small eigenvalues are not lost
    in the rounding of large ones. A singular value that rounding can have made, at most
    max(N, n) eps max_j s_j with the machine precision eps, counts as zero.

    Source: paper, section 3, Fig. 2.

    Args:
        z: Embeddings, one sample to a row, shape (N, n).

    Returns:
        The eigenvalues of `covariance`, largest first, shape (n,); of N <= n samples at most N - 1
        are not zero.

    Example:
        Embeddings on a line in the plane: one direction has collapsed.

        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> z = jnp.array([[-1.0, -1.0], [0.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
        >>> np.asarray(covariance_spectrum(z)).round(6).tolist()
        [1.0, 0.0]
    """
    xp = namespace(z)
    values = singular_values(centred(z))
    cut = max(z.shape) * np.finfo(values.dtype).eps * values[:1]
    kept = xp.where(values <= cut, 0.0, values)
    return xp.pad(kept**2 / len(z), (0, z.shape[1] - len(values)))


def centred(z: Embeddings) -> Embeddings:
    """Embeddings less their mean.

    Source: this project, docs/theory.md, "Measures".

    Args:
        z: Embeddings, one sample to a row, shape (N, n).

    Returns:
        z_i - mean, shape (N, n), in float32 at least.

    Example:
        >>> import numpy as np
        >>> centred(np.array([[1.0, 5.0], [3.0, 5.0]])).tolist()
        [[-1.0, 0.0], [1.0, 0.0]]
    """
    z = raised(z)
    return z - z.mean(axis=0)
