"""What all losses share: how two views of a batch are taken, inner products, unit rows."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from linsim.arrays import Array, jitted

Embeddings = Float[Array, "N n"]
Scalar = Float[Array, ""]
Real = float | Float[Array, ""]


def pair(z: Embeddings, z_pos: Float[Array, "M m"]) -> tuple[Embeddings, Embeddings]:
    """Both views in float32 at least.

    Half precision is raised, since sums over a batch would lose their digits in it.

    Source: this project, docs/theory.md, "Losses".

    Args:
        z: Embeddings of the first view, shape (N, n).
        z_pos: Embeddings of the second view, shape (N, n).

    Returns:
        Both, in their common dtype or in float32, whichever is wider.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> import jax.numpy as jnp
        >>> z = jnp.ones((2, 1), jnp.float16)
        >>> [v.dtype.name for v in pair(z, z)]
        ['float32', 'float32']
    """
    if z.shape != z_pos.shape:
        raise ValueError(f"both views need the same shape; got {z.shape} and {z_pos.shape}")
    dtype = jnp.promote_types(jnp.promote_types(z.dtype, z_pos.dtype), jnp.float32)
    return jnp.asarray(z, dtype), jnp.asarray(z_pos, dtype)


def gram(a: Float[Array, "N k"], b: Float[Array, "M k"]) -> Float[Array, "N M"]:
    """All inner products of the rows of two matrices, at full precision on every device.

        G_ij = a_i . b_j

    Accelerators round the factors of matrix products by default; here they do not.

    Source: this project, docs/theory.md, "Losses".

    Args:
        a: The first vectors as rows, shape (N, k).
        b: The second vectors as rows, shape (M, k).

    Returns:
        The inner products, shape (N, M).

    Example:
        >>> import jax.numpy as jnp
        >>> gram(jnp.array([[1.0, 2.0]]), jnp.array([[3.0, 0.0], [0.0, 1.0]])).tolist()
        [[3.0, 2.0]]
    """
    return jnp.matmul(a, b.T, precision="highest")


@jitted
def unit_rows(z: Embeddings) -> Embeddings:
    """The rows of a matrix divided by their Euclidean norms.

        u_i = z_i / |z_i|;   a zero row stays zero and has zero gradient

    Source: SimCLR (Chen et al. 2020); paper, section 6.

    Args:
        z: Embeddings, shape (N, n).

    Returns:
        The unit vectors, shape (N, n).

    Example:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> np.asarray(unit_rows(jnp.array([[3.0, 4.0], [0.0, 0.0]]))).round(6).tolist()
        [[0.6, 0.8], [0.0, 0.0]]
    """
    size = jax.lax.stop_gradient(jnp.max(jnp.abs(z), axis=1, keepdims=True))
    positive = size > 0
    scaled = z / jnp.where(positive, size, 1.0)  # whose squares neither overflow nor vanish
    square = jnp.sum(scaled * scaled, axis=1, keepdims=True)
    return jnp.where(positive, scaled * jax.lax.rsqrt(jnp.where(positive, square, 1.0)), 0.0)
