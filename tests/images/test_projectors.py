"""Projectors, exactly: what they are, what they leave unchanged, which gradients reach what."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import assert_close, assert_not_close

from linsim import losses, spectra
from linsim.images import projectors
from linsim.images.residual import residual, residual_block, residual_encoder
from linsim.images.run import contrast, gradient_spectra
from linsim.training import dynamics
from linsim.training.names import Activation

WIDTH, D0, COUNT, DIM = 24, 6, 40, 10
TOLERANCE = {"float32": 1e-6, "float64": 1e-12}
KINDS = ("relu", "relu", "relu")


def start(dtype, blocks=2):
    params = residual(jax.random.key(0), DIM, WIDTH, blocks)
    return jax.tree.map(lambda leaf: leaf.astype(dtype), params)


def batch(dtype, seed=1):
    return jax.random.normal(jax.random.key(seed), (2 * COUNT, DIM), dtype)


def made(kind, key=None):
    """A projector of width WIDTH; those without random numbers need no key."""
    return kind.made(jax.random.key(4) if key is None else key, WIDTH)


def value(projector, temperature=0.2):
    loss = contrast(projector.apply, temperature)

    def of(params, x, key, trained=()):
        return loss(trained, residual_encoder(params, x, KINDS)[1], key)

    return of


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("d0", [D0, WIDTH])
def test_directclr_is_the_fixed_low_rank_diagonal_projector(dtype, d0):
    """Loss and gradient at r, and therefore whatever encoder is in front of it."""
    r = jax.random.normal(jax.random.key(2), (2 * COUNT, WIDTH), dtype)

    def at_r(kind):
        apply = made(kind).apply
        return jax.jit(jax.value_and_grad(lambda r: contrast(apply, 0.2)((), r, None)))(r)

    kinds = projectors.Subvector(d0=d0), projectors.LowRankDiagonal(d0=float(d0))
    (first, towards), (second, again) = map(at_r, kinds)
    assert_close(first, second, rtol=TOLERANCE[dtype])
    assert_close(towards, again, rtol=TOLERANCE[dtype])
    assert_not_close(at_r(projectors.Subvector(d0=d0 - 1))[1], again)


LOSSES = {
    "distance": lambda z, z_pos: losses.infonce(z, z_pos) / len(z),
    "dot": lambda z, z_pos: losses.infonce_dot(
        z, z_pos, 5.0
    ),  # at 0.1 training this encoder is chaotic
    "cosine": losses.ntxent,
    "alignment": losses.alignment_only,
}


def trajectory(apply, loss, dtype, trained=()):
    """The encoder's weights after each of ten steps of SGD with momentum."""

    def objective(params, key):
        encoder, projector = params
        _, r = residual_encoder(encoder, jax.random.normal(key, (2 * COUNT, DIM), dtype), KINDS)
        return loss(*jnp.split(apply(projector, r, key), 2))

    def gradient(params, key):
        towards = jax.grad(objective)(params, key)
        return towards, jnp.zeros(()), None

    steps = np.arange(11)
    optimizer = optax.sgd(0.01, momentum=0.9)
    recorded, _, _ = dynamics.descend(
        (start(dtype), trained), gradient, optimizer, steps, jax.random.key(5)
    )
    return recorded[0]


@pytest.mark.parametrize(
    ("loss", "dtype"), [("cosine", "float32"), *((loss, "float64") for loss in LOSSES)]
)
def test_a_fixed_orthogonal_projector_leaves_the_encoders_trajectory_unchanged(loss, dtype):
    q = made(projectors.Orthogonal(), jax.random.key(3))
    none = made(projectors.Nothing())
    plain, turned = (trajectory(p.apply, LOSSES[loss], dtype) for p in (none, q))
    stretched = trajectory(lambda _, r, key: 1.1 * q.apply((), r, key), LOSSES["distance"], dtype)
    for before, after in zip(jax.tree.leaves(plain), jax.tree.leaves(turned), strict=True):
        for step in range(11):
            assert_close(after[step], before[step], rtol=TOLERANCE[dtype])
    assert np.abs(plain.stem[-1] - plain.stem[0]).max() > 1e-4  # it did move
    if loss == "distance":
        assert_not_close(stretched.stem[-1], plain.stem[-1], by=1e-5)


def test_a_trainable_orthogonal_projector_is_never_seen_by_the_encoder():
    projector = made(projectors.TrainableOrthogonal(), jax.random.key(3))
    plain = trajectory(made(projectors.Nothing()).apply, losses.ntxent, "float64")
    turned = trajectory(projector.apply, losses.ntxent, "float64", projector.params)
    assert_close(turned.stem, plain.stem, rtol=1e-12)
    matrix = projector.apply(projector.params, jnp.eye(WIDTH), None)
    assert_close(matrix.T @ matrix, np.eye(WIDTH), size=WIDTH)


def test_without_a_residual_block_rows_beyond_d0_never_move():
    params, x = start("float64", blocks=0), batch("float64")
    kinds: tuple[Activation, ...] = ("linear", "relu")
    for kind in kinds:
        loss = contrast(made(projectors.Subvector(d0=D0)).apply, 0.2)

        def objective(params, kind: Activation = kind, loss=loss):
            return loss((), residual_encoder(params, x, (kind,))[1], None)

        towards = jax.grad(objective)(params)
        assert np.all(np.asarray(towards.stem[D0:]) == 0)
        assert np.all(np.abs(np.asarray(towards.stem[:D0])).max(axis=1) > 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["linear", "relu"])
def test_rank_of_the_gradient_at_r_and_behind_the_last_block(kind, dtype):
    """The paper's Fig. 10: d0 at r; behind a linear block at most d0, full behind a ReLU one."""
    params, x = start(dtype), batch(dtype)
    h, _ = residual_encoder(params, x, ("relu", "relu", kind))
    loss = contrast(made(projectors.Subvector(d0=D0)).apply, 0.2)
    behind, here = np.asarray(
        gradient_spectra(
            lambda r: loss((), r, None), lambda h: residual_block(params.blocks[-1], h, kind), h
        )
    )
    assert spectra.numerical_rank(here) == D0
    assert spectra.numerical_rank(behind) == (D0 if kind == "linear" else WIDTH)


def test_a_linear_block_behind_the_subvector_is_a_linear_map_of_its_gradient():
    params, x = start("float64"), batch("float64")
    h, r = residual_encoder(params, x, ("relu", "relu", "linear"))
    loss = contrast(made(projectors.Subvector(d0=D0)).apply, 0.2)
    inner, outer = params.blocks[-1]
    at_r = jax.grad(lambda r: loss((), r, None))(r)
    behind = jax.grad(lambda h: loss((), residual_block((inner, outer), h, "linear"), None))(h)
    assert_close(behind, at_r @ (np.eye(WIDTH) + outer @ inner), size=WIDTH * COUNT)


@pytest.mark.parametrize("name", projectors.NAMES)
def test_every_projector_maps_representations_and_its_parameters_get_gradients(name):
    projector = made(projectors.named(name, D0))
    params, x = start("float64"), batch("float64")
    gradients = jax.grad(value(projector), argnums=3)(
        params, x, jax.random.key(0), projector.params
    )
    assert len(jax.tree.leaves(gradients)) == {
        "linear": 1,
        "diagonal": 1,
        "nonlinear": 2,
        "trainable-orthogonal": 1,
    }.get(name, 0)
    if name == "trainable-orthogonal":
        assert np.abs(gradients[0]).max() < 1e-12  # no inner product sees it
    else:
        assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradients))


def test_trained_projectors_are_their_formulas():
    r = np.asarray(jax.random.normal(jax.random.key(0), (COUNT, WIDTH)))
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((2, WIDTH, WIDTH))
    linear, diagonal, nonlinear = (
        made(projectors.named(name, D0)).apply for name in ("linear", "diagonal", "nonlinear")
    )
    assert_close(linear((first,), r, None), r @ first.T, size=WIDTH)
    assert_close(diagonal((first[0],), r, None), r * first[0])
    expected = np.maximum(r @ first.T, 0) @ second.T
    assert_close(nonlinear((first, second), r, None), expected, size=WIDTH**2)


@pytest.mark.parametrize(
    ("name", "variances"),
    [("linear", [1]), ("nonlinear", [2, 2]), ("trainable-orthogonal", [1]), ("diagonal", [])],
)
def test_trained_projectors_start_so_that_they_keep_lengths(name, variances):
    """Variance 1 / width of a linear map's entries, 2 / width before and behind a ReLU."""
    width = 200
    params = projectors.named(name, D0).made(jax.random.key(0), width).params
    if name == "diagonal":
        assert np.all(np.asarray(params[0]) == 1)
    assert [p.shape for p in params if p.ndim == 2] == [(width, width)] * len(variances)
    found = [width * float(np.var(p)) for p in params if p.ndim == 2]
    assert_close(found, variances, rtol=0.05)


def test_low_rank_projectors_have_rank_d0_and_a_random_subset_changes():
    r = jax.random.normal(jax.random.key(0), (COUNT, WIDTH))
    for name in ("low-rank", "low-rank-diagonal", "directclr", "random-subset"):
        z = made(projectors.named(name, D0)).apply((), r, jax.random.key(1))
        assert np.linalg.matrix_rank(z) == D0
    subset = made(projectors.RandomSubset(d0=D0))
    first, second = (subset.apply((), r, jax.random.key(k)) for k in (1, 2))
    assert_not_close(first, second)
    columns = {tuple(column) for column in np.asarray(r).T.tolist()}
    assert {tuple(column) for column in np.asarray(first).T.tolist()} < columns
    with pytest.raises(ValueError, match="needs a key"):
        subset.apply((), r, None)
    with pytest.raises(ValueError, match="'conv' is unknown; choose one of none"):
        projectors.named("conv", D0)


def test_shuffled_views_are_dealt_out_anew_among_the_images():
    r = jax.random.normal(jax.random.key(0), (2 * COUNT, WIDTH))
    shuffled = made(projectors.Shuffled())
    first, second = (np.asarray(shuffled.apply((), r, jax.random.key(k))) for k in (1, 2))
    for z in (first, second):
        np.testing.assert_array_equal(z[:COUNT], r[:COUNT])
        assert sorted(z[COUNT:].tolist()) == sorted(np.asarray(r[COUNT:]).tolist())
    assert_not_close(first, r)
    assert_not_close(first, second)


def test_every_kind_is_a_record_whose_only_number_that_may_vary_is_a_masked_d0():
    for name in projectors.NAMES:
        leaves = jax.tree.leaves(projectors.named(name, D0))
        assert leaves == ([float(D0)] if name == "low-rank-diagonal" else [])
