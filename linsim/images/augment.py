"""Random views of images, on whole batches inside a compiled step.

Crop and resize, shift, flip and additive noise; and SimCLR's views (crop, flip, colours).

Every geometric change is one matrix for the rows and one for the columns of each image, image' = R
image C^T, whose entries interpolate linearly between pixels. What lies outside an image is 0, its
darkest value.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Float, PRNGKeyArray

from linsim.arrays import Array
from linsim.images import colour
from linsim.training.records import Real, record, static

Pixels = Float[Array, "N height width channels"]
Maps = Float[Array, "N size size"]
Rows = Float[Array, "N height height"]
Columns = Float[Array, "N width width"]
PerImage = Float[Array, "N 1"]
ASPECT = 4 / 3  # largest ratio of a crop's sides


@record
class Strength:
    """How strong each augmentation is; with the defaults nothing is changed.

    A number that may vary inside one compiled program: crop, the smallest share of an image's side
    that a crop may keep. Static: noise, its standard deviation, in units of the pixels' values (the
    compiler folds it into the draw of the normals); shift, the largest shift in either direction,
    in pixels; flip, whether half of the images are mirrored left to right.
    """

    noise: Real = static(0.0)
    crop: Real = 1.0
    shift: int = static(0)
    flip: bool = static(False)


def view(key: PRNGKeyArray, images: Pixels, strength: Strength) -> Pixels:
    """One random view of every image: crop and resize, shift, flip, then noise.

    Args: key; (N, H, W, C).
    Returns: as images.
    """
    key_rows, key_columns, key_flip, key_noise = jax.random.split(key, 4)
    count, height, width, _ = images.shape
    rows = axis_maps(key_rows, count, height, strength)
    columns = axis_maps(key_columns, count, width, strength)
    if strength.flip:
        columns = half_mirrored(key_flip, columns)
    seen = resample(images, rows, columns)
    return seen + strength.noise * jax.random.normal(key_noise, seen.shape, seen.dtype)


def simclr_view(key: PRNGKeyArray, images: Pixels, smallest: Real, jitter: Real) -> Pixels:
    """One of SimCLR's random views of every image.

    A resized crop of each, a flip of one half, colour jitter of 80 %, and 20 % turned grey.

    Source: Chen et al. 2020, appendix A and B.9 (CIFAR-10: no blur, jitter 0.5).
    Args: key; images (N, H, W, C), 0 to 1; smallest share of the area that a crop keeps; jitter, of
    `colour.jitter`.
    Returns: as images.
    """
    key_crop, key_flip, key_colour = jax.random.split(key, 3)
    rows, columns = area_maps(key_crop, images.shape, smallest)
    return colour.view(key_colour, resample(images, rows, half_mirrored(key_flip, columns)), jitter)


def half_mirrored(key: PRNGKeyArray, columns: Maps) -> Maps:
    """The interpolation matrices of the columns, which mirror a random half of the images."""
    mirrored = jax.random.bernoulli(key, shape=(len(columns), 1, 1))
    return jnp.where(mirrored, columns[:, ::-1], columns)


def area_maps(key: PRNGKeyArray, shape: tuple[int, ...], smallest: Real) -> tuple[Rows, Columns]:
    """Interpolation matrices of the rows and columns of SimCLR's random crops.

    Crops have a random area, aspect and place, and are resized to the size of the image.

    Shares of the sides: height sqrt(s / a), width sqrt(s a), at most 1; s uniform in [smallest, 1],
    log a in log [3/4, 4/3].
    Source: Szegedy et al. 2015 as in Chen et al. 2020, appendix A; here sides need not be whole
    pixels, and one that would not fit is cut instead of drawn anew.
    Args: key; shape (N, H, W, C); smallest area.
    Returns: (N, H, H) and (N, W, W).
    """
    count, height, width, _ = shape
    key_area, key_aspect, key_rows, key_columns = jax.random.split(key, 4)
    area = jax.random.uniform(key_area, (count, 1), minval=smallest, maxval=1.0)
    aspect = jnp.exp(
        jax.random.uniform(
            key_aspect, (count, 1), minval=-math.log(ASPECT), maxval=math.log(ASPECT)
        )
    )
    rows = crop(key_rows, jnp.minimum(jnp.sqrt(area / aspect), 1.0), pixels(count, height))
    columns = crop(key_columns, jnp.minimum(jnp.sqrt(area * aspect), 1.0), pixels(count, width))
    return interpolation(rows, height), interpolation(columns, width)


def pixels(count: int, size: int) -> Float[Array, "N size"]:
    """The positions of an axis' own pixels, for each of N images."""
    return jnp.broadcast_to(jnp.arange(size, dtype=float), (count, size))


def crop(
    key: PRNGKeyArray, share: PerImage, source: Float[Array, "N size"]
) -> Float[Array, "N size"]:
    """Positions on an axis at which a crop is sampled: evenly spaced, and kept on the axis.

    Args: key of the crop's place, which is uniform; the share of the axis that it keeps; `pixels`.
    """
    size = source.shape[1]
    place = jax.random.uniform(key, (len(share), 1)) * (1 - share) * size
    return jnp.clip(place + share * (source + 0.5) - 0.5, 0, size - 1)


def resample(images: Pixels, rows: Rows, columns: Columns) -> Pixels:
    """R image C^T for each image and channel.

    Args: images (N, H, W, C); R (N, H, H); C (N, W, W).
    Returns: as images.
    """
    return jnp.einsum("nij,njkc,nlk->nilc", rows, images, columns)


def axis_maps(key: PRNGKeyArray, count: int, size: int, strength: Strength) -> Maps:
    """Interpolation matrices of one axis: a random crop, moved by a random shift.

    The crop keeps a share s, uniform in [crop, 1], of the side and lies uniformly inside it; the
    shift is a uniform whole number of pixels in [-shift, shift].
    Args: key; N images; size in pixels; strength.
    Returns: (N, size, size).
    """
    key_share, key_place, key_shift = jax.random.split(key, 3)
    source = pixels(count, size)
    share = jax.random.uniform(key_share, (count, 1), minval=strength.crop, maxval=1.0)
    source = crop(key_place, share, source)
    if strength.shift > 0:
        source += jax.random.randint(key_shift, (count, 1), -strength.shift, strength.shift + 1)
    return interpolation(source, size)


def interpolation(source: Float[Array, "N size"], size: int) -> Maps:
    """Linear interpolation: row i weighs the pixels next to position source_i by 1 - distance.

    Positions are pixel indices; beyond the image's edge the weights vanish.
    Args: source (N, size); size of the axis.
    Returns: (N, size, size).
    """
    return jnp.maximum(1 - jnp.abs(source[:, :, None] - jnp.arange(size)), 0.0)
