"""Augmentations against a plain NumPy statement of each, image by image and pixel by pixel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close

from linsim import augment
from linsim.augment import Strength

IMAGES = jnp.asarray(np.random.default_rng(0).random((40, 6, 8, 3)))
KEY = jax.random.key(0)


def interpolated(image, row, column):
    """The image at a fractional position, 0 outside."""
    total = np.zeros(image.shape[2])
    for i in range(image.shape[0]):
        for j in range(image.shape[1]):
            total += max(0, 1 - abs(row - i)) * max(0, 1 - abs(column - j)) * image[i, j]
    return total


def test_resampling_interpolates_linearly():
    rows, columns = np.array([[0.0, 0.5, 2.25, 5.0, 5.5, 7.0]]), np.linspace(-1, 7, 8)[None]
    maps = augment.interpolation(jnp.asarray(rows), 6), augment.interpolation(jnp.asarray(columns), 8)
    seen = augment.resample(IMAGES[:1], *maps)[0]
    for i, row in enumerate(rows[0]):
        for j, column in enumerate(columns[0]):
            assert_close(seen[i, j], interpolated(np.asarray(IMAGES[0]), row, column), size=64)


def test_without_strength_nothing_changes():
    assert np.array_equal(augment.view(KEY, IMAGES, Strength()), IMAGES)


def test_noise_has_the_standard_deviation_asked_for():
    difference = augment.view(KEY, IMAGES, Strength(noise=0.3)) - IMAGES
    count = difference.size
    assert abs(float(difference.std()) - 0.3) < 4 * 0.3 / np.sqrt(2 * count)  # four standard errors
    assert abs(float(difference.mean())) < 4 * 0.3 / np.sqrt(count)


def test_shifts_are_whole_pixels_of_every_size_and_fill_with_zero():
    seen = np.asarray(augment.view(KEY, IMAGES, Strength(shift=2)))
    found = set()
    for image, moved in zip(np.asarray(IMAGES), seen, strict=True):
        shifts = [(a, b) for a in range(-2, 3) for b in range(-2, 3) if np.allclose(moved, shifted(image, a, b))]
        assert len(shifts) == 1
        found |= {*shifts}
    assert {a for a, _ in found} == {b for _, b in found} == {-2, -1, 0, 1, 2}


def shifted(image, rows, columns):
    """image[i + rows, j + columns], 0 outside."""
    out = np.zeros_like(image)
    for i in range(image.shape[0]):
        for j in range(image.shape[1]):
            if 0 <= i + rows < image.shape[0] and 0 <= j + columns < image.shape[1]:
                out[i, j] = image[i + rows, j + columns]
    return out


def test_half_of_the_images_are_mirrored():
    seen = augment.view(KEY, IMAGES, Strength(flip=True))
    mirrored = [np.array_equal(view, image[:, ::-1]) for view, image in zip(seen, IMAGES, strict=True)]
    same = [np.array_equal(view, image) for view, image in zip(seen, IMAGES, strict=True)]
    assert np.all(np.array(mirrored) ^ np.array(same))
    assert 8 <= sum(mirrored) <= 32  # of 40: beyond four standard errors of a fair coin


@pytest.mark.parametrize("smallest", [0.3, 0.8])
def test_a_crop_keeps_its_share_of_a_side_and_stays_inside(smallest):
    """On a ramp f(position) = position the values seen are the positions: evenly spaced, inside, over the share kept."""
    maps = augment.axis_maps(KEY, 500, 8, Strength(crop=smallest))
    positions = np.asarray(maps @ jnp.arange(8.0))
    assert_close(maps.sum(axis=2), np.ones((500, 8)), size=64)
    assert positions.min() >= 0
    assert positions.max() <= 7
    inner = np.diff(positions[:, 2:6], axis=1)  # away from the edge, where positions are clipped
    assert_close(inner, np.repeat(inner[:, :1], 3, axis=1), size=64)
    assert smallest - 1e-6 <= inner.min() < smallest + 0.1
    assert 0.9 < inner.max() <= 1


def test_views_differ_by_key_and_images_by_draw():
    strength = Strength(noise=0.1, shift=1, crop=0.7, flip=True)
    first, again, other = (augment.view(jax.random.key(k), IMAGES, strength) for k in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other, atol=0.2)
