"""Exact gradients of InfoNCE for linear models (paper, section 4.1 and Appendix B.1-B.3).

These are the readable statements, one per equation. The training step (`linsim.contrast`) computes the same numbers in
one fused pass by another route; tests hold both to `jax.grad` of `linsim.losses`.

For the distance loss everything here is the SUM over anchors, as in the paper's Eq. 2; for the dot and cosine losses it
is the MEAN, as in the released code.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from linsim.arrays import Array

Batch = Float[Array, "N d"]
Embeddings = Float[Array, "N n"]
Weights = Float[Array, "n d"]
Square = Float[Array, "d d"]


def softmax_weights(z: Embeddings, z_pos: Embeddings) -> Float[Array, "N N"]:
    """The softmax weights alpha of the distance loss.

        alpha_ij = e^{-|z_i - z_j|^2 / 2} / Z_i  (j != i),   alpha_ii = e^{-|z_i - z'_i|^2 / 2} / Z_i,   rows sum to one

    Source: paper, below Eq. 4. Args: z, z_pos (N, n). Returns: (N, N).
    """
    square = jnp.sum((z[:, None, :] - z[None, :, :]) ** 2, axis=2)
    square_pos = jnp.sum((z - z_pos) ** 2, axis=1)
    return jax.nn.softmax(
        -0.5 * jnp.where(jnp.eye(len(z), dtype=bool), square_pos[:, None], square), axis=1
    )


def _off_diagonal(alpha: Float[Array, "N N"]) -> Float[Array, "N N"]:
    return alpha - jnp.diag(jnp.diag(alpha))


def embedding_gradients(z: Embeddings, z_pos: Embeddings) -> tuple[Embeddings, Embeddings]:
    """dL/dz_i and dL/dz'_i of the distance loss.

        g_i  = sum_{j != i} alpha_ij (z_j - z'_i) + sum_{j != i} alpha_ji (z_j - z_i)
        g'_i = sum_{j != i} alpha_ij (z'_i - z_i)

    Source: paper, Eq. 4. Sum over anchors. Args: z, z_pos (N, n). Returns: (g, g'), each (N, n).
    """
    alpha = _off_diagonal(softmax_weights(z, z_pos))
    row, column = alpha.sum(1)[:, None], alpha.sum(0)[:, None]
    return alpha @ z - row * z_pos + alpha.T @ z - column * z, row * (z_pos - z)


def embedding_gradients_dot(
    z: Embeddings, z_pos: Embeddings, temperature: float | Float[Array, ""] = 0.1
) -> tuple[Embeddings, Embeddings]:
    """dL/dz_i and dL/dz'_j of the dot-product loss, p = softmax of z_i . z'_j / tau over j.

        g_i = (sum_j p_ij z'_j - z'_i) / (N tau),   g'_j = (sum_i p_ij z_i - z_j) / (N tau)

    Source: this project, docs/theory.md, "Losses". Mean over anchors. Args: z, z_pos (N, n), tau. Returns: (g, g').
    """
    p = jax.nn.softmax(z @ z_pos.T / temperature, axis=1)
    scale = 1.0 / (len(z) * temperature)
    return scale * (p @ z_pos - z_pos), scale * (p.T @ z - z)


def embedding_gradients_cosine(
    z: Embeddings, z_pos: Embeddings, temperature: float | Float[Array, ""] = 0.1
) -> tuple[Embeddings, Embeddings]:
    """dL/dz_i and dL/dz'_j of the cosine loss: the dot-loss gradients at u = z/|z|, projected and rescaled.

        g_i = (I - u_i u_i^T) g_i(u) / |z_i|,   likewise g'_j

    Source: this project, docs/theory.md, "Losses". Mean over anchors. Args: z, z_pos (N, n) without zero rows, tau.
    Returns: (g, g'), each orthogonal to its own row.
    """
    norm, norm_pos = (jnp.linalg.norm(v, axis=1, keepdims=True) for v in (z, z_pos))
    u, u_pos = z / norm, z_pos / norm_pos
    g, g_pos = embedding_gradients_dot(u, u_pos, temperature)

    def tangent(direction: Embeddings, vector: Embeddings) -> Embeddings:
        return vector - direction * jnp.sum(direction * vector, axis=1, keepdims=True)

    return tangent(u, g) / norm, tangent(u_pos, g_pos) / norm_pos


def covariances(w: Weights, x: Batch, x_pos: Batch) -> tuple[Square, Square]:
    """The two covariances whose difference drives the linear model.

        sigma0 = sum_{i != j} alpha_ij (x_i - x_j)(x_i - x_j)^T          pull of the negatives
        sigma1 = sum_i (1 - alpha_ii) (x'_i - x_i)(x'_i - x_i)^T         pull of the augmentation

    Source: paper, Lemma 2. Sum over anchors; divide by N for the mean loss.
    Args: w (n, d) weights; x, x_pos (N, d) the two views. Returns: (sigma0, sigma1), each (d, d), positive semi-definite.
    """
    alpha = _off_diagonal(softmax_weights(x @ w.T, x_pos @ w.T))
    pull = alpha + alpha.T
    sigma0 = x.T @ (pull.sum(1)[:, None] * x) - x.T @ pull @ x
    step = x_pos - x
    return sigma0, step.T @ (alpha.sum(1)[:, None] * step)


def contrast_matrix(w: Weights, x: Batch, x_pos: Batch) -> Square:
    """The contrast matrix X of the distance loss: symmetric, with dL/dW = -W X.

        X = sum_i [ sum_{j != i} alpha_ij (x'_i - x_j) + sum_{j != i} alpha_ji (x_i - x_j) ] x_i^T
            - sum_i (1 - alpha_ii) (x'_i - x_i) x'_i^T

    Source: paper, Eq. 6 as corrected in its Appendix B.2 (the main text prints a minus before the first sum). Equals
    sigma0 - sigma1 of Lemma 2. Sum over anchors. Args: w (n, d); x, x_pos (N, d). Returns: (d, d).
    """
    alpha = _off_diagonal(softmax_weights(x @ w.T, x_pos @ w.T))
    row, column = alpha.sum(1)[:, None], alpha.sum(0)[:, None]
    pull = (row * x_pos - alpha @ x) + (column * x - alpha.T @ x)
    return pull.T @ x - (row * (x_pos - x)).T @ x_pos


def weight_gradient(w: Weights, x: Batch, x_pos: Batch) -> Weights:
    """G = dL/dW = -W X of the distance loss.

    Source: paper, Eq. 5. Sum over anchors. Args: w (n, d); x, x_pos (N, d). Returns: (n, d).
    """
    return -w @ contrast_matrix(w, x, x_pos)


def weight_gradient_dot(
    w: Weights, x: Batch, x_pos: Batch, temperature: float | Float[Array, ""] = 0.1
) -> Weights:
    """G = sum_i (g_i x_i^T + g'_i x'_i^T) of the dot-product loss.

    Source: paper, Lemma 1, with `embedding_gradients_dot`. Mean over anchors. Returns: (n, d).
    """
    g, g_pos = embedding_gradients_dot(x @ w.T, x_pos @ w.T, temperature)
    return g.T @ x + g_pos.T @ x_pos


def weight_gradient_cosine(
    w: Weights, x: Batch, x_pos: Batch, temperature: float | Float[Array, ""] = 0.1
) -> Weights:
    """G = sum_i (g_i x_i^T + g'_i x'_i^T) of the cosine loss.

    Source: paper, Lemma 1, with `embedding_gradients_cosine`. Mean over anchors. Returns: (n, d).
    """
    g, g_pos = embedding_gradients_cosine(x @ w.T, x_pos @ w.T, temperature)
    return g.T @ x + g_pos.T @ x_pos


def frozen_flow(w: Weights, contrast: Square, time: float | Float[Array, ""]) -> Weights:
    """W(t) = W(0) e^{X t}: the model under a contrast matrix held fixed.

    Source: paper, Theorem 1. Directions in which X is negative vanish at that rate. X changes in training, so this is
    exact only for frozen X. Time is in the units of X (sum or mean loss). Args: w (n, d); contrast (d, d). Returns: (n, d).
    """
    return w @ jax.scipy.linalg.expm(contrast * time)
