"""A moving average as target: what it changes and what it leaves alone."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close

from linsim.theory import moving_average, noncontrastive
from linsim.training import dynamics
from linsim.training.data import Moments
from linsim.training.objective_run import ObjectiveRun, Trainable, velocity
from linsim.training.targets import MovingAverage


@functools.partial(jax.jit, static_argnums=(3,))
def balanced(start, noise, beta, decay, times):
    """The strengths (w, u) of a balanced mode of variance 1."""
    one = jnp.ones((1, 1))

    def field(state):
        w, wp, target = (value * one for value in state)
        of = {"target_rate": beta, "ratio": 1.0, "weight_decay": decay}
        rates = moving_average.rates(w, wp, target, one, noise * one, **of)
        return jnp.stack([rate[0, 0] for rate in rates])

    flow = dynamics.integrate(field, start * jnp.ones(3), times, tolerance=1e-10)
    return flow[:, 0], flow[:, 2]


def test_a_run_with_small_steps_has_the_stated_rates():
    w, wp, target = jax.random.normal(jax.random.key(0), (3, 3, 3))
    clean, noise = jnp.diag(jnp.array([1.0, 0.7, 0.4])), jnp.diag(jnp.array([0.2, 0.5, 1.0]))
    moments, rate, beta = Moments(clean + noise, clean + noise, clean), 1e-9, 0.4
    run = ObjectiveRun(
        objective=MovingAverage(decay=1 - beta * rate),
        dim=3,
        noisy_dims=1,
        weight_decay=0.1,
        learning_rate=rate,
    )
    found = velocity(run, Trainable((w,), wp, target), moments)
    of = {"target_rate": beta, "ratio": 1.0, "weight_decay": 0.1}
    stated = moving_average.rates(w, wp, target, clean, noise, **of)
    for one, other in zip((*found.layers, found.head, found.carried), stated, strict=True):
        assert_close(one, other, rtol=1e-6)


@pytest.mark.parametrize("beta", [0.01, 1.0, 100.0])
def test_modes_vanish_from_the_same_starts_under_any_target(beta):
    noise, decay = 0.25, 0.1
    upper = float(noncontrastive.predictor_fixed_point(1.0, noise, decay))
    lower = decay / ((1 + noise) * upper)
    times = jnp.array([0.0, 3000.0 / min(beta, 1.0)])
    for start, end in ((1.01 * lower, upper), (0.99 * lower, 0.0)):
        w, _ = balanced(start, noise, beta, decay, times)
        assert abs(float(w[-1]) - end) < 1e-6


def test_the_end_is_approached_at_the_closing_rate():
    for noise, beta in ((0.25, 0.3), (4.0, 0.3), (4.0, 30.0)):
        rate = float(moving_average.closing_rate(1.0, noise, beta))
        times = jnp.array([0.0, 8.0, 9.0]) / rate
        w, _ = balanced(0.9 / (1 + noise), noise, beta, 0.0, times)
        left = np.log(1 / (1 + noise) - np.asarray(w[1:]))
        assert_close((left[0] - left[1]) * np.ones(1), np.ones(1), rtol=2e-3)


def test_a_slow_target_leads_every_mode_alike_to_first_order():
    """The distance from the stated limit falls as beta."""
    off = []
    for beta in (0.02, 0.01):
        times = jnp.array([0.0, 1.0, 3.0]) / beta
        start, rho = 0.5, 0.8
        _, u = balanced(start, 0.25, beta, 0.0, times)
        stated = moving_average.under_a_slow_target(times, start, rho, beta)[1]
        off.append(float(jnp.abs(u - stated)[1:].max()))
    assert 1.8 < off[0] / off[1] < 2.2
    assert off[1] < 0.01


def test_limits_of_the_rates():
    fast = moving_average.closing_rate(1.0, 0.25, 1e9, 0.05)
    p = noncontrastive.predictor_fixed_point(1.0, 0.25, 0.05)
    assert_close(fast, 1.25 * p**2 - 0.05, rtol=1e-6)
    assert np.isnan(moving_average.closing_rate(1.0, 4.0, 1.0, 0.2))
    assert_close(moving_average.decay_without_predictor(1.0, 0.5, 1e9, 0.1), 0.6, rtol=1e-6)
    assert float(moving_average.decay_without_predictor(1.0, 0.0, 1.0)) == 0
    for beta in (0.05, 0.8, 3.0):
        rates = np.linalg.eigvals([[-(1.0 + 0.5 + 0.1), 1.0], [beta, -beta]])
        found = moving_average.decay_without_predictor(1.0, 0.5, beta, 0.1)
        assert_close(found, -rates.max(), rtol=1e-9)
