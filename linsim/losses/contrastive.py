"""InfoNCE on distances, inner products and cosines (paper, sections 3-6).

These losses depend on the embeddings only through inner products or distances. They stay finite,
with finite gradients, for embeddings of norm 1e-8 to 1e8 in float32, and keep their digits where
they are far below 1 or where all embeddings lie far from the origin: each anchor's loss is log(1 +
sum_j e^{s_ij - s_ii}) over its negatives j, and the differences of scores are taken before anything
large is formed. Half precision is raised to float32. Of more than ABOVE samples no N x N array is
made.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Float

from linsim.arrays import Array, jitted
from linsim.losses.views import Embeddings, Scalar, gram, pair, unit_rows

ABOVE = 1024  # samples from which on anchors are taken BLOCK at a time
BLOCK = 256


@jitted
def distance_scores(z: Embeddings, z_pos: Embeddings) -> Float[Array, "N N"]:
    """The scores whose softmax the distance loss takes.

        s_ij = -|z_i - z_j|^2 / 2   (j != i),   s_ii = -|z_i - z'_i|^2 / 2

    The embeddings are centred first. That leaves every distance unchanged and keeps the Gram
    product accurate when they lie far from the origin.

    Source: paper, Eq. 2.

    Args:
        z: Embeddings of the anchor view, from which the negatives come as well, shape (N, n).
        z_pos: Embeddings z' of the positives, shape (N, n).

    Returns:
        The scores, shape (N, N), with those of the positive pairs on the diagonal.

    Example:
        Two anchors at distance 2, each with a positive at distance 1:

        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> z = jnp.array([[1.0], [3.0]])
        >>> np.asarray(distance_scores(z, z + 1.0)).round(6).tolist()
        [[-0.5, -2.0], [-2.0, -0.5]]
    """
    centred = z - jnp.mean(z, axis=0)
    half_square = 0.5 * jnp.sum(centred * centred, axis=1)
    scores = gram(centred, centred) - half_square[:, None] - half_square[None, :]
    positive = -0.5 * jnp.sum((z - z_pos) ** 2, axis=1)
    return jnp.where(jnp.eye(len(z), dtype=bool), positive[:, None], scores)


@jitted
def infonce(z: Embeddings, z_pos: Embeddings) -> Scalar:
    """The paper's InfoNCE loss on distances ("distance loss"), with negatives from the first view.

        L = -sum_i log( e^{s_ii} / sum_j e^{s_ij} )
        s_ij = -|z_i - z_j|^2 / 2   (j != i),   s_ii = -|z_i - z'_i|^2 / 2

    Embeddings are not normalised, and there is no temperature.

    Source: paper, Eq. 2; docs/theory.md, Eq. (loss). SUM over anchors; divide by N for the mean.

    Args:
        z: Embeddings of the anchor view, from which the negatives come as well, shape (N, n).
        z_pos: Embeddings z' of the positives, shape (N, n).

    Returns:
        The loss, a scalar >= 0.

    Example:
        A completely collapsed embedding cannot tell the positive from the negatives, so that each
        of the N = 4 anchors costs log N. An embedding that is spread out costs almost nothing:

        >>> import jax.numpy as jnp
        >>> collapsed, spread = jnp.zeros((4, 2)), 10.0 * jnp.eye(4)
        >>> bool(jnp.allclose(infonce(collapsed, collapsed), 4 * jnp.log(4)))
        True
        >>> bool(infonce(spread, spread) < 1e-9)
        True
    """
    z, z_pos = pair(z, z_pos)

    def differences(anchor, positive):
        return 0.5 * (jnp.sum((anchor - positive) ** 2) - jnp.sum((z - anchor) ** 2, axis=1))

    return jnp.sum(_per_anchor(differences, z, z_pos))


@jitted
def infonce_dot(z: Embeddings, z_pos: Embeddings, temperature: float | Scalar = 0.1) -> Scalar:
    """The InfoNCE loss on inner products ("dot loss"), with negatives from the second view.

        L = -(1/N) sum_i log( e^{z_i . z'_i / tau} / sum_j e^{z_i . z'_j / tau} )

    Embeddings are not normalised.

    Source: the paper's released toy code; docs/theory.md, Eq. (loss). MEAN over anchors.

    Args:
        z: Embeddings of the anchor view, shape (N, n).
        z_pos: Embeddings z' of the second view, positives and negatives, shape (N, n).
        temperature: The temperature tau > 0.

    Returns:
        The loss, a scalar >= 0.

    Example:
        Two orthogonal unit embeddings at temperature 1: the positive scores 1, the negative 0.

        >>> import jax.numpy as jnp
        >>> z = jnp.eye(2)
        >>> bool(jnp.allclose(infonce_dot(z, z, temperature=1.0), jnp.log(1 + jnp.exp(-1.0))))
        True
    """
    z, z_pos = pair(z, z_pos)
    others = z_pos - jnp.mean(z_pos, axis=0)  # which changes no difference of scores

    def differences(anchor, positive):
        score = jnp.sum(anchor * positive)
        return (jnp.matmul(others, anchor, precision="highest") - score) / temperature

    return jnp.mean(_per_anchor(differences, z, others))


@jitted
def ntxent(z: Embeddings, z_pos: Embeddings, temperature: float | Scalar = 0.1) -> Scalar:
    """The InfoNCE loss on cosine similarities ("cosine loss", NT-Xent).

        L = -(1/N) sum_i log( e^{u_i . u'_i / tau} / sum_j e^{u_i . u'_j / tau} ),   u = z/|z|

    This is `infonce_dot` of the unit-normalised embeddings.

    Source: SimCLR (Chen et al. 2020), in one direction (first view to second); paper, section 6;
    docs/theory.md, Eq. (loss). MEAN over anchors.

    Args:
        z: Embeddings of the anchor view, shape (N, n).
        z_pos: Embeddings z' of the second view, positives and negatives, shape (N, n).
        temperature: The temperature tau > 0.

    Returns:
        The loss, a scalar >= 0.

    Example:
        The length of an embedding makes no difference:

        >>> import jax.numpy as jnp
        >>> z = jnp.array([[1.0, 0.0], [0.6, 0.8]])
        >>> bool(jnp.allclose(ntxent(z, z), ntxent(3.0 * z, 0.5 * z)))
        True
    """
    z, z_pos = pair(z, z_pos)
    return infonce_dot(unit_rows(z), unit_rows(z_pos), temperature)


@jitted
def ntxent_symmetric(z: Embeddings, z_pos: Embeddings, temperature: float | Scalar = 0.1) -> Scalar:
    """SimCLR's loss as published: each of the 2N views is an anchor, the 2N - 2 views of other
    samples are its negatives.

        L = -(1/2N) sum_a log( e^{u_a . u_a' / tau} / sum_{b != a} e^{u_a . u_b / tau} ),  u = z/|z|

    where a runs over all 2N views, a' is the other view of the same sample, and b runs over the
    2N - 1 others.

    Source: SimCLR (Chen et al. 2020), Eq. 1; docs/theory.md, Eq. (loss). MEAN over the 2N anchors.

    Args:
        z: Embeddings of the first view, shape (N, n).
        z_pos: Embeddings z' of the second view, shape (N, n).
        temperature: The temperature tau > 0.

    Returns:
        The loss, a scalar >= 0.

    Example:
        Neither view is preferred:

        >>> import jax.numpy as jnp
        >>> z, z_pos = jnp.eye(3), jnp.array([[2.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
        >>> bool(jnp.isclose(ntxent_symmetric(z, z_pos), ntxent_symmetric(z_pos, z)))
        True
    """
    z, z_pos = pair(z, z_pos)
    first, second = unit_rows(z), unit_rows(z_pos)
    views, partners = jnp.concatenate([first, second]), jnp.concatenate([second, first])
    centre = jnp.mean(views, axis=0)

    def differences(anchor, positive):
        score = jnp.sum(anchor * (positive - centre))
        return (jnp.matmul(views - centre, anchor, precision="highest") - score) / temperature

    return jnp.mean(_per_anchor(differences, views, partners, also=len(z)))


def _per_anchor(
    differences: Callable[[Array, Array], Float[Array, "N"]],
    anchors: Embeddings,
    positives: Embeddings,
    also: int | None = None,
) -> Float[Array, "N"]:
    """log(1 + sum_j e^{d_ij}) for each anchor i, over its negatives: all j but i itself, and but
    its other view, which is `also` places on. Args: differences(anchor, positive) -> d_ij = s_ij -
    s_ii for all j.
    """
    count = len(anchors)

    def loss(row):
        index, anchor, positive = row
        own = jnp.arange(count) == index
        if also is not None:
            own |= jnp.arange(count) == (index + also) % count
        d = jnp.where(own, -jnp.inf, differences(anchor, positive))
        top = jax.lax.stop_gradient(jnp.maximum(jnp.max(d), 0.0))
        return top + jnp.log1p(jnp.sum(jnp.exp(d - top)) + jnp.expm1(-top))

    rows = jnp.arange(count), anchors, positives
    return jax.vmap(loss)(rows) if count <= ABOVE else jax.lax.map(loss, rows, batch_size=BLOCK)
