"""Mean squares on batches, to first order in the learning rate."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close
from jax.flatten_util import ravel_pytree

from linsim.studies import square_noise as spectra_of_runs
from linsim.theory import square_noise
from linsim.training.objective_run import ObjectiveRun
from linsim.training.objectives import Predicted, Reconstructed
from linsim.training.targets import MovingAverage

RUN = ObjectiveRun(
    noise=1.5, init_scale=0.5, learning_rate=0.02, batch_size=32, dim=4, noisy_dims=2
)


@pytest.mark.parametrize("objective", [Predicted(), Reconstructed(), MovingAverage(decay=0.5)])
def test_the_noise_of_gradients_is_that_of_samples(objective):
    run = replace(RUN, objective=objective, dim=2, noisy_dims=1)
    joint = spectra_of_runs._joint(run, jnp.eye(2))
    start, _ = ravel_pytree(spectra_of_runs._start(run))
    theta = start + 0.3 * jax.random.normal(jax.random.key(0), start.shape)
    stated = square_noise.gradient_noise(spectra_of_runs._field, run, theta, joint)
    samples = jax.random.normal(jax.random.key(1), (100_000, 4)) @ jnp.linalg.cholesky(joint).T

    @jax.jit
    def of_samples(y):
        return jax.lax.map(
            lambda each: spectra_of_runs._field(run, theta, jnp.outer(each, each)),
            y,
            batch_size=1000,
        )

    found = jnp.cov(of_samples(samples).T)
    assert float(jnp.linalg.norm(found - stated) / jnp.linalg.norm(stated)) < 0.03


def test_departures_are_sums_over_the_other_modes(monkeypatch):
    """Two clean modes and two noisy ones, at once and put together."""
    run = replace(RUN, objective=Reconstructed(), record_at=(0, 10, 100, 500))
    together = spectra_of_runs.spectrum(run)
    monkeypatch.setattr(spectra_of_runs, "DIM", 4)
    blocks = jnp.array([[1.0, 1, 0, 0], [0, 0, 1, 1]])
    flow, departure = spectra_of_runs._strengths(run, blocks)
    assert_close(together[:, [0, -1]], flow * np.exp(departure / flow), rtol=1e-6)
    assert np.abs(departure[-1] / flow[-1]).max() > 0.01


def test_a_linear_field_departs_as_its_exact_moments():
    """dw = -eta w x^2: E w^2 after k steps is (1 - 2 eta + eta^2 (1 + 2/N))^k."""
    eta, size, steps = 0.01, 5, 100
    found = square_noise.first_order(
        lambda _, w, m: -w * m[0, 0],
        None,
        jnp.ones(1),
        jnp.eye(1),
        np.array([0.0, eta * steps]),
        learning_rate=eta,
        batch_size=size,
    )
    exact = (1 - 2 * eta + eta**2 * (1 + 2 / size)) ** steps
    flow, shift = found.flow[-1, 0], found.shift[-1, 0]
    stated = flow**2 + 2 * flow * shift + found.covariance[-1, 0, 0]
    assert abs(stated - exact) < 0.05 * abs(flow**2 - exact)


def test_a_curved_field_departs_as_its_equations_solved_by_hand():
    """dw = -eta w^2 x^2 from w = 1: with u = 1 + t and e = eta/N,

    w = 1/u,   S = 2 e t/u^4,   delta = -[2 e (ln u + 1/u - 1) + eta ln u]/u^2
    """
    eta, size, t = 0.01, 5, np.array([0.0, 0.5, 4.0])
    field = lambda _, w, m: -(w**2) * m[0, 0]
    options = {"learning_rate": eta, "batch_size": size}
    found = square_noise.first_order(field, None, jnp.ones(1), jnp.eye(1), 2 + t, **options)
    u, e = 1 + t, eta / size
    assert_close(found.flow[:, 0], 1 / u, rtol=1e-6)
    assert_close(found.covariance[:, 0, 0], 2 * e * t / u**4, rtol=1e-6)
    shift = -(2 * e * (np.log(u) + 1 / u - 1) + eta * np.log(u)) / u**2
    assert_close(found.shift[:, 0], shift, rtol=1e-6)
