"""Linear JEPA and autoencoders: times and ends, against flows of full matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, assert_not_close

from linsim.theory import jepa
from linsim.training import dynamics, models
from linsim.training.objective_run import ObjectiveRun, Trainable
from linsim.training.objectives import Predicted, Reconstructed

KINDS = {
    Predicted(): (jepa.jepa_time, jepa.jepa_settled),
    Reconstructed(): (jepa.autoencoder_time, jepa.autoencoder_settled),
}


def flowed(run, times, key=0):
    """Singular values of the encoder in time, from random orthogonal layers."""
    moments = run.moments()

    def velocity(now):
        params = models.product(now.layers), now.head
        rate, head = run.objective.rates(params, moments, run.batch_size)
        return Trainable(models.layer_gradients(now.layers, rate), head)

    solve = jax.jit(
        lambda start: dynamics.integrate(velocity, start, jnp.asarray(times), tolerance=1e-12)
    )
    layers = solve(run.start(jax.random.key(key))).layers
    return [
        np.linalg.svd(models.product(tuple(w[t] for w in layers)))[1] for t in range(len(times))
    ]


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("objective", KINDS)
def test_times_and_ends_are_those_of_the_flow(objective, depth):
    """Two modes with the same covariance and different regression coefficients."""
    setting = {"depth": depth, "dim": 2, "noisy_dims": 1, "base_noise": 0.5, "noise": 1.0}
    run = ObjectiveRun(objective=objective, init_scale=0.3**depth, **setting)
    time_of, settled = KINDS[objective]
    rho = np.array([1 / 1.25, 1 / 2.0])
    times = np.asarray(time_of(0.4, 0.3, depth, 1.0, rho))
    early, late, end = flowed(run, [0.0, *sorted(times), 3e3])[1:]
    first, second = np.argsort(times)
    assert_close(early[first], 0.4**depth, rtol=1e-8)
    assert_close(late[second], 0.4**depth, rtol=1e-8)
    assert_close(end, np.sort(settled(rho, depth))[::-1], rtol=1e-8)
    assert_not_close(early[first], 0.4 ** (depth + 0.01))


def test_a_jepa_prefers_predictable_modes_without_bound_and_an_autoencoder_does_not():
    advantage = lambda kind, depth, v0: float(
        kind(0.2, v0, depth, 1.0, 0.5) - kind(0.2, v0, depth, 1.0, 1.0)
    )
    for depth in (2, 3):
        leading = (1 / 0.5 - 1) * 1e-3 ** (2 - 2 * depth) / (2 * depth - 2)
        assert_close(advantage(jepa.jepa_time, depth, 1e-3), leading, rtol=0.02)
        both = [advantage(jepa.autoencoder_time, depth, v0) for v0 in (1e-2, 1e-4)]
        assert_close(both[0], both[1], rtol=0.01)
    # against the time itself it becomes small, and covariance decides
    share = [
        advantage(jepa.jepa_time, 2, v0) / float(jepa.jepa_time(0.2, v0, 2, 1.0, 1.0))
        for v0 in (1e-2, 1e-4)
    ]
    assert_close(share[1] / share[0], 0.01, rtol=0.1)
    slow = float(jepa.jepa_time(0.2, 1e-4, 2, 1.0, 1.0))
    assert float(jepa.jepa_time(0.2, 1e-4, 2, 1.1, 0.5)) < slow
