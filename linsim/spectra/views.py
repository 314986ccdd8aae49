"""Measures of embeddings as points, one by one and in pairs of views: alignment, uniformity,
cosines, the spread of unit vectors, and LiDAR.
"""

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Float

from linsim.arrays import Array, namespace, raised
from linsim.spectra.ranks import rankme_of

Embeddings = Float[Array, "N n"]
Scalar = Float[Array, ""]
BLOCK = 256  # anchors whose distances to all others are held at once


def alignment(z: Embeddings, z_pos: Float[Array, "M m"], power: float = 2.0) -> Scalar:
    """How far apart the two views of a sample are embedded, on average; lower is better aligned.

        (1/N) sum_i |z_i - z'_i|^power

    Where two views coincide the gradient is zero.

    Source: Wang and Isola 2020, Eq. 5. Mean over positive pairs.

    Args:
        z: Embeddings of one view, usually of unit norm, shape (N, n).
        z_pos: Embeddings z' of the other view, usually of unit norm, shape (N, n).
        power: The exponent > 0.

    Returns:
        A scalar >= 0; 0 if the two views coincide.

    Raises:
        ValueError: If the shapes differ.

    Example:
        Unit vectors at right angles have a squared distance of 2:

        >>> import jax.numpy as jnp
        >>> z, turned = jnp.eye(2), jnp.array([[0.0, 1.0], [1.0, 0.0]])
        >>> round(float(alignment(z, turned)), 6), float(alignment(z, z))
        (2.0, 0.0)
    """
    if z.shape != z_pos.shape:
        raise ValueError(f"both views need the same shape; got {z.shape} and {z_pos.shape}")
    xp = namespace(z, z_pos)
    square = xp.sum((raised(z) - raised(z_pos)) ** 2, axis=1)
    coincide = square == 0
    distance = xp.where(coincide, 0.0, xp.where(coincide, 1.0, square) ** (power / 2))
    return xp.asarray(xp.mean(distance))


def uniformity(z: Embeddings, scale: float = 2.0) -> Scalar:
    """How far embeddings are from being spread evenly; lower is more uniform.

        log( mean over pairs i != j of e^{-scale |z_i - z_j|^2} )

    Differences are taken before squares, and the largest term out of the sum before it is formed,
    so that the value is right far from the origin and for points however far apart. Memory is
    BLOCK x N, with gradients too.

    Source: Wang and Isola 2020, Eq. 6. Mean over distinct pairs.

    Args:
        z: Embeddings, usually of unit norm, shape (N, n) with N >= 2.
        scale: The factor of the squared distances, t > 0 in the source.

    Returns:
        A scalar <= 0; 0 if all embeddings coincide.

    Raises:
        ValueError: If there are fewer than two embeddings.

    Example:
        Four points spread round a circle, and four that coincide:

        >>> import jax.numpy as jnp
        >>> z = jnp.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
        >>> round(float(uniformity(z)), 2), abs(round(float(uniformity(jnp.ones((4, 2)))), 6))
        (-4.4, 0.0)
    """
    count = len(z)
    if count < 2:
        raise ValueError(f"uniformity needs two embeddings or more; got {count}")
    z, xp = raised(z), namespace(z)
    terms = _log_kernels(z, scale) if isinstance(z, np.ndarray) else _log_kernels_jax(z, scale)
    top = terms.max() if xp is np else jax.lax.stop_gradient(terms.max())
    total = top + xp.log(xp.sum(xp.exp(terms - top)))
    return xp.asarray(total - np.log(count * (count - 1.0)), dtype=z.dtype)


def _log_kernels(z: Float[np.ndarray, "N n"], scale: float) -> Float[np.ndarray, "N"]:
    """log sum_{j != i} e^{-scale |z_i - z_j|^2} of each anchor i."""
    found = np.empty(len(z))
    for start in range(0, len(z), BLOCK):
        score = -scale * scipy.spatial.distance.cdist(z[start : start + BLOCK], z, "sqeuclidean")
        own = np.arange(len(score))
        score[own, start + own] = -np.inf
        top = score.max(axis=1)
        found[start : start + BLOCK] = top + np.log(np.exp(score - top[:, None]).sum(axis=1))
    return found


def _log_kernels_jax(z: Embeddings, scale: float) -> Float[Array, "N"]:
    """`_log_kernels` in JAX; for gradients each anchor's distances are computed again."""

    @jax.checkpoint
    def one(row):
        index, anchor = row
        score = -scale * jnp.sum((z - anchor) ** 2, axis=1)
        score = jnp.where(jnp.arange(len(z)) == index, -jnp.inf, score)
        top = jax.lax.stop_gradient(score.max())
        return top + jnp.log(jnp.sum(jnp.exp(score - top)))

    return jax.lax.map(one, (jnp.arange(len(z)), z), batch_size=BLOCK)


def mean_cosine(z: Embeddings) -> Scalar:
    """The mean cosine between the embeddings of different samples: 1 if all point the same way.

        (1 / (N (N - 1))) sum_{i != j} u_i . u_j,   u = z / |z|

    Source: Ethayarajh 2019 (arXiv 1909.00512), section 4.1, who calls it anisotropy. Mean over
    distinct pairs; zero rows have cosine zero with all others.

    Args:
        z: Embeddings, one sample to a row, shape (N, n) with N >= 2.

    Returns:
        A scalar from -1 / (N - 1) to 1.

    Example:
        >>> import numpy as np
        >>> z = np.array([[1.0, 0.0], [5.0, 0.0], [0.0, 2.0]])
        >>> round(float(mean_cosine(z)), 6)
        0.333333
    """
    xp, units = namespace(z), unit_rows(z)
    alone = xp.sum(units**2)
    return xp.asarray((xp.sum(units.sum(axis=0) ** 2) - alone) / (len(z) * (len(z) - 1.0)))


def normalised_deviation(z: Embeddings) -> Scalar:
    """The standard deviation of unit-normalised embeddings, in units of that of an even spread.

        sqrt(n) (1/n) sum_k std_i(u_ik),   u = z / |z|

    1 for embeddings spread evenly over the sphere, 0 for complete collapse.

    Source: Chen and He 2021 (SimSiam, arXiv 2011.10566), section 4.1, times sqrt(n).

    Args:
        z: Embeddings, one sample to a row, shape (N, n).

    Returns:
        A scalar from 0 to 1.

    Example:
        >>> import numpy as np
        >>> z = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        >>> round(float(normalised_deviation(z)), 6), float(normalised_deviation(np.ones((3, 2))))
        (1.0, 0.0)
    """
    xp = namespace(z)
    return xp.asarray(xp.mean(unit_rows(z).std(axis=0)) * z.shape[1] ** 0.5)


def unit_rows(z: Embeddings) -> Embeddings:
    """The rows divided by their norms; zero rows stay zero."""
    z, xp = raised(z), namespace(z)
    size = xp.max(xp.abs(z), axis=1, keepdims=True)
    scaled = z / xp.where(size == 0, 1.0, size)
    norm = xp.sqrt(xp.sum(scaled**2, axis=1, keepdims=True))
    return scaled / xp.where(norm == 0, 1.0, norm)


def lidar(
    views: Float[np.ndarray, "N q n"], *, delta: float = 1e-4, epsilon: float = 1e-7
) -> Float[np.ndarray, ""]:
    """LiDAR, the rank of what tells samples apart in units of what tells their views apart.

        exp(-sum_k p_k log p_k),   p_k = lambda_k / (sum_j lambda_j) + epsilon

    with the eigenvalues lambda_k of S_w^(-1/2) S_b S_w^(-1/2). S_b is the covariance of samples'
    mean embeddings, S_w that of a sample's views about their mean, plus delta times the identity.

    Source: Thilak et al. 2024 (arXiv 2312.04000), section 4. Covariances divided by N and by N q.

    Args:
        views: Embeddings of q >= 2 views of each of N samples, NumPy, shape (N, q, n). The source
            takes about 1000 samples and 50 views; pairs are noisier.
        delta: The regularisation, in the units of a variance.
        epsilon: The small number of the formula.

    Returns:
        A scalar from 1 to min(N - 1, n).

    Example:
        Samples differ in two dimensions and their views in a third:

        >>> import numpy as np
        >>> centres = np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]])
        >>> step = np.array([0, 0, 0.1])
        >>> round(float(lidar(np.stack([centres + step, centres - step], axis=1))), 3)
        2.0
    """
    views = np.asarray(views, np.float64)
    middle = views.mean(axis=1)
    between = (middle - middle.mean(axis=0)) / len(views) ** 0.5
    within = (views - middle[:, None]).reshape(-1, views.shape[2]) / (views[..., 0].size) ** 0.5
    if (rows := len(between) + len(within)) < views.shape[2]:  # all happens in their span
        basis = np.linalg.qr(np.concatenate([between, within]).T)[0]
        between, within = between @ basis, within @ basis
    if len(between) > between.shape[1]:
        between = np.asarray(np.linalg.qr(between, mode="r"))
    noise = within.T @ within + delta * np.eye(min(rows, views.shape[2]))
    whitened = scipy.linalg.solve_triangular(np.linalg.cholesky(noise), between.T, lower=True)
    squares = np.linalg.svd(whitened, compute_uv=False) ** 2
    return np.asarray(rankme_of(squares, epsilon))
