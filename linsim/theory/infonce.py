"""Exact gradients of InfoNCE for linear models (paper, section 4.1 and Appendix B.1-B.3).

A linear model embeds the samples x_i and their positives x'_i as z_i = W x_i and z'_i = W x'_i.
The functions here are the readable statements about it, one per equation. The training step
computes the same numbers in one fused pass by another route; tests hold both to `jax.grad` of
`linsim.losses`.

Normalisation: for the distance loss everything here belongs to the SUM over anchors, as in the
paper's Eq. 2. For the dot and cosine losses it belongs to the MEAN, as in the released code.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from linsim.arrays import Array, jitted

Batch = Float[Array, "N d"]
Embeddings = Float[Array, "N n"]
Weights = Float[Array, "n d"]
Square = Float[Array, "d d"]


@jitted
def softmax_weights(z: Embeddings, z_pos: Embeddings) -> Float[Array, "N N"]:
    """The softmax weights alpha of the distance loss: how much each sample counts for each anchor.

        alpha_ij = e^{-|z_i - z_j|^2 / 2} / Z_i   (j != i)
        alpha_ii = e^{-|z_i - z'_i|^2 / 2} / Z_i

    where Z_i normalises row i to sum one. The diagonal holds the weights of the positive pairs.

    Source: paper, below Eq. 4; docs/theory.md, Eq. (loss).

    Args:
        z: Embeddings of the anchor view, from which the negatives come as well, shape (N, n).
        z_pos: Embeddings of the positives, shape (N, n).

    Returns:
        The weights, shape (N, N); each row sums to one.

    Example:
        Two anchors at distance 1, each with a positive that coincides with it. The weights of the
        positive and of the negative stand in the ratio 1 to e^{-1/2}:

        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> z = jnp.array([[0.0], [1.0]])
        >>> np.asarray(softmax_weights(z, z)).round(3).tolist()
        [[0.622, 0.378], [0.378, 0.622]]
    """
    square = jnp.sum((z[:, None, :] - z[None, :, :]) ** 2, axis=2)
    square_pos = jnp.sum((z - z_pos) ** 2, axis=1)
    return jax.nn.softmax(
        -0.5 * jnp.where(jnp.eye(len(z), dtype=bool), square_pos[:, None], square), axis=1
    )


def _off_diagonal(alpha: Float[Array, "N N"]) -> Float[Array, "N N"]:
    """The weights of the negatives alone: `alpha` with its diagonal set to zero."""
    return alpha - jnp.diag(jnp.diag(alpha))


@jitted
def embedding_gradients(z: Embeddings, z_pos: Embeddings) -> tuple[Embeddings, Embeddings]:
    """Gradient of the distance loss with respect to the embeddings of both views.

        g_i  = dL/dz_i  = sum_{j != i} alpha_ij (z_j - z'_i) + sum_{j != i} alpha_ji (z_j - z_i)
        g'_i = dL/dz'_i = sum_{j != i} alpha_ij (z'_i - z_i)

    with the weights alpha of `softmax_weights`.

    Source: paper, Eq. 4. L is the sum over anchors.

    Args:
        z: Embeddings of the anchor view, shape (N, n).
        z_pos: Embeddings of the positives, shape (N, n).

    Returns:
        The pair (g, g'), each of shape (N, n).

    Example:
        The formula agrees with automatic differentiation of the loss:

        >>> import jax
        >>> import jax.numpy as jnp
        >>> from linsim import losses
        >>> z = jax.random.normal(jax.random.key(0), (5, 2))
        >>> z_pos = z + 0.1
        >>> exact = jax.grad(losses.infonce, argnums=(0, 1))(z, z_pos)
        >>> bool(jnp.allclose(jnp.stack(embedding_gradients(z, z_pos)), jnp.stack(exact)))
        True
    """
    alpha = _off_diagonal(softmax_weights(z, z_pos))
    row, column = alpha.sum(1)[:, None], alpha.sum(0)[:, None]
    return alpha @ z - row * z_pos + alpha.T @ z - column * z, row * (z_pos - z)


@jitted
def embedding_gradients_dot(
    z: Embeddings, z_pos: Embeddings, temperature: float | Float[Array, ""] = 0.1
) -> tuple[Embeddings, Embeddings]:
    """Gradient of the dot-product loss with respect to the embeddings of both views.

        g_i  = dL/dz_i  = (sum_j p_ij z'_j - z'_i) / (N tau)
        g'_j = dL/dz'_j = (sum_i p_ij z_i - z_j) / (N tau)

    where p_ij is the softmax of z_i . z'_j / tau over j.

    Source: this project, docs/theory.md, "Losses". L is the mean over anchors.

    Args:
        z: Embeddings of the anchor view, shape (N, n).
        z_pos: Embeddings of the second view, positives and negatives, shape (N, n).
        temperature: The temperature tau > 0.

    Returns:
        The pair (g, g'), each of shape (N, n).

    Example:
        The formula agrees with automatic differentiation of the loss:

        >>> import jax
        >>> import jax.numpy as jnp
        >>> from linsim import losses
        >>> z = jax.random.normal(jax.random.key(0), (5, 2))
        >>> z_pos = z + 0.1
        >>> exact = jax.grad(losses.infonce_dot, argnums=(0, 1))(z, z_pos)
        >>> bool(jnp.allclose(jnp.stack(embedding_gradients_dot(z, z_pos)), jnp.stack(exact)))
        True
    """
    p = jax.nn.softmax(z @ z_pos.T / temperature, axis=1)
    scale = 1.0 / (len(z) * temperature)
    return scale * (p @ z_pos - z_pos), scale * (p.T @ z - z)


@jitted
def embedding_gradients_cosine(
    z: Embeddings, z_pos: Embeddings, temperature: float | Float[Array, ""] = 0.1
) -> tuple[Embeddings, Embeddings]:
    """Gradient of the cosine loss (NT-Xent) with respect to the embeddings of both views.

        dL/dz_i = (I - u_i u_i^T) g_i(u) / |z_i|,   u_i = z_i / |z_i|

    where g_i(u) is the gradient of the dot-product loss at the unit vectors; likewise for z'_j.
    The loss does not change with the length of an embedding, so each gradient is orthogonal to
    its own embedding.

    Source: this project, docs/theory.md, "Losses". L is the mean over anchors.

    Args:
        z: Embeddings of the anchor view, shape (N, n), without zero rows.
        z_pos: Embeddings of the second view, shape (N, n), without zero rows.
        temperature: The temperature tau > 0.

    Returns:
        The pair (dL/dz, dL/dz'), each of shape (N, n).

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> z = jax.random.normal(jax.random.key(0), (5, 2))
        >>> g, g_pos = embedding_gradients_cosine(z, z + 0.1)
        >>> bool(jnp.allclose(jnp.sum(g * z, axis=1), 0.0, atol=1e-9))  # orthogonal, row by row
        True
    """
    norm, norm_pos = (jnp.linalg.norm(v, axis=1, keepdims=True) for v in (z, z_pos))
    u, u_pos = z / norm, z_pos / norm_pos
    g, g_pos = embedding_gradients_dot(u, u_pos, temperature)

    def tangent(direction: Embeddings, vector: Embeddings) -> Embeddings:
        return vector - direction * jnp.sum(direction * vector, axis=1, keepdims=True)

    return tangent(u, g) / norm, tangent(u_pos, g_pos) / norm_pos


@jitted
def covariances(w: Weights, x: Batch, x_pos: Batch) -> tuple[Square, Square]:
    """The two covariances whose difference drives the linear model under the distance loss.

        sigma0 = sum_{i != j} alpha_ij (x_i - x_j)(x_i - x_j)^T        push of the negatives
        sigma1 = sum_i (1 - alpha_ii) (x'_i - x_i)(x'_i - x_i)^T       pull of the augmentation

    with the softmax weights alpha of the embeddings x W^T. The weights grow along directions in
    which sigma0 is larger and shrink along those in which sigma1 is larger.

    Source: paper, Lemma 2; docs/theory.md, Eq. (lemma-2). Sum over anchors; divide by N for the
    mean loss.

    Args:
        w: Weights of the linear model, shape (n, d).
        x: Samples of the anchor view, shape (N, d).
        x_pos: Their positives, shape (N, d).

    Returns:
        The pair (sigma0, sigma1), each symmetric, positive semi-definite and of shape (d, d).

    Example:
        Their difference is the contrast matrix. Without augmentation sigma1 is zero:

        >>> import jax
        >>> import jax.numpy as jnp
        >>> x, noise = jax.random.normal(jax.random.key(0), (2, 6, 3))
        >>> w = jnp.eye(3)
        >>> sigma0, sigma1 = covariances(w, x, x + noise)
        >>> bool(jnp.allclose(sigma0 - sigma1, contrast_matrix(w, x, x + noise)))
        True
        >>> float(jnp.abs(covariances(w, x, x)[1]).max())
        0.0
    """
    alpha = _off_diagonal(softmax_weights(x @ w.T, x_pos @ w.T))
    pull = alpha + alpha.T
    sigma0 = x.T @ (pull.sum(1)[:, None] * x) - x.T @ pull @ x
    step = x_pos - x
    return sigma0, step.T @ (alpha.sum(1)[:, None] * step)


@jitted
def contrast_matrix(w: Weights, x: Batch, x_pos: Batch) -> Square:
    """The contrast matrix X of the distance loss, which gives its gradient as dL/dW = -W X.

        X = sum_i [ sum_{j != i} alpha_ij (x'_i - x_j) + sum_{j != i} alpha_ji (x_i - x_j) ] x_i^T
            - sum_i (1 - alpha_ii) (x'_i - x_i) x'_i^T

    X is symmetric and equals sigma0 - sigma1 of `covariances`. Under gradient flow, dW/dt = W X,
    so directions with positive eigenvalues of X grow and those with negative ones shrink.

    Source: paper, Eq. 6 as corrected in its Appendix B.2 (the main text prints a minus in front of
    the first sum); docs/theory.md, Eq. (lemma-2). Sum over anchors; divide by N for the mean loss.

    Args:
        w: Weights of the linear model, shape (n, d).
        x: Samples of the anchor view, shape (N, d).
        x_pos: Their positives, shape (N, d).

    Returns:
        The contrast matrix, shape (d, d).

    Example:
        Two samples differ in their first coordinate, and the augmentation moves the second one. So
        the weight of the first coordinate grows and that of the second shrinks:

        >>> import jax.numpy as jnp
        >>> x = jnp.array([[1.0, 0.0], [-1.0, 0.0]])
        >>> contrast = contrast_matrix(0.1 * jnp.eye(2), x, x + jnp.array([0.0, 1.0]))
        >>> jnp.sign(jnp.diag(contrast)).tolist()
        [1.0, -1.0]
    """
    alpha = _off_diagonal(softmax_weights(x @ w.T, x_pos @ w.T))
    row, column = alpha.sum(1)[:, None], alpha.sum(0)[:, None]
    pull = (row * x_pos - alpha @ x) + (column * x - alpha.T @ x)
    return pull.T @ x - (row * (x_pos - x)).T @ x_pos


@jitted
def weight_gradient(w: Weights, x: Batch, x_pos: Batch) -> Weights:
    """Gradient of the distance loss with respect to the weights of a linear model.

        G = dL/dW = -W X

    with the contrast matrix X of `contrast_matrix`.

    Source: paper, Eq. 5; docs/theory.md, Eq. (contrast). Sum over anchors; divide by N for the mean
    loss.

    Args:
        w: Weights W of the linear model, shape (n, d).
        x: Samples of the anchor view, shape (N, d).
        x_pos: Their positives, shape (N, d).

    Returns:
        The gradient G, shape (n, d).

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from linsim import losses
        >>> x, noise = jax.random.normal(jax.random.key(0), (2, 6, 3))
        >>> w = jnp.eye(2, 3)
        >>> exact = jax.grad(lambda w: losses.infonce(x @ w.T, (x + noise) @ w.T))(w)
        >>> bool(jnp.allclose(weight_gradient(w, x, x + noise), exact))
        True
    """
    return -w @ contrast_matrix(w, x, x_pos)


@jitted
def weight_gradient_dot(
    w: Weights, x: Batch, x_pos: Batch, temperature: float | Float[Array, ""] = 0.1
) -> Weights:
    """Gradient of the dot-product loss with respect to the weights of a linear model.

        G = dL/dW = sum_i (g_i x_i^T + g'_i x'_i^T)

    with g and g' of `embedding_gradients_dot`.

    Source: paper, Lemma 1; docs/theory.md, Eq. (contrast-dot). L is the mean over anchors.

    Args:
        w: Weights W of the linear model, shape (n, d).
        x: Samples of the anchor view, shape (N, d).
        x_pos: Samples of the second view, shape (N, d).
        temperature: The temperature tau > 0.

    Returns:
        The gradient G, shape (n, d).

    Example:
        A model whose weights are zero is at a stationary point, although not at a minimum:

        >>> import jax.numpy as jnp
        >>> x = jnp.array([[1.0, 0.0], [-1.0, 0.5], [0.0, 2.0]])
        >>> float(jnp.abs(weight_gradient_dot(jnp.zeros((2, 2)), x, x)).max())
        0.0
        >>> bool(jnp.abs(weight_gradient_dot(0.1 * jnp.eye(2), x, x)).max() > 0)
        True
    """
    g, g_pos = embedding_gradients_dot(x @ w.T, x_pos @ w.T, temperature)
    return g.T @ x + g_pos.T @ x_pos


@jitted
def weight_gradient_cosine(
    w: Weights, x: Batch, x_pos: Batch, temperature: float | Float[Array, ""] = 0.1
) -> Weights:
    """Gradient of the cosine loss (NT-Xent) with respect to the weights of a linear model.

        G = dL/dW = sum_i (g_i x_i^T + g'_i x'_i^T)

    with g and g' of `embedding_gradients_cosine`.

    Source: paper, Lemma 1; docs/theory.md, Eq. (contrast). L is the mean over anchors.

    Args:
        w: Weights W of the linear model, shape (n, d); no sample may be embedded at zero.
        x: Samples of the anchor view, shape (N, d).
        x_pos: Samples of the second view, shape (N, d).
        temperature: The temperature tau > 0.

    Returns:
        The gradient G, shape (n, d).

    Example:
        Scaling the weights leaves the loss unchanged, so the gradient is orthogonal to them:

        >>> import jax
        >>> import jax.numpy as jnp
        >>> x, noise, w = jax.random.normal(jax.random.key(0), (3, 4, 4))
        >>> gradient = weight_gradient_cosine(w, x, x + noise)
        >>> bool(jnp.allclose(jnp.sum(gradient * w), 0.0, atol=1e-9))
        True
    """
    g, g_pos = embedding_gradients_cosine(x @ w.T, x_pos @ w.T, temperature)
    return g.T @ x + g_pos.T @ x_pos


def frozen_flow(w: Weights, contrast: Square, time: float | Float[Array, ""]) -> Weights:
    """The weights after gradient flow under a contrast matrix X that is held fixed.

        dW/dt = W X,   hence   W(t) = W(0) e^{X t}

    Directions in which X is negative vanish exponentially. In training X changes with W, so this
    describes training only as long as X has hardly moved.

    Source: paper, Theorem 1.

    Args:
        w: Weights W(0) at the start, shape (n, d).
        contrast: The contrast matrix X, symmetric, shape (d, d).
        time: The time t: learning rate times steps of the loss (sum or mean) that X belongs to.

    Returns:
        The weights W(t), shape (n, d).

    Example:
        One direction grows by e and the other shrinks by 1/e in one unit of time:

        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> weights = frozen_flow(jnp.eye(2), jnp.diag(jnp.array([1.0, -1.0])), 1.0)
        >>> np.asarray(jnp.diag(weights)).round(3).tolist()
        [2.718, 0.368]
    """
    return w @ jax.scipy.linalg.expm(contrast * time)
