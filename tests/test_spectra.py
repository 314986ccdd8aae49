"""Every measure against spectra with known values, theory.md-style: exp(-0.35 k), k = 0..15, among
them.
"""

import jax
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


def test_a_value_that_is_not_a_number_never_looks_like_one():
    for xp in (np, jnp):
        z = np.random.default_rng(0).standard_normal((6, 3))
        z[2, 1] = np.nan
        for measure in (
            spectra.rankme,
            spectra.stable_rank,
            spectra.mean_cosine,
            spectra.normalised_deviation,
            spectra.uniformity,
        ):
            assert np.isnan(measure(xp.asarray(z))), measure
        spectrum = xp.asarray([np.nan, 1.0, 0.0])
        for measure in (
            spectra.collapsed_dimensions,
            spectra.effective_rank,
            spectra.participation_ratio,
            spectra.alpha_req,
        ):
            assert np.isnan(measure(spectrum)), measure
        assert np.isnan(spectra.components(spectrum, 0.9))
        assert np.isnan(spectra.covariance_spectrum(xp.asarray(z))).all()
    assert np.isnan(spectra.numerical_rank(np.array([np.nan, 1.0])))
    counts = spectra.collapsed_dimensions(np.array([[1.0, 0.0], [np.nan, 1.0]]))
    np.testing.assert_array_equal(counts, [1, np.nan])


def test_numpy_arrays_are_measured_in_float64_whatever_jax_is_set_to():
    z = np.random.default_rng(0).standard_normal((30, 4)) * [1, 1, 1e-6, 1e-9]
    with jax.enable_x64(False):
        for measured in (
            spectra.covariance_spectrum(z),
            spectra.rankme(z),
            spectra.uniformity(z),
            spectra.alignment(z, -z),
        ):
            assert isinstance(measured, np.ndarray)
            assert measured.dtype == np.float64
        expected = np.linalg.svd(z - z.mean(axis=0), compute_uv=False) ** 2 / 30
        np.testing.assert_allclose(spectra.covariance_spectrum(z), expected, rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-160, 1e154])
def test_ranks_do_not_depend_on_the_scale(scale):
    z = np.random.default_rng(0).standard_normal((30, 4))
    s = np.linalg.svd(z, compute_uv=False)
    for xp in (np, jnp):
        for measure in (spectra.rankme, spectra.stable_rank):
            assert_close(measure(xp.asarray(scale * z)), measure(z), rtol=1e-12)
        for measure in (spectra.effective_rank, spectra.participation_ratio, spectra.alpha_req):
            assert_close(measure(xp.asarray(scale * s)), measure(s), rtol=1e-12)


def test_rounding_is_left_out_of_the_fit():
    """A rank-5 matrix: the exponent of its five eigenvalues, not of the rounding behind them."""
    five = np.array([5.0, 4.0, 3.0, 2.0, 1.5])
    z = (
        np.asarray(with_singular_values(five))
        @ np.linalg.qr(np.random.default_rng(1).standard_normal((5, 5)))[0]
    )
    z = np.concatenate([z, z], axis=1)
    expected = spectra.alpha_req(np.linalg.eigvalsh(spectra.covariance(z))[::-1][:5])
    for eigenvalues in (
        spectra.covariance_spectrum(z),
        np.linalg.eigvalsh(spectra.covariance(z))[::-1],
        spectra.eigenvalues(jnp.asarray(spectra.covariance(z))),
    ):
        fit = spectra.power_law(eigenvalues)
        assert_close(fit.exponent, expected, rtol=1e-6)
        assert fit.last == 5
    assert np.all(spectra.covariance_spectrum(z)[5:] == 0)


def test_a_fit_says_its_range_and_how_good_it_is():
    k = np.arange(1.0, 21.0)
    values = np.where(k <= 10, k**-1.0, k**-3.0)
    assert_close(spectra.power_law(values, last=10).exponent, 1.0)
    assert_close(spectra.power_law(values, first=11).exponent, 3.0)
    assert_close(spectra.power_law(values, first=11).r_squared, 1.0)
    both = np.corrcoef(np.log(k), np.log(values))[0, 1] ** 2
    assert_close(spectra.power_law(values).r_squared, both)
    assert np.isnan(spectra.power_law(np.ones(4)).r_squared)


def test_rankme_by_other_names():
    z = np.random.default_rng(2).standard_normal((40, 6)) + 3.0
    centred = z - z.mean(axis=0)
    for centre, squared, epsilon in ((False, False, 1e-5), (True, False, 0.0), (True, True, 0.0)):
        s = np.linalg.svd(centred if centre else z, compute_uv=False) ** (2 if squared else 1)
        p = s / s.sum() + epsilon
        expected = np.exp(-np.sum(p * np.log(p)))
        found = spectra.rankme(z, epsilon, centre=centre, squared=squared)
        assert_close(found, expected, size=40)


@pytest.mark.parametrize("count", [5, 700])
def test_uniformity_and_its_gradient_far_out_and_in_blocks(count):
    """Where e^{-t d^2} is zero in float64, the largest term still tells; far from the origin the
    differences do. More samples than a block."""
    z = np.random.default_rng(3).standard_normal((count, 3))
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    off = ~np.eye(count, dtype=bool)

    def reference(z, scale):
        score = (-scale * np.sum((z[:, None] - z[None]) ** 2, axis=2))[off]
        return score.max() + np.log(np.mean(np.exp(score - score.max())))

    for scale in (2.0, 1e5):
        expected = reference(z, scale)
        for xp in (np, jnp):
            assert_close(spectra.uniformity(xp.asarray(z), scale), expected, rtol=1e-10)
    shifted = np.round(z * 2**20) / 2**20  # exact beside the offset
    expected = reference(shifted, 2.0)
    assert_close(spectra.uniformity(jnp.asarray(shifted + 2**20), 2.0), expected, rtol=1e-10)
    score = -2 * np.sum((z[:, None] - z[None]) ** 2, axis=2)
    weight = np.where(off, np.exp(score), 0) / np.exp(score)[off].sum()
    slope = -8 * np.einsum("ij,ijk->ik", weight, z[:, None] - z[None])
    assert_close(jax.grad(spectra.uniformity)(jnp.asarray(z)), slope, rtol=1e-10)
    gradient = jax.grad(lambda z: spectra.uniformity(z, 1e5))(jnp.asarray(z))
    assert np.isfinite(gradient).all()
    with pytest.raises(ValueError, match="two embeddings or more; got 1"):
        spectra.uniformity(z[:1])


def test_uniformity_of_many_samples_holds_no_square():
    z = jnp.zeros((4096, 2), jnp.float32)
    program = jax.jit(jax.grad(spectra.uniformity)).lower(z).compile()
    analysis = program.memory_analysis()
    assert analysis is not None
    assert analysis.temp_size_in_bytes < 4 * 4096**2 / 2


def test_the_gradient_of_alignment_where_views_coincide():
    z = jnp.asarray(np.random.default_rng(4).standard_normal((6, 3)))
    for power in (1.0, 2.0, 3.0):
        gradient = jax.grad(lambda z, power=power: spectra.alignment(z, z[::-1] * 0 + z, power))(z)
        assert np.isfinite(gradient).all()
        assert np.all(np.asarray(jax.grad(spectra.alignment)(z, z, power)) == 0)
    with pytest.raises(ValueError, match="same shape"):
        spectra.alignment(z, z[:3])


def test_half_precision_is_raised():
    z = jnp.asarray(300 * np.random.default_rng(5).standard_normal((20, 4)), jnp.float16)
    for measured in (spectra.rankme(z), spectra.uniformity(z), spectra.alignment(z, -z)):
        assert measured.dtype == jnp.float32
        assert np.isfinite(measured)


def test_small_eigenvalues_are_not_lost_in_large_ones():
    """Deviations of 1 and 1e-10: the covariance itself would know nothing of the second."""
    z = np.random.default_rng(6).standard_normal((50, 2)) * [1, 1e-10]
    expected = np.linalg.svd(z - z.mean(axis=0), compute_uv=False) ** 2 / 50
    for xp in (np, jnp):
        assert_close(spectra.covariance_spectrum(xp.asarray(z))[1], expected[1], rtol=1e-5)
