"""Claims C01-C04 and the same for the other losses: closed forms against jax.grad of the losses."""

import functools
from collections.abc import Callable

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, assert_not_close, cases, make_case, relative_error, tolerance
from hypothesis import given

from linsim import losses
from linsim.theory import infonce
from linsim.training import contrast
from linsim.training import loss as loss_of
from linsim.training.names import LossName

jitted = functools.cache(jax.jit)
EXACT = 1e-12  # the accuracy that the project promises for exact statements in float64


@functools.partial(jax.jit, static_argnums=0)
def weight_grad(loss, case):
    return jax.grad(lambda w: loss(case.x @ w.T, case.x_pos @ w.T))(case.w)


@jax.jit
def loss_gradients(z, z_pos):
    return jax.grad(losses.infonce, argnums=(0, 1))(z, z_pos)


def assert_exact(actual, expected, scale):
    """Relative to `scale`, the size of the terms that cancel in `expected`."""
    assert np.linalg.norm(np.asarray(actual) - np.asarray(expected)) <= EXACT * scale


@given(cases())
def test_embedding_gradients(case):
    expected = loss_gradients(case.z, case.z_pos)
    for actual, exact in zip(
        infonce.embedding_gradients(case.z, case.z_pos), expected, strict=True
    ):
        assert_exact(actual, exact, len(case.x) * (1 + np.linalg.norm(case.z)))


@given(cases())
def test_weight_gradient_is_minus_w_times_contrast(case):
    g, g_pos = infonce.embedding_gradients(case.z, case.z_pos)
    expected = weight_grad(losses.infonce, case)
    scale = np.linalg.norm(case.w) * np.linalg.norm(case.x_pos) ** 2
    assert_exact(infonce.weight_gradient(case.w, case.x, case.x_pos), expected, scale)
    assert_exact(g.T @ case.x + g_pos.T @ case.x_pos, expected, scale)  # Lemma 1


def misprinted_contrast(w, x, x_pos):
    """Eq. 6 as the paper's main text prints it: a minus in front of the first sum."""
    alpha = infonce.softmax_weights(x @ w.T, x_pos @ w.T)
    alpha = alpha - jnp.diag(jnp.diag(alpha))
    row, column = alpha.sum(1)[:, None], alpha.sum(0)[:, None]
    pull = -(row * x_pos - alpha @ x) + (column * x - alpha.T @ x)
    return pull.T @ x - (row * (x_pos - x)).T @ x_pos


@given(cases())
def test_contrast_matrix_is_lemma_2_and_not_the_misprinted_equation_6(case):
    sigma0, sigma1 = infonce.covariances(case.w, case.x, case.x_pos)
    exact = infonce.contrast_matrix(case.w, case.x, case.x_pos)
    scale = np.linalg.norm(case.x_pos) ** 2
    assert_exact(sigma0 - sigma1, exact, scale)
    for psd in (sigma0, sigma1):
        assert np.linalg.eigvalsh(psd).min() >= -EXACT * scale
    off_diagonal = np.asarray(infonce.softmax_weights(case.z, case.z_pos)).sum() - np.trace(
        infonce.softmax_weights(case.z, case.z_pos)
    )
    if off_diagonal > 1e-3:  # with every alpha_ij at zero both signs give zero
        assert_not_close(jitted(misprinted_contrast)(case.w, case.x, case.x_pos), exact)


@given(cases())
def test_rows_of_alpha_sum_to_one(case):
    alpha = infonce.softmax_weights(case.z, case.z_pos)
    assert_close(alpha.sum(1), np.ones(len(case.x)), size=len(case.x))


LOSSES: dict[LossName, Callable] = {
    "distance": lambda z, z_pos: losses.infonce(z, z_pos) / len(z),
    "dot": lambda z, z_pos: losses.infonce_dot(z, z_pos, 0.3),
    "cosine": lambda z, z_pos: losses.ntxent(z, z_pos, 0.3),
    "alignment": losses.alignment_only,
}


DRIVES = {name: jax.jit(loss_of.named(name, 0.3).drive) for name in LOSSES}


@pytest.mark.parametrize("name", LOSSES)
@given(case=cases())
def test_training_step_is_the_gradient_of_the_loss(name, case):
    drive = DRIVES[name](case.w, case.x, case.x_pos)
    expected = jitted(LOSSES[name])(case.z, case.z_pos)
    scores = (np.linalg.norm(case.z) + np.linalg.norm(case.z_pos)) ** 2 / 0.3
    rounding = tolerance(np.float64) * scores  # the reference takes a difference of scores
    assert abs(drive.loss - expected) <= 1e-10 * expected + rounding
    terms = (
        np.linalg.norm(case.w)
        * np.linalg.norm(case.x_pos) ** 2
        * (1 + 1 / np.min(np.linalg.norm(case.z, axis=1)) ** 2)
    )
    assert_exact(-case.w @ drive.contrast, weight_grad(LOSSES[name], case), terms)
    assert_close(drive.contrast, drive.contrast.T, rtol=EXACT)


@pytest.mark.parametrize(
    ("name", "gradient"),
    [("dot", infonce.weight_gradient_dot), ("cosine", infonce.weight_gradient_cosine)],
)
@given(case=cases())
def test_weight_gradients_of_the_other_losses(name, gradient, case):
    expected = weight_grad(LOSSES[name], case)
    terms = np.linalg.norm(case.x_pos) ** 2 * (1 + 1 / np.min(np.linalg.norm(case.z, axis=1)))
    assert_exact(gradient(case.w, case.x, case.x_pos, 0.3), expected, terms)


def test_every_sum_of_the_distance_loss_word_by_word():
    """alpha, Eq. 4, Lemma 2 and Eq. 6 in loops over the samples; the loops skip j = i, as the paper
    does.
    """
    case, count = make_case(8, 5, 3, 2), 5
    w, x, y = (np.asarray(v) for v in case)
    z, z_pos = x @ w.T, y @ w.T
    others = [(i, j) for i in range(count) for j in range(count) if j != i]
    kernel = np.diag(np.exp(-0.5 * np.sum((z - z_pos) ** 2, axis=1)))
    for i, j in others:
        kernel[i, j] = np.exp(-0.5 * np.sum((z[i] - z[j]) ** 2))
    alpha = kernel / kernel.sum(1, keepdims=True)
    g, g_pos, sigma0, sigma1, exact = (
        np.zeros((5, 2)),
        np.zeros((5, 2)),
        np.zeros((3, 3)),
        np.zeros((3, 3)),
        np.zeros((3, 3)),
    )
    for i, j in others:
        g[i] += alpha[i, j] * (z[j] - z_pos[i]) + alpha[j, i] * (z[j] - z[i])
        g_pos[i] += alpha[i, j] * (z_pos[i] - z[i])
        sigma0 += alpha[i, j] * np.outer(x[i] - x[j], x[i] - x[j])
        sigma1 += alpha[i, j] * np.outer(y[i] - x[i], y[i] - x[i])
        exact += np.outer(alpha[i, j] * (y[i] - x[j]) + alpha[j, i] * (x[i] - x[j]), x[i])
        exact -= alpha[i, j] * np.outer(y[i] - x[i], y[i])
    assert_close(infonce.softmax_weights(z, z_pos), alpha, size=count)
    for actual, expected in zip(infonce.embedding_gradients(z, z_pos), (g, g_pos), strict=True):
        assert_close(actual, expected, size=100)
    for actual, expected in zip(infonce.covariances(w, x, y), (sigma0, sigma1), strict=True):
        assert_close(actual, expected, size=100)
    assert_close(infonce.contrast_matrix(w, x, y), exact, size=100)
    assert_close(infonce.weight_gradient(w, x, y), -w @ exact, size=100)


@pytest.mark.parametrize(
    ("loss", "by_embedding", "by_weight"),
    [
        (losses.infonce_dot, infonce.embedding_gradients_dot, infonce.weight_gradient_dot),
        (losses.ntxent, infonce.embedding_gradients_cosine, infonce.weight_gradient_cosine),
    ],
)
@pytest.mark.parametrize("temperature", [(), (0.4,)])
def test_gradients_of_the_other_losses_by_embeddings_and_by_default(
    loss, by_embedding, by_weight, temperature
):
    """Without a temperature theirs is the loss's own default, 0.1."""
    w, x, x_pos = make_case(9, 5, 3, 2)
    z, z_pos, used = x @ w.T, x_pos @ w.T, temperature or (0.1,)
    expected = jax.grad(loss, argnums=(0, 1))(z, z_pos, *used)
    for actual, gradient in zip(by_embedding(z, z_pos, *temperature), expected, strict=True):
        assert_close(actual, gradient, rtol=EXACT)
    by_layer = expected[0].T @ x + expected[1].T @ x_pos
    assert_close(by_weight(w, x, x_pos, *temperature), by_layer, rtol=EXACT)


def test_frozen_flow_of_one_direction():
    assert_close(
        infonce.frozen_flow(jnp.array([[0.7]]), jnp.array([[-0.3]]), 2.0),
        np.array([[0.7 * np.exp(-0.6)]]),
    )


def test_training_step_reports_alpha_ii():
    case = make_case(5, 32, 6, 6)
    alpha = infonce.softmax_weights(case.z, case.z_pos)
    assert_close(
        contrast.distance(case.w, case.x, case.x_pos).alpha_ii, jnp.mean(jnp.diag(alpha)), size=32
    )


def test_training_step_keeps_small_negatives_in_the_condensed_regime():
    """alpha_ii rounds to 1 in float32; the negatives' pull must still be relatively accurate."""
    case = make_case(6, 32, 6, 6, scale=6.0)
    case32 = [
        v.astype(jnp.float32) for v in case._replace(x_pos=case.x + 0.01 * (case.x_pos - case.x))
    ]
    exact = contrast.distance(*(v.astype(jnp.float64) for v in case32)).contrast
    assert 0 < np.linalg.norm(exact) < 0.01  # far below the data's covariance: condensed
    assert_close(contrast.distance(*case32).contrast, np.asarray(exact, np.float32), rtol=1e-3)


def test_theorem_1_frozen_contrast_error_falls_with_the_tolerance():
    case = make_case(7, 32, 6, 6)
    frozen = infonce.contrast_matrix(case.w, case.x, case.x_pos) / 32
    exact = infonce.frozen_flow(case.w, frozen, 5.0)

    def error(tol):
        controller = diffrax.PIDController(rtol=tol, atol=tol)
        term = diffrax.ODETerm(lambda t, w, _: w @ frozen)
        solution = diffrax.diffeqsolve(
            term, diffrax.Tsit5(), 0.0, 5.0, None, case.w, stepsize_controller=controller
        )
        assert solution.ys is not None
        return relative_error(solution.ys[-1], exact)

    errors = [error(10.0**-k) for k in (3, 5, 7, 9, 11)]
    assert errors[-1] < 1e-9
    assert np.polyfit([3, 5, 7, 9, 11], np.log10(errors), 1)[0] < -0.7
    assert_not_close(infonce.frozen_flow(case.w, -frozen, 5.0), exact)
    eigenvalues, vectors = np.linalg.eigh(frozen)
    negative = vectors[:, eigenvalues < 0]
    assert negative.shape[1] > 0  # the premise of the theorem is met
    assert np.linalg.norm(exact @ negative) < np.linalg.norm(case.w @ negative)
