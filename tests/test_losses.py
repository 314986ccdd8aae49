import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, assert_not_close, cases, make_case
from hypothesis import given

from linsim import losses


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
