"""The training step of a linear model in closed form: one Gram product, one exponential pass
(`linsim.training.softmax`).

Every loss in `linsim.losses` sees the embeddings z = W x only through S = W^T W, so its gradient
with respect to the product W of the weights is

    dL/dW = -W X,   X symmetric (d, d),

not only for the paper's distance loss (Eq. 5) but for the dot, cosine, spectral and alignment-only
losses too. The functions here return X, the loss and the mean positive weight alpha_ii of one
batch, all for the MEAN over anchors (the paper's Eq. 2 is N times that), without an N x N x d
intermediate. Losses that see more of W than S are in `linsim.training.objectives`.
Tests hold them to `jax.grad` of the losses.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from linsim.arrays import Array
from linsim.training import softmax
from linsim.training.records import Real

Batch = Float[Array, "N d"]
Weights = Float[Array, "n d"]


class Drive(NamedTuple):
    """What drives a linear model at one moment: loss (mean), contrast matrix X/N, mean alpha_ii of
    the batch.
    """

    loss: Float[Array, "*batch"]
    contrast: Float[Array, "*batch d d"]
    alpha_ii: Float[Array, "*batch"]


def distance(w: Weights, x: Batch, x_pos: Batch) -> Drive:
    """Drive of `losses.infonce` divided by N.

        X = sigma0 - sigma1,   sigma0 = x^T D x - (Q + Q^T),   Q = x^T alpha x,
        D = diag(row and column sums of alpha)

    Source: paper, Lemma 2. Args: w (n, d); x, x_pos (N, d). Returns: Drive.
    """
    centred, columns, steps = jax.lax.optimization_barrier(
        (x - jnp.mean(x, axis=0), x.T, (x_pos - x).T)
    )  # once, if x is fixed
    z = centred @ w.T
    terms = -0.5 * (z * z) @ jnp.ones_like(w[:, 0])
    positives = -0.5 * jnp.sum((w @ steps) ** 2, axis=0)
    scores = softmax.Scores(z, z, terms, terms, positives, jnp.zeros_like(positives[0]))
    alpha = softmax.sums(scores, columns, jnp.ones_like(columns[:1]))
    half = ((alpha.negatives + alpha.pushed[0]) * columns - 2 * alpha.pulled) @ columns.T - (
        alpha.negatives * steps
    ) @ steps.T
    return Drive(jnp.mean(alpha.losses), _symmetric(half) / len(x), jnp.mean(alpha.positives))


def dot(w: Weights, x: Batch, x_pos: Batch, temperature: Real) -> Drive:
    """Drive of `losses.infonce_dot`.

        X = (C + C^T) / (N tau),   C = x^T (I - p) x',   p = softmax of z z'^T / tau

    Source: this project, docs/theory.md, Eq. (contrast-dot).
    Args: w (n, d); x, x_pos (N, d); tau. Returns: Drive,
    alpha_ii = p_ii.
    """
    p = softmax.sums(_inner_products(x @ w.T / temperature, x_pos @ w.T), x_pos.T, x.T[:0])
    return _inner_product_drive(p, x, x_pos, temperature)


def cosine(w: Weights, x: Batch, x_pos: Batch, temperature: Real) -> Drive:
    """Drive of `losses.ntxent`: the dot drive of the rescaled inputs x_i / |W x_i|, less its radial
    part.

        X = X_dot(y) + sum_i (u_i . g_i) y_i y_i^T + sum_j (u'_j . g'_j) y'_j y'_j^T,
        y_i = x_i / |z_i|,   u_i = W y_i

    Source: this project, docs/theory.md, Eq. (contrast).
    Args: w (n, d); x, x_pos (N, d); tau. Returns: Drive.
    """
    y, y_pos = (v / jnp.linalg.norm(v @ w.T, axis=1, keepdims=True) for v in (x, x_pos))
    u, u_pos = (y @ w.T).T, (y_pos @ w.T).T
    p = softmax.sums(_inner_products(u.T / temperature, u_pos.T), y_pos.T, u)
    drive = _inner_product_drive(p, y, y_pos, temperature)
    scale = 1.0 / (len(x) * temperature)
    radial = scale * jnp.sum(u * (w @ p.pulled - p.negatives * u_pos), axis=0)
    radial_pos = scale * jnp.sum(u_pos * (p.pushed - p.negatives * u), axis=0)
    contrast = drive.contrast + (radial * y.T) @ y + (radial_pos * y_pos.T) @ y_pos
    return drive._replace(contrast=contrast)


def spectral(w: Weights, x: Batch, x_pos: Batch) -> Drive:
    """Drive of `losses.spectral_contrastive`; alpha_ii is 0 by convention.

        X = (2/N) (x^T x' + x'^T x) - 2/(N (N - 1)) (P + P^T),
        P = x^T x S x'^T x' - sum_i (z_i . z'_i) x_i x'_i^T,   S = W^T W

    Source: this project, docs/theory.md, "Losses". Args: w (n, d); x, x_pos (N, d). Returns: Drive.
    """
    count, z, z_pos = len(x), x @ w.T, x_pos @ w.T
    own = jnp.sum(z * z_pos, axis=1)
    apart = (x.T @ z) @ (x_pos.T @ z_pos).T - (own * x.T) @ x_pos
    others = jnp.sum((z.T @ z) * (z_pos.T @ z_pos)) - jnp.sum(own**2)
    pairs = count * (count - 1)
    contrast = 4 * _symmetric(x.T @ x_pos / count - apart / pairs)
    return Drive(-2 * jnp.mean(own) + others / pairs, contrast, jnp.zeros_like(others))


def linear_barlow_twins(w: Weights, x: Batch, x_pos: Batch) -> Drive:
    """Drive of `losses.linear_barlow_twins`; alpha_ii is 0 by convention.

        X = 4 (G - G S G),   G = (x^T x' + x'^T x) / (2N),   S = W^T W

    Source: Simon et al. 2023 (arXiv 2303.15438), section 4. Args: w (n, d); x, x_pos (N, d).
    Returns: Drive.
    """
    cross = _symmetric(x.T @ x_pos) / len(x)
    pulled = w @ cross
    apart = pulled @ w.T - jnp.eye(len(w), dtype=w.dtype)
    loss = jnp.sum(apart**2)
    return Drive(loss, 4 * (cross - pulled.T @ pulled), jnp.zeros_like(loss))


def _inner_products(anchors: Float[Array, "N n"], others: Float[Array, "N n"]) -> softmax.Scores:
    """Scores a_i . b_j."""
    none = jnp.zeros_like(anchors[:, 0])
    bound = jnp.prod(jnp.stack([jnp.max(jnp.linalg.norm(v, axis=1)) for v in (anchors, others)]))
    return softmax.Scores(anchors, others, none, none, jnp.sum(anchors * others, axis=1), bound)


def _inner_product_drive(p: softmax.Softmax, x: Batch, x_pos: Batch, temperature: Real) -> Drive:
    half = (p.negatives * x_pos.T - p.pulled) @ x
    return Drive(
        jnp.mean(p.losses), 2 * _symmetric(half) / (len(x) * temperature), jnp.mean(p.positives)
    )


def _symmetric(matrix: Float[Array, "d d"]) -> Float[Array, "d d"]:
    return 0.5 * (matrix + matrix.T)


def alignment_only(w: Weights, x: Batch, x_pos: Batch) -> Drive:
    """Drive of `losses.alignment_only`: X = -(1/N) sum_i (x'_i - x_i)(x'_i - x_i)^T; alpha_ii is 0
    by convention.

    Source: this project, docs/theory.md, Eq. (contrast). Args: w (n, d); x, x_pos (N, d). Returns:
    Drive.
    """
    step = x_pos - x
    loss = 0.5 * jnp.mean(jnp.sum((step @ w.T) ** 2, axis=1))
    return Drive(loss, -step.T @ step / len(x), jnp.zeros_like(loss))
