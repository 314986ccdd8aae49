"""Spectral measures of collapse, one definition each, for weights, representations and embeddings.

A spectrum is the list of the singular values of a weight matrix, or of the eigenvalues of a
covariance. Covariances are centred and divided by N, and entropies use the natural logarithm. Every
measure takes one matrix or one spectrum; use `jax.vmap` over several.
"""

from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from linsim.arrays import Array

Embeddings = Float[Array, "N n"]
Spectrum = Float[Array, "k"]
Scalar = Float[Array, ""]


def singular_values(w: Float[Array, "n d"]) -> Spectrum:
    """The singular values of a matrix, largest first.

    Source: this project, docs/theory.md, "Measures".

    Args:
        w: The matrix, shape (n, d).

    Returns:
        The singular values, shape (min(n, d),).

    Example:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> w = jnp.array([[0.0, 1.0, 0.0], [3.0, 0.0, 0.0]])
        >>> np.asarray(singular_values(w)).round(6).tolist()
        [3.0, 1.0]
    """
    return jnp.linalg.svd(w, compute_uv=False)


def numerical_rank(values: Float[np.ndarray, "*batch k"]) -> Int[np.ndarray, "*batch"]:
    """How many singular values are certainly not zero, in view of rounding.

        #{k : s_k > sqrt(eps) max_j s_j}

    where eps is the machine precision of the values' dtype: sqrt(eps) is 1.5e-8 in float64 and
    3.5e-4 in float32, which rounding does not reach.

    Source: this project, docs/theory.md, "Measures".

    Args:
        values: The singular values, non-negative, in any order, shape (..., k).

    Returns:
        The counts, a NumPy array of shape (...); zero if all values are zero.

    Example:
        >>> import numpy as np
        >>> numerical_rank(np.array([[1.0, 1e-7, 1e-9], [2.0, 0.0, 0.0]])).tolist()
        [2, 1]
    """
    values = np.asarray(values)
    above = values > np.sqrt(np.finfo(values.dtype).eps) * values.max(axis=-1, keepdims=True)
    return np.asarray(np.sum(above, axis=-1))


def eigenvalues(matrix: Float[Array, "d d"]) -> Spectrum:
    """The eigenvalues of a symmetric matrix, largest first.

    Source: this project, docs/theory.md, "Measures".

    Args:
        matrix: The symmetric matrix, shape (d, d).

    Returns:
        The eigenvalues, shape (d,); those below zero come last.

    Example:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> np.asarray(eigenvalues(jnp.array([[0.0, 2.0], [2.0, 0.0]]))).round(6).tolist()
        [2.0, -2.0]
    """
    return jnp.linalg.eigvalsh(matrix)[::-1]


def alignment_matrix(w1: Float[Array, "h d"], w2: Float[Array, "n h"]) -> Float[Array, "h h"]:
    """How the directions that one layer writes to match those that the next one reads from.

        A = V2^T U1,   W1 = U1 S1 V1^T,   W2 = U2 S2 V2^T

    U1 and V2 are complete orthonormal bases of the hidden space. The layers are aligned if |A| is
    the identity. Signs of singular vectors, and bases of equal singular values, are arbitrary, so
    compare |A| or subspaces (`linsim.theory.alignment.group_angle`).

    Source: paper, section 5.2.

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
    u1 = jnp.linalg.svd(w1, full_matrices=True)[0]
    return jnp.linalg.svd(w2, full_matrices=True)[2] @ u1


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
    centred = z - jnp.mean(z, axis=0)
    return centred.T @ centred / len(z)


def covariance_spectrum(z: Embeddings) -> Spectrum:
    """The spectrum of the embedding covariance: how much variance each direction holds.

    The covariance is symmetric and has no negative eigenvalues, so its eigenvalues are also its
    singular values. Values that rounding makes negative are set to zero.

    Source: paper, section 3, Fig. 2.

    Args:
        z: Embeddings, one sample to a row, shape (N, n).

    Returns:
        The eigenvalues of `covariance`, largest first, shape (n,).

    Example:
        Embeddings on a line in the plane: one direction has collapsed.

        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> z = jnp.array([[-1.0, -1.0], [0.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
        >>> np.asarray(covariance_spectrum(z)).round(6).tolist()
        [1.0, 0.0]
    """
    return jnp.maximum(eigenvalues(covariance(z)), 0.0)


def collapsed_dimensions(
    spectrum: Float[Array, "*batch k"], threshold: float = 0.01, *, unit: float | None = None
) -> Int[Array, "*batch"]:
    """How many dimensions of a spectrum have collapsed: the one definition that all of linsim uses.

        #{k : s_k < threshold max_j s_j};   all of them if the largest is zero

    Source: this project, docs/theory.md, "Measures".

    Args:
        spectrum: Non-negative values in any order, shape (..., k): the singular values of weights,
            or the eigenvalues of a covariance.
        threshold: The fraction of the largest value below which a value counts as collapsed. A
            fraction of 0.01 of singular values corresponds to one of 0.0001 of the eigenvalues of
            a covariance, which scale as their squares.
        unit: A size to compare with instead of the largest value.

    Returns:
        The counts, integers of shape (...). If any value is nan, all of them count as collapsed.

    Example:
        >>> import jax.numpy as jnp
        >>> int(collapsed_dimensions(jnp.array([1.0, 0.5, 0.001, 0.0])))
        2
        >>> int(collapsed_dimensions(jnp.array([1.0, 0.5, 0.001, 0.0]), 0.1, unit=10.0))
        3
    """
    reference = spectrum.max(axis=-1, keepdims=True) if unit is None else unit
    vanished = ~(spectrum >= threshold * reference)
    counts = (vanished | (spectrum.max(axis=-1, keepdims=True) <= 0)).sum(axis=-1)
    return np.asarray(counts) if isinstance(spectrum, np.ndarray) else counts


KINDS = ("none", "dimensional", "complete")
COMPLETE = 0.01  # of the initial total variance
DIMENSIONAL = 1e-4  # of the largest variance: 1 % in standard deviation


def kinds_found(indices: np.ndarray) -> str:
    """The kinds of collapse that occur among several runs, in words.

    Source: this project, docs/theory.md, "Measures".

    Args:
        indices: One index into `KINDS` for each run, any shape.

    Returns:
        The names of the kinds that occur, in alphabetical order and joined by "or".

    Example:
        >>> import numpy as np
        >>> kinds_found(np.array([1, 2, 2])), kinds_found(np.array([0, 0]))
        ('complete or dimensional', 'none')
    """
    return " or ".join(sorted({KINDS[int(index)] for index in np.ravel(indices)}))


def collapse_kind(
    spectrum: np.ndarray,
    initial_variance: float,
    *,
    complete: float = COMPLETE,
    dimensional: float = DIMENSIONAL,
) -> Literal["none", "dimensional", "complete"]:
    """Which kind of collapse an embedding covariance shows.

        complete:      sum_k lambda_k < complete * (the same sum before training)
        dimensional:   otherwise, if any lambda_k < dimensional * max_j lambda_j
        none:          otherwise

    Source: this project, docs/theory.md, "Measures"; the kinds are those of the paper, section 3,
    Fig. 1.

    Args:
        spectrum: The eigenvalues lambda_k of the embedding covariance, shape (k,).
        initial_variance: Their sum before training, above zero.
        complete: The fraction of the initial variance below which the collapse is complete.
        dimensional: The fraction of the largest eigenvalue below which a dimension has collapsed.
            The default is 1 % in standard deviation.

    Returns:
        One of `KINDS`.

    Raises:
        ValueError: If a value is not finite, or the initial variance is not above zero.

    Example:
        >>> import numpy as np
        >>> spectra = ([1.0, 0.5], [1.0, 1e-9], [1e-9, 1e-9])
        >>> [collapse_kind(np.array(spectrum), initial_variance=1.0) for spectrum in spectra]
        ['none', 'dimensional', 'complete']
    """
    values = np.asarray(spectrum, dtype=float)
    if not (np.all(np.isfinite(values)) and np.isfinite(initial_variance) and initial_variance > 0):
        raise ValueError(
            "spectrum and initial variance must be finite and the latter above 0; "
            f"got {values}, {initial_variance}"
        )
    if values.sum() < complete * initial_variance:
        return "complete"
    return "dimensional" if np.any(values < dimensional * values.max()) else "none"


def _exp_entropy(weights: Spectrum) -> Scalar:
    """exp(-sum_k p_k log p_k) for non-negative weights p; zero weights contribute nothing."""
    return jnp.exp(
        -jnp.sum(
            jnp.where(weights > 0, weights * jnp.log(jnp.where(weights > 0, weights, 1.0)), 0.0)
        )
    )


def rankme(z: Embeddings, epsilon: float = 1e-7) -> Scalar:
    """RankMe, a smooth count of the dimensions that a batch of embeddings uses.

        RankMe = exp(-sum_k p_k log p_k),   p_k = s_k / (sum_j s_j) + epsilon

    with the singular values s_k of the matrix z itself, which is NOT centred: a common offset of
    all embeddings counts as a dimension.

    Source: Garrido et al. 2023 (arXiv 2210.02885), Eq. 1.

    Args:
        z: Embeddings, one sample to a row, not all zero, shape (N, n).
        epsilon: The small number of the formula, by default as published.

    Returns:
        A scalar from 1 to min(N, n), up to a deviation of the order of epsilon.

    Example:
        Embeddings that use both dimensions equally, and embeddings on a line:

        >>> import jax.numpy as jnp
        >>> plane = jnp.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
        >>> round(float(rankme(plane)), 3), round(float(rankme(plane.at[:, 1].set(0.0))), 3)
        (2.0, 1.0)
    """
    values = singular_values(z)
    return _exp_entropy(values / jnp.sum(values) + epsilon)


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
    return _exp_entropy(singular_values / jnp.sum(singular_values))


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
    return jnp.sum(eigenvalues) ** 2 / jnp.sum(eigenvalues**2)


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
    values = singular_values(w)
    return jnp.sum(values**2) / values[0] ** 2


def alpha_req(eigenvalues: Spectrum) -> Scalar:
    """alpha-ReQ, the exponent of the power law by which a spectrum decays.

        lambda_k ~ k^-alpha,   k = 1, ..., K

    fitted by least squares of log lambda_k on log k. Values that are not positive are left out.

    Source: Agrawal et al. 2022 (alpha-ReQ).

    Args:
        eigenvalues: The eigenvalues lambda_k, largest first, shape (K,).

    Returns:
        alpha, a scalar: larger for a faster decay, and nan with fewer than two positive values.

    Example:
        >>> import jax.numpy as jnp
        >>> round(float(alpha_req(3.0 * jnp.arange(1.0, 9.0) ** -1.5)), 6)
        1.5
    """
    positive = eigenvalues > 0
    log_rank = jnp.log(jnp.arange(1, len(eigenvalues) + 1))
    log_value = jnp.log(jnp.where(positive, eigenvalues, 1.0))
    count = jnp.sum(positive)
    offset = jnp.where(positive, log_rank - jnp.sum(log_rank * positive) / count, 0.0)
    return -jnp.sum(offset * log_value) / jnp.sum(offset**2)


def alignment(z: Embeddings, z_pos: Embeddings, power: float = 2.0) -> Scalar:
    """How far apart the two views of a sample are embedded, on average; lower is better aligned.

        (1/N) sum_i |z_i - z'_i|^power

    Source: Wang and Isola 2020, Eq. 5. Mean over positive pairs.

    Args:
        z: Embeddings of one view, usually of unit norm, shape (N, n).
        z_pos: Embeddings z' of the other view, usually of unit norm, shape (N, n).
        power: The exponent > 0.

    Returns:
        A scalar >= 0; 0 if the two views coincide.

    Example:
        Unit vectors at right angles have a squared distance of 2:

        >>> import jax.numpy as jnp
        >>> z, turned = jnp.eye(2), jnp.array([[0.0, 1.0], [1.0, 0.0]])
        >>> round(float(alignment(z, turned)), 6), float(alignment(z, z))
        (2.0, 0.0)
    """
    return jnp.mean(jnp.linalg.norm(z - z_pos, axis=1) ** power)


def uniformity(z: Embeddings, scale: float = 2.0) -> Scalar:
    """How far embeddings are from being spread evenly; lower is more uniform.

        log( mean over pairs i != j of e^{-scale |z_i - z_j|^2} )

    Source: Wang and Isola 2020, Eq. 6. Mean over distinct pairs.

    Args:
        z: Embeddings, usually of unit norm, shape (N, n) with N >= 2.
        scale: The factor of the squared distances, t > 0 in the source.

    Returns:
        A scalar <= 0; 0 if all embeddings coincide.

    Example:
        Four points spread round a circle, and four that coincide:

        >>> import jax.numpy as jnp
        >>> z = jnp.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
        >>> round(float(uniformity(z)), 2), abs(round(float(uniformity(jnp.ones((4, 2)))), 6))
        (-4.4, 0.0)
    """
    square = jnp.sum(z * z, axis=1)
    distance = jnp.maximum(
        square[:, None] + square[None, :] - 2 * jnp.matmul(z, z.T, precision="highest"), 0.0
    )
    count = len(z)
    kernel = jnp.exp(-scale * distance) * (1 - jnp.eye(count))
    return jnp.log(jnp.sum(kernel) / (count * (count - 1)))
