"""How singular values and vectors of two linear layers move (paper, section 5 and App. B.4-B.6).

The model is z = W2 W1 x. Everything follows from the layers' own velocities under gradient flow,

    dW1/dt = -W2^T G,   dW2/dt = -G W1^T,   G = dL/d(W2 W1)        (Lemma 3)

and from singular value decompositions W = U diag(s) V^T with distinct singular values s_k. Columns
of U and V are written u_k and v_k; indices 1 and 2 name the layer. In formulas `o` is the product
element by element, and a prime denotes the derivative by time.

The functions take decompositions as values; nothing here differentiates through an SVD. With
`printed=True` a function evaluates the paper's statement as it is printed, where that is wrong;
the default is the correction.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Float

from linsim.arrays import Array, jitted

Square = Float[Array, "r r"]
Values = Float[Array, "r"]


class Svd(NamedTuple):
    """A singular value decomposition W = U diag(s) V^T of a weight matrix.

    Fields:
        u: Left singular vectors as columns, shape (n, r).
        s: Singular values, shape (r,).
        v: Right singular vectors as columns (V, not V^T), shape (d, r).

    Source: paper, section 5.

    Example:
        >>> import jax.numpy as jnp
        >>> w = jnp.array([[3.0, 0.0], [4.0, 5.0]])
        >>> svd = Svd.of(w)
        >>> bool(jnp.allclose(svd.u * svd.s @ svd.v.T, w))
        True
    """

    u: Float[Array, "n r"]
    s: Values
    v: Float[Array, "d r"]

    @classmethod
    def of(cls, w: Float[Array, "n d"]) -> "Svd":
        """The thin decomposition of a matrix.

        Source: paper, section 5.

        Args:
            w: The matrix W, shape (n, d).

        Returns:
            Its decomposition with r = min(n, d), largest singular value first.

        Example:
            >>> import jax.numpy as jnp
            >>> import numpy as np
            >>> svd = Svd.of(jnp.array([[0.0, 1.0, 0.0], [3.0, 0.0, 0.0]]))
            >>> np.asarray(svd.s).round(6).tolist()
            [3.0, 1.0]
        """
        u, s, vt = jnp.linalg.svd(w, full_matrices=False)
        return cls(u, s, vt.T)


@jitted
def value_rates(svd: Svd, velocity: Float[Array, "n d"]) -> Values:
    """The velocities of the singular values of a matrix that moves.

        ds_k/dt = u_k^T W' v_k

    Source: paper, Lemma 4.

    Args:
        svd: Decomposition of W, with r distinct singular values.
        velocity: The velocity W' = dW/dt, shape (n, d).

    Returns:
        ds/dt, shape (r,).

    Example:
        A matrix that grows at the rate 1, W' = W, has singular values that do the same:

        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> w = jnp.diag(jnp.array([3.0, 1.0]))
        >>> np.asarray(value_rates(Svd.of(w), w)).round(6).tolist()
        [3.0, 1.0]
    """
    return jnp.einsum("nk,nd,dk->k", svd.u, velocity, svd.v)


def coupling(values: Values, *, printed: bool = False) -> Square:
    """The matrix H that couples the motion of singular vectors k and j.

        H_kj = 1/(s_j^2 - s_k^2)   (k != j),   H_kk = 0

    It is antisymmetric. The nearer two singular values are, the faster their vectors turn.

    Source: paper, Lemma 5. Erratum: the paper prints 1/(s_k^2 - s_j^2), which reverses the sign of
    every derivative built on it.

    Args:
        values: The singular values, distinct, shape (r,).
        printed: Whether to use the paper's sign.

    Returns:
        H, shape (r, r). Pairs of exactly equal values get 0.

    Example:
        >>> import jax.numpy as jnp
        >>> coupling(jnp.array([2.0, 0.0])).tolist()
        [[0.0, -0.25], [0.25, 0.0]]
    """
    gap = values[None, :] ** 2 - values[:, None] ** 2
    h = jnp.where(jnp.eye(len(values), dtype=bool), 0.0, 1 / jnp.where(gap == 0, jnp.inf, gap))
    return -h if printed else h


def vector_rates(
    svd: Svd, velocity: Float[Array, "n d"], *, printed: bool = False
) -> tuple[Float[Array, "n r"], Float[Array, "d r"]]:
    """The velocities of the singular vectors of a matrix that moves.

        U' = U (H o (U^T W' V S + S V^T W'^T U))
        V' = V (H o (V^T W'^T U S + S U^T W' V))

    with H of `coupling` and S = diag(s). This is the motion within the span of the singular
    vectors, which is all of it for a square W of full rank.

    Source: paper, Lemma 5, with the sign of H corrected.

    Args:
        svd: Decomposition of W, with r distinct singular values.
        velocity: The velocity W' = dW/dt, shape (n, d).
        printed: Whether to use the paper's sign of H, which gives minus the velocities.

    Returns:
        The pair (U', V'), of shapes (n, r) and (d, r).

    Example:
        If W' = T W with an antisymmetric T, the matrix turns as a whole: U' = T U and V' = 0.

        >>> import jax.numpy as jnp
        >>> turn = jnp.array([[0.0, -1.0], [1.0, 0.0]])
        >>> w = jnp.array([[3.0, 1.0], [0.0, 1.0]])
        >>> svd = Svd.of(w)
        >>> u_rate, v_rate = vector_rates(svd, turn @ w)
        >>> bool(jnp.allclose(u_rate, turn @ svd.u)), bool(jnp.allclose(v_rate, 0.0, atol=1e-9))
        (True, True)
    """
    h = coupling(svd.s, printed=printed)
    inner = svd.u.T @ velocity @ svd.v
    left = inner * svd.s
    right = inner.T * svd.s
    return svd.u @ (h * (left + left.T)), svd.v @ (h * (right + right.T))


def alignment_rate(
    first: Svd, second: Svd, grad: Float[Array, "n d"], *, printed: bool = False
) -> Square:
    """The velocity of the alignment matrix A = V2^T U1 of two layers under gradient flow.

        A' = -A (H1 o (A^T F + F^T A)) + (H2 o (A F^T + F A^T)) A
        F = S2 U2^T G V1 S1

    with H1 and H2 of `coupling` for the singular values of each layer.

    Source: paper, Lemma 6, with the sign of H corrected.

    Args:
        first: Decomposition of the first layer W1, square.
        second: Decomposition of the second layer W2, square.
        grad: Gradient G of the loss with respect to W2 W1, shape (n, d).
        printed: Whether to use the paper's sign of H, which gives minus the velocity.

    Returns:
        dA/dt, shape (r, r), in units of the loss (sum or mean) that G belongs to.

    Example:
        It agrees with the product rule for A = V2^T U1 and the velocities of the layers:

        >>> import jax.numpy as jnp
        >>> w1, w2 = jnp.array([[1.0, 0.0], [0.5, 2.0]]), jnp.array([[1.0, 1.0], [0.0, 3.0]])
        >>> grad = jnp.array([[0.3, -0.2], [0.1, 0.4]])
        >>> first, second = Svd.of(w1), Svd.of(w2)
        >>> u1_rate = vector_rates(first, -w2.T @ grad)[0]
        >>> v2_rate = vector_rates(second, -grad @ w1.T)[1]
        >>> product_rule = v2_rate.T @ first.u + second.v.T @ u1_rate
        >>> bool(jnp.allclose(alignment_rate(first, second, grad), product_rule))
        True
    """
    a = second.v.T @ first.u
    f = second.s[:, None] * (second.u.T @ grad @ first.v) * first.s
    h1, h2 = coupling(first.s, printed=printed), coupling(second.s, printed=printed)
    turn1, turn2 = a.T @ f, a @ f.T
    return -a @ (h1 * (turn1 + turn1.T)) + (h2 * (turn2 + turn2.T)) @ a


@jitted
def layer_value_rates(first: Svd, second: Svd, grad: Float[Array, "n d"]) -> tuple[Values, Values]:
    """The velocities of the singular values of two layers under gradient flow.

        ds1_k/dt = -sum_j (v2_j . u1_k) s2_j (u2_j^T G v1_k)
        ds2_k/dt = -sum_j (v2_k . u1_j) s1_j (u2_k^T G v1_j)

    Source: paper, Lemma 7.

    Args:
        first: Decomposition of the first layer W1, with r singular values.
        second: Decomposition of the second layer W2, with r singular values.
        grad: Gradient G of the loss with respect to W2 W1, shape (n, d).

    Returns:
        The pair (ds1/dt, ds2/dt), each of shape (r,).

    Example:
        This is `value_rates` of each layer with its velocity of Lemma 3:

        >>> import jax.numpy as jnp
        >>> w1, w2 = jnp.array([[1.0, 0.0], [0.5, 2.0]]), jnp.array([[1.0, 1.0], [0.0, 3.0]])
        >>> grad = jnp.array([[0.3, -0.2], [0.1, 0.4]])
        >>> first, second = Svd.of(w1), Svd.of(w2)
        >>> s1_rate, s2_rate = layer_value_rates(first, second, grad)
        >>> bool(jnp.allclose(s1_rate, value_rates(first, -w2.T @ grad)))
        True
        >>> bool(jnp.allclose(s2_rate, value_rates(second, -grad @ w1.T)))
        True
    """
    a = second.v.T @ first.u
    inner = second.u.T @ grad @ first.v
    first_rates = -jnp.einsum("jk,j,jk->k", a, second.s, inner)
    return first_rates, -jnp.einsum("kj,j,kj->k", a, first.s, inner)


@jitted
def aligned_rates(
    first_values: Values, second_values: Values, pull: Values
) -> tuple[Values, Values]:
    """The velocities of the singular values of two aligned layers (A = I) under gradient flow.

        ds1_k/dt = s1_k s2_k^2 p_k,   ds2_k/dt = s2_k s1_k^2 p_k,   p_k = v1_k^T X v1_k

    with the contrast matrix X. The difference s1_k^2 - s2_k^2 is constant.

    Source: paper, Theorem 3 (misprint there: "V2 = U1^T" should be V2 = U1); docs/theory.md,
    Eq. (theorem-3). Exact for aligned layers.

    Args:
        first_values: The singular values s1 of the first layer, shape (r,).
        second_values: The singular values s2 of the second layer, shape (r,).
        pull: The pull p of each mode, shape (r,); from X/N for the mean over anchors.

    Returns:
        The pair (ds1/dt, ds2/dt), each of shape (r,).

    Example:
        A mode under a positive pull grows in both layers, a mode under a negative one shrinks:

        >>> import jax.numpy as jnp
        >>> s1, s2, pull = jnp.array([2.0, 1.0]), jnp.array([1.0, 1.0]), jnp.array([1.0, -0.5])
        >>> [rate.tolist() for rate in aligned_rates(s1, s2, pull)]
        [[2.0, -0.5], [4.0, -0.5]]
    """
    return first_values * second_values**2 * pull, second_values * first_values**2 * pull


@jitted
def aligned_values(
    first_values: Float[Array, "*shape"],
    second_values: Float[Array, "*shape"],
    impulse: Float[Array, "*shape"],
):
    """The singular values of two aligned layers after a given impulse: Theorem 3 solved.

        s2^2 = K / (e^{2 y} - 1),   s1^2 = s2^2 + K
        y = y0 - K T,   y0 = log(s1/s2) at T = 0,   K = s1^2 - s2^2 (constant)
        K = 0:   s1^2 = s2^2 = 1/(1/s^2 - 2 T)

    The impulse T = int p dt collects the pull p of the mode over time. The solution follows from
    dy/dT = -K. Both values are infinite from T = y0/K on (T = 1/(2 s^2) for K = 0): an aligned mode
    under a constant pull blows up in finite time.

    Source: this project, docs/theory.md, Eq. (theorem-3); it solves `aligned_rates`.

    Args:
        first_values: The singular values s1 >= 0 of the first layer at T = 0, any shape.
        second_values: The singular values s2 >= 0 of the second layer at T = 0, the same shape.
        impulse: The impulse T of each mode, the same shape.

    Returns:
        The pair (s1, s2) after the impulse, each of that shape.

    Example:
        Two equal layers with s = 1: the square has doubled at T = 1/4, and is infinite at T = 1/2.

        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> ones = jnp.ones(3)
        >>> s1, s2 = aligned_values(ones, ones, jnp.array([0.0, 0.25, 0.5]))
        >>> np.asarray(s1**2).round(6).tolist()
        [1.0, 2.0, inf]
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
