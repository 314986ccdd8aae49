"""Runs of dense encoders: their images, their views, and what is measured of them at the end."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, assert_not_close

from linsim.images import dense
from linsim.images.augment import Strength
from linsim.images.dense import DenseRun
from linsim.images.folders import Images
from linsim.images.projectors import Subvector
from linsim.images.residual import Residual, residual_encoder

KEY = jax.random.key(3)


@pytest.fixture
def images(monkeypatch):
    """Twelve images of 4 x 3 pixels, in three classes of four."""
    pixels = np.random.default_rng(0).random((12, 4, 3, 1)).astype(np.float32)
    held = Images(pixels, np.tile([0, 1, 2], 4), ("a", "b", "c"))
    monkeypatch.setattr(dense.folders, "load", lambda *_: held)
    return held


def test_a_run_has_a_stem_and_blocks_and_trains_on_two_thirds_of_its_images(images):
    assert DenseRun(blocks=2).activations == ("relu", "relu", "relu")
    assert DenseRun(blocks=2, linear_block=True).activations == ("relu", "relu", "linear")
    assert DenseRun().train_count() == 8
    assert DenseRun(train_share=0.25).train_count() == 3


def test_batches_are_two_views_of_the_images_to_train_on(images, monkeypatch):
    """Noise is in units of the pixels' deviation. Views are stubs that add one normal to all."""
    normal = lambda key: jax.random.normal(key, ())
    view = lambda key, batch, strength: batch + strength.noise * normal(key)
    monkeypatch.setattr(dense.augment, "view", view)
    rows = np.array([1, 4, 5, 7, 8, 11])
    x = np.asarray(images.pixels, float)
    expected = (x - x.mean()).reshape(12, 12)
    assert_close(dense.flat(images), expected, rtol=1e-6)
    run = DenseRun(batch_size=6, views=Strength(noise=3.0))
    seen = np.asarray(dense.view_batches(run, images, jnp.asarray(rows))(KEY))
    first, second = np.split(seen, 2)
    for view, key in zip((first, second), jax.random.split(KEY, 3)[1:], strict=True):
        found = view - 3 * x.std() * float(normal(key))
        assert_close(sorted(found.tolist()), sorted(expected[rows].tolist()), rtol=1e-6)
    assert_not_close(first, second)


def test_what_is_measured_is_of_the_last_weights_and_all_images(images, monkeypatch):
    """Nothing is trained: a stub of descent asks for one gradient, and its last record is twice the
    first weights. A stub of the loss is the sum of squares.
    """
    taken: dict[str, Any] = {"last": 2.0}
    kinds = ("relu", "relu", "relu", "linear")
    batch = jnp.asarray(np.random.default_rng(1).standard_normal((8, 12)))

    def view_batches(run, images, rows):
        taken["rows"] = rows
        return lambda key: batch

    def descend(start, gradient, optimizer, steps, key):
        taken["step"] = gradient(start, KEY)
        ends = jax.tree.map(
            lambda leaf: jnp.stack([9 + leaf, 9 + leaf, taken["last"] * leaf]), start
        )
        return ends, jnp.array([3.0, 4.0, 5.0]), None

    def squares(embed, temperature):
        return lambda params, r, key: jnp.sum(embed(params, r, key) ** 2) / temperature

    def gradient_spectra(loss_at, block, h):
        return jnp.stack([jnp.ravel(h), jnp.ravel(block(h)) * loss_at(jnp.ones((1, 5)))])

    order, rng = jnp.arange(12)[::-1], np.random.default_rng(2)
    encoder = Residual(
        rng.standard_normal((5, 12)), tuple(map(tuple, rng.standard_normal((3, 2, 5, 5))))
    )
    monkeypatch.setattr(dense, "stratified_order", lambda key, labels: order)
    sizes = {(12, 5, 3): encoder}  # of an image, the representation; blocks
    monkeypatch.setattr(dense.residual, "residual", lambda key, *asked: sizes[asked])
    monkeypatch.setattr(dense.dynamics, "descend", descend)
    monkeypatch.setattr(dense, "view_batches", view_batches)
    monkeypatch.setattr(dense, "contrast", squares)
    monkeypatch.setattr(dense, "gradient_spectra", gradient_spectra)
    monkeypatch.setattr(dense, "observe", lambda h, r: {"h": h, "r": r})
    asked = {"width": 5, "blocks": 3, "temperature": 0.5, "linear_block": True}
    run = DenseRun(projector=Subvector(d0=2), **asked)
    found = dense.simulate(run, KEY)
    end = jax.tree.map(lambda leaf: 2 * leaf, encoder)
    h, r = residual_encoder(end, dense.flat(images), kinds)
    assert_close(found["h"], h)
    assert_close(found["r"], r)
    assert found["loss"].tolist() == [3.0, 4.0, 5.0]
    np.testing.assert_array_equal(found["order"], order)
    np.testing.assert_array_equal(taken["rows"], order[:8])
    h, r = residual_encoder(end, batch, kinds)
    assert_close(found["gradient_spectrum"], np.stack([np.ravel(h), 4 * np.ravel(r)]))
    towards, value, _ = taken["step"]
    r = residual_encoder(encoder, batch, kinds)[1]
    assert_close(value, 2 * np.sum(np.asarray(r)[:, :2] ** 2), size=100)
    assert np.any(towards[0].stem)
    taken["last"] = jnp.inf
    loss = dense.simulate(run, KEY)["loss"]
    assert loss[:2].tolist() == [3, 4]
    assert np.isnan(loss[2])
