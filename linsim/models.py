"""Linear encoders z = W_L ... W_1 x as tuples of weight matrices, first layer first (paper, sections 4 and 5)."""

import math
from functools import reduce

import jax
import jax.numpy as jnp
from jaxtyping import Float, PRNGKeyArray

from linsim.arrays import Array

Weights = Float[Array, "_out _in"]
Params = tuple[Weights, ...]


def gaussian(key: PRNGKeyArray, widths: tuple[int, ...], scale: float | Float[Array, ""]) -> Params:
    """Independent Gaussian entries of variance scale^2 / fan_in, so that rows have length about `scale`.

    Args: widths (d, h, ..., n), one more than there are layers; scale > 0. Returns: (W_1 (h, d), ..., W_L).
    """
    return _independent(jax.random.normal, key, widths, scale)


def uniform(key: PRNGKeyArray, widths: tuple[int, ...], scale: float | Float[Array, ""]) -> Params:
    """Independent uniform entries of variance scale^2 / fan_in; scale 1/sqrt(3) is torch.nn.Linear's default.

    Args and returns as `gaussian`.
    """

    def unit_uniform(key, shape):
        return jax.random.uniform(key, shape, minval=-math.sqrt(3), maxval=math.sqrt(3))

    return _independent(unit_uniform, key, widths, scale)


def orthogonal(key: PRNGKeyArray, widths: tuple[int, ...], scale: float | Float[Array, ""]) -> Params:
    """Random (semi-)orthogonal matrices times `scale`: every singular value of each layer is `scale`.

    Args and returns as `gaussian`.
    """
    keys = jax.random.split(key, len(widths) - 1)
    draw = jax.nn.initializers.orthogonal()
    return tuple(scale * draw(k, (out, n)) for k, n, out in zip(keys, widths[:-1], widths[1:], strict=True))


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
