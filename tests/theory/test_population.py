"""The N -> infinity theory: gradients, fixed points, thresholds, its approach by simulation."""

import functools

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.integrate
import scipy.linalg
from helpers import assert_close, assert_not_close

from linsim.theory import population
from linsim.training import contrast, data, dynamics


def random_covariances(seed, dim=5, out=4):
    rng = np.random.default_rng(seed)
    root, noise_root = rng.standard_normal((2, dim, dim))
    w = jnp.asarray(0.6 * rng.standard_normal((out, dim)))
    return (
        w,
        jnp.asarray(root @ root.T / dim + 0.2 * np.eye(dim)),
        jnp.asarray(noise_root[:, :2] @ noise_root[:, :2].T),
    )


@pytest.mark.parametrize("seed", range(5))
def test_contrast_matrix_is_minus_the_gradient_for_any_covariances(seed):
    w, cov, noise = random_covariances(seed)
    grad = jax.grad(population.loss)(w, cov, noise)
    x = population.contrast_matrix(w, cov, noise)
    assert_close(-w @ x, grad, size=25)
    assert_close(x, x.T, size=25)
    assert_not_close(-w @ (x + 0.01 * noise), grad)


@pytest.mark.parametrize("seed", range(5))
def test_contrast_matrix_dot_is_minus_the_gradient(seed):
    w, cov, noise = random_covariances(seed)
    moments = (cov + noise, cov + 2 * noise, cov)
    grad = jax.grad(population.loss_dot)(w, *moments, 0.3)
    assert_close(-w @ population.contrast_matrix_dot(w, *moments, 0.3), grad, size=25)
    assert_not_close(-w @ population.contrast_matrix_dot(w, *moments, 0.303), grad)


def test_contrast_matrix_equals_the_form_with_inverses():
    w, cov, noise = random_covariances(9)
    p = np.linalg.inv(np.linalg.inv(cov) + w.T @ w)
    assert_close(
        population.contrast_matrix(w, cov, noise), p @ np.linalg.inv(cov) @ p + p - noise, size=100
    )


def test_contrast_matrix_is_the_average_of_large_batches():
    w, cov, noise = random_covariances(3)
    w = 0.4 * w
    factors = data.factor(cov), data.factor(noise)
    sample = data.source(jax.random.key(0), "fresh", *factors, views="one", batch_size=2048)
    keys = jax.random.split(jax.random.key(1), 20)
    batches = jax.jit(
        lambda ks: jax.lax.map(lambda k: contrast.distance(w, *sample(k)).contrast, ks)
    )(keys)
    assert_close(jnp.mean(batches, axis=0), population.contrast_matrix(w, cov, noise), rtol=0.03)


@pytest.mark.parametrize("variance", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("ratio", [1e-3, 0.25, 1.0, 1.9])
def test_fixed_point_has_zero_rate_and_is_stable(variance, ratio):
    m = population.fixed_point(variance, ratio * variance)
    scale = 2 * variance
    assert abs(population.mode_rate(m, variance, ratio * variance)) < 1e-12 * scale
    assert population.mode_rate(0.99 * m, variance, ratio * variance) > 0
    assert population.mode_rate(1.01 * m, variance, ratio * variance) < 0


def test_fixed_point_limits():
    assert population.fixed_point(1.0, 0.0) == np.inf
    assert population.fixed_point(1.0, 2.0) == 0
    assert population.fixed_point(1.0, 1.9999) > 0
    assert population.fixed_point(1.0, 7.0) == 0
    assert population.collapse_threshold(3.0) == 6
    assert population.growth_rate(3.0, 6.0) == 0
    assert_close(
        population.fixed_point(1.0, jnp.array([0.25, 1.0])), [3.828427, 0.618034], rtol=1e-6
    )
    assert_close(
        population.fixed_point(5.0, 8.0), 0.0325, rtol=2e-3
    )  # two noisy views, s = 2: nothing vanishes


def test_two_noisy_views_never_reach_the_threshold():
    for s in (0.1, 1.0, 10.0, 100.0):
        moments = data.moments(jnp.eye(2), s**2 * jnp.eye(2), "two")
        assert population.collapsed_dimensions(moments.anchor, moments.step) == 0
    assert population.collapsed_dimensions(jnp.eye(2), 2.0 * jnp.eye(2)) == 2


@pytest.mark.parametrize("seed", range(4))
def test_collapsed_dimensions_of_non_commuting_covariances_in_simulation_of_the_flow(seed):
    w, cov, noise = random_covariances(seed, dim=4, out=4)
    ratios = np.sort(np.linalg.eigvals(np.linalg.solve(cov, noise)).real)
    noise = (
        noise * 2.6 / ratios[2 if seed % 2 else 3]
    )  # one or two eigenvalues beyond the threshold
    predicted = population.collapsed_dimensions(cov, noise)
    assert predicted == int(np.sum(np.linalg.eigvals(np.linalg.solve(cov, noise)).real >= 2))

    def drive(w):
        return contrast.Drive(
            population.loss(w, cov, noise), population.contrast_matrix(w, cov, noise), jnp.zeros(())
        )

    trajectory = jax.jit(
        lambda w: dynamics.gradient_flow((w,), drive, np.array([0.0, 200.0]), tolerance=1e-7)
    )(w)
    values = np.linalg.svd(trajectory.weights[0][-1], compute_uv=False)
    assert np.sum(values < 1e-3 * values[0]) == predicted


@pytest.mark.parametrize("smallest", [0.0, -0.1])
def test_collapsed_dimensions_refuses_a_singular_data_covariance(smallest):
    with pytest.raises(ValueError, match="positive definite"):
        population.collapsed_dimensions(jnp.diag(jnp.array([1.0, smallest])), jnp.eye(2))


def scalar_flow(rate, m0, times):
    drive = diffrax.ODETerm(lambda t, m, _: rate(m))
    solution = diffrax.diffeqsolve(
        drive,
        diffrax.Dopri8(),
        times[0],
        times[-1],
        None,
        jnp.asarray(m0),
        saveat=diffrax.SaveAt(ts=jnp.asarray(times)),
        stepsize_controller=diffrax.PIDController(rtol=1e-10, atol=1e-12),
    )
    return solution.ys


def test_mode_rate_is_the_flow_of_one_mode():
    w0, times = 0.3, np.linspace(0, 5, 6)

    def drive(w):
        cov, noise = jnp.array([[1.3]]), jnp.array([[0.7]])
        return contrast.Drive(
            population.loss(w, cov, noise), population.contrast_matrix(w, cov, noise), jnp.zeros(())
        )

    flow = (
        dynamics.gradient_flow((jnp.array([[w0]]),), drive, times, tolerance=1e-11).weights[0][
            :, 0, 0
        ]
        ** 2
    )
    assert_close(
        flow,
        scalar_flow(lambda m: 2 * m * population.mode_rate(m, 1.3, 0.7), w0**2, times),
        rtol=1e-8,
    )


def test_dot_mode_is_logistic_and_weight_decay_restores_a_threshold():
    times, tau, cross, anchor = np.linspace(0, 0.3, 7), 0.1, 1.0, 1.5
    settled = population.fixed_point_dot(anchor, anchor, cross, tau)
    assert_close(settled, tau * cross / anchor**2)

    def rate(m, decay=0.0):
        return 4 * m * (cross / tau - m * anchor**2 / tau**2) - 2 * decay * m

    assert_close(
        scalar_flow(rate, 0.01, times),
        population.mode_strength_dot(times, 0.01, settled, cross, tau),
        rtol=1e-8,
    )
    for decay in (0.0, 5.0, 19.0):
        fixed = population.fixed_point_dot(anchor, anchor, cross, tau, decay)
        assert fixed > 0
        assert abs(rate(fixed, decay)) < 1e-10
    for beyond in (1.0, 1.1, 3.0):  # from k = gamma tau / 2 on
        assert population.fixed_point_dot(anchor, anchor, cross, tau, beyond * 2 * cross / tau) == 0


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_escape_time_integrates_the_growth(depth):
    rate, w0 = 0.7, 0.01
    top = 1.0 if depth == 1 else 1e8
    grid = np.geomspace(w0, top, 200_001)
    speed = rate * grid if depth == 1 else depth * grid ** (3 - 2 / depth) * rate
    expected = np.trapezoid(1 / speed, grid)
    assert_close(population.escape_time(w0, depth, rate), expected, rtol=1e-3)


def test_escape_time_refuses_no_layers():
    with pytest.raises(ValueError, match="depth"):
        population.escape_time(0.1, 0, 1.0)


def test_one_mode_in_every_formula():
    """The matrix formulas at d = n = 1, written out; generic numbers, so that no two of them can be
    exchanged.
    """
    w, a, c, a_pos, cross, tau = 0.8, 1.7, 0.6, 2.3, 1.1, 0.4
    m, one = w * w, lambda value: jnp.full((1, 1), value)
    assert_close(
        population.loss(one(w), one(a), one(c)),
        0.5 * (m * c - np.log(1 + a * m) - a * m / (1 + a * m)),
    )
    rate = a / (1 + a * m) + a / (1 + a * m) ** 2 - c
    assert_close(population.mode_rate(m, a, c), rate)
    assert_close(population.contrast_matrix(one(w), one(a), one(c)), one(rate))
    assert_close(population.growth_rate(a, c), 2 * a - c)
    dot_rate = 2 * cross / tau - 2 * a * a_pos * m / tau**2
    assert_close(
        population.contrast_matrix_dot(one(w), one(a), one(a_pos), one(cross), tau), one(dot_rate)
    )
    loss_dot = population.loss_dot(one(w), one(a), one(a_pos), one(cross), tau)
    assert_close(loss_dot, -m * cross / tau + m**2 * a * a_pos / (2 * tau**2))
    fixed = population.fixed_point_dot(a, a_pos, cross, tau, 0.9)
    assert_close(fixed, (tau * cross - 0.9 * tau**2 / 2) / (a * a_pos))
    at_fixed = population.contrast_matrix_dot(
        one(np.sqrt(fixed)), one(a), one(a_pos), one(cross), tau
    )
    assert_close(at_fixed, one(0.9))  # the pull balances the weight decay
    assert population.fixed_point_dot(a, a_pos, cross, tau) == population.fixed_point_dot(
        a, a_pos, cross, tau, 0.0
    )
    for depth in (1, 2, 3):
        assert_close(population.balanced_rate(w, depth, a, c), depth * w ** (3 - 2 / depth) * rate)
    assert_close(population.imbalanced_rate(w, 0.7, a, c), w * np.sqrt(0.49 + 4 * m) * rate)
    assert_close(population.imbalanced_rate(w, 0.0, a, c), population.balanced_rate(w, 2, a, c))
    assert_close(population.escape_time(0.1, 1, 0.7), np.log(10) / 0.7)
    assert_close(population.escape_time(0.1, 2, 0.7), 10 / (2 * 0.7))
    assert_close(population.escape_time(0.1, 3, 0.7), 10 ** (4 / 3) / (4 * 0.7))


def test_dot_mode_in_time_solves_the_logistic_equation():
    start, a, cross, tau = 0.02, 1.4, 0.6, 0.3
    settled = population.fixed_point_dot(a, a, cross, tau)
    strength = lambda time: population.mode_strength_dot(time, start, settled, cross, tau)
    assert_close(strength(0.0), np.float64(start))
    for time in (0.1, 0.5, 0.9):
        m, rate = jax.jvp(strength, (time,), (1.0,))
        assert_close(rate, 4 * m * (cross / tau - a * a * m / tau**2), size=100)
    assert_close(strength(50.0), settled)


def test_layer_rates_of_layers_of_any_shape():
    rng = np.random.default_rng(5)
    _, cov, noise = random_covariances(5)
    layers = tuple(jnp.asarray(rng.standard_normal(shape)) for shape in ((6, 5), (2, 6), (3, 2)))
    gradient = jax.grad(lambda p: population.loss(p[2] @ p[1] @ p[0], cov, noise))(layers)
    for rate, expected in zip(population.layer_rates(layers, cov, noise), gradient, strict=True):
        assert_close(rate, -expected, size=1000)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_balanced_flow_takes_the_time_that_quadrature_gives(depth):
    """From w0 to w in t = int dw / (L w^(3 - 2/L) lambda(w^2)), for two modes at once; 1e-8 against
    the solver's 1e-10.
    """
    w0, w, a, c = np.array([0.1, 0.2]), np.array([0.5, 0.4]), 1.3, np.array([0.4, 0.9])

    def slowness(v, c):
        return 1 / (depth * v ** (3 - 2 / depth) * (a * (2 + a * v * v) / (1 + a * v * v) ** 2 - c))

    ends = zip(w0, w, c, strict=True)
    times = [
        scipy.integrate.quad(slowness, low, high, (noise,), epsabs=0, epsrel=1e-12)[0]
        for low, high, noise in ends
    ]
    order = np.argsort(times)
    flow = population.balanced_flow(w0, np.array([0.0, *np.sort(times)]), depth, a, c)
    assert flow.shape == (3, 2)
    assert_close(flow[0], w0)
    assert_close(flow[[1, 2], order], w[order], rtol=1e-8)


def test_collapsed_dimensions_at_the_threshold():
    """An eigenvalue of 2 counts, however much larger another one is and so the rounding of all."""
    count = lambda *noise: population.collapsed_dimensions(
        jnp.diag(jnp.array([3.0, 1.0])), jnp.diag(jnp.array(noise))
    )
    assert count(6.0, 2.0) == 2
    assert count(5.99, 1.99) == 0
    assert count(6 - 1e-12, 1.0) == 0
    assert count(3 * (2 - 1e-9), 1e8) == 2
    assert count(3 * (2 - 1e-5), 1e8) == 1
    three = lambda *noise: population.collapsed_dimensions(jnp.eye(3), jnp.diag(jnp.array(noise)))
    assert three(0.0, 2 - 1e-9, 1e8) == 2
    assert three(0.0, 2 - 1e-5, 1e8) == 1


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_fixed_point_under_weak_noise(dtype):
    """m* -> 1/c as c -> 0, accurate to rounding however small the noise, and never taken for a
    collapse.
    """
    a, c = jnp.asarray(2.0, dtype), jnp.asarray([1e-4, 1e-10, 1e-20], dtype)
    ratio = np.asarray(c, np.float64) / 2
    exact = (0.5 * (1 + np.sqrt(1 + 4 * ratio)) / ratio - 1) / 2
    assert_close(
        population.fixed_point(a, c) * c, np.asarray(exact * np.asarray(c, np.float64), dtype)
    )
    for noise in (
        4.001,
        4.02,
        5.0,
    ):  # just beyond twice the variance, where the formula goes on below zero
        assert population.fixed_point(a, jnp.asarray(noise, dtype)) == 0


def test_measured_strength_approaches_the_prediction_as_n_grows():
    """4 dimensions, 2 noisy, one noisy view of s = 1, t = 8: the error against m* falls with N;
    float32.
    """
    sizes, m_star = (64, 256, 1024), float(population.fixed_point(1.0, 1.0))
    factors = [
        jnp.asarray(data.factor(cov), jnp.float32)
        for cov in (np.eye(4), data.block_covariance(4, 2))
    ]
    start = (0.8 * jnp.eye(4, dtype=jnp.float32),)

    @functools.partial(jax.jit, static_argnums=0)
    def train(size):
        sample = data.source(jax.random.key(0), "fresh", *factors, views="one", batch_size=size)
        drive = lambda w, key: contrast.distance(w, *sample(key))
        return dynamics.gradient_descent(
            start, drive, optax.sgd(0.1), [0, 40, 80], jax.random.key(1)
        ).weights[0][-1]

    errors = []
    for size in sizes:
        w = np.asarray(train(size))
        errors.append(abs(np.sum(w[:, 2:] ** 2) / 2 / m_star - 1))
    slope = np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    print(f"relative errors {errors} at N = {sizes}, fitted slope {slope:.2f}")
    assert slope < 0
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.1


def test_dot_contrast_of_views_whose_cross_covariance_is_not_symmetric():
    rng = np.random.default_rng(7)
    w, cross = (jnp.asarray(rng.standard_normal((3, 3))) for _ in range(2))
    anchor, positive = (jnp.asarray(a @ a.T) for a in rng.standard_normal((2, 3, 3)))
    exact = jax.grad(lambda w: population.loss_dot(w, anchor, positive, cross, 0.7))(w)
    assert_close(
        -w @ population.contrast_matrix_dot(w, anchor, positive, cross, 0.7), exact, size=100
    )


def test_collapsed_dimensions_are_counted_in_the_metric_of_the_data():
    """SciPy's generalised eigenvalues of 40 pairs that do not commute, scaled so that 2 lies among
    them.
    """
    rng = np.random.default_rng(8)
    for _ in range(40):
        cov, noise = (a @ a.T + 0.1 * np.eye(4) for a in rng.standard_normal((2, 4, 4)))
        ratios = scipy.linalg.eigh(noise, cov, eigvals_only=True)
        noise *= 2 / np.sqrt(ratios[1] * ratios[2])
        assert population.collapsed_dimensions(cov, noise) == 2
