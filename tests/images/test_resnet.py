"""Convolutional encoders: shapes, r = pool(block(h)), He's formula, norms, multiply-adds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, assert_not_close

from linsim import spectra
from linsim.images import projectors, resnet
from linsim.images.names import NormName
from linsim.images.run import contrast, gradient_spectra

X = jnp.asarray(np.random.default_rng(0).standard_normal((12, 8, 8, 3)))
BLOCKS = (1, 2)


def encoder(width=4, blocks=BLOCKS, norm: NormName = "group", linear=False):
    return resnet.Encoder(jax.random.key(0), 3, width, blocks, norm=norm, linear=linear)


def convolved(x, w, stride):
    """One image (H, W, C) by nested loops, zeros outside."""
    edge = w.shape[0] // 2
    padded = np.pad(x, ((edge, edge), (edge, edge), (0, 0)))
    out = np.zeros((-(-x.shape[0] // stride), -(-x.shape[1] // stride), w.shape[3]))
    for i, j in np.ndindex(out.shape[:2]):
        window = padded[i * stride : i * stride + w.shape[0], j * stride : j * stride + w.shape[1]]
        out[i, j] = np.tensordot(window, w, 3)
    return out


@pytest.mark.parametrize(("size", "stride"), [(3, 1), (3, 2), (1, 2)])
def test_convolutions_are_what_the_loops_say(size, stride):
    layer = resnet.Convolution(jax.random.key(1), size, 3, 5, stride)
    assert_close(
        layer(X)[0], convolved(np.asarray(X[0]), np.asarray(layer.weight), stride), size=27
    )
    wide = resnet.Convolution(jax.random.key(1), 3, 64, 64).weight
    assert abs(float(jnp.var(wide)) * 9 * 64 / 2 - 1) < 4 * np.sqrt(
        2 / wide.size
    )  # four standard errors


@pytest.mark.parametrize(("channels", "groups"), [(32, 2), (16, 1), (24, 1)])
def test_group_norm_standardises_each_image_and_group_by_itself(channels, groups):
    x = np.random.default_rng(1).standard_normal((3, 4, 4, channels)) * 3 + 1
    norm = resnet.GroupNorm(channels)  # pyright: ignore[reportCallIssue]
    expected = np.empty_like(x)
    for image in range(3):
        for part in np.split(np.arange(channels), groups):
            values = x[image][..., part]
            expected[image][..., part] = (values - values.mean()) / np.sqrt(
                values.var() + resnet.EPSILON
            )
    assert_close(norm(jnp.asarray(x)), expected, size=x.size)
    assert_close(norm(jnp.asarray(x))[:1], norm(jnp.asarray(x[:1])))


def test_batch_norm_standardises_over_the_batch_until_it_has_settled():
    x = jnp.asarray(np.random.default_rng(1).standard_normal((3, 4, 4, 5)) * 3 + 1)
    norm = resnet.BatchNorm(5)
    mean, variance = np.mean(x, axis=(0, 1, 2)), np.var(x, axis=(0, 1, 2))
    expected = (x - mean) / np.sqrt(variance + resnet.EPSILON)
    assert_close(norm(x), expected, size=x.size)
    assert_close(norm.settled(x)(x[:1]), expected[:1], size=x.size)
    assert_not_close(norm(x[:1]), expected[:1])


@pytest.mark.parametrize("linear", [False, True])
def test_a_settled_encoder_sees_one_image_at_a_time_and_repeats_what_the_batch_gave(linear):
    """Settled in training mode, layer by layer: on the very batch nothing changes.

    That is so whatever scale and shift have become.
    """
    rng = np.random.default_rng(2)
    network = jax.tree.map(
        lambda leaf: leaf + 0.3 * rng.standard_normal(leaf.shape),
        encoder(norm="batch", linear=linear),
    )
    whole = jax.jit(lambda n: n(X)[1])(network)
    settled = jax.jit(lambda n: n.settled(X))(network)
    few = jax.jit(lambda n: n(X[:2])[1])
    assert_close(few(settled), whole[:2], size=1000)
    assert_not_close(few(network), whole[:2], by=0.01)
    grouped = encoder()
    assert jax.tree.structure(grouped.settled(X)) == jax.tree.structure(grouped)


def added(block, h):
    """f(h), from the parts."""
    if block.linear:
        return block.second(block.first(h))
    return block.second_norm(block.second(jax.nn.relu(block.first_norm(block.first(h)))))


@pytest.mark.parametrize("linear", [False, True])
def test_the_representation_is_the_last_block_of_what_enters_it(linear):
    network = encoder(linear=linear)
    call = jax.jit(lambda x: network(x))
    h, r = call(X)
    assert h.shape == (12, 4, 4, 8)
    assert r.shape == (12, resnet.representation_width(4, BLOCKS)) == (12, 8)
    last = network.blocks[-1]
    out, inner = jax.jit(lambda h: (last(h), added(last, h)))(h)
    assert_close(r, jnp.mean(out, axis=(1, 2)), size=100)
    assert_close(out, h + inner if linear else jnp.maximum(h + inner, 0), size=100)
    assert_not_close(jnp.mean(inner, axis=(1, 2)), r)
    alone = call(jnp.roll(X, 1, axis=0).at[1:].set(0).at[0].set(X[0]))[1]
    assert_close(alone[0], r[0], size=100)  # no image sees another one


def test_parameters_stay_float32_where_the_computation_is_bfloat16():
    network = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), encoder())
    x = X.astype(jnp.float32)
    h, r = jax.jit(lambda x: network(x, jnp.bfloat16))(x)
    assert (h.dtype, r.dtype) == (jnp.bfloat16, jnp.float32)
    whole = jax.jit(lambda x: network(x)[1])(x)
    assert_close(r, whole, rtol=0.03)  # bfloat16 has 8 bits
    assert_not_close(r, whole, by=1e-5)
    towards = jax.eval_shape(jax.grad(lambda n: jnp.sum(n(x, jnp.bfloat16)[1] ** 2)), network)
    assert {leaf.dtype for leaf in jax.tree.leaves(towards)} == {jnp.dtype("float32")}


def test_resnet_18_is_counted_as_published():
    """0.56 billion multiply-adds, 11.2 million parameters for 32 x 32 pixels, no classifier."""
    network = jax.eval_shape(lambda: resnet.Encoder(jax.random.key(0), 3))
    assert sum(leaf.size for leaf in jax.tree.leaves(network)) == 11_168_832
    assert resnet.multiply_adds(network, (32, 32, 3)) == 555_417_600
    stem, stage, down, shortcut, up = (
        27 * 4 * 64,
        2 * 9 * 16 * 64,
        9 * 4 * 8 * 16,
        4 * 8 * 16,
        9 * 64 * 16,
    )
    assert resnet.multiply_adds(encoder(), (8, 8, 3)) == stem + stage + down + shortcut + 3 * up
    with pytest.raises(ValueError, match=r"\(2, 1\) must end in at least 2"):
        encoder(blocks=(2, 1))


@pytest.mark.parametrize("linear", [False, True])
def test_rank_of_the_gradient_at_r_and_behind_the_last_block(linear):
    """The paper's Fig. 10 with convolutions: d0 at r; behind a linear block no more."""
    network, d0 = encoder(linear=linear), 3
    h, _ = jax.jit(lambda x: network(x))(X)
    projector = projectors.Subvector(d0=d0).made(jax.random.key(0), 8)
    loss = contrast(projector.apply, 0.2)

    @jax.jit
    def ranks(shift):
        loss_at = lambda r: loss((), r, jax.random.key(0))
        block = lambda shift: network.represent(h + shift[:, None, None])
        return gradient_spectra(loss_at, block, shift)

    found = ranks(jnp.zeros((12, 8)))
    behind, here = spectra.numerical_rank(np.asarray(found))
    assert here == d0
    assert behind == d0 if linear else behind >= 7  # of 8; a channel may be dead


def test_every_stage_behind_the_first_doubles_the_channels():
    assert [resnet.representation_width(4, (1,) * stages) for stages in (1, 2, 4)] == [4, 8, 32]


def test_the_cpu_computes_in_the_default_float():
    assert resnet.compute_dtype() == np.float64
    with jax.enable_x64(False):
        assert resnet.compute_dtype() == np.float32
