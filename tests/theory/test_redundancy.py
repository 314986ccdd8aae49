"""VICReg and Barlow Twins: where the hinge pushes, and where training ends."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import assert_close, assert_not_close

from linsim.losses.redundancy import EPSILON
from linsim.theory import redundancy
from linsim.training.data import Moments
from linsim.training.redundancy import BarlowTwins, VICReg


def hinge(variance):
    return jnp.maximum(0.0, 1 - jnp.sqrt(variance + EPSILON))


@pytest.mark.parametrize("variance", [0.0, 1e-4, 0.5, 0.99, 1.5])
def test_the_hinge_slope_is_its_derivative(variance):
    assert_close(redundancy.hinge_slope(variance), jax.grad(hinge)(variance), rtol=1e-12)


@pytest.mark.parametrize("variance", [1e-6, 1e-4, 0.3, 1.0, 1.2])
def test_the_mean_slope_is_that_over_batches(variance):
    draws = np.random.default_rng(0).chisquare(31, 400_000) / 31
    each = draws * np.asarray(redundancy.hinge_slope(variance * draws))
    error = each.std() / np.sqrt(len(each))
    found = float(redundancy.mean_hinge_slope(variance, EPSILON, 32))
    known = 0.01 if variance < 1e-3 else 1e-4  # of order 1/N near epsilon
    assert abs(found - each.mean()) < 4 * error + known * abs(found)


def test_a_collapsed_coordinate_grows_exponentially_to_sqrt_epsilon_and_at_a_constant_speed_on():
    speed = lambda s: float(-2 * s * redundancy.hinge_slope(s**2))
    assert_close(speed(1e-4) / 1e-4, 1 / np.sqrt(EPSILON), rtol=1e-3)
    assert_close(speed(1e-5) / speed(1e-4), 0.1, rtol=1e-3)
    assert_close(speed(0.5), 1.0, rtol=1e-3)


def lowest(of, ratios, steps=6000, rate=0.02, batch_size=128):
    """Spectrum of the embedding's covariance at the end of descent on the mean loss, Adam with a
    falling rate, random start. Both views have variance 1; ratios b = c/a.
    """
    dim = len(ratios)
    cross = jnp.diag(1 - jnp.asarray(ratios) / 2)
    moments = Moments(jnp.eye(dim), jnp.eye(dim), cross)
    optimizer = optax.adam(optax.cosine_decay_schedule(rate, steps))
    start = jnp.asarray(np.random.default_rng(0).normal(size=(dim, dim)) / np.sqrt(dim))

    def step(_, carry):
        w, state = carry
        towards = -of.rates((w, jnp.eye(dim)), moments, batch_size)[0]
        updates, state = optimizer.update(towards, state, w)
        return optax.apply_updates(w, updates), state

    w, _ = jax.jit(lambda w: jax.lax.fori_loop(0, steps, step, (w, optimizer.init(w))))(start)
    return np.asarray(w)


def test_vicreg_ends_where_water_filling_says():
    ratios = np.array([0.0, 0.1, 0.2, 0.3, 0.5, 0.05, 0.0, 0.4])
    w = lowest(VICReg(), ratios)
    found = np.sort(np.linalg.eigvalsh(w @ w.T))[::-1]
    expected = np.sort(redundancy.vicreg_optimum(ratios, batch_size=128))[::-1]
    np.testing.assert_allclose(found, expected, atol=2e-3 * expected.max())
    assert np.sum(expected == 0) == np.sum(found < 1e-4) > 0
    wrong = np.sort(redundancy.vicreg_optimum(ratios, batch_size=128, covariance=1.02))[::-1]
    assert np.abs(found - wrong).max() > 4e-3 * expected.max()


def test_vicreg_bears_noise_up_to_the_price_of_a_correlation():
    """As released, half of the modes free of noise: b = 8/25; complete collapse from b = 50 on."""
    half = lambda b: redundancy.vicreg_optimum(np.repeat([0.0, b], 4))
    assert half(0.3199)[-1] > 0 == half(0.3201)[-1]
    np.testing.assert_allclose(half(0.16), np.repeat([1.5 - 1e-4, 0.5 - 1e-4], 4), atol=1e-9)
    alike = lambda b: redundancy.vicreg_optimum(np.full(4, b))
    assert alike(49.9)[0] > 0 == alike(50.1)[0]
    np.testing.assert_allclose(alike(2.0), ((12.5 / 50.0) ** 2 - EPSILON), rtol=1e-9)


def test_vicreg_optimum_is_stationary():
    """No mode with strength gains by more, and none without gains by any."""
    b = np.array([0.0, 0.2, 0.7, 3.0])
    h = redundancy.vicreg_optimum(b, batch_size=16)

    def loss(h):
        v, spread = h.mean(), 1 / 15
        c = jnp.sum(h**2) - len(h) * v**2
        sampled = spread * (c + len(h) * (len(h) - 1) * v**2)
        return 25 * jnp.sum(jnp.asarray(b) * h) / len(h) + 2 * (c + sampled) / len(h), v

    towards = jax.grad(lambda h: loss(h)[0])(jnp.asarray(h))
    slope = 25 * redundancy.mean_hinge_slope(h.mean(), EPSILON, 16) / len(h)
    total = np.asarray(towards + slope)
    assert np.abs(total[h > 0]).max() < 1e-9 < total[h == 0].min()


def test_barlow_twins_ends_where_theory_says():
    correlation = np.array([0.9, 0.88, 0.9, 0.86])
    w = lowest(BarlowTwins(epsilon=0.0), 2 * (1 - correlation), steps=8000)
    unit = w / np.linalg.norm(w, axis=1, keepdims=True)
    found = np.sort(np.linalg.eigvalsh(unit @ unit.T))[::-1]
    expected = np.sort(redundancy.barlow_optimum(correlation))[::-1]
    np.testing.assert_allclose(found, expected, atol=2e-3)
    wrong = np.sort(redundancy.barlow_optimum(correlation, 0.0053))[::-1]
    assert np.abs(found - wrong).max() > 4e-3


def test_barlow_twins_has_a_threshold_where_all_modes_are_noisy():
    clean = redundancy.barlow_optimum(np.repeat([1.0, 0.01], 4))
    assert clean[-1] > 0
    r, share, weight = 0.8, 0.5, 0.0051
    limit = r - weight * r**2 / (share * (1 - (1 - weight) * r))
    at = lambda other: redundancy.barlow_optimum(np.repeat([r, other], 4))[-1]
    assert at(limit + 1e-4) > 0 == at(limit - 1e-4)
    assert_close(at(0.8), 1.0, rtol=1e-9)
    with pytest.raises(ValueError, match="positive"):
        redundancy.barlow_optimum(np.array([1.0, 0.0]))
    assert_not_close(at(0.79), 1.0)
