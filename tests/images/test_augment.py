"""Augmentations against a plain NumPy statement of each, image by image and pixel by pixel."""

import colorsys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, assert_not_close

from linsim.images import augment, colour
from linsim.images.augment import Strength

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
    maps = (
        augment.interpolation(jnp.asarray(rows), 6),
        augment.interpolation(jnp.asarray(columns), 8),
    )
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
        shifts = [
            (a, b)
            for a in range(-2, 3)
            for b in range(-2, 3)
            if np.allclose(moved, shifted(image, a, b))
        ]
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
    mirrored = [
        np.array_equal(view, image[:, ::-1]) for view, image in zip(seen, IMAGES, strict=True)
    ]
    same = [np.array_equal(view, image) for view, image in zip(seen, IMAGES, strict=True)]
    assert np.all(np.array(mirrored) ^ np.array(same))
    assert 8 <= sum(mirrored) <= 32  # of 40: beyond four standard errors of a fair coin


@pytest.mark.parametrize("smallest", [0.3, 0.8])
def test_a_crop_keeps_its_share_of_a_side_and_stays_inside(smallest):
    """On a ramp f(position) = position the values seen are the positions.

    These are evenly spaced, inside, over the share kept.
    """
    maps = augment.axis_maps(KEY, 500, 8, Strength(crop=smallest))
    positions = np.asarray(maps @ jnp.arange(8.0))
    assert_close(maps.sum(axis=2), np.ones((500, 8)), size=64)
    assert positions.min() >= 0
    assert positions.max() <= 7
    inner = np.diff(positions[:, 2:6], axis=1)  # away from the edge, where positions are clipped
    assert_close(inner, np.repeat(inner[:, :1], 3, axis=1), size=64)
    assert smallest - 1e-6 <= inner.min() < smallest + 0.1
    assert 0.9 < inner.max() <= 1
    left, right = (
        positions[:, 3] - 3.5 * inner[:, 0] + 0.5,
        positions[:, 3] + 4.5 * inner[:, 0] + 0.5,
    )
    room = 8 - (right - left)
    placed = (left / room)[room > 0.5]  # uniform in what the crop leaves free
    assert placed.min() > -1e-6
    assert placed.max() < 1 + 1e-6
    assert abs(placed.mean() - 0.5) < 4 / np.sqrt(12 * len(placed))
    assert np.ptp(placed) > 0.9


def test_views_differ_by_key_and_images_by_draw():
    strength = Strength(noise=0.1, shift=1, crop=0.7, flip=True)
    first, again, other = (augment.view(jax.random.key(k), IMAGES, strength) for k in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other, atol=0.2)


def test_a_fifth_of_the_images_turns_grey_and_four_fifths_change_colour():
    images = jnp.asarray(np.random.default_rng(0).uniform(0.4, 0.6, (4000, 2, 2, 3)))
    seen = np.asarray(colour.view(KEY, images, 0.2))
    grey = np.ptp(seen, axis=3).max(axis=(1, 2)) < 1e-6
    same = np.all(np.isclose(seen, images, atol=1e-6), axis=(1, 2, 3))
    four_errors = 4 * np.sqrt(0.2 * 0.8 / 4000)
    assert abs(grey.mean() - 0.2) < four_errors
    assert abs(same[~grey].mean() - 0.2) < four_errors / np.sqrt(0.8)


def test_amounts_are_uniform_about_no_change():
    """Factors in 1 +- 0.8 strength and at least 0, turns of the hue in +- 0.2 strength."""
    for strength, (low, high) in {0.5: (0.6, 1.4), 1.5: (0.0, 2.2)}.items():
        order, (*factors, turns) = colour.amounts(KEY, 4000, strength)
        assert sorted(order.tolist()) == [0, 1, 2, 3]
        for drawn, least, most in [(f, low, high) for f in factors] + [
            (turns, -0.2 * strength, 0.2 * strength)
        ]:
            reach = most - least
            assert 0 <= drawn.min() - least < 0.01 * reach
            assert 0 <= most - drawn.max() < 0.01 * reach
            assert abs(drawn.mean() - (least + most) / 2) < 4 * reach / np.sqrt(12 * 4000)


ALL = np.asarray(IMAGES)
FACTORS = np.random.default_rng(1).uniform(0.5, 1.5, (40, 1, 1, 1))
TURNS = np.random.default_rng(2).uniform(-0.6, 0.6, (40, 1, 1, 1))


def by_pixel(function):
    """The change (pixel, its image, amount) -> pixel, taken pixel by pixel and cut to [0, 1]."""

    def change(images, amounts):
        out = np.empty(images.shape)
        for index in np.ndindex(images.shape[:3]):
            out[index] = function(images[index], images[index[0]], float(amounts[index[0]].item()))
        return np.clip(out, 0, 1)

    return change


def luma(pixel):
    return 0.299 * pixel[..., 0] + 0.587 * pixel[..., 1] + 0.114 * pixel[..., 2]


def turned(pixel, _, turn):
    hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
    return colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value)


STATED = {
    "brightness": by_pixel(lambda pixel, image, f: f * pixel),
    "contrast": by_pixel(lambda pixel, image, f: f * pixel + (1 - f) * luma(image).mean()),
    "saturation": by_pixel(lambda pixel, image, f: f * pixel + (1 - f) * luma(pixel)),
    "hue": by_pixel(turned),
}


@pytest.mark.parametrize("name", STATED)
def test_colours_change_as_stated_pixel_by_pixel(name):
    images = np.concatenate(
        [ALL[:6], np.broadcast_to(ALL[6:7, :, :, :1], (1, 6, 8, 3)), np.zeros((1, 6, 8, 3))]
    )  # grey and black
    amounts = (TURNS if name == "hue" else FACTORS)[:8]
    seen = jax.jit(getattr(colour, name))(jnp.asarray(images), jnp.asarray(amounts))
    assert_close(seen, STATED[name](images, amounts), size=16)
    assert_not_close(seen[:6], images[:6])
    one = images[..., :1]
    kept = getattr(colour, name)(jnp.asarray(one), jnp.asarray(amounts))
    if name in ("saturation", "hue"):
        assert_close(kept, one)  # one channel has neither
    else:
        assert_not_close(kept[:6], one[:6])


@pytest.mark.parametrize("strength", [0.5, 1.5])
def test_jitter_is_the_four_changes_in_a_random_order_within_their_bounds(strength):
    orders, reach = set(), 0.8 * strength
    for seed in range(6):
        order, amounts = (
            np.asarray(drawn) for drawn in colour.amounts(jax.random.key(seed), 10, strength)
        )
        expected = ALL[:10]
        for change in order:
            expected = list(STATED.values())[change](expected, amounts[change])
        assert_close(colour.jitter(jax.random.key(seed), IMAGES[:10], strength), expected, size=64)
        orders.add(tuple(order))
        assert np.all(amounts[:3] >= max(1 - reach, 0))
        assert np.all(amounts[:3] <= 1 + reach)
        assert np.ptp(amounts[:3]) > 0.7 * (1 + reach - max(1 - reach, 0))
        assert 0.5 * 0.25 * reach < np.abs(amounts[3]).max() <= 0.25 * reach
    assert len(orders) > 3
    assert sorted(orders.pop()) == [0, 1, 2, 3]


def test_colours_of_four_fifths_change_and_a_fifth_turns_grey():
    images = jnp.tile(IMAGES, (25, 1, 1, 1))
    for strength, unchanged in (
        (0.5, 0.2 * 0.8),
        (0.0, 0.8),
    ):  # of a thousand, within four standard errors
        seen = np.asarray(colour.view(KEY, images, strength))
        same = np.mean(
            [
                np.allclose(view, image, atol=1e-6)
                for view, image in zip(seen, np.asarray(images), strict=True)
            ]
        )
        assert abs(same - unchanged) < 4 * np.sqrt(unchanged * (1 - unchanged) / 1000)
        assert abs(np.mean(np.ptp(seen, axis=3).max(axis=(1, 2)) < 1e-6) - 0.2) < 4 * np.sqrt(
            0.2 * 0.8 / 1000
        )
    grey = np.asarray(colour.grey(IMAGES))
    assert_close(grey, np.repeat(luma(ALL)[..., None], 3, axis=3))


@pytest.mark.parametrize("smallest", [0.08, 0.6])
def test_crops_keep_their_share_of_the_area_at_an_aspect_of_at_most_four_thirds(smallest):
    """On a ramp f(position) = position the values seen are the positions.

    Differences away from the edge are the share kept.
    """
    maps = augment.area_maps(KEY, (2000, 16, 24, 3), smallest)
    shares = []
    for each, size in zip(maps, (16, 24), strict=True):
        positions = np.asarray(each @ jnp.arange(float(size)))
        assert positions.min() >= 0
        assert positions.max() <= size - 1
        shares.append(np.median(np.diff(positions, axis=1), axis=1))
    height, width = shares
    whole = (height > 0.999) | (width > 0.999)  # cut to the image
    area, aspect = (height * width)[~whole], (width / height)[~whole]
    assert smallest <= area.min() < smallest + 0.05
    assert 3 / 4 - 1e-9 <= aspect.min() < 0.77
    assert 1.3 < aspect.max() <= 4 / 3 + 1e-9
    assert (height * width).max() > 0.97
    uniform = (1 - smallest) / 2 + smallest
    assert abs(np.mean(height * width) - uniform) < 0.03  # cutting lowers the mean area a little
    assert np.all(np.maximum(width / height, height / width) < 4 / 3 + 1e-9)


def test_a_simclr_view_is_its_crop_flip_and_colours():
    """The same draws, taken apart: every pixel is interpolated in the image, then coloured."""
    key_crop, key_flip, key_colour = jax.random.split(KEY, 3)
    rows, columns = augment.area_maps(key_crop, (40, 6, 8, 3), 0.2)
    columns = augment.half_mirrored(key_flip, columns)
    cropped = np.empty((40, 6, 8, 3))
    for index, (row, column) in enumerate(
        zip(np.asarray(rows @ jnp.arange(6.0)), np.asarray(columns @ jnp.arange(8.0)), strict=True)
    ):
        for i, j in np.ndindex(6, 8):
            cropped[index, i, j] = interpolated(ALL[index], row[i], column[j])
    seen = jax.jit(augment.simclr_view, static_argnums=(2, 3))(KEY, IMAGES, 0.2, 0.5)
    assert_close(seen, colour.view(key_colour, jnp.asarray(cropped), 0.5), size=64)
    falling = np.diff(np.asarray(columns @ jnp.arange(8.0)), axis=1).min(axis=1) < 0
    assert 8 <= falling.sum() <= 32
