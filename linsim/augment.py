"""Random views of images, on whole batches inside a compiled step: shift, crop and resize, flip, additive noise.

Every geometric change is one matrix for the rows and one for the columns of each image, image' = R image C^T, whose entries
interpolate linearly between pixels. What lies outside an image is 0, its darkest value.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, PRNGKeyArray

from linsim.arrays import Array

Pixels = Float[Array, "N height width channels"]
Maps = Float[Array, "N size size"]


class Strength(NamedTuple):
    """How strong each augmentation is; with the defaults nothing is changed.

    noise: standard deviation, in units of the pixels' values; shift: largest shift in either direction, in pixels; crop: the
    smallest share of an image's side that a crop may keep; flip: whether half of the images are mirrored left to right.
    """

    noise: float = 0.0
    shift: int = 0
    crop: float = 1.0
    flip: bool = False


def view(key: PRNGKeyArray, images: Pixels, strength: Strength) -> Pixels:
    """One random view of every image: crop and resize, shift, flip, then noise. Args: key; (N, H, W, C). Returns: as images."""
    key_rows, key_columns, key_flip, key_noise = jax.random.split(key, 4)
    count, height, width, _ = images.shape
    rows = axis_maps(key_rows, count, height, strength)
    columns = axis_maps(key_columns, count, width, strength)
    if strength.flip:
        mirrored = jax.random.bernoulli(key_flip, shape=(count, 1, 1))
        columns = jnp.where(mirrored, columns[:, ::-1], columns)
    seen = resample(images, rows, columns)
    return seen + strength.noise * jax.random.normal(key_noise, seen.shape, seen.dtype)


def resample(images: Pixels, rows: Float[Array, "N height height"], columns: Float[Array, "N width width"]) -> Pixels:
    """R image C^T for each image and channel. Args: images (N, H, W, C); R (N, H, H); C (N, W, W). Returns: as images."""
    return jnp.einsum("nij,njkc,nlk->nilc", rows, images, columns)


def axis_maps(key: PRNGKeyArray, count: int, size: int, strength: Strength) -> Maps:
    """Interpolation matrices of one axis: a crop of random length and place, moved by a random shift.

    The crop keeps a share s, uniform in [crop, 1], of the side and lies uniformly inside it; the shift is a uniform whole
    number of pixels in [-shift, shift]. Args: key; N images; size in pixels; strength. Returns: (N, size, size).
    """
    key_share, key_place, key_shift = jax.random.split(key, 3)
    source = jnp.broadcast_to(jnp.arange(size, dtype=float), (count, size))
    if strength.crop < 1:
        share = jax.random.uniform(key_share, (count, 1), minval=strength.crop, maxval=1.0)
        place = jax.random.uniform(key_place, (count, 1)) * (1 - share) * size
        source = jnp.clip(place + share * (source + 0.5) - 0.5, 0, size - 1)
    if strength.shift > 0:
        source += jax.random.randint(key_shift, (count, 1), -strength.shift, strength.shift + 1)
    return interpolation(source, size)


def interpolation(source: Float[Array, "N size"], size: int) -> Maps:
    """Matrix of linear interpolation: row i weighs the pixels next to position source_i by 1 - distance.

    Positions are pixel indices; beyond the image's edge the weights vanish. Args: source (N, size); size of the axis.
    Returns: (N, size, size).
    """
    return jnp.maximum(1 - jnp.abs(source[:, :, None] - jnp.arange(size)), 0.0)
