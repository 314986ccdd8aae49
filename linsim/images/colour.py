"""Random colours of images, on whole batches: SimCLR's jitter and grey.

Source: Chen et al. 2020, appendix A.

Each change acts on images (N, H, W, C) of values from 0 to 1 with one number per image (N, 1, 1,
1). Images of one channel have brightness and contrast, but no saturation and no hue to change.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int, PRNGKeyArray

from linsim.arrays import Array
from linsim.training.records import Real

Pixels = Float[Array, "N height width channels"]
PerImage = Float[Array, "N 1 1 1"]
LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601
JITTERED = 0.8  # share of the images
GREY = 0.2
HUE = 0.25  # of the jitter of brightness, contrast and saturation, in turns


def view(key: PRNGKeyArray, images: Pixels, strength: Real) -> Pixels:
    """Random colours: `jitter` for 80 % of the images, then 20 % turned grey.

    Args: key; images; strength.
    Returns: as images.
    """
    key_jitter, key_whom, key_grey = jax.random.split(key, 3)
    shape = (len(images), 1, 1, 1)
    jittered = jnp.where(
        jax.random.bernoulli(key_whom, JITTERED, shape),
        jitter(key_jitter, images, strength),
        images,
    )
    return jnp.where(jax.random.bernoulli(key_grey, GREY, shape), grey(jittered), jittered)


def jitter(key: PRNGKeyArray, images: Pixels, strength: Real) -> Pixels:
    """Brightness, contrast, saturation and hue changed by `amounts`.

    Their order is random, and shared by the batch.
    """
    order, changes = amounts(key, len(images), strength)

    def change(step, seen):
        return jax.lax.switch(order[step], CHANGES, seen, changes[order[step]])

    return jax.lax.fori_loop(0, len(CHANGES), change, images)


def amounts(
    key: PRNGKeyArray, count: int, strength: Real
) -> tuple[Int[Array, "4"], Float[Array, "4 N 1 1 1"]]:
    """The order of a jitter's CHANGES, and their amounts.

    Uniform factors in [1 - 0.8 strength, 1 + 0.8 strength], at least 0, and turns of the hue in
    [-0.2 strength, 0.2 strength].

    Source: Chen et al. 2020, appendix A.
    Args: key; N images; strength (0.5 on CIFAR-10, 1 on ImageNet).
    """
    key_order, *keys = jax.random.split(key, 1 + len(CHANGES))
    reach, shape = 0.8 * strength, (count, 1, 1, 1)
    bounds = [(jnp.maximum(1 - reach, 0.0), 1 + reach)] * 3 + [(-HUE * reach, HUE * reach)]
    drawn = [
        jax.random.uniform(k, shape, minval=low, maxval=high)
        for k, (low, high) in zip(keys, bounds, strict=True)
    ]
    return jax.random.permutation(key_order, len(CHANGES)), jnp.stack(drawn)


def brightness(images: Pixels, factor: PerImage) -> Pixels:
    """factor x image, cut to [0, 1]."""
    return jnp.clip(factor * images, 0.0, 1.0)


def contrast(images: Pixels, factor: PerImage) -> Pixels:
    """factor x image + (1 - factor) x its mean luminance, cut to [0, 1]."""
    return _blend(images, jnp.mean(luminance(images), axis=(1, 2), keepdims=True), factor)


def saturation(images: Pixels, factor: PerImage) -> Pixels:
    """factor x image + (1 - factor) x each pixel's luminance, cut to [0, 1]."""
    return _blend(images, luminance(images), factor)


def hue(images: Pixels, turn: PerImage) -> Pixels:
    """The colours' hue turned by a share of the colour circle, saturation and value (HSV) kept.

    With V and v the largest and smallest of red, green, blue, and H the hue in sixths:
    channel c = V - (V - v) max(0, min(k, 4 - k, 1)), k = (n_c + H) mod 6, n = 5, 3, 1.
    Source: Smith 1978 (HSV). Args: images; turn, in turns. Returns: as images.
    """
    if images.shape[-1] == 1:
        return images
    red, green, blue = jnp.moveaxis(images, -1, 0)
    value, lowest = jnp.max(images, axis=-1), jnp.min(images, axis=-1)
    spread = value - lowest
    safe = jnp.where(spread > 0, spread, 1.0)
    green_or_blue = jnp.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe)
    sixths = jnp.where(value == red, (green - blue) / safe, green_or_blue) + 6 * turn[..., 0]
    k = (jnp.array([5.0, 3.0, 1.0], images.dtype) + sixths[..., None]) % 6
    return value[..., None] - spread[..., None] * jnp.clip(jnp.minimum(k, 4 - k), 0.0, 1.0)


def grey(images: Pixels) -> Pixels:
    """Each pixel's luminance in every channel."""
    return jnp.broadcast_to(luminance(images), images.shape)


def luminance(images: Pixels) -> Float[Array, "N height width 1"]:
    """0.299 red + 0.587 green + 0.114 blue; the image itself if it has one channel."""
    return (
        images
        if images.shape[-1] == 1
        else (images @ jnp.array(LUMINANCE, images.dtype))[..., None]
    )


def _blend(images: Pixels, other: Array, factor: PerImage) -> Pixels:
    return jnp.clip(factor * images + (1 - factor) * other, 0.0, 1.0)


CHANGES: tuple[Callable[[Pixels, PerImage], Pixels], ...] = (brightness, contrast, saturation, hue)
