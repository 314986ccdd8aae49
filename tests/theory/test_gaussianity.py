"""SIGReg on Gaussian embeddings, against directions, batches and flows."""

import jax
import jax.numpy as jnp
import numpy as np
from helpers import assert_close

from linsim import losses
from linsim.theory import gaussianity
from linsim.training.data import Moments
from linsim.training.gaussianity import LeJEPA


def test_means_over_directions_are_exact_on_the_circle():
    """By the trapezoid rule on the circle, which is exact to rounding."""
    b = np.array([3.0, 0.7])
    angle = np.arange(400) * 2 * np.pi / 400
    a = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    weight = np.exp(-(a**2) @ b)
    value, moved = gaussianity.directions(jnp.asarray(b))
    assert_close(value, weight.mean(), rtol=1e-11)
    assert_close(moved, (a**2 * weight[:, None]).mean(0), rtol=1e-11)


def test_means_over_directions_in_many_dimensions():
    for width in (2, 3, 16, 100):
        value, moved = gaussianity.directions(jnp.full(width, 1.7))
        assert_close(value, np.exp(-1.7), rtol=1e-10)
        assert_close(moved, np.full(width, np.exp(-1.7) / width), rtol=1e-10)


def test_slopes_are_derivatives():
    spectrum = jnp.array([0.2, 1.0, 2.5])
    exact = jax.grad(gaussianity.statistic)(spectrum, 10)
    assert_close(gaussianity.slopes(spectrum, 10), exact, rtol=1e-8)


def test_the_statistic_is_the_mean_over_batches():
    rng = np.random.default_rng(0)
    deviations, count, draws = np.array([0.5, 1.0, 1.6]), 6, 30_000
    z = jnp.asarray(deviations * rng.normal(size=(draws, count, 3)))
    a = jnp.asarray(losses.unit_rows(jnp.asarray(rng.normal(size=(draws, 3)))))
    found = jax.vmap(lambda z, a: losses.sigreg(z, a[None]))(z, a)
    error = float(jnp.std(found)) / np.sqrt(draws)
    stated = gaussianity.statistic(jnp.asarray(deviations**2), count)
    assert abs(float(jnp.mean(found) - stated)) < 4 * error
    off = gaussianity.statistic(jnp.asarray(deviations**2), count + 3)
    assert abs(float(jnp.mean(found) - off)) > 10 * error


def test_a_collapsed_model_stays_and_a_nearly_collapsed_one_grows_exponentially():
    of, dim = LeJEPA(weight=0.3), 3
    moments = Moments(2 * jnp.eye(dim), 2 * jnp.eye(dim), jnp.eye(dim))
    assert not np.any(of.rates((jnp.zeros((dim, dim)), jnp.eye(dim)), moments, 16)[0])
    weak = 1e-5 * jnp.eye(dim)
    rate = of.rates((weak, jnp.eye(dim)), moments, 16)[0]
    stated = gaussianity.growth_rate(2.0, 2.0, dim, 16, 0.3)
    assert_close(jnp.diag(rate) / 1e-5, np.full(dim, float(stated)), rtol=1e-8)


def test_the_optimum_is_at_rest():
    variance, noise, counts = np.array([1.25, 2.0]), np.array([0.5, 2.0]), (5, 3)
    strengths = gaussianity.optimum(variance, noise, counts, batch_size=64, weight=0.02)
    assert strengths.min() > 0.01
    group = np.repeat([0, 1], counts)
    w = jnp.diag(jnp.sqrt(jnp.asarray(strengths))[group])
    anchor, step = (jnp.diag(jnp.asarray(v)[group]) for v in (variance, noise))
    rates = LeJEPA().rates((w, jnp.eye(8)), Moments(anchor, anchor, anchor - step / 2), 64)[0]
    assert float(jnp.abs(rates).max()) < 1e-6


def test_random_directions_hardly_see_a_lost_dimension():
    """The more dimensions, the less: of n, one is lost at the same total variance."""
    seen = []
    for width in (4, 16, 64):
        lost = jnp.ones(width).at[0].set(0.0) * width / (width - 1)
        whole = gaussianity.statistic(jnp.ones(width), 10**9)
        seen.append(float(gaussianity.statistic(lost, 10**9) - whole) / 10**9)
    assert seen[0] > 10 * seen[1] > 100 * seen[2] > 0
