"""The losses of the paper's linear models (sections 3-6): batch of embeddings in, scalar out.

All depend on the embeddings only through inner products or distances, are evaluated through one Gram product, and stay
finite, with finite gradients, for embeddings of norm 1e-8 to 1e8 in float32.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from linsim.arrays import Array

Embeddings = Float[Array, "N n"]
Scalar = Float[Array, ""]


def gram(a: Float[Array, "N k"], b: Float[Array, "M k"]) -> Float[Array, "N M"]:
    """All inner products a_i . b_j, at full precision on every device (accelerators round matrix products by default)."""
    return jnp.matmul(a, b.T, precision="highest")


def unit_rows(z: Embeddings) -> Embeddings:
    """Rows divided by their Euclidean norm; a zero row stays zero and has zero gradient.

    Source: SimCLR (Chen et al. 2020); paper, section 6. Args: z (N, n). Returns: (N, n), norms 1 (or 0).
    """
    square = jnp.sum(z * z, axis=1, keepdims=True)
    positive = square > 0
    return jnp.where(positive, z * jax.lax.rsqrt(jnp.where(positive, square, 1.0)), 0.0)


def distance_scores(z: Embeddings, z_pos: Embeddings) -> Float[Array, "N N"]:
    """Scores of the distance loss: s_ij = -|z_i - z_j|^2 / 2 for j != i, and s_ii = -|z_i - z'_i|^2 / 2.

    Source: paper, Eq. 2. Centring first leaves every distance unchanged and keeps the Gram product accurate.
    Args: z, z_pos (N, n) embeddings of the two views. Returns: (N, N).
    """
    centred = z - jnp.mean(z, axis=0)
    half_square = 0.5 * jnp.sum(centred * centred, axis=1)
    scores = gram(centred, centred) - half_square[:, None] - half_square[None, :]
    positive = -0.5 * jnp.sum((z - z_pos) ** 2, axis=1)
    return jnp.where(jnp.eye(len(z), dtype=bool), positive[:, None], scores)


def infonce(z: Embeddings, z_pos: Embeddings) -> Scalar:
    """InfoNCE on distances, negatives from the first view.

        L = -sum_i log( e^{s_ii} / sum_j e^{s_ij} ),  s_ij = -|z_i - z_j|^2 / 2,  s_ii = -|z_i - z'_i|^2 / 2

    Source: paper, Eq. 2. Normalisation: SUM over anchors; divide by N for the mean. No temperature.
    Args: z, z_pos (N, n) embeddings of the two views. Returns: scalar.
    """
    scores = distance_scores(z, z_pos)
    return jnp.sum(jax.nn.logsumexp(scores, axis=1) - jnp.diag(scores))


def infonce_dot(z: Embeddings, z_pos: Embeddings, temperature: float | Scalar = 0.1) -> Scalar:
    """InfoNCE on inner products, negatives from the second view, embeddings not normalised.

        L = -(1/N) sum_i log( e^{z_i.z'_i / tau} / sum_j e^{z_i.z'_j / tau} )

    Source: the paper's released toy code. Normalisation: MEAN over anchors.
    Args: z, z_pos (N, n); temperature tau > 0. Returns: scalar.
    """
    scores = gram(z, z_pos) / temperature
    return jnp.mean(jax.nn.logsumexp(scores, axis=1) - jnp.diag(scores))


def ntxent(z: Embeddings, z_pos: Embeddings, temperature: float | Scalar = 0.1) -> Scalar:
    """InfoNCE on cosine similarities: `infonce_dot` of the unit-normalised embeddings.

    Source: SimCLR (Chen et al. 2020) with one direction; paper, section 6. Normalisation: MEAN over anchors.
    Args: z, z_pos (N, n); temperature tau > 0. Returns: scalar.
    """
    return infonce_dot(unit_rows(z), unit_rows(z_pos), temperature)


def alignment_only(z: Embeddings, z_pos: Embeddings) -> Scalar:
    """The non-contrastive loss L = (1/N) sum_i |z_i - z'_i|^2 / 2, without negatives.

    Source: paper, section 3 (complete collapse). Normalisation: MEAN over anchors.
    Args: z, z_pos (N, n). Returns: scalar.
    """
    return 0.5 * jnp.mean(jnp.sum((z - z_pos) ** 2, axis=1))
