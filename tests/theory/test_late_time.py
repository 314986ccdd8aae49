"""The condensed regime: the contour integral against brute force, its limits, and simulation."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import assert_close, assert_not_close
from scipy.integrate import quad
from scipy.optimize import root_scalar
from scipy.special import spence, zeta

from linsim.theory import finite_batch, late_time
from linsim.theory.modes import Modes
from linsim.training import contrast, data, dynamics


def sampled_eta(rng, strengths, moments, counts, samples):
    """Draws of eta = -1/2 sum_k m_k (D_k^2 - n_k^2) from the definition."""
    eta = np.zeros(samples)
    for m, (a, c, rho), count in zip(strengths, moments, counts, strict=True):
        pair = rng.multivariate_normal([0, 0], [[2 * a, rho], [rho, c]], size=(samples, count))
        eta -= 0.5 * m * np.sum(pair[..., 0] ** 2 - pair[..., 1] ** 2, axis=1)
    return eta


MOMENTS = [(1.0, 0.0, 0.0), (2.0, 2.0, -1.0)]


def test_pair_average_is_the_mean_logistic_loss():
    strengths, counts = [1.5, 0.3], [3, 4]
    groups = [(Modes.of(*mom, k), m) for mom, k, m in zip(MOMENTS, counts, strengths, strict=True)]
    value, slopes = late_time.pair_average(groups)
    draws = np.logaddexp(
        0, sampled_eta(np.random.default_rng(0), strengths, MOMENTS, counts, 400_000)
    )
    error = 4 * draws.std() / np.sqrt(len(draws))
    assert abs(value - draws.mean()) < error
    assert (
        abs(late_time.pair_average([(groups[0][0], 1.5 * 1.05), groups[1]])[0] - draws.mean())
        > error
    )
    for k in range(2):
        shifted = [
            [(g, m * (1 + sign * 1e-4 * (k == j))) for j, (g, m) in enumerate(groups)]
            for sign in (1, -1)
        ]
        difference = late_time.pair_average(shifted[0])[0] - late_time.pair_average(shifted[1])[0]
        assert_close(slopes[k], difference / (2e-4 * strengths[k]), rtol=1e-6)


def test_settled_agrees_with_brute_force_quadrature_of_the_definition():
    """E[F_p(eta) T] = 0 with T = D^2 - n^2 summed over 8 modes, a difference of two chi-squares, on
    a fine grid.
    """
    from scipy.stats import chi2

    def fermi_dirac(order, eta):
        y = np.arange(-12, 6.5, 0.02)
        t = np.exp(y)
        return np.sum(t**order / (1 + np.exp(np.clip(t - eta[:, None], -700, 700))), axis=1) * 0.02

    for a, c, rho, expected in ((1.0, 1.0, 0.0, 0.265913), (2.0, 2.0, -1.0, 0.152150)):
        m = late_time.settled(a, c, rho, clean_modes=8, noisy_modes=8)
        assert_close(m, expected, rtol=1e-5)
        u, v = 2 * a - c, 2 * a * c - rho**2
        plus, minus = (np.sqrt(u * u + 4 * v) + u) / 2, (np.sqrt(u * u + 4 * v) - u) / 2
        grid = np.exp(np.arange(-6, 5, 0.1))
        weight = chi2.pdf(grid, 8) * grid * 0.1
        total = (plus * grid[:, None] - minus * grid[None, :]).ravel()
        joint = np.outer(weight, weight).ravel()

        def condition(m, total=total, joint=joint):
            return np.sum(joint * total * fermi_dirac(4.0, -0.5 * m * total))

        assert (
            condition(m * 0.999) > 0 > condition(m * 1.001)
        )  # settled to a relative 1e-3, and to its right side


def test_leading_order_is_the_limit_of_many_clean_modes():
    leading = late_time.settled(1.0, 1.0, clean_modes=8, noisy_modes=8, order="leading")
    assert leading == 0.25
    errors = [
        abs(late_time.settled(1.0, 1.0, clean_modes=k, noisy_modes=4) - leading) for k in (2, 8, 32)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-4


@pytest.mark.parametrize("order", ["leading", "fermi-dirac"])
def test_threshold_is_that_of_the_population(order):
    for noise in (2.0, 2.5, 7.0):
        assert late_time.settled(1.0, noise, clean_modes=8, noisy_modes=8, order=order) == 0
    assert 0 < late_time.settled(1.0, 1.999, clean_modes=8, noisy_modes=8, order=order) < 1e-3
    assert late_time.settled(1.0, 0.0, clean_modes=8, noisy_modes=8, order=order) == np.inf


def test_weak_mode_decay_uses_dirichlet_eta():
    eta = lambda q: (1 - 2 ** (1 - q)) * zeta(q)
    noisy = Modes.of(1.0, 4.0, 0.0, 8)
    assert_close(late_time.decay_per_growth(noisy, clean_modes=8), -2 * eta(4) / eta(5), rtol=1e-8)


def test_flow_approaches_the_asymptotic_growth_and_the_settled_strength():
    clean, noisy = Modes.of(1.0, 0.0, 0.0, 2), Modes.of(1.0, 1.0, 0.0, 3)
    settled = late_time.settled(1.0, 1.0, clean_modes=2, noisy_modes=3)
    times = np.geomspace(1, 1e9, 50)
    flow = finite_batch.flow(times, [2.0, 0.1], [clean, noisy], batch_size=128)
    exponent = np.polyfit(np.log(times[-10:]), np.log(flow[-10:, 0]), 1)[0]
    assert_close(exponent, late_time.growth_exponent(2), rtol=1e-3)
    expected = late_time.clean_strength(
        times[-1], noisy, settled, clean_modes=2, clean_variance=1.0, batch_size=128
    )
    assert_close(flow[-1], [expected, settled], rtol=1e-3)


def two_exponentials(a, c, rho, m):
    """eta of two identical modes is a difference of two exponential variables: E f(eta) by
    quadrature, exact to 1e-12.

    (1 + alpha s)(1 - beta s) = 1 + s m u - s^2 m^2 v is one over the generating function of eta =
    beta B - alpha A.
    """
    u, v = 2 * a - c, 2 * a * c - rho**2
    alpha, beta = m * (np.sqrt(u * u + 4 * v) + u) / 2, m * (np.sqrt(u * u + 4 * v) - u) / 2

    def mean(f):
        up = quad(lambda y: f(beta * y) * np.exp(-y), 0, 60, epsabs=0, epsrel=1e-12, limit=200)[0]
        down = quad(lambda y: f(-alpha * y) * np.exp(-y), 0, 60, epsabs=0, epsrel=1e-12, limit=200)[
            0
        ]
        return (beta * up + alpha * down) / (alpha + beta)

    return mean


def softplus(eta):
    return np.logaddexp(0, eta)


def fermi_2(eta):
    """F_2(eta)/Gamma(2), whose derivative is log(1 + e^eta)."""
    return -spence(1 + np.exp(eta))


NOISY = [(1.0, 1.0, 0.0, 0.4), (2.0, 2.0, -1.0, 0.2), (0.7, 2.3, 0.5, 1.5), (1.3, 0.1, 0.2, 4.0)]


@pytest.mark.parametrize("case", NOISY)
def test_pair_average_of_two_modes_is_the_quadrature_of_the_definition(case):
    *moments, m = case
    mean, modes = two_exponentials(*moments, m=m), Modes.of(*moments, count=2)
    sigmoid = lambda eta: 1 / (1 + np.exp(-eta))
    for grown, value, derivative in ((0.0, softplus, sigmoid), (1.0, fermi_2, softplus)):
        average, slopes = late_time.pair_average([(modes, m)], grown)
        assert_close(average, mean(value), rtol=1e-9)
        assert_close(slopes, [mean(lambda eta, d=derivative: eta * d(eta)) / m], rtol=1e-9)
    assert late_time.pair_average([(modes, m)])[0] == late_time.pair_average([(modes, m)], 0.0)[0]
    # -2 d ln J/dm per mode, and growth at K = 2 (N - 1) (2a)^-p J for p = 1
    slope = mean(lambda eta: eta * softplus(eta)) / m / mean(fermi_2)
    assert_close(late_time.decay_per_growth(modes, clean_modes=2, strength=m), -slope, rtol=1e-8)
    grown = late_time.clean_strength(
        50.0, modes, m, clean_modes=2, clean_variance=1.7, batch_size=64
    )
    assert_close(grown, np.sqrt(2 * 2 * 63 / 3.4 * mean(fermi_2) * 50.0), rtol=1e-9)


def test_equal_groups_are_one_group():
    modes = lambda count: Modes.of(0.7, 2.3, 0.5, count)
    value, (slope,) = late_time.pair_average([(modes(5), 0.6)], 1.5)
    split, slopes = late_time.pair_average([(modes(2), 0.6), (modes(3), 0.6)], 1.5)
    assert_close(split, value, rtol=1e-9)
    assert_close(slopes, slope * np.array([0.4, 0.6]), rtol=1e-9)


@pytest.mark.parametrize("grown", [0.0, 0.5, 4.0, 60.0])
def test_pair_average_of_vanishing_modes_is_dirichlets_eta(grown):
    """eta = 0: F_{p+1}(0)/Gamma(p + 1). For a large p only the saddle point's own contour is
    accurate: others cancel.
    """
    expected = np.log(2) if grown == 0 else (1 - 2**-grown) * zeta(grown + 1)
    value, slopes = late_time.pair_average([(Modes.of(1.0, 4.0, 0.0, 8), 0.0)], grown)
    assert_close(value, expected, rtol=1e-9)
    below = (
        np.log(2)
        if grown == 1
        else 0.5
        if grown == 0
        else (1 - 2 ** (1 - grown)) * zeta(grown)
        if grown > 1
        else None
    )
    if below is not None:
        assert_close(slopes, [-0.5 * 8 * (2 - 4) * below], rtol=1e-9)


@pytest.mark.parametrize(("count", "strength"), [(2, 0.3), (40, 2.0), (400, 0.2), (400, 1.0)])
def test_pair_average_of_many_clean_modes_is_relatively_accurate(count, strength):
    """eta = -m a chi^2: averages down to 1e-111, which other contours lose in cancellation, to the
    promised 1e-9.
    """
    from scipy.stats import chi2

    variance = 1.3
    log_scale = (
        -0.5 * count * np.log1p(2 * variance * strength)
    )  # log E e^eta, the leading part of small averages
    tilted = variance * strength / (1 + 2 * variance * strength)
    # weighed by e^eta, chi^2 is that of `count` modes again, but smaller:
    # E f(eta) = E e^eta x E_tilted[f(eta) e^-eta]
    integrand = lambda q: chi2.pdf(q, count) * np.log1p(np.exp(-tilted * q)) * np.exp(tilted * q)
    low, high = chi2.ppf([1e-17, 0.5], count)[0], chi2.isf(1e-17, count)
    ratio = quad(integrand, low, high, epsabs=0, epsrel=1e-11, limit=200)[0]
    value, slopes = late_time.pair_average([(Modes.of(variance, 0.0, 0.0, count), strength)])
    assert_close(np.log(value), log_scale + np.log(ratio), rtol=1e-9 / max(1, abs(log_scale)))
    assert slopes[0] < 0


def test_modes_of_moments():
    modes = Modes.of(1.5, 0.7, -0.4, 3)
    assert_close([modes.pull, modes.spread], [2.3, 1.94])
    limit = np.sqrt(1.5 * 0.7)
    full = Modes.of(1.5, 0.7, limit * (1 + 1e-14), 1)  # fully correlated, up to rounding
    assert full.conditional_variance == 0
    with pytest.raises(ValueError, match="too large"):
        Modes.of(1.5, 0.7, limit * (1 + 2e-12), 1)
    for bad in (
        (0.0, 1.0, 0.0, 1),
        (np.nan, 1.0, 0.0, 1),
        (1.0, -1e-3, 0.0, 1),
        (1.0, 1.0, 0.0, 0),
    ):
        with pytest.raises(ValueError, match="need variance > 0"):
            Modes.of(*bad)


def test_vanished_modes_leave_the_pair_undecided():
    """Nothing is divided by their strength."""
    with np.errstate(all="raise"):
        for noise in (1.0, 4.0):
            value, slopes = late_time.pair_average([(Modes.of(1.0, noise, 0.0, 4), 0.0)])
            assert_close(value, np.log(2), rtol=1e-9)
            assert_close(slopes, [-4 * (2 - noise) / 4], rtol=1e-9)


@pytest.mark.parametrize(
    "moments", [(1.0, 1.0, 0.0), (2.0, 2.0, -1.0), (0.7, 0.3, 0.4), (1.0, 1.9, 0.1)]
)
def test_settled_is_where_the_definition_vanishes(moments):
    """E[F_1(eta) (D^2 - n^2)] = 0 for two noisy and two clean modes, by quadrature; F_1 = log(1 +
    e^eta).
    """
    m = late_time.settled(*moments, clean_modes=2, noisy_modes=2)
    a, c, rho = moments
    assert late_time.settled(*moments, clean_modes=2, noisy_modes=2, order="fermi-dirac") == m
    condition = lambda m: two_exponentials(*moments, m=m)(lambda eta: eta * softplus(eta))
    assert condition(m * (1 - 1e-7)) < 0 < condition(m * (1 + 1e-7))
    leading = late_time.settled(*moments, clean_modes=2, noisy_modes=2, order="leading")
    assert_close(leading, (2 * a - c) / (2 * (2 * a * c - rho**2)))


@pytest.mark.parametrize("moments", [(1.0, 1.0, 0.0), (2.0, 2.0, -1.0)])
@pytest.mark.parametrize("clean_modes", [1, 8])
def test_settled_strength_tends_to_a_multiple_of_the_leading_order(moments, clean_modes):
    """For many noisy modes m -> leading pi / x with x cot x = -d_s/2; 1024 of them are within 3 %
    and nearer than 256.
    """
    x = root_scalar(lambda x: x / np.tan(x) + clean_modes / 2, bracket=(1.6, 3.1)).root
    leading = late_time.settled(*moments, clean_modes=clean_modes, noisy_modes=1, order="leading")
    errors = [
        1
        - late_time.settled(*moments, clean_modes=clean_modes, noisy_modes=count)
        / (leading * np.pi / x)
        for count in (256, 1024)
    ]
    assert errors[0] > errors[1] > 0
    assert errors[1] < 0.03


def test_settled_and_growth_of_the_fewest_modes():
    assert 0 < late_time.settled(1.0, 1.0, clean_modes=1, noisy_modes=1) < np.inf
    assert [late_time.growth_exponent(count) for count in (2, 6)] == [0.5, 0.25]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((0.0, 1.0), "variance"), ((1.0, -1.0), "noise"), ((1.0, 1.0, 5.0), "covariance 5.0")],
)
def test_bad_moments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        late_time.settled(*arguments, clean_modes=8, noisy_modes=8)


def test_bad_counts_and_order_are_named():
    with pytest.raises(ValueError, match="clean_modes"):
        late_time.settled(1.0, 1.0, clean_modes=0, noisy_modes=8)
    with pytest.raises(ValueError, match="count"):
        late_time.settled(1.0, 1.0, clean_modes=8, noisy_modes=0)
    with pytest.raises(ValueError, match="'best'"):
        late_time.settled(1.0, 1.0, clean_modes=8, noisy_modes=8, order="best")


def simulate(views, steps, rate=0.1):
    """N = 128, 8 clean + 8 noisy modes, noise 1, fresh batches, float32: times, strengths."""
    factors = [
        jnp.asarray(f, jnp.float32)
        for f in (data.factor(np.eye(16)), data.factor(data.block_covariance(16, 8)))
    ]
    sample = data.source(jax.random.key(0), "fresh", *factors, views=views, batch_size=128)
    drive = lambda w, k: contrast.distance(w, *sample(k))
    start = (0.1 * jnp.eye(16, dtype=jnp.float32),)
    run = jax.jit(lambda key: dynamics.gradient_descent(start, drive, optax.sgd(rate), steps, key))
    trajectory = run(jax.random.key(1))
    columns = np.sum(np.asarray(trajectory.weights[0]) ** 2, axis=1)
    return steps * rate, columns[:, :8].mean(1), columns[:, 8:].mean(1), trajectory.alpha_ii


@pytest.mark.parametrize(
    ("views", "moments"), [("one", (1.0, 1.0, 0.0)), ("two", (2.0, 2.0, -1.0))]
)
def test_the_exact_flow_leads_through_the_condensed_regime(views, moments):
    """From alpha_ii > 0.9 on, both blocks to 8 % at every recorded time (measured: 4 %)."""
    times, clean, noisy, alpha = simulate(
        views, np.unique(np.geomspace(1, 2000, 30).astype(int) - 1)
    )
    start = int(np.argmax(alpha > 0.9))
    groups = [Modes.of(1.0, 0.0, 0.0, 8), Modes.of(*moments, count=8)]
    begin = np.array([clean[start], noisy[start]])
    flow = finite_batch.flow(times[start:], begin, groups, batch_size=128)
    measured = np.stack([clean[start:], noisy[start:]], axis=1)
    print(np.max(np.abs(flow / measured - 1)))
    assert np.max(np.abs(flow / measured - 1)) < 0.08
    half_the_batch = finite_batch.flow(times[start:], begin, groups, batch_size=64)
    assert_not_close(half_the_batch, measured, by=0.08)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("views", "moments"), [("one", (1.0, 1.0, 0.0)), ("two", (2.0, 2.0, -1.0))]
)
def test_settled_strength_and_growth_exponent_at_t_1000(views, moments):
    times, clean, noisy, _ = simulate(views, np.unique(np.geomspace(1, 10_000, 80).astype(int) - 1))
    settled = late_time.settled(*moments, clean_modes=8, noisy_modes=8)
    late = times >= 100
    exponent = np.polyfit(np.log(times[late]), np.log(clean[late]), 1)[0]
    print(f"{views} view(s): m = {noisy[-1]:.4f}, settled {settled:.4f}; exponent {exponent:.3f}")
    assert_close(np.mean(noisy[times >= 500]), settled, rtol=0.05)
    assert 0.19 < exponent < 0.26
