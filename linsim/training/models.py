"""Networks as plain tuples of weight matrices, first layer first, and the ways to draw their
initial weights.

Linear ones, z = W_L ... W_1 x (paper, sections 4 and 5), and the same with ReLU between layers.
"""

import itertools
import math
from functools import reduce

import jax
import jax.numpy as jnp
from jaxtyping import Float, PRNGKeyArray

from linsim.arrays import Array

Weights = Float[Array, "_out _in"]
Params = tuple[Weights, ...]


def gaussian(key: PRNGKeyArray, widths: tuple[int, ...], scale: float | Float[Array, ""]) -> Params:
    """Independent Gaussian entries of variance scale^2 / fan_in, so that rows have length about
    `scale`.

    Args: widths (d, h, ..., n), one more than there are layers; scale > 0. Returns: (W_1 (h, d),
    ..., W_L).
    """
    return _independent(jax.random.normal, key, widths, scale)


def uniform(key: PRNGKeyArray, widths: tuple[int, ...], scale: float | Float[Array, ""]) -> Params:
    """Independent uniform entries of variance scale^2 / fan_in; scale 1/sqrt(3) is
    torch.nn.Linear's default.

    Args and returns as `gaussian`.
    """

    def unit_uniform(key, shape):
        return jax.random.uniform(key, shape, minval=-math.sqrt(3), maxval=math.sqrt(3))

    return _independent(unit_uniform, key, widths, scale)


def orthogonal(
    key: PRNGKeyArray, widths: tuple[int, ...], scale: float | Float[Array, ""]
) -> Params:
    """Random (semi-)orthogonal matrices times `scale`: every singular value of each layer is
    `scale`.

    Args and returns as `gaussian`.
    """
    keys = jax.random.split(key, len(widths) - 1)
    draw = jax.nn.initializers.orthogonal()
    return tuple(
        scale * draw(k, (out, n)) for k, n, out in zip(keys, widths[:-1], widths[1:], strict=True)
    )


def spectral(key: PRNGKeyArray, widths: tuple[int, ...], values: Float[Array, "r"]) -> Params:
    """Each layer U diag(values) V^T between its own random orthogonal factors: the paper's
    two-layer start.

    Source: paper, section 5 (values e^{-0.35 k}, from the released code). Args: values (r,), r the
    smallest width.
    Returns: as `gaussian`.
    """
    keys = jax.random.split(key, 2 * (len(widths) - 1))
    frames = [random_frame(k, n, len(values)) for k, n in zip(keys, _ends(widths), strict=True)]
    return tuple(
        left * values @ right.T for right, left in zip(frames[::2], frames[1::2], strict=True)
    )


def imbalanced(
    key: PRNGKeyArray,
    widths: tuple[int, int, int],
    values: Float[Array, "r"],
    kappa: float | Float[Array, ""] = 0.0,
) -> Params:
    """Two aligned layers with W1 W1^T - W2^T W2 = kappa I on the modes; kappa = 0: balanced.

        s1_k^2 = (kappa + sqrt(kappa^2 + 4 w_k^2))/2,   s2_k^2 = s1_k^2 - kappa,   s1_k s2_k = w_k

    Args: widths (d, h, n); values w (r,) of the product W2 W1; kappa of any sign. Returns: (W1 (h,
    d), W2 (n, h)).
    """
    inner, hidden, outer = (
        random_frame(k, n, len(values))
        for k, n in zip(jax.random.split(key, 3), widths, strict=True)
    )
    root = jnp.sqrt(kappa**2 + 4 * values**2)
    first, second = jnp.sqrt(0.5 * (root + kappa)), jnp.sqrt(0.5 * (root - kappa))
    return hidden * first @ inner.T, outer * second @ hidden.T


def balanced(key: PRNGKeyArray, widths: tuple[int, ...], values: Float[Array, "r"]) -> Params:
    """Aligned layers of equal singular values, so that W_l W_l^T = W_(l+1)^T W_(l+1): the product
    has values^L.

    Args: widths (d, h, ..., n); values (r,) of each layer, r at most the smallest width. Returns:
    (W_1 (h, d), ..., W_L).
    """
    keys = jax.random.split(key, len(widths))
    frames = [random_frame(k, width, len(values)) for k, width in zip(keys, widths, strict=True)]
    return tuple(left * values @ right.T for right, left in itertools.pairwise(frames))


def relu_network(params: Params, x: Float[Array, "N d"]) -> Float[Array, "N n"]:
    """z = W_L relu(W_{L-1} ... relu(W_1 x)). Source: paper, Appendix (Fig. 11b). Args: params; x
    (N, d). Returns: (N, n).
    """
    for layer in params[:-1]:
        x = jax.nn.relu(x @ layer.T)
    return x @ params[-1].T


def random_frame(key: PRNGKeyArray, dim: int, count: int) -> Float[Array, "dim count"]:
    """`count` orthonormal columns in `dim` dimensions, uniformly random (count <= dim)."""
    return jnp.linalg.qr(jax.random.normal(key, (dim, count)))[0]


def _ends(widths: tuple[int, ...]) -> list[int]:
    """Input and output width of each layer, in turn."""
    return [width for pair in itertools.pairwise(widths) for width in pair]


def _independent(draw, key, widths, scale) -> Params:
    keys = jax.random.split(key, len(widths) - 1)
    return tuple(
        scale / jnp.sqrt(fan_in) * draw(k, (fan_out, fan_in))
        for k, fan_in, fan_out in zip(keys, widths[:-1], widths[1:], strict=True)
    )


def product(params: Params) -> Weights:
    """The one matrix W = W_L ... W_1 that the network computes, (n, d)."""
    return reduce(lambda below, layer: layer @ below, params)


def layer_gradients(params: Params, grad: Weights) -> Params:
    """Gradient of each layer from the gradient G with respect to the product.

        dL/dW_l = (W_L ... W_{l+1})^T G (W_{l-1} ... W_1)^T

    Source: paper, Lemma 3 for two layers. Args: params; grad G (n, d). Returns: as params.
    """
    above = [grad]
    for layer in reversed(params[1:]):
        above.append(layer.T @ above[-1])
    gradients, below = [], None
    for layer, pulled in zip(params, reversed(above), strict=True):
        gradients.append(pulled if below is None else pulled @ below.T)
        below = layer if below is None else layer @ below
    return tuple(gradients)
