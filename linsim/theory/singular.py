"""How singular values and vectors of two linear layers move (paper, section 5 and Appendix B.4-B.6).

Everything follows from the layers' own velocities, W1' = -W2^T G and W2' = -G W1^T with G = dL/d(W2 W1) (Lemma 3). Pass
thin or full SVDs W = U diag(s) V^T with distinct singular values; nothing here differentiates through an SVD.
`printed=True` evaluates a statement as the paper prints it, where that is wrong; the default is the correction.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Float

from linsim.arrays import Array

Square = Float[Array, "r r"]
Values = Float[Array, "r"]


class Svd(NamedTuple):
    """U (n, r), s (r,), V (d, r) with W = U diag(s) V^T; columns of U and V are singular vectors."""

    u: Float[Array, "n r"]
    s: Values
    v: Float[Array, "d r"]

    @classmethod
    def of(cls, w: Float[Array, "n d"]) -> "Svd":
        """Thin SVD, largest value first."""
        u, s, vt = jnp.linalg.svd(w, full_matrices=False)
        return cls(u, s, vt.T)


def value_rates(svd: Svd, velocity: Float[Array, "n d"]) -> Values:
    """ds_k/dt = u_k^T W' v_k.

    Source: paper, Lemma 4. Args: SVD of W; velocity W' = dW/dt. Returns: (r,).
    """
    return jnp.einsum("nk,nd,dk->k", svd.u, velocity, svd.v)


def coupling(values: Values, *, printed: bool = False) -> Square:
    """H_kj = 1/(s_j^2 - s_k^2) off the diagonal, 0 on it; antisymmetric.

    Source: paper, Lemma 5. Erratum: the paper prints 1/(s_k^2 - s_j^2), which reverses every derivative built on it.
    Args: singular values (r,), distinct; printed: the paper's sign. Returns: (r, r).
    """
    gap = values[None, :] ** 2 - values[:, None] ** 2
    h = jnp.where(jnp.eye(len(values), dtype=bool), 0.0, 1 / jnp.where(gap == 0, jnp.inf, gap))
    return -h if printed else h


def vector_rates(
    svd: Svd, velocity: Float[Array, "n d"], *, printed: bool = False
) -> tuple[Float[Array, "n r"], Float[Array, "d r"]]:
    """U' = U (H o (U^T W' V S + S V^T W'^T U)),   V' = V (H o (V^T W'^T U S + S U^T W' V)), o elementwise.

    Source: paper, Lemma 5, H as in `coupling`. Exact within the span of the singular vectors (square W of full rank).
    Args: SVD of W; velocity W'; printed: the paper's sign. Returns: (U', V').
    """
    h = coupling(svd.s, printed=printed)
    inner = svd.u.T @ velocity @ svd.v
    left = inner * svd.s
    right = inner.T * svd.s
    return svd.u @ (h * (left + left.T)), svd.v @ (h * (right + right.T))


def alignment_rate(
    first: Svd, second: Svd, grad: Float[Array, "n d"], *, printed: bool = False
) -> Square:
    """A' = -A (H1 o (A^T F + F^T A)) + (H2 o (A F^T + F A^T)) A,   A = V2^T U1,   F = S2 U2^T G V1 S1.

    Source: paper, Lemma 6, H1 and H2 as in `coupling`. Args: SVDs of W1 and W2 (square); grad G; printed: the paper's sign.
    Returns: dA/dt (r, r) under gradient flow.
    """
    a = second.v.T @ first.u
    f = second.s[:, None] * (second.u.T @ grad @ first.v) * first.s
    h1, h2 = coupling(first.s, printed=printed), coupling(second.s, printed=printed)
    turn1, turn2 = a.T @ f, a @ f.T
    return -a @ (h1 * (turn1 + turn1.T)) + (h2 * (turn2 + turn2.T)) @ a


def layer_value_rates(first: Svd, second: Svd, grad: Float[Array, "n d"]) -> tuple[Values, Values]:
    """Singular value rates of both layers under gradient flow.

        ds1_k/dt = -sum_j (v2_j . u1_k) s2_j (u2_j^T G v1_k),   ds2_k/dt = -sum_j (v2_k . u1_j) s1_j (u2_k^T G v1_j)

    Source: paper, Lemma 7. Args: SVDs of W1 and W2; grad G. Returns: (ds1/dt, ds2/dt).
    """
    a = second.v.T @ first.u
    inner = second.u.T @ grad @ first.v
    first_rates = -jnp.einsum("jk,j,jk->k", a, second.s, inner)
    return first_rates, -jnp.einsum("kj,j,kj->k", a, first.s, inner)


def aligned_rates(
    first_values: Values, second_values: Values, pull: Values
) -> tuple[Values, Values]:
    """ds1_k/dt = s1_k s2_k^2 p_k,   ds2_k/dt = s2_k s1_k^2 p_k,   p_k = v1_k^T X v1_k;   s1_k^2 - s2_k^2 is constant.

    Source: paper, Theorem 3 (misprint: "V2 = U1^T" should be V2 = U1). Exact for aligned layers, A = I.
    Args: singular values of both layers; pull p (per anchor for the mean loss). Returns: (ds1/dt, ds2/dt).
    """
    return first_values * second_values**2 * pull, second_values * first_values**2 * pull


def aligned_values(
    first_values: Float[Array, "*shape"],
    second_values: Float[Array, "*shape"],
    impulse: Float[Array, "*shape"],
):
    """Theorem 3 solved: both singular values after the impulse T = int p dt, from those at T = 0.

        s2^2 = K / (e^{2 y} - 1),  s1^2 = s2^2 + K,  y = log(s1/s2) at 0 - K T,  K = s1^2 - s2^2   (K = 0: s^2 = 1/(1/s^2 - 2 T))

    since d log(s1/s2)/dT = -K. Infinite from T = y/K on: aligned modes under a constant pull blow up in finite time.
    Source: this project, docs/theory.md, "Two layers"; solves `aligned_rates`. Args: s1, s2 >= 0; T. Returns: (s1, s2).
    """
    b0 = second_values**2
    k = first_values**2 - b0
    tiny = jnp.abs(k) <= 1e-9 * b0
    safe, divisor = jnp.where(tiny, 1.0, k), jnp.where(b0 > 0, b0, 1.0)
    growth = jnp.where(
        tiny,
        1 / divisor - 2 * impulse,
        jnp.expm1(jnp.log1p(safe / divisor) - 2 * safe * impulse) / safe,
    )
    b = jnp.where(growth > 0, 1 / jnp.where(growth > 0, growth, 1.0), jnp.inf)
    b = jnp.where(b0 > 0, b, 0.0)  # a layer without the mode never gains it
    return jnp.sqrt(b + k), jnp.sqrt(b)
