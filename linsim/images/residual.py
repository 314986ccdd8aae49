"""Residual encoders of dense layers for small images: a stem, and blocks h + f(h) over it.

Source: paper, section 6.
"""

import math
from typing import NamedTuple

import jax
from jaxtyping import Float, PRNGKeyArray

from linsim.arrays import Array
from linsim.training.models import Weights, gaussian
from linsim.training.names import Activation


class Residual(NamedTuple):
    """A residual encoder: stem (width, d), and per block the matrices (U, V) of f(h) = V s(U h)."""

    stem: Weights
    blocks: tuple[tuple[Weights, Weights], ...]


def residual(
    key: PRNGKeyArray, dim: int, width: int, blocks: int, hidden: int | None = None
) -> Residual:
    """A random residual encoder of independent Gaussian entries.

    Stem and U have variance 2 / fan_in (He et al. 2015), V 1 / (fan_in blocks).

    So every block adds its share of the stem's variance, however many there are.
    Args: key; input dim; width of the representation; number of blocks; hidden width of the blocks
    (default: width).
    Returns: Residual.
    """
    hidden = width if hidden is None else hidden
    key_stem, *keys = jax.random.split(key, 1 + 2 * blocks)
    (stem,) = gaussian(key_stem, (dim, width), math.sqrt(2))
    inner = [gaussian(k, (width, hidden), math.sqrt(2))[0] for k in keys[:blocks]]
    outer = [gaussian(k, (hidden, width), 1 / math.sqrt(max(blocks, 1)))[0] for k in keys[blocks:]]
    return Residual(stem, tuple(zip(inner, outer, strict=True)))


def residual_block(
    block: tuple[Weights, Weights], h: Float[Array, "N width"], kind: Activation
) -> Float[Array, "N width"]:
    """h + f(h), f(h) = V s(U h), s the identity or ReLU.

    Source: paper, section 6.2 (Fig. 10).
    Args: (U, V); h.
    Returns: r.
    """
    inner, outer = block
    return h + activate(h @ inner.T, kind) @ outer.T


def residual_encoder(
    params: Residual, x: Float[Array, "N d"], kinds: tuple[Activation, ...]
) -> tuple[Float[Array, "N width"], Float[Array, "N width"]]:
    """The representation r = h + f(h), and h, what lies behind the last block f.

    h comes likewise from the block below, and the first block's from the stem.

    Source: paper, section 6.2.
    Args: params of L blocks; x (N, d); kinds: of the stem and of each block, L + 1 of them.
    Returns: (h, r), each (N, width); h = r without blocks.
    """
    stem, *others = kinds
    h = r = activate(x @ params.stem.T, stem)
    for block, kind in zip(params.blocks, others, strict=True):
        h, r = r, residual_block(block, r, kind)
    return h, r


def activate(h: Float[Array, "N k"], kind: Activation) -> Float[Array, "N k"]:
    """h itself ("linear") or max(h, 0) ("relu")."""
    return jax.nn.relu(h) if kind == "relu" else h
