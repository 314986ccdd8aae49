"""Training of convolutional encoders: resumed bit by bit, and probes that it does not notice."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import assert_close, assert_not_close

from linsim import losses
from linsim.images import augment, checkpoint, convolutional
from linsim.images.convolutional import ConvolutionalRun, Draw, Held
from linsim.sweeps.sweep import run_keys

KEY = run_keys(3, 1)[0]
DRAW = Draw(KEY, jnp.arange(12))


def tiny(steps=7, **fields):
    """A run that trains in a moment."""
    return ConvolutionalRun(steps=steps, batch_size=4, width=4, blocks=(2,), **fields)


@pytest.fixture(scope="module")
def held():
    """Twelve coloured images of two classes."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (12, 4, 4, 3), dtype=np.uint8)
    labels = jnp.asarray(np.repeat([0, 1], 6))
    return Held(pixels=jnp.asarray(pixels), labels=labels, classes=2)


def trained(run, held, path, epochs=None):
    """State and records after so many epochs, or at the end, going on from what is at `path`."""
    reached = None
    for reached in convolutional.train(run, DRAW, held, path):
        if reached[1].epochs() == epochs:
            break
    assert reached is not None
    return reached


def same_bytes(first, second):
    pairs = zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)


def largest_difference(first, second):
    pairs = zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    return max(float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in pairs)


@pytest.fixture(scope="module")
def whole(held, tmp_path_factory):
    """Seven steps in epochs of three, without interruption."""
    return trained(tiny(), held, tmp_path_factory.mktemp("whole") / "state")


def test_interrupted_in_any_epoch_and_resumed_the_parameters_are_bit_identical(
    whole, held, tmp_path
):
    assert whole[1].epochs() == 3
    for epochs in (1, 2):
        path = tmp_path / f"{epochs}.state"
        trained(tiny(), held, path, epochs)
        state, records = trained(tiny(), held, path)
        assert same_bytes(state, whole[0])
        assert same_bytes(records[:2], whole[1][:2])
    path.write_bytes(path.read_bytes()[:1000])  # damaged: starts anew
    assert same_bytes(trained(tiny(), held, path)[0], whole[0])


def test_the_online_probe_learns_and_the_encoder_does_not_notice(whole, held, tmp_path):
    state, _ = whole
    without, records = trained(tiny(online=False), held, tmp_path / "state")
    # two programs, whose sums may be rounded in another order
    assert largest_difference(without.params, state.params) < 1e-12
    assert largest_difference(without.optimizer, state.optimizer) < 1e-12
    assert not np.any(without.online[0])
    assert np.any(state.online[0])
    assert np.isfinite(whole[1].online_accuracy).all()
    assert np.array_equal(records.online_accuracy, np.zeros(3))
    r, labels = jax.random.normal(jax.random.key(0), (4, 4)), jnp.array([0, 1, 1, 0])
    optimizer = optax.sgd(0.5)
    start = state._replace(online_optimizer=optimizer.init(state.online))
    moved, right = convolutional.learn_online(optimizer, start, r, labels)
    weights, offsets = (np.asarray(leaf) for leaf in start.online)
    odds = np.exp(np.asarray(r) @ weights + offsets)
    wrong = odds / odds.sum(axis=1, keepdims=True) - np.eye(2)[labels]
    assert_close(moved.online[0], weights - 0.5 * np.asarray(r).T @ wrong / 4)
    assert_close(right, np.mean(odds.argmax(axis=1) == labels))
    through = jax.grad(
        lambda r: convolutional.learn_online(optimizer, start, r, labels)[0].online[0].sum()
    )(r)
    assert not np.any(through)


def test_a_step_is_ntxent_of_two_views(held):
    """The first step, from the parts: batch, views, loss.

    It moves nothing, because the warm-up starts at 0; the second does.
    """
    run = tiny()
    start, shuffled = convolutional.begin(run, DRAW, held), jnp.flip(DRAW.rows)
    carry = start, jnp.zeros(2)
    state, (loss, _) = convolutional.one_step(run, DRAW, held, carry, shuffled, 0, 1)
    step_key = jax.random.fold_in(jax.random.fold_in(KEY, convolutional.STEPS), 0)
    pixels, keys = held.pixels[shuffled[4:8]] / 255, jax.random.split(step_key)
    views = [augment.simclr_view(k, pixels, run.crop, run.jitter) for k in keys]
    stored = convolutional.pixels_of(jnp.array([[[[0, 255]]]], jnp.uint8))
    assert convolutional.centred(stored).tolist() == [[[[-2.0, 2.0]]]]
    z, z_pos = jnp.split(
        jax.jit(lambda x: start.params[0](4 * x - 2)[1])(jnp.concatenate(views)), 2
    )
    assert_close(
        loss, losses.ntxent(z, z_pos, run.temperature), size=1_000_000
    )  # through six norms
    assert_not_close(loss, losses.ntxent(z, z_pos, 2 * run.temperature))
    labels = jnp.tile(held.labels[shuffled[4:8]], 2)
    beside, _ = convolutional.learn_online(
        convolutional.ONLINE, start, jnp.concatenate([z, z_pos]), labels
    )
    assert_close(state.online[0], beside.online[0], rtol=1e-6)
    assert same_bytes(state.params, start.params)
    carry = state, jnp.zeros(2)
    second, _ = convolutional.one_step(run, DRAW, held, carry, shuffled, 1, 0)
    assert not same_bytes(second.params, state.params)


def test_every_epoch_takes_every_image_once_and_a_compiled_loop_takes_the_same_steps(
    held, monkeypatch
):
    """Accelerators loop inside the compiled call, the CPU outside: the same batches and steps."""

    def count(run, draw, images, loss, carry, order, step, at):
        batch = jax.lax.dynamic_slice_in_dim(order, at * 4, 4)
        params = carry[0].params.at[batch].add(1 + step)
        return carry[0]._replace(params=params), carry[1] + jnp.stack([1.0 + step, 1.0])

    def counts(run, number):
        reached, means = convolutional.epoch(run, DRAW, held, nothing, number)
        taken = np.asarray(reached.params)
        assert means.tolist() == [taken[taken > 0].mean(), 1]
        return taken

    monkeypatch.setattr(convolutional, "_learn", count)
    nothing = convolutional.State(jnp.zeros(12), None, None, None)  # type: ignore[arg-type]
    first, later = (counts(tiny(steps=6), number) for number in (0, 1))
    assert sorted(first) == [1] * 4 + [2] * 4 + [3] * 4
    assert sorted(later) == [4] * 4 + [5] * 4 + [6] * 4
    assert not np.array_equal(later - 3, first)
    assert sorted(counts(tiny(steps=4), 1)) == [0] * 8 + [4] * 4
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert np.array_equal(counts(tiny(steps=6), 1), later)


def test_a_checkpoint_is_read_back_as_it_was_or_not_at_all(tmp_path):
    tree = {"a": jnp.arange(3.0), "b": (np.float32(2.5), jnp.zeros((2, 2), jnp.int32))}
    path = tmp_path / "folder" / "state"
    assert checkpoint.load(tree, path) is None
    checkpoint.save(tree, path)
    assert same_bytes(checkpoint.load(tree, path), tree)
    assert checkpoint.load(tree | {"a": jnp.arange(4.0)}, path) is None
    assert checkpoint.load(tree | {"c": jnp.zeros(1)}, path) is None
    assert list(path.parent.iterdir()) == [path]


def test_numbers_that_may_vary_share_one_compiled_program(held):
    """Every loss differs, and a step is compiled once; another optimiser is another program."""
    runs = [
        tiny(learning_rate=rate, temperature=temperature, crop=crop)
        for rate, temperature, crop in ((0.1, 0.2, 0.2), (0.3, 0.2, 0.2), (0.1, 0.5, 0.6))
    ]
    assert len({jax.tree.structure(run) for run in runs}) == 1
    assert jax.tree.structure(tiny(optimizer="lars")) != jax.tree.structure(runs[0])
    found = [convolutional.epoch(run, DRAW, held, begun(run, held), 0)[1][0] for run in runs]
    one_step: Any = convolutional.one_step  # counts its programs
    compiled = one_step._cache_size()
    again = [convolutional.epoch(run, DRAW, held, begun(run, held), 0)[1][0] for run in runs]
    assert one_step._cache_size() == compiled
    assert again == found
    assert len({float(loss) for loss in found}) == 3


def begun(run, held):
    return convolutional.begin(run, DRAW, held)


def test_a_run_draws_images_of_each_class_in_its_share(held):
    for asked, count in ((None, 12), (6, 6)):
        rows = np.asarray(convolutional.drawn(tiny(train_images=asked), KEY, held).rows)
        assert len(set(rows)) == count
        assert np.bincount(held.labels[rows]).tolist() == [count // 2] * 2


def test_scales_and_shifts_of_norms_do_not_decay():
    run = tiny(weight_decay=0.1, steps=50)
    encoder = {"kernel": jnp.ones((2, 2)), "scale": jnp.ones(2)}
    params: Any = encoder, (jnp.ones(3),)
    update: Any = None
    descent, still = convolutional._optimizer(run, params), jax.tree.map(jnp.zeros_like, params)
    state = descent.init(params)
    for _ in range(3):  # the first rate is zero
        update, state = descent.update(still, state, params)
    assert (update[0]["kernel"] < 0).all()
    assert (update[1][0] < 0).all()
    assert not np.any(update[0]["scale"])


def test_training_images_are_represented_first_and_then_those_of_the_test(held, monkeypatch):
    """A few at a time, with the norms settled on training images. Stubs: a representation is the
    sum of the bytes, and h twice that.
    """
    total = lambda pixels: np.asarray(pixels, float).sum(axis=(1, 2, 3))[:, None]
    seen = []

    def represent(encoder, stored):
        assert encoder == "settled"
        seen.append(len(stored))
        return jnp.asarray(2 * total(stored)), jnp.asarray(total(stored))

    settled = lambda run, draw, images, encoder: "settled" if encoder == "trained" else None
    monkeypatch.setattr(convolutional, "settle", settled)
    monkeypatch.setattr(convolutional, "represent", represent)
    monkeypatch.setattr(convolutional, "gradients", lambda *_: jnp.arange(2.0))
    monkeypatch.setattr(convolutional, "AT_ONCE", 4)
    draw = Draw(KEY, jnp.array([7, 2, 5]))
    state = convolutional.State(("trained", ()), None, (None, None), None)
    found = convolutional.observe(tiny(), draw, held, held, state)
    expected = np.concatenate([total(held.pixels)[[7, 2, 5]], total(held.pixels)])
    np.testing.assert_array_equal(found["features_r"], expected)
    np.testing.assert_array_equal(found["features_h"], 2 * expected)
    assert found["gradient_spectrum"].tolist() == [0, 1]
    assert seen == [4, 4, 4, 3]
