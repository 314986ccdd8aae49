"""What is exactly true about the alignment of two linear layers (paper, section 5.2 and App. B.5).

The model is z = W2 W1 x, with singular value decompositions W1 = U1 S1 V1^T and W2 = U2 S2 V2^T.
The layers are aligned if the alignment matrix A = V2^T U1 is the identity, up to signs. The
paper's Theorem 2 says that training ends there if the contrast matrix stays positive definite and
the final singular values are distinct. That is not enough: the squared singular values must grow
apart by more than the imbalance of the layers. This module holds what is true in general, the
corrected theorem:

- The imbalance C = W1 W1^T - W2^T W2 is conserved by gradient flow.
- A_jk (s1_k^2 - s2_j^2) = v2_j^T C u1_k at all times, so a mode aligns when the gap between its
  squared singular value and those of the other modes outgrows C.
- Modes that collapse keep their initial misalignment, and modes with equal singular values are
  aligned as a subspace only.
"""

import itertools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from linsim.arrays import Array, jitted

First = Float[Array, "h d"]
Second = Float[Array, "n h"]
Hidden = Float[Array, "h h"]


@jitted
def imbalance(w1: First, w2: Second) -> Hidden:
    """The imbalance of two layers, which gradient flow of any loss of their product conserves.

        C = W1 W1^T - W2^T W2

    Source: paper, Appendix B.5; docs/theory.md, Eq. (imbalance).

    Args:
        w1: Weights of the first layer, shape (h, d).
        w2: Weights of the second layer, shape (n, h).

    Returns:
        C, symmetric, shape (h, h), in the units of a squared singular value.

    Example:
        A layer followed by its transpose is balanced; doubling the first one unbalances it:

        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> w1 = jnp.array([[1.0, 0.0], [1.0, 2.0]])
        >>> np.asarray(imbalance(w1, w1.T)).round(6).tolist()
        [[0.0, 0.0], [0.0, 0.0]]
        >>> np.asarray(imbalance(2 * w1, w1.T)).round(6).tolist()
        [[3.0, 3.0], [3.0, 15.0]]
    """
    return w1 @ w1.T - w2.T @ w2


@jitted
def imbalance_drift(
    w1: First, w2: Second, grad: Float[Array, "n d"], learning_rate: float | Float[Array, ""]
) -> Hidden:
    """The exact change of the imbalance in one step of plain gradient descent.

        Delta C = eta^2 (W2^T G G^T W2 - W1 G^T G W1^T)

    It is of second order in the learning rate eta: gradient flow, eta -> 0, conserves C.

    Source: this project, docs/theory.md, Eq. (imbalance).

    Args:
        w1: Weights of the first layer before the step, shape (h, d).
        w2: Weights of the second layer before the step, shape (n, h).
        grad: Gradient G of the loss with respect to the product W2 W1, shape (n, d).
        learning_rate: The learning rate eta.

    Returns:
        The change of C, symmetric, shape (h, h).

    Example:
        >>> import jax.numpy as jnp
        >>> w1, w2 = jnp.array([[1.0, 0.0], [0.5, 2.0]]), jnp.array([[1.0, 1.0], [0.0, 3.0]])
        >>> grad, rate = jnp.array([[0.3, -0.2], [0.1, 0.4]]), 0.1
        >>> after = imbalance(w1 - rate * w2.T @ grad, w2 - rate * grad @ w1.T)
        >>> bool(jnp.allclose(after - imbalance(w1, w2), imbalance_drift(w1, w2, grad, rate)))
        True
    """
    back1, back2 = w2.T @ grad, grad @ w1.T
    return learning_rate**2 * (back1 @ back1.T - back2.T @ back2)


@jitted
def hidden_bases(
    w1: First, w2: Second
) -> tuple[Hidden, Float[Array, "h"], Hidden, Float[Array, "h"]]:
    """Two bases of the hidden space, one from each layer, with their squared singular values.

    The columns of U1 are the directions that the first layer writes to, those of V2 the directions
    that the second layer reads from. Both bases are complete: where a layer has lower rank than
    the hidden space, its basis is completed with directions of singular value zero.

    Source: paper, section 5.2.

    Args:
        w1: Weights of the first layer, shape (h, d).
        w2: Weights of the second layer, shape (n, h).

    Returns:
        U1 (h, h), a (h,) with a_k = s1_k^2, V2 (h, h), and b (h,) with b_j = s2_j^2; each basis is
        sorted by singular value, largest first.

    Example:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> _, a, _, b = hidden_bases(jnp.diag(jnp.array([2.0, 1.0])), jnp.array([[3.0, 0.0]]))
        >>> np.asarray(a).round(6).tolist(), np.asarray(b).round(6).tolist()
        ([4.0, 1.0], [9.0, 0.0])
    """
    u1, s1, _ = jnp.linalg.svd(w1, full_matrices=True)
    _, s2, v2t = jnp.linalg.svd(w2, full_matrices=True)
    width = len(w1)
    return (
        u1,
        jnp.zeros(width).at[: len(s1)].set(s1**2),
        v2t.T,
        jnp.zeros(width).at[: len(s2)].set(s2**2),
    )


@jitted
def identity_residual(w1: First, w2: Second, conserved: Hidden) -> Float[Array, ""]:
    """How far two layers are from obeying the alignment identity with a given imbalance.

        max_jk |A_jk (a_k - b_j) - v2_j^T C u1_k|

    with a_k and b_j of `hidden_bases`. The identity holds, and the residual is zero to rounding,
    if C is the imbalance at the start of gradient flow, or that plus the sum of `imbalance_drift`
    over the steps of gradient descent.

    Source: this project, docs/theory.md, Eq. (identity).

    Args:
        w1: Weights of the first layer now, shape (h, d).
        w2: Weights of the second layer now, shape (n, h).
        conserved: The imbalance C that is claimed to be conserved, shape (h, h).

    Returns:
        The residual, a scalar in the units of a squared singular value.

    Example:
        >>> import jax.numpy as jnp
        >>> w1, w2 = jnp.array([[1.0, 0.0], [0.5, 2.0]]), jnp.array([[1.0, 1.0], [0.0, 3.0]])
        >>> bool(identity_residual(w1, w2, imbalance(w1, w2)) < 1e-9)
        True
    """
    u1, a, v2, b = hidden_bases(w1, w2)
    return jnp.max(jnp.abs((v2.T @ u1) * (a[None, :] - b[:, None]) - v2.T @ conserved @ u1))


@jitted
def alignment_bound(w1: First, w2: Second, imbalance: Hidden) -> Float[Array, "h"]:
    """How well aligned each mode must be at least, given the conserved imbalance.

        |A_kk| >= sqrt(1 - |C|_2^2 / gap_k^2),   gap_k = min_{j != k} |a_k - b_j|

    with a_k and b_j of `hidden_bases` and the spectral norm |C|_2; the bound is 0, and says
    nothing, unless gap_k > |C|_2. It follows from sum_j A_jk^2 (a_k - b_j)^2 = |C u1_k|^2, and is
    a bound of the Davis-Kahan type.

    Source: this project, docs/theory.md, Eq. (bound); this is the corrected Theorem 2.

    Args:
        w1: Weights of the first layer now, shape (h, d).
        w2: Weights of the second layer now, shape (n, h).
        imbalance: The imbalance C that gradient flow has conserved, shape (h, h).

    Returns:
        The bound on |A_kk| for each mode k, between 0 and 1, shape (h,).

    Example:
        Two equal layers turned against each other by 0.3 radians attain the bound cos(0.3). Layers
        whose singular values are all equal get none, since they have no basis of their own:

        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> c, s = jnp.cos(0.3), jnp.sin(0.3)
        >>> w1 = jnp.diag(jnp.array([2.0, 1.0]))
        >>> w2 = w1 @ jnp.array([[c, s], [-s, c]])
        >>> np.asarray(alignment_bound(w1, w2, imbalance(w1, w2))).round(4).tolist()
        [0.9553, 0.9553]
        >>> alignment_bound(jnp.eye(2), jnp.eye(2), jnp.zeros((2, 2))).tolist()
        [0.0, 0.0]
    """
    _, a, _, b = hidden_bases(w1, w2)
    distance = jnp.abs(a[:, None] - b[None, :])
    gap = jnp.min(jnp.where(jnp.eye(len(a), dtype=bool), jnp.inf, distance), axis=1)
    size = jnp.linalg.norm(imbalance, 2)
    return jnp.sqrt(jnp.where(gap > size, 1 - (size / gap) ** 2, 0.0))


def degenerate_groups(values: np.ndarray, relative_gap: float) -> list[range]:
    """Sorted singular values split into groups of nearly equal ones.

    A value belongs to the group of the one before it if it is smaller by less than a fraction
    `relative_gap` of it.

    Source: this project, docs/theory.md, "Two layers". The singular vectors of such a group are
    defined as a subspace only, so alignment is to be measured by `group_angle`.

    Args:
        values: The values, non-negative, largest first, shape (h,).
        relative_gap: The relative gap that separates groups, between 0 and 1.

    Returns:
        The groups as ranges of indices, in order; together they cover 0 to h - 1.

    Example:
        >>> import numpy as np
        >>> degenerate_groups(np.array([5.0, 4.9, 1.0, 0.2]), 0.1)
        [range(0, 2), range(2, 3), range(3, 4)]
    """
    values = np.asarray(values)
    cuts = 1 + np.flatnonzero(values[1:] < (1 - relative_gap) * values[:-1])
    edges = [0, *cuts.tolist(), len(values)]
    return [range(start, stop) for start, stop in itertools.pairwise(edges)]


@jitted
def principal_angles(basis: Float[Array, "h k"], other: Float[Array, "h k"]) -> Float[Array, "k"]:
    """The principal angles between two subspaces, in degrees.

    They are the arc cosines of the singular values of basis^T other. They depend on the two
    subspaces alone, not on the signs or the choice of the basis vectors.

    Source: this project, docs/theory.md, "Two layers".

    Args:
        basis: Orthonormal columns that span the first subspace, shape (h, k).
        other: Orthonormal columns that span the second subspace, shape (h, k).

    Returns:
        The angles, 0 to 90 degrees, smallest first, shape (k,).

    Example:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> line, tilted = jnp.array([[1.0], [0.0]]), jnp.array([[-(3**0.5) / 2], [0.5]])
        >>> np.asarray(principal_angles(line, tilted)).round(4).tolist()
        [30.0]
    """
    cosines = jnp.linalg.svd(basis.T @ other, compute_uv=False)
    return jnp.degrees(jnp.arccos(jnp.clip(cosines, 0.0, 1.0)))


def group_angle(alignment: Hidden, group: range) -> float:
    """The largest principal angle between the two layers' subspaces of one group of modes.

    The subspaces are the spans of u1_k and of v2_k for k in the group. For a single mode the angle
    is arccos |A_kk|.

    Source: this project, docs/theory.md, "Two layers".

    Args:
        alignment: The alignment matrix A = V2^T U1, shape (h, h), for instance of
            `linsim.spectra.alignment_matrix`.
        group: The indices of the group, a range without gaps as from `degenerate_groups`.

    Returns:
        The angle, 0 to 90 degrees.

    Example:
        Two modes in exchanged order are at right angles one by one, and aligned as a group:

        >>> import numpy as np
        >>> exchanged = np.array([[0.0, 1.0], [1.0, 0.0]])
        >>> [round(group_angle(exchanged, range(0, stop)), 4) for stop in (1, 2)]
        [90.0, 0.0]
    """
    block = np.asarray(alignment)[group.start : group.stop, group.start : group.stop]
    smallest = np.linalg.svd(block, compute_uv=False)[-1]
    return float(np.degrees(np.arccos(np.clip(smallest, 0.0, 1.0))))
