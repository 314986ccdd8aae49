"""Matrix factorisation: optimum, flows and times in closed form, against flows and samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, assert_not_close

from linsim.theory import spectral
from linsim.training import contrast, dynamics

TOLERANCE = 1e-12


def moments(seed, dim=4):
    """A positive definite second moment and an indefinite symmetric one, which do not commute."""
    rng = np.random.default_rng(seed)
    root, cross = rng.normal(size=(2, dim, dim))
    return jnp.asarray(root @ root.T / dim + 0.3 * np.eye(dim)), jnp.asarray(cross + cross.T) / 4


def flowed(start, times, anchor, positive, cross):
    rate = lambda w: w @ spectral.contrast_matrix(w, anchor, positive, cross)
    return jax.jit(lambda w: dynamics.integrate(rate, w, jnp.asarray(times), tolerance=TOLERANCE))(
        start
    )


def test_the_riccati_solution_is_the_flow_from_any_start():
    _, cross = moments(0)
    start = jnp.asarray(0.3 * np.random.default_rng(1).normal(size=(3, 4)))
    alike = 1.3 * jnp.eye(4)
    ws = flowed(start, [0.0, 0.4, 1.5], alike, alike, cross)
    for w, time in zip(ws, (0.0, 0.4, 1.5), strict=True):
        assert_close(spectral.flow(start, time, 1.3, cross), w.T @ w, rtol=1e-8)
    wrong = spectral.flow(start, 0.4, 1.31, cross)
    assert_not_close(wrong, ws[1].T @ ws[1])


@pytest.mark.parametrize("outputs", [1, 2, 4])
def test_any_flow_ends_in_the_optimum(outputs):
    anchor, cross = moments(2)
    start = jnp.asarray(0.3 * np.random.default_rng(3).normal(size=(outputs, 4)))
    w = flowed(start, [0.0, 300.0], anchor, anchor, cross)[-1]
    m, least = spectral.optimum(outputs, anchor, cross)
    assert_close(w.T @ w, m, rtol=1e-8)
    assert_close(spectral.loss(w, anchor, anchor, cross), least, rtol=1e-10)
    kept = np.linalg.matrix_rank(np.asarray(m), tol=1e-6)
    if outputs == 4:
        assert kept == 4 - spectral.collapsed_dimensions(np.asarray(cross))


@pytest.mark.parametrize("decay", [0.0, 0.7, 6.0])
def test_modes_follow_the_logistic_curve(decay):
    """From a diagonal start, with weight decay, for modes shared, unshared and opposed."""
    a, b, k = (jnp.array(v) for v in ([1.0, 2.0, 3.0], [1.5, 2.0, 1.0], [1.0, 0.0, -0.4]))
    start = jnp.array([0.1, 0.5, 0.3])

    def rate(w):
        return w @ spectral.contrast_matrix(w, *map(jnp.diag, (a, b, k))) - decay * w

    w = dynamics.integrate(rate, jnp.diag(jnp.sqrt(start)), jnp.array([0.0, 0.6]), tolerance=1e-12)
    stated = spectral.mode_strength(0.6, start, a, b, k, decay)
    assert_close(stated, jnp.diag(w[-1]) ** 2, rtol=1e-8)
    assert_not_close(spectral.mode_strength(0.61, start, a, b, k, decay), stated)
    late = spectral.mode_strength(1e3, start, a, b, jnp.array([1.0, 2.0, 0.3]), decay)
    ends = spectral.fixed_point(a, b, jnp.array([1.0, 2.0, 0.3]), decay)
    np.testing.assert_allclose(late, ends, atol=1e-12)


def test_the_escape_time_is_half_way():
    a, b, k, start = 1.3, 2.0, 0.7, 1e-3
    time = spectral.escape_time(start, a, b, k)
    settled = spectral.fixed_point(a, b, k)
    assert_close(spectral.mode_strength(time, start, a, b, k), settled / 2, rtol=1e-12)


def test_modes_are_learned_one_after_another_from_a_small_random_start():
    """Simon et al.: the leading eigenvectors, in the order of the eigenvalues. The optimum alone
    does not tell: with A = A' = K every pair of modes is as good.
    """
    cross = jnp.diag(jnp.array([1.0, 0.6, 0.3, 0.1]))
    start = 1e-4 * jnp.asarray(np.random.default_rng(0).normal(size=(2, 4)))
    first, second = (float(spectral.escape_time(1e-8, k, k, k)) for k in (1.0, 0.6))
    ws = flowed(start, [0.0, 0.5 * (first + second), 1.5 * second], cross, cross, cross)
    assert [int(np.sum(np.linalg.svd(w, compute_uv=False) > 0.5)) for w in ws] == [0, 1, 2]
    np.testing.assert_allclose(jnp.diag(ws[2].T @ ws[2]), [1.0, 1 / 0.6, 0.0, 0.0], atol=0.1)
    best = [jnp.diag(jnp.sqrt(kept / jnp.diag(cross))) for kept in np.eye(4)]
    losses = [float(spectral.loss(w, cross, cross, cross)) for w in best]
    np.testing.assert_allclose(losses, -1.0)


def test_batches_add_the_variance_of_the_correlations():
    """Exact in the mean over batches of Gaussian samples; the gradient is that of the loss."""
    rng = np.random.default_rng(0)
    w = jnp.asarray(0.5 * rng.normal(size=(3, 4)))
    noise = np.array([0.2, 0.5, 1.0, 1.5])
    clean = rng.normal(size=(200_000, 8, 4))
    x, x_pos = (jnp.asarray(clean + noise * rng.normal(size=clean.shape)) for _ in range(2))
    found = jax.vmap(lambda x, x_pos: contrast.linear_barlow_twins(w, x, x_pos).loss)(x, x_pos)
    anchor, cross = jnp.eye(4) + jnp.diag(noise**2), jnp.eye(4)
    limit = spectral.loss(w, cross, cross, cross) + 3
    added = spectral.batch_loss(w, anchor, anchor, cross, 8)
    error = float(jnp.std(found)) / np.sqrt(len(found))
    assert abs(float(jnp.mean(found) - limit - added)) < 4 * error
    assert float(added) > 100 * error
