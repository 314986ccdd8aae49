"""What is exactly true about the alignment of two linear layers: the corrected Theorem 2 (paper, section 5.2, App. B.5).

C = W1 W1^T - W2^T W2 is conserved by gradient flow, and A = V2^T U1 obeys A_jk (s1_k^2 - s2_j^2) = v2_j^T C u1_k. So a mode
aligns when its gap to the other modes outgrows C; collapsed modes keep their initial misalignment, and modes with equal
singular values are aligned as a subspace only. The paper's A -> I needs all singular values to grow apart.
"""

import itertools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from linsim.arrays import Array

First = Float[Array, "h d"]
Second = Float[Array, "n h"]
Hidden = Float[Array, "h h"]


def imbalance(w1: First, w2: Second) -> Hidden:
    """C = W1 W1^T - W2^T W2, constant under gradient flow of any loss of W2 W1.

    Source: paper, Appendix B.5. Args: w1 (h, d), w2 (n, h). Returns: (h, h), symmetric.
    """
    return w1 @ w1.T - w2.T @ w2


def imbalance_drift(
    w1: First, w2: Second, grad: Float[Array, "n d"], learning_rate: float | Float[Array, ""]
) -> Hidden:
    """Change of C in one step of plain gradient descent, exactly.

        Delta C = eta^2 (W2^T G G^T W2 - W1 G^T G W1^T)

    Source: this project, docs/theory.md, "Two layers". Args: weights before the step; grad G = dL/d(W2 W1); eta. Returns: (h, h).
    """
    back1, back2 = w2.T @ grad, grad @ w1.T
    return learning_rate**2 * (back1 @ back1.T - back2.T @ back2)


def hidden_bases(
    w1: First, w2: Second
) -> tuple[Hidden, Float[Array, "h"], Hidden, Float[Array, "h"]]:
    """Complete bases of the hidden space: U1 with a_k = s1_k^2, V2 with b_j = s2_j^2 (zeros where a layer has no rank)."""
    u1, s1, _ = jnp.linalg.svd(w1, full_matrices=True)
    _, s2, v2t = jnp.linalg.svd(w2, full_matrices=True)
    width = len(w1)
    return (
        u1,
        jnp.zeros(width).at[: len(s1)].set(s1**2),
        v2t.T,
        jnp.zeros(width).at[: len(s2)].set(s2**2),
    )


def identity_residual(w1: First, w2: Second, conserved: Hidden) -> Float[Array, ""]:
    """Largest |A_jk (a_k - b_j) - v2_j^T C u1_k|, with the C that is claimed to be conserved.

    Source: this project, docs/theory.md, "Two layers". Zero to rounding if `conserved` is C(0) along gradient flow, or C(0) plus the
    sum of `imbalance_drift` along gradient descent. Args: weights now; conserved C. Returns: scalar, in units of s^2.
    """
    u1, a, v2, b = hidden_bases(w1, w2)
    return jnp.max(jnp.abs((v2.T @ u1) * (a[None, :] - b[:, None]) - v2.T @ conserved @ u1))


def alignment_bound(w1: First, w2: Second, imbalance: Hidden) -> Float[Array, "h"]:
    """Lower bound on |A_kk| from the conserved imbalance (a Davis-Kahan bound).

        |A_kk| >= sqrt(1 - |C|_2^2 / gap_k^2),   gap_k = min_{j != k} |a_k - b_j|;   0 unless gap_k > |C|_2

    from sum_j A_jk^2 (a_k - b_j)^2 = |C u1_k|^2. Source: this project, docs/theory.md, "Two layers"; the corrected Theorem 2.
    Args: weights now; imbalance C (h, h). Returns: (h,), one per mode k.
    """
    _, a, _, b = hidden_bases(w1, w2)
    distance = jnp.abs(a[:, None] - b[None, :])
    gap = jnp.min(jnp.where(jnp.eye(len(a), dtype=bool), jnp.inf, distance), axis=1)
    size = jnp.linalg.norm(imbalance, 2)
    return jnp.sqrt(jnp.where(gap > size, 1 - (size / gap) ** 2, 0.0))


def degenerate_groups(values: np.ndarray, relative_gap: float) -> list[range]:
    """Maximal runs of sorted values in which each is within `relative_gap` of the one before.

    Args: values (h,), largest first, non-negative; relative_gap in (0, 1). Returns: ranges of indices, in order.
    """
    values = np.asarray(values)
    cuts = 1 + np.flatnonzero(values[1:] < (1 - relative_gap) * values[:-1])
    edges = [0, *cuts.tolist(), len(values)]
    return [range(start, stop) for start, stop in itertools.pairwise(edges)]


def principal_angles(basis: Float[Array, "h k"], other: Float[Array, "h k"]) -> Float[Array, "k"]:
    """Angles between two subspaces in degrees, smallest first; independent of signs and of the bases chosen within each.

    Args: orthonormal columns (h, k) of each. Returns: (k,), 0 to 90.
    """
    cosines = jnp.linalg.svd(basis.T @ other, compute_uv=False)
    return jnp.degrees(jnp.arccos(jnp.clip(cosines, 0.0, 1.0)))


def group_angle(alignment: Hidden, group: range) -> float:
    """Largest principal angle, in degrees, between the spans of u1_k and of v2_k, k in `group`.

    Args: alignment A = V2^T U1 (h, h); group of indices. Returns: degrees. For one mode: arccos |A_kk|.
    """
    block = np.asarray(alignment)[group.start : group.stop, group.start : group.stop]
    smallest = np.linalg.svd(block, compute_uv=False)[-1]
    return float(np.degrees(np.arccos(np.clip(smallest, 0.0, 1.0))))
