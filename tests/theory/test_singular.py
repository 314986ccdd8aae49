"""Claims C08-C10, C12-C16: exact statements about two layers, as printed and as corrected."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, assert_not_close, make_case
from hypothesis import given
from hypothesis import strategies as st

from linsim import losses
from linsim.theory import infonce, singular
from linsim.training import models

EXACT = 1e-10
seeds = st.integers(0, 2**31 - 1)


def two_layers(seed, dims):
    d, h, n = dims
    case = make_case(seed, 12, d, n)
    rng = np.random.default_rng(seed)
    w1, w2 = (
        jnp.asarray(rng.standard_normal(shape) / np.sqrt(shape[1])) for shape in ((h, d), (n, h))
    )
    grad = jax.jit(infonce.weight_gradient)(w2 @ w1, case.x, case.x_pos)
    return case, w1, w2, grad


def central(function, step=1e-5):
    """Fourth-order central difference of function(t) at 0."""
    near, far = (function(step) - function(-step), function(2 * step) - function(-2 * step))
    return (8 * near - far) / (12 * step)


def match_signs(svd, reference):
    """Singular vectors are defined up to a common sign of u_k and v_k: take those nearest to
    `reference`.
    """
    sign = jnp.sign(jnp.sum(svd.u * reference.u, axis=0))
    return singular.Svd(svd.u * sign, svd.s, svd.v * sign)


@given(seed=seeds, dims=st.sampled_from([(4, 5, 3), (6, 2, 6), (1, 4, 2)]))
def test_lemma_3_and_equation_9(seed, dims):
    case, w1, w2, grad = two_layers(seed, dims)

    @jax.jit
    def exact(params, x, x_pos):
        return jax.grad(
            lambda p: losses.infonce(x @ models.product(p).T, x_pos @ models.product(p).T)
        )(params)

    g1, g2 = exact((w1, w2), case.x, case.x_pos)
    terms = np.linalg.norm(case.x_pos) ** 2 * (1 + np.linalg.norm(w1) + np.linalg.norm(w2)) ** 3
    assert np.linalg.norm(w2.T @ grad - g1) <= EXACT * terms
    assert np.linalg.norm(grad @ w1.T - g2) <= EXACT * terms
    contrast = jax.jit(infonce.contrast_matrix)(w2 @ w1, case.x, case.x_pos)
    assert np.linalg.norm(-w2 @ w1 @ contrast - grad) <= EXACT * terms


@pytest.mark.parametrize("seed", range(10))
def test_lemmas_4_and_5_against_central_differences(seed):
    rng = np.random.default_rng(seed)
    frames = [np.linalg.qr(rng.standard_normal((5, 5)))[0] for _ in range(2)]
    w = jnp.asarray(frames[0] * np.array([3.0, 2.3, 1.7, 1.0, 0.4]) @ frames[1].T)
    velocity = jnp.asarray(rng.standard_normal((5, 5)))
    svd = singular.Svd.of(w)
    at = lambda t: match_signs(singular.Svd.of(w + t * velocity), svd)
    assert_close(singular.value_rates(svd, velocity), central(lambda t: at(t).s, 3e-4), rtol=EXACT)
    u_rate, v_rate = singular.vector_rates(svd, velocity)
    for rate, exact in (
        (u_rate, central(lambda t: at(t).u, 3e-4)),
        (v_rate, central(lambda t: at(t).v, 3e-4)),
    ):
        assert_close(rate, exact, rtol=1e-9)
    printed = singular.vector_rates(svd, velocity, printed=True)
    for rate, wrong in zip((u_rate, v_rate), printed, strict=True):
        assert_close(wrong, -rate, rtol=EXACT)  # off by exactly a factor -1
        assert_not_close(wrong, rate)


@pytest.mark.parametrize("seed", range(10))
def test_lemmas_4_and_5_against_implicit_differentiation(seed):
    """To rounding, without differences: the derivatives must reproduce W' and keep U and V
    orthonormal.
    """
    _, w1, w2, grad = two_layers(seed, (5, 5, 5))
    velocity = -w2.T @ grad
    svd = singular.Svd.of(w1)
    s_rate = singular.value_rates(svd, velocity)
    u_rate, v_rate = singular.vector_rates(svd, velocity)
    rebuilt = (u_rate * svd.s + svd.u * s_rate) @ svd.v.T + svd.u * svd.s @ v_rate.T
    assert_close(rebuilt, velocity, rtol=EXACT)
    for vectors, rate in ((svd.u, u_rate), (svd.v, v_rate)):
        assert_close(vectors.T @ rate, -(vectors.T @ rate).T, rtol=EXACT)
    wrong_u, wrong_v = singular.vector_rates(svd, velocity, printed=True)
    assert_not_close(
        (wrong_u * svd.s + svd.u * s_rate) @ svd.v.T + svd.u * svd.s @ wrong_v.T, velocity
    )


@pytest.mark.parametrize("seed", range(10))
def test_lemma_6_is_the_product_rule_of_lemma_5(seed):
    _, w1, w2, grad = two_layers(seed, (5, 5, 5))
    first, second = singular.Svd.of(w1), singular.Svd.of(w2)
    u1_rate, _ = singular.vector_rates(first, -w2.T @ grad)
    _, v2_rate = singular.vector_rates(second, -grad @ w1.T)
    exact = v2_rate.T @ first.u + second.v.T @ u1_rate
    assert_close(singular.alignment_rate(first, second, grad), exact, rtol=EXACT)
    assert_close(singular.alignment_rate(first, second, grad, printed=True), -exact, rtol=EXACT)


@pytest.mark.parametrize("seed", range(10))
def test_lemma_7_is_lemma_4_on_each_layer(seed):
    _, w1, w2, grad = two_layers(seed, (5, 5, 5))
    first, second = singular.Svd.of(w1), singular.Svd.of(w2)
    rates = singular.layer_value_rates(first, second, grad)
    assert_close(rates[0], singular.value_rates(first, -w2.T @ grad), rtol=EXACT)
    assert_close(rates[1], singular.value_rates(second, -grad @ w1.T), rtol=EXACT)
    assert_not_close(singular.layer_value_rates(first, second, grad.T)[0], rates[0])


@pytest.mark.parametrize("seed", range(5))
def test_theorem_3_is_exact_for_aligned_layers_and_only_there(seed):
    case, *_ = two_layers(seed, (5, 5, 5))
    w1, w2 = models.imbalanced(
        jax.random.key(seed), (5, 5, 5), jnp.array([2.0, 1.5, 1.0, 0.6, 0.3]), 0.4
    )
    contrast = infonce.contrast_matrix(w2 @ w1, case.x, case.x_pos)
    first, second = singular.Svd.of(w1), singular.Svd.of(w2)
    pull = jnp.einsum("dk,de,ek->k", first.v, contrast, first.v)
    aligned = singular.aligned_rates(first.s, second.s, pull)
    exact = singular.layer_value_rates(first, second, -w2 @ w1 @ contrast)
    for rate, expected in zip(aligned, exact, strict=True):
        assert_close(rate, expected, rtol=EXACT)
    assert_close(first.s * aligned[0], second.s * aligned[1], rtol=EXACT)  # s1^2 - s2^2 is constant
    _, w1, w2, grad = two_layers(seed, (5, 5, 5))
    first, second = singular.Svd.of(w1), singular.Svd.of(w2)
    contrast = infonce.contrast_matrix(w2 @ w1, case.x, case.x_pos)
    pull = jnp.einsum("dk,de,ek->k", first.v, contrast, first.v)
    assert_not_close(
        singular.aligned_rates(first.s, second.s, pull)[0],
        singular.layer_value_rates(first, second, grad)[0],
    )


@pytest.mark.parametrize(
    ("first", "second"), [(0.5, 0.3), (0.3, 0.5), (0.4, 0.4), (0.4, 0.4 + 1e-6)]
)
def test_theorem_3_solved_is_theorem_3_integrated(first, second):
    from scipy.integrate import solve_ivp

    field = lambda t, s: np.concatenate(singular.aligned_rates(s[:1], s[1:], np.ones(1)))
    for impulse in (-3.0, 0.5, 1.8):
        exact = solve_ivp(field, (0.0, impulse), [first, second], rtol=1e-11, atol=1e-13).y[:, -1]
        solved = singular.aligned_values(jnp.array(first), jnp.array(second), jnp.array(impulse))
        assert_close(np.array(solved), exact, rtol=1e-6)
    assert np.isinf(
        singular.aligned_values(jnp.array(first), jnp.array(second), jnp.array(20.0))[0]
    )


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 4)])
def test_svd_is_thin_and_rebuilds_the_matrix(shape):
    w = jnp.asarray(np.random.default_rng(0).standard_normal(shape))
    svd = singular.Svd.of(w)
    assert [len(v.T) for v in (svd.u, svd.v)] == [min(shape)] * 2
    assert_close(svd.u * svd.s @ svd.v.T, w, size=64)
    velocity = jnp.asarray(np.random.default_rng(1).standard_normal(shape))
    expected = [svd.u[:, k] @ velocity @ svd.v[:, k] for k in range(min(shape))]
    assert_close(singular.value_rates(svd, velocity), jnp.array(expected), size=64)


def test_coupling_entry_by_entry():
    values = jnp.array([1.25, 0.75, 0.5])  # squares 1 apart, and less
    h = singular.coupling(values)
    expected = [
        [0 if j == k else 1 / (sj**2 - sk**2) for j, sj in enumerate(values)]
        for k, sk in enumerate(values)
    ]
    assert_close(h, jnp.array(expected))
    assert_close(singular.coupling(values, printed=True), -h)


def test_vector_and_alignment_rates_are_the_correction_unless_asked():
    _, w1, w2, grad = two_layers(3, (4, 4, 4))
    first, second = singular.Svd.of(w1), singular.Svd.of(w2)
    for rates in (
        lambda **options: singular.vector_rates(first, grad, **options),
        lambda **options: [singular.alignment_rate(first, second, grad, **options)],
        lambda **options: [singular.coupling(first.s, **options)],
    ):
        for default, right, printed in zip(
            rates(), rates(printed=False), rates(printed=True), strict=True
        ):
            assert_close(default, right)
            assert_close(default, -printed, size=64)


def test_theorem_3_solved_at_its_limits():
    solved = lambda s1, s2, impulse: np.array(
        singular.aligned_values(*(jnp.float64(v) for v in (s1, s2, impulse)))
    )
    assert_close(
        solved(0.6, 0.0, 3.0), [0.6, 0.0]
    )  # a layer without the mode never gains it, and the other stays
    assert_close(solved(0.0, 0.6, 3.0), [0.0, 0.6])
    np.testing.assert_array_equal(solved(0.0, 0.0, 3.0), [0.0, 0.0])
    assert_close(solved(2.0, 1.5, 0.0), [2.0, 1.5])
    assert_close(solved(0.5, 0.5, 1.5), [1.0, 1.0])  # 1/s^2 falls from 4 to 1
    assert_close(solved(0.5, 0.5, 1.875), [2.0, 2.0])
    for impulse in (2.0, 2.1, 2.6, 10.0):  # at the blow-up and beyond
        np.testing.assert_array_equal(solved(0.5, 0.5, impulse), [np.inf, np.inf])
    k = 2.0**2 - 1.5**2
    blow_up = np.log(2 / 1.5) / k
    np.testing.assert_array_equal(solved(2.0, 1.5, 1.01 * blow_up), [np.inf, np.inf])
    assert np.all(np.isfinite(solved(2.0, 1.5, 0.99 * blow_up)))


@pytest.mark.parametrize("scale", [0.01, 1.0, 3.0])
@pytest.mark.parametrize("k", [0.3, -0.3, 0.05, 3e-9])
def test_theorem_3_solved_has_the_rates_of_theorem_3(scale, k):
    """By automatic differentiation in T; nearly equal layers (K below 1e-9 s^2) join on."""
    start = jnp.asarray(scale * np.array([np.sqrt(1 + k), 1.0]))
    at = lambda impulse: jnp.stack(singular.aligned_values(start[0], start[1], impulse))
    for impulse in (-0.2, 0.0, 0.2):
        values, rates = jax.jvp(at, (jnp.float64(impulse / scale**2),), (jnp.float64(1.0),))
        assert_close(
            values[0] ** 2 - values[1] ** 2,
            start[0] ** 2 - start[1] ** 2,
            rtol=1e-6 if abs(k) < 1e-6 else 1e-9,
        )
        assert_close(
            rates, jnp.stack([values[0] * values[1] ** 2, values[1] * values[0] ** 2]), rtol=1e-6
        )
    assert_close(at(jnp.float64(0.0)), start, rtol=1e-6)
