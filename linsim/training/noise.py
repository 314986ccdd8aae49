"""Standard normal numbers for training batches, cheap enough not to dominate a step.

jax.random's generator (Threefry, 20 rounds, one word of two used) would cost as much as the whole
rest of a training step. Float32 numbers therefore come from a hash of a counter, seeded anew for
every batch by jax.random. Given up: Threefry's margin against structure within one batch, and
equality with jax.random.normal. Float64, the dtype of verification, keeps Threefry.
"""

import math

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Float, PRNGKeyArray, UInt32

from linsim.arrays import Array


def normal(key: PRNGKeyArray, shape: tuple[int, ...], dtype: DTypeLike) -> Float[Array, "*shape"]:
    """Independent standard normal numbers.

        float32: sqrt(-2 ln u) (cos, sin)(2 pi t),   u in (0, 1] and t in [-1/2, 1/2)

    from `hashed_bits`, so that no value lies beyond 5.8.

    Source: Box and Muller 1958, Ann. Math. Stat. 29(2); u and t on a grid of 2^-24. Other dtypes:
    jax.random.
    Args: key, of any generator; shape; dtype. Returns: array of that shape.
    """
    if dtype != jnp.float32:
        return jax.random.normal(key, shape, dtype)
    count = math.prod(shape)
    pairs = -(-count // 2)
    bits = hashed_bits(key, 2 * pairs).reshape(2, pairs)
    uniform = ((bits[0] >> 8) + 1).astype(dtype) * jnp.float32(2**-24)
    cosine, sine = _circle((bits[1].astype(jnp.int32) >> 8).astype(dtype) * jnp.float32(2**-24))
    radius = jnp.sqrt(-2 * jnp.log(uniform))
    return jnp.concatenate([radius * cosine, radius * sine])[:count].reshape(shape)


def _circle(turns: Float[Array, "..."]) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Cosine and sine of 2 pi t, |t| <= 1/2, to 2e-7: the Taylor series of half the angle, of which
    XLA makes one loop.
    """
    half = jnp.float32(math.pi) * turns
    square = half * half
    sine = half * _series(square, 1)
    return 1 - 2 * sine * sine, 2 * sine * _series(square, 0)


def _series(square: Float[Array, "..."], first: int) -> Float[Array, "..."]:
    """sum_k (-square)^k / (2k + first)!, up to k = 6: cos a (first = 0) or sin a / a (first = 1) at
    a^2 = square.
    """
    value = jnp.zeros_like(square)
    for k in range(6, -1, -1):
        value = value * square + jnp.float32((-1) ** k / math.factorial(2 * k + first))
    return value


def hashed_bits(key: PRNGKeyArray, count: int) -> UInt32[Array, "count"]:
    """Random 32-bit words: PCG4D of (counter, three words drawn with the key); trust the high bits
    most.

    Source: Jarzynski and Olano 2020, "Hash functions for GPU rendering", JCGT 9(3). Args: key;
    count. Returns: (count,).
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
