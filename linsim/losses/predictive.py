"""Losses without negatives: a view is attracted to the other one, or predicted from it."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from linsim.arrays import Array, jitted
from linsim.losses.views import Embeddings, Scalar


@jitted
def alignment_only(z: Embeddings, z_pos: Embeddings) -> Scalar:
    """The non-contrastive loss, which pulls the views of a sample together and has no negatives.

        L = (1/N) sum_i |z_i - z'_i|^2 / 2

    Source: paper, section 3 (complete collapse). MEAN over anchors.

    Args:
        z: Embeddings of the first view, shape (N, n).
        z_pos: Embeddings z' of the second view, shape (N, n).

    Returns:
        The loss, a scalar >= 0.

    Example:
        Nothing keeps the embedding from shrinking: a tenth of its size has a hundredth of the loss.

        >>> import jax.numpy as jnp
        >>> z, z_pos = jnp.array([[1.0, 0.0], [0.0, 1.0]]), jnp.array([[2.0, 0.0], [0.0, 2.0]])
        >>> [round(float(alignment_only(s * z, s * z_pos)), 6) for s in (1.0, 0.1, 0.0)]
        [0.5, 0.005, 0.0]
    """
    return 0.5 * jnp.mean(jnp.sum((z - z_pos) ** 2, axis=1))


@jitted
def jepa(prediction: Embeddings, z_pos: Embeddings) -> Scalar:
    """A joint-embedding predictive loss: the other view's embedding, predicted and held fixed.

        L = (1/N) sum_i |p_i - sg(z'_i)|^2 / 2,   in linear form p = V W x, z' = W x'

    sg stops the gradient, so that only the prediction is trained. SimSiam is this loss; BYOL and
    I-JEPA take z' from a moving average of the encoder, which is fixed, too.

    Source: Littwin et al. 2024 (arXiv 2407.03475); Tian et al. 2021 (arXiv 2102.06810), Eq.
    1. MEAN over samples.

    Args:
        prediction: The prediction p of the second view's embedding, shape (N, n).
        z_pos: The embedding z' of the second view, shape (N, n).

    Returns:
        The loss, a scalar >= 0.

    Example:
        No gradient reaches the target:

        >>> import jax
        >>> import jax.numpy as jnp
        >>> p, z_pos = jnp.ones((2, 3)), jnp.zeros((2, 3))
        >>> [float(jnp.abs(g).sum()) for g in jax.grad(jepa, argnums=(0, 1))(p, z_pos)]
        [3.0, 0.0]
    """
    return alignment_only(prediction, jax.lax.stop_gradient(z_pos))


@jitted
def isoloss(z: Embeddings, z_pos: Embeddings, prediction: Embeddings) -> Scalar:
    """IsoLoss: the predictor's error, which trains the encoder as if there were no predictor.

        L = (1/N) sum_i |z_i - sg(z'_i + z_i - p_i)|^2 / 2,   so that dL/dz_i = (p_i - z'_i)/N

    Its value is that of `jepa`. The gradient of that one is P^T (p - z')/N, which is small along
    directions in which a predictor P is small.

    Source: Halvagal, Laborieux, Zenke 2023 (arXiv 2212.04858), for Euclidean distances. MEAN over
    samples.

    Args:
        z: The embedding z of the first view, shape (N, n).
        z_pos: The embedding z' of the second view, shape (N, n).
        prediction: The prediction p = P z of the second view's, shape (N, n).

    Returns:
        The loss, a scalar >= 0.

    Example:
        >>> import jax.numpy as jnp
        >>> z, z_pos = jnp.ones((2, 3)), jnp.zeros((2, 3))
        >>> bool(isoloss(z, z_pos, 0.5 * z) == jepa(0.5 * z, z_pos))
        True
    """
    return alignment_only(z, jax.lax.stop_gradient(z_pos + z - prediction))


@jitted
def mae(reconstruction: Float[Array, "N d"], x_pos: Float[Array, "N d"]) -> Scalar:
    """The loss of a masked autoencoder: the other view itself, reconstructed from an embedding.

        L = (1/N) sum_i |y_i - x'_i|^2 / 2,   in linear form y = V W x

    Source: Littwin et al. 2024 (arXiv 2407.03475). MEAN over samples.

    Args:
        reconstruction: The reconstruction y of the second view, shape (N, d).
        x_pos: The second view x', shape (N, d).

    Returns:
        The loss, a scalar >= 0.

    Example:
        >>> import jax.numpy as jnp
        >>> float(mae(jnp.ones((2, 4)), jnp.zeros((2, 4))))
        2.0
    """
    return alignment_only(reconstruction, x_pos)
