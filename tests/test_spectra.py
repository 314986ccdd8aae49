"""Every measure against spectra with known values, theory.md-style: exp(-0.35 k), k = 0..15, among
them.
"""

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, make_case

from linsim import spectra

DECAY = jnp.exp(-0.35 * jnp.arange(16))


def with_singular_values(values, rows=64):
    rng = np.random.default_rng(0)
    left, right = (
        np.linalg.qr(rng.standard_normal((n, len(values))))[0] for n in (rows, len(values))
    )
    return jnp.asarray(left * np.asarray(values) @ right.T)


def test_exponential_spectrum():
    """The values for e^(-0.35 k), in closed form where there is one."""
    q = np.exp(-0.35)
    assert_close(
        spectra.participation_ratio(DECAY**2),
        (1 - q**32) ** 2 / (1 - q**2) ** 2 * (1 - q**4) / (1 - q**64),
    )
    assert_close(
        spectra.stable_rank(with_singular_values(DECAY)), (1 - q**32) / (1 - q**2), size=64
    )
    p = np.asarray(DECAY) / np.sum(DECAY)
    assert_close(spectra.effective_rank(DECAY), np.exp(-np.sum(p * np.log(p))), size=16)
    assert_close(spectra.effective_rank(DECAY), 7.6, rtol=0.01)
    assert 16 - spectra.collapsed_dimensions(DECAY, 0.01) == 14


@pytest.mark.parametrize("k", [1, 3, 16])
def test_flat_spectra_have_the_rank_they_should(k):
    flat = jnp.where(jnp.arange(16) < k, 2.5, 0.0)
    z = with_singular_values(flat)
    assert_close(spectra.effective_rank(flat), float(k), size=16)
    assert_close(spectra.participation_ratio(flat), float(k), size=16)
    assert_close(spectra.stable_rank(z), float(k), size=64)
    assert_close(spectra.rankme(z), float(k), rtol=1e-4)  # epsilon = 1e-7 per value
    assert spectra.collapsed_dimensions(flat) == 16 - k


def test_rankme_is_uncentred_and_the_covariance_centred():
    z = jnp.ones((50, 3)) * jnp.array([1.0, 2.0, 3.0])
    assert_close(spectra.rankme(z), 1.0, rtol=1e-4)
    assert_close(spectra.covariance_spectrum(z), np.zeros(3), rtol=1e-12)
    shifted = make_case(0, 50, 3, 3).x
    assert_close(
        spectra.covariance_spectrum(shifted + 100.0),
        spectra.covariance_spectrum(shifted),
        rtol=1e-10,
    )
    assert_close(spectra.covariance(shifted), np.cov(shifted.T, bias=True), size=50)


def test_rankme_epsilon_enters_as_published():
    z = with_singular_values(jnp.array([1.0, 0.0]))
    p = np.array([1.0, 0.0]) + 0.1
    assert_close(spectra.rankme(z, epsilon=0.1), np.exp(-np.sum(p * np.log(p))), rtol=1e-10)


def test_collapsed_dimensions_of_degenerate_spectra():
    assert spectra.collapsed_dimensions(jnp.zeros(5)) == 5
    assert spectra.collapsed_dimensions(jnp.array([1.0, 0.01, 0.00999]), 0.01) == 1


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.7])
def test_alpha_req_recovers_a_power_law(alpha):
    power_law = 3.0 * jnp.arange(1.0, 21.0) ** -alpha
    assert_close(spectra.alpha_req(power_law), alpha, size=20)
    assert_close(spectra.alpha_req(jnp.concatenate([power_law, jnp.zeros(4)])), alpha, size=20)
    assert np.isnan(spectra.alpha_req(jnp.array([1.0, 0.0, 0.0])))


def test_alignment_and_uniformity():
    z = jnp.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    assert_close(spectra.alignment(z, -z), 4.0)
    assert_close(spectra.alignment(z, -z, power=1.0), 2.0)
    assert spectra.alignment(z, z) == 0
    assert_close(spectra.uniformity(z), np.log((8 * np.exp(-4.0) + 4 * np.exp(-8.0)) / 12), size=4)
    assert_close(spectra.uniformity(jnp.ones((5, 2))), 0.0, rtol=1e-12)


def test_singular_values_and_eigenvalues_are_sorted_downwards():
    case = make_case(1, 10, 6, 4)
    assert_close(spectra.singular_values(case.w), np.linalg.svd(case.w, compute_uv=False), size=24)
    assert_close(
        spectra.eigenvalues(case.w.T @ case.w)[:4], spectra.singular_values(case.w) ** 2, size=24
    )
    assert np.all(np.diff(spectra.eigenvalues(case.w.T @ case.w)) <= 0)


def test_numerical_rank_counts_what_rounding_cannot_make():
    assert (
        spectra.numerical_rank(np.array([1.0, 1e-7, 1e-9])) == 2
    )  # sqrt(eps) is 1.5e-8 in float64
    assert (
        spectra.numerical_rank(np.array([1.0, 1e-3, 1e-4], dtype=np.float32)) == 2
    )  # 3.5e-4 in float32
    assert spectra.numerical_rank(np.array([[2.0, 2.0], [1.0, 0.0]])).tolist() == [2, 1]
    product = with_singular_values(DECAY)[:, :5] @ np.ones((5, 16))
    assert spectra.numerical_rank(np.linalg.svd(product, compute_uv=False)) == 1
