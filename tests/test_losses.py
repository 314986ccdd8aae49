import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, assert_not_close, cases, make_case
from hypothesis import given

from linsim import losses
from linsim.losses import contrastive
from linsim.losses.views import pair


def literal_distance(z, z_pos):
    """Eq. 2 word by word, in NumPy loops."""
    z, z_pos = np.asarray(z), np.asarray(z_pos)
    total = 0.0
    for i in range(len(z)):
        positive = np.exp(-0.5 * np.sum((z[i] - z_pos[i]) ** 2))
        negatives = sum(np.exp(-0.5 * np.sum((z[i] - z[j]) ** 2)) for j in range(len(z)) if j != i)
        total -= np.log(positive / (positive + negatives))
    return total


@given(cases())
def test_distance_loss_is_equation_2(case):
    assert_close(
        jax.jit(losses.infonce)(case.z, case.z_pos),
        literal_distance(case.z, case.z_pos),
        size=len(case.x),
        rtol=1e-10,
    )


def test_distance_loss_takes_negatives_from_the_first_view():
    case = make_case(0, 16, 4, 4)
    assert_not_close(losses.infonce(case.z_pos, case.z), literal_distance(case.z, case.z_pos))


def test_dot_loss_is_cross_entropy_against_the_diagonal():
    case = make_case(1, 12, 5, 5)
    logits = np.asarray(case.z) @ np.asarray(case.z_pos).T / 0.1
    expected = np.mean(np.log(np.exp(logits).sum(1)) - np.diag(logits))
    assert_close(losses.infonce_dot(case.z, case.z_pos, 0.1), expected, size=12)


def test_ntxent_ignores_the_length_of_embeddings():
    case = make_case(2, 12, 5, 5)
    lengths = jnp.exp(jnp.arange(12.0) - 6)[:, None]
    assert_close(
        losses.ntxent(lengths * case.z, case.z_pos, 0.5),
        losses.ntxent(case.z, case.z_pos, 0.5),
        size=12,
    )


def test_alignment_only_vanishes_for_identical_views_alone():
    case = make_case(3, 12, 5, 5)
    assert losses.alignment_only(case.z, case.z) == 0
    assert_close(
        losses.alignment_only(case.z, case.z_pos),
        0.5 * np.mean(np.sum(np.asarray(case.z - case.z_pos) ** 2, 1)),
    )


@pytest.mark.parametrize(
    "loss", [losses.infonce, losses.infonce_dot, losses.ntxent, losses.alignment_only]
)
@pytest.mark.parametrize("norm", [1e-8, 1e-4, 1.0, 1e4, 1e8])
def test_losses_are_finite_in_float32_at_any_norm(loss, norm):
    case = make_case(4, 32, 8, 8, dtype=jnp.float32)
    z, z_pos = (norm * losses.unit_rows(v) for v in (case.z, case.z_pos))
    value, grads = jax.value_and_grad(loss, argnums=(0, 1))(z, z_pos)
    assert value.dtype == jnp.float32
    assert np.isfinite(value)
    assert all(np.isfinite(g).all() for g in grads)


def test_unit_rows_of_a_zero_row_has_zero_value_and_gradient():
    grad = jax.grad(lambda z: jnp.sum(losses.unit_rows(z) ** 3))(jnp.zeros((2, 3)))
    assert np.all(np.asarray(losses.unit_rows(jnp.zeros((2, 3)))) == 0)
    assert np.all(np.asarray(grad) == 0)


def test_a_common_offset_costs_the_distance_loss_no_accuracy():
    """Embeddings 3000 standard deviations from the origin in float32: only the rounding of the
    inputs is left.
    """
    case = make_case(5, 16, 4, 4)
    z, z_pos = (np.asarray(v + 3000, np.float32) for v in (case.z, case.z_pos))
    exact = literal_distance(z.astype(np.float64), z_pos.astype(np.float64))
    assert_close(losses.infonce(jnp.asarray(z), jnp.asarray(z_pos)), np.float32(exact), rtol=1e-4)


def test_ntxent_is_the_cross_entropy_of_cosines():
    case = make_case(6, 12, 5, 5)
    u, u_pos = (
        np.asarray(v) / np.linalg.norm(v, axis=1, keepdims=True) for v in (case.z, case.z_pos)
    )
    assert_close(losses.unit_rows(case.z), u)
    logits = u @ u_pos.T / 0.3
    assert_close(
        losses.ntxent(case.z, case.z_pos, 0.3),
        np.mean(np.log(np.exp(logits).sum(1)) - np.diag(logits)),
        size=12,
    )


@pytest.mark.parametrize("loss", [losses.infonce_dot, losses.ntxent])
def test_default_temperature(loss):
    case = make_case(7, 12, 5, 5)
    assert loss(case.z, case.z_pos) == loss(case.z, case.z_pos, 0.1)
    assert_not_close(loss(case.z, case.z_pos, 0.101), loss(case.z, case.z_pos), by=1e-4)


def exact_contrast(scores):
    """Mean of log(1 + sum_j e^{s_ij - s_ii}), in extended precision."""
    apart = scores - np.diag(scores)[:, None]
    np.fill_diagonal(apart, -np.inf)
    top = np.maximum(apart.max(axis=1), 0)
    rest = np.exp(apart - top[:, None]).sum(axis=1)
    return float(np.mean(top + np.log1p(rest + np.expm1(-top))))


def as_seen(*views):
    """Views as float32 has them, in extended precision."""
    return [np.asarray(v, np.float32).astype(np.longdouble) for v in views]


def test_a_common_embedding_far_from_the_origin_is_told_from_a_perfect_one():
    z = jnp.full((32, 4), 5e3, jnp.float32)
    assert_close(losses.infonce_dot(z, z), np.float32(np.log(32)), rtol=1e-6)
    assert_close(losses.infonce(z, z) / 32, np.float32(np.log(32)), rtol=1e-6)
    assert_close(losses.ntxent(z, z), np.float32(np.log(32)), rtol=1e-6)


def test_losses_far_below_rounding_keep_their_digits():
    z = jnp.eye(16, dtype=jnp.float32)
    assert_close(losses.ntxent(z, z, 0.05), np.float32(15 * np.exp(-20.0)), rtol=1e-5)
    assert_close(losses.infonce(9 * z, 9 * z) / 16, np.float32(15 * np.exp(-81.0)), rtol=1e-5)


def test_distances_inside_clusters_far_apart_keep_their_digits():
    rng = np.random.default_rng(0)
    centres = np.repeat([[3e3, 0, 0], [-3e3, 0, 0]], 16, axis=0)
    z, z_pos = as_seen(centres + rng.normal(size=(32, 3)), centres + rng.normal(size=(32, 3)))
    scores = -0.5 * np.sum((z[:, None] - z[None]) ** 2, axis=2)
    np.fill_diagonal(scores, -0.5 * np.sum((z - z_pos) ** 2, axis=1))
    found = losses.infonce(*(jnp.asarray(np.asarray(v, np.float32)) for v in (z, z_pos))) / 32
    assert_close(found, np.float32(exact_contrast(scores)), rtol=1e-5)


def test_half_precision_is_raised_and_unequal_batches_are_refused():
    case = make_case(8, 16, 4, 4)
    z, z_pos = (v.astype(jnp.float16) for v in (case.z, case.z_pos))
    wide = z.astype(jnp.float32), z_pos.astype(jnp.float32)
    for loss in (losses.infonce, losses.infonce_dot, losses.ntxent, losses.ntxent_symmetric):
        value, grads = jax.value_and_grad(loss)(z, z_pos)
        assert value.dtype == jnp.float32
        assert_close(value, loss(*wide), rtol=1e-6)
        assert np.isfinite(grads).all()
    with pytest.raises(ValueError, match=r"same shape; got \(16, 4\) and \(15, 4\)"):
        pair(case.z, case.z_pos[1:])  # the losses' own shapes are checked by the tests


def test_rows_of_any_size_have_directions():
    direction = np.array([0.6, -0.8, 0.0])
    for size in (1e-30, 1e-25, 1.0, 1e30):
        z = jnp.asarray(size * direction[None], jnp.float32)
        assert_close(losses.unit_rows(z), np.float32(direction[None]), rtol=1e-6)
    case = make_case(9, 4, 3, 3)
    z = case.z
    stated = lambda z: jnp.sum(z / jnp.linalg.norm(z, axis=1, keepdims=True) * case.z_pos)
    ours = lambda z: jnp.sum(losses.unit_rows(z) * case.z_pos)
    assert_close(jax.grad(ours)(z), jax.grad(stated)(z), size=100)


def literal_simclr(z, z_pos, temperature):
    """SimCLR's Eq. 1 word by word."""
    views = np.concatenate([z, z_pos])
    u = views / np.linalg.norm(views, axis=1, keepdims=True)
    count, total = len(z), 0.0
    for a in range(2 * count):
        others = [np.exp(u[a] @ u[b] / temperature) for b in range(2 * count) if b != a]
        total -= np.log(np.exp(u[a] @ u[(a + count) % (2 * count)] / temperature) / sum(others))
    return total / (2 * count)


@given(cases())
def test_the_symmetric_form_is_simclrs(case):
    expected = literal_simclr(np.asarray(case.z), np.asarray(case.z_pos), 0.5)
    found = jax.jit(losses.ntxent_symmetric)(case.z, case.z_pos, 0.5)
    assert_close(found, expected, size=len(case.x), rtol=1e-10)


@pytest.mark.parametrize(
    "loss", [losses.infonce, losses.infonce_dot, losses.ntxent, losses.ntxent_symmetric]
)
def test_many_samples_are_taken_in_blocks(loss, monkeypatch):
    case = make_case(10, 23, 5, 4)
    value, towards = jax.jit(jax.value_and_grad(loss))(case.z, case.z_pos)
    monkeypatch.setattr(contrastive, "ABOVE", 8)
    monkeypatch.setattr(contrastive, "BLOCK", 5)
    in_blocks, gradient = jax.jit(jax.value_and_grad(lambda *z: loss(*z)))(case.z, case.z_pos)
    assert_close(in_blocks, value, size=100)
    assert_close(gradient, towards, size=100)
