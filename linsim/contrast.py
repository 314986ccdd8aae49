"""The training step of a linear model in closed form: one Gram product, one exponential pass.

Every loss in `linsim.losses` sees the embeddings z = W x only through S = W^T W, so its gradient with respect to the
product W of the weights is

    dL/dW = -W X,   X symmetric (d, d),

not only for the paper's distance loss (Eq. 5) but for the dot, cosine and alignment-only losses too. The functions here
return X, the loss and the mean positive weight alpha_ii of one batch, all for the MEAN over anchors (the paper's Eq. 2
is N times that), without an N x N x d intermediate. Tests hold them to `jax.grad` of the losses.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Float

from linsim.arrays import Array
from linsim.losses import gram

Batch = Float[Array, "N d"]
Weights = Float[Array, "n d"]


class Drive(NamedTuple):
    """What drives a linear model at one moment: loss (mean), contrast matrix X/N, mean alpha_ii of the batch."""

    loss: Float[Array, "*batch"]
    contrast: Float[Array, "*batch d d"]
    alpha_ii: Float[Array, "*batch"]


BatchDrive = Callable[[Weights, Batch, Batch], Drive]


def distance(w: Weights, x: Batch, x_pos: Batch) -> Drive:
    """Drive of `losses.infonce` divided by N.

        X = sigma0 - sigma1,   sigma0 = x^T D x - (Q + Q^T),   Q = x^T alpha x,   D = diag(row and column sums of alpha)

    Source: paper, Lemma 2; alpha^T x is formed as e^T (x / Z) from the unnormalised exponentials.
    Args: w (n, d); x, x_pos (N, d). Returns: Drive.
    """
    count = len(x)
    step = x_pos - x
    z = (x - jnp.mean(x, axis=0)) @ w.T
    half_square = 0.5 * jnp.sum(z * z, axis=1)
    positive = -0.5 * jnp.sum((step @ w.T) ** 2, axis=1)
    scores = gram(z, z) - half_square[:, None] - half_square[None, :]
    scores = jnp.where(jnp.eye(count, dtype=bool), -jnp.inf, scores)  # symmetric: anchors may run along the columns
    shift = jnp.maximum(jnp.max(scores, axis=0), positive)
    weights = jnp.exp(scores - shift[None, :])
    negatives, positives = jnp.sum(weights, axis=0), jnp.exp(positive - shift)
    total = negatives + positives
    row = negatives / total
    pulled = weights @ (jnp.concatenate([x, jnp.ones_like(x[:, :1])], axis=1) / total[:, None])
    q, column = x.T @ pulled[:, :-1], pulled[:, -1]
    sigma0 = (x * (row + column)[:, None]).T @ x - q - q.T
    sigma1 = (step * row[:, None]).T @ step
    loss = jnp.mean(shift + jnp.log(total) - positive)
    return Drive(loss, (sigma0 - sigma1) / count, jnp.mean(positives / total))


def dot(w: Weights, x: Batch, x_pos: Batch, temperature: float | Float[Array, ""]) -> Drive:
    """Drive of `losses.infonce_dot`.

        X = (C + C^T) / (N tau),   C = x^T (I - p) x',   p = softmax of z z'^T / tau

    Source: this project, README "The losses". Args: w (n, d); x, x_pos (N, d); tau. Returns: Drive, alpha_ii = p_ii.
    """
    return _inner_product_drive(x @ w.T, x_pos @ w.T, x, x_pos, temperature)[0]


def cosine(w: Weights, x: Batch, x_pos: Batch, temperature: float | Float[Array, ""]) -> Drive:
    """Drive of `losses.ntxent`: the dot drive of the rescaled inputs x_i / |W x_i|, less its radial part.

        X = X_dot(u) + sum_i (u_i . g_i) y_i y_i^T + sum_j (u'_j . g'_j) y'_j y'_j^T,   y_i = x_i / |z_i|, u_i = W y_i

    Source: this project, README "The losses". Args: w (n, d); x, x_pos (N, d); tau. Returns: Drive.
    """
    norm, norm_pos = (jnp.linalg.norm(v @ w.T, axis=1, keepdims=True) for v in (x, x_pos))
    y, y_pos = x / norm, x_pos / norm_pos
    u, u_pos = y @ w.T, y_pos @ w.T
    drive, p = _inner_product_drive(u, u_pos, y, y_pos, temperature)
    scale = 1.0 / (len(x) * temperature)
    radial = scale * jnp.sum(u * (p @ u_pos - u_pos), axis=1, keepdims=True)
    radial_pos = scale * jnp.sum(u_pos * (p.T @ u - u), axis=1, keepdims=True)
    contrast = drive.contrast + (radial * y).T @ y + (radial_pos * y_pos).T @ y_pos
    return drive._replace(contrast=contrast)


def _inner_product_drive(z, z_pos, x, x_pos, temperature) -> tuple[Drive, Float[Array, "N N"]]:
    scores = gram(z, z_pos) / temperature
    shift = jnp.max(scores, axis=1)
    weights = jnp.exp(scores - shift[:, None])
    total = jnp.sum(weights, axis=1)
    p = weights / total[:, None]
    cross = x.T @ (x_pos - p @ x_pos)
    contrast = (cross + cross.T) / (len(x) * temperature)
    loss = jnp.mean(shift + jnp.log(total) - jnp.diag(scores))
    return Drive(loss, contrast, jnp.mean(jnp.diag(p))), p


def alignment_only(w: Weights, x: Batch, x_pos: Batch) -> Drive:
    """Drive of `losses.alignment_only`: X = -(1/N) sum_i (x'_i - x_i)(x'_i - x_i)^T; alpha_ii is 0 by convention.

    Source: this project, README "The losses". Args: w (n, d); x, x_pos (N, d). Returns: Drive.
    """
    step = x_pos - x
    loss = 0.5 * jnp.mean(jnp.sum((step @ w.T) ** 2, axis=1))
    return Drive(loss, -step.T @ step / len(x), jnp.zeros_like(loss))


def named(loss: str, temperature: float = 0.1) -> BatchDrive:
    """The drive of the loss called `loss`: "distance", "dot", "cosine" or "alignment". Raises: ValueError."""
    drives: dict[str, BatchDrive] = {
        "distance": distance,
        "dot": partial(dot, temperature=temperature),
        "cosine": partial(cosine, temperature=temperature),
        "alignment": alignment_only,
    }
    if loss not in drives:
        raise ValueError(f"loss {loss!r} is unknown; choose one of {', '.join(drives)}")
    return drives[loss]
