"""Standard normal numbers for training batches, cheap enough not to dominate a step.

jax.random's generator (Threefry, 20 rounds, one word of two used) would cost as much as the whole rest of a training step.
Float32 numbers therefore come from a hash of a counter, seeded anew for every batch by jax.random. Given up: Threefry's margin
against structure within one batch, and equality with jax.random.normal. Float64, the dtype of verification, keeps Threefry.
"""

import math

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Float, PRNGKeyArray, UInt32

from linsim.arrays import Array


def normal(key: PRNGKeyArray, shape: tuple[int, ...], dtype: DTypeLike) -> Float[Array, "*shape"]:
    """Independent standard normal numbers.

        float32: sqrt(2) erfinv(u), u on a grid of 2^23 odd multiples of 2^-23 in (-1, 1), by `hashed_bits`: |value| < 5.3

    Source: this project. Args: key, of any generator; shape; dtype. Returns: array of that shape; other dtypes by jax.random.
    """
    if dtype != jnp.float32:
        return jax.random.normal(key, shape, dtype)
    high = hashed_bits(key, math.prod(shape)) >> 9
    uniform = (2 * high.astype(jnp.int32) + (1 - 2**23)).astype(dtype) * jnp.float32(2**-23)
    return (jnp.float32(math.sqrt(2)) * jax.lax.erf_inv(uniform)).reshape(shape)


def hashed_bits(key: PRNGKeyArray, count: int) -> UInt32[Array, "count"]:
    """Random 32-bit words: PCG4D of (counter, three words drawn with the key); trust the high bits most.

    Source: Jarzynski and Olano 2020, "Hash functions for GPU rendering", JCGT 9(3). Args: key; count. Returns: (count,).
    """
    counter = jnp.arange(-(-count // 4), dtype=jnp.uint32)
    words = jax.random.bits(key, (3,), jnp.uint32)
    v = [t * jnp.uint32(1664525) + jnp.uint32(1013904223) for t in (counter, *words)]
    mixed = _stirred([t ^ (t >> 16) for t in _stirred(v)])
    return jnp.concatenate(mixed)[:count]


def _stirred(v: list[UInt32[Array, "..."]]) -> list[UInt32[Array, "count"]]:
    x, y, z, w = v
    x = x + y * w
    y = y + z * x
    z = z + x * y
    return [x, y, z, w + y * z]
