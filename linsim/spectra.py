"""Spectral measures of collapse, one definition each, for weights, representations and embeddings alike.

Covariances are centred and divided by N. Entropies are natural. Every measure takes one matrix or one spectrum; use
`jax.vmap` over several.
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
    """Singular values, largest first. Args: w (n, d). Returns: (min(n, d),)."""
    return jnp.linalg.svd(w, compute_uv=False)


def numerical_rank(values: Float[np.ndarray, "*batch k"]) -> Int[np.ndarray, "*batch"]:
    """How many singular values lie above sqrt(eps) of the largest, where rounding cannot reach. Args: (.., k). Returns: (..)."""
    values = np.asarray(values)
    above = values > np.sqrt(np.finfo(values.dtype).eps) * values.max(axis=-1, keepdims=True)
    return np.asarray(np.sum(above, axis=-1))


def eigenvalues(matrix: Float[Array, "d d"]) -> Spectrum:
    """Eigenvalues of a symmetric matrix, largest first. Args: (d, d). Returns: (d,)."""
    return jnp.linalg.eigvalsh(matrix)[::-1]


def alignment_matrix(w1: Float[Array, "h d"], w2: Float[Array, "n h"]) -> Float[Array, "h h"]:
    """A = V2^T U1, complete orthonormal bases of the hidden space; columns follow W1's modes, rows W2's.

    Source: paper, section 5.2. Signs, and bases of equal singular values, are arbitrary: compare |A| or subspaces.
    Args: w1 (h, d), w2 (n, h). Returns: (h, h).
    """
    u1 = jnp.linalg.svd(w1, full_matrices=True)[0]
    return jnp.linalg.svd(w2, full_matrices=True)[2] @ u1


def covariance(z: Embeddings) -> Float[Array, "n n"]:
    """C = sum_i (z_i - mean)(z_i - mean)^T / N. Source: paper, section 3. Args: z (N, n). Returns: (n, n)."""
    centred = z - jnp.mean(z, axis=0)
    return centred.T @ centred / len(z)


def covariance_spectrum(z: Embeddings) -> Spectrum:
    """Eigenvalues (= singular values) of the embedding covariance, largest first; negative rounding set to zero.

    Source: paper, section 3, Fig. 2. Args: z (N, n). Returns: (n,).
    """
    return jnp.maximum(eigenvalues(covariance(z)), 0.0)


def collapsed_dimensions(
    spectrum: Float[Array, "*batch k"], threshold: float = 0.01, *, unit: float | None = None
) -> Int[Array, "*batch"]:
    """How many values of a spectrum lie below `threshold` times the largest; all of them if the largest is zero.

    Source: this project, docs/theory.md, "Measures". Of variances, `threshold` is the square of what it is of standard deviations.
    Args: spectrum (.., k), non-negative, of weights or of a covariance; threshold; unit: a size to compare with instead of the
    largest value. Returns: counts (..).
    """
    reference = spectrum.max(axis=-1, keepdims=True) if unit is None else unit
    vanished = ~(spectrum >= threshold * reference)
    counts = (vanished | (spectrum.max(axis=-1, keepdims=True) <= 0)).sum(axis=-1)
    return np.asarray(counts) if isinstance(spectrum, np.ndarray) else counts


KINDS = ("none", "dimensional", "complete")
COMPLETE = 0.01  # of the initial total variance
DIMENSIONAL = 1e-4  # of the largest variance: 1 % in standard deviation


def kinds_found(indices: np.ndarray) -> str:
    """The kinds among indices into KINDS: "none", or "complete or dimensional". Args: array of indices. Returns: words."""
    return " or ".join(sorted({KINDS[int(index)] for index in np.ravel(indices)}))


def collapse_kind(
    spectrum: np.ndarray,
    initial_variance: float,
    *,
    complete: float = COMPLETE,
    dimensional: float = DIMENSIONAL,
) -> Literal["none", "dimensional", "complete"]:
    """Which kind of collapse an embedding covariance shows.

        complete:     sum_k lambda_k < `complete` x the total variance at the start
        dimensional:  otherwise, if any lambda_k < `dimensional` x the largest (standard deviations: below 1 % of the largest)

    Source: this project, docs/theory.md, "Measures"; the kinds are those of the paper, section 3, Fig. 1.
    Args: spectrum (k,), eigenvalues; initial_variance, their sum before training. Returns: one of KINDS.
    Raises: ValueError if a value is not finite, or the initial variance not above zero.
    """
    values = np.asarray(spectrum, dtype=float)
    if not (np.all(np.isfinite(values)) and np.isfinite(initial_variance) and initial_variance > 0):
        raise ValueError(
            f"spectrum and initial variance must be finite and the latter above 0; got {values}, {initial_variance}"
        )
    if values.sum() < complete * initial_variance:
        return "complete"
    return "dimensional" if np.any(values < dimensional * values.max()) else "none"


def _exp_entropy(weights: Spectrum) -> Scalar:
    return jnp.exp(
        -jnp.sum(
            jnp.where(weights > 0, weights * jnp.log(jnp.where(weights > 0, weights, 1.0)), 0.0)
        )
    )


def rankme(z: Embeddings, epsilon: float = 1e-7) -> Scalar:
    """RankMe = exp(-sum_k p_k log p_k), p_k = s_k / sum s + epsilon, s the singular values of the UNCENTRED z.

    Source: Garrido et al. 2023 (arXiv 2210.02885), Eq. 1. Args: z (N, n); epsilon as published. Returns: 1 to min(N, n).
    """
    values = singular_values(z)
    return _exp_entropy(values / jnp.sum(values) + epsilon)


def effective_rank(singular_values: Spectrum) -> Scalar:
    """exp of the entropy of the singular values normalised to sum one.

    Source: Roy and Vetterli 2007. Args: singular_values (k,), not all zero. Returns: 1 to k.
    """
    return _exp_entropy(singular_values / jnp.sum(singular_values))


def participation_ratio(eigenvalues: Spectrum) -> Scalar:
    """(sum lambda)^2 / sum lambda^2. Source: docs/theory.md, "Measures". Args: (k,), non-negative, not all zero. Returns: 1 to k."""
    return jnp.sum(eigenvalues) ** 2 / jnp.sum(eigenvalues**2)


def stable_rank(w: Float[Array, "n d"]) -> Scalar:
    """|W|_F^2 / |W|_2^2. Source: Rudelson and Vershynin 2007. Args: w (n, d), not zero. Returns: 1 to min(n, d)."""
    values = singular_values(w)
    return jnp.sum(values**2) / values[0] ** 2


def alpha_req(eigenvalues: Spectrum) -> Scalar:
    """Exponent alpha of a power law lambda_k ~ k^-alpha, by least squares of log lambda_k on log k, k = 1..K.

    Source: Agrawal et al. 2022 (alpha-ReQ). Values that are not positive are left out.
    Args: eigenvalues (K,), largest first. Returns: alpha; nan with fewer than two positive values.
    """
    positive = eigenvalues > 0
    log_rank = jnp.log(jnp.arange(1, len(eigenvalues) + 1))
    log_value = jnp.log(jnp.where(positive, eigenvalues, 1.0))
    count = jnp.sum(positive)
    offset = jnp.where(positive, log_rank - jnp.sum(log_rank * positive) / count, 0.0)
    return -jnp.sum(offset * log_value) / jnp.sum(offset**2)


def alignment(z: Embeddings, z_pos: Embeddings, power: float = 2.0) -> Scalar:
    """E |z_i - z'_i|^power over positive pairs of (usually unit-norm) embeddings; lower is better aligned.

    Source: Wang and Isola 2020, Eq. 5. Args: z, z_pos (N, n). Returns: scalar.
    """
    return jnp.mean(jnp.linalg.norm(z - z_pos, axis=1) ** power)


def uniformity(z: Embeddings, scale: float = 2.0) -> Scalar:
    """log E e^{-scale |z_i - z_j|^2} over distinct pairs of (usually unit-norm) embeddings; lower is more uniform.

    Source: Wang and Isola 2020, Eq. 6. Args: z (N, n), N >= 2. Returns: scalar <= 0.
    """
    square = jnp.sum(z * z, axis=1)
    distance = jnp.maximum(
        square[:, None] + square[None, :] - 2 * jnp.matmul(z, z.T, precision="highest"), 0.0
    )
    count = len(z)
    kernel = jnp.exp(-scale * distance) * (1 - jnp.eye(count))
    return jnp.log(jnp.sum(kernel) / (count * (count - 1)))
