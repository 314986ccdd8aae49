"""The exact theory of any batch size: against Monte Carlo, its own limits, and training."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from linsim.theory import batch_noise, finite_batch, late_time, minibatch, population
from linsim.theory.modes import COARSE, FINE, Modes
from linsim.training import observe
from linsim.training.loss import Dot
from linsim.training.run import Run
from linsim.training.views import block_modes

CLEAN = Modes.of(1.0, 0.0, 0.0, 8)
ONE_VIEW = [CLEAN, Modes.of(1.0, 1.0, 0.0, 8)]
TWO_VIEWS = [CLEAN, Modes.of(2.0, 2.0, -1.0, 8)]


def batches(groups, count, batch_size, seed):
    """Random views of independent modes, (B, N, d) each."""
    rng = np.random.default_rng(seed)
    member = np.repeat(np.arange(len(groups)), [g.count for g in groups])
    a, rho, rest = (
        np.array([getattr(g, name) for g in groups])[member]
        for name in ("variance", "covariance", "conditional_variance")
    )
    x = rng.normal(size=(count, batch_size, len(member))) * np.sqrt(a)
    step = x * (rho / a) + rng.normal(size=x.shape) * np.sqrt(rest)
    return x, x + step, member


def contrast(x, x_pos, w):
    return batch_noise.contrast_of_batches(x @ w.T, x_pos @ w.T, np.ones(len(w)))


@pytest.mark.parametrize("groups", [ONE_VIEW, TWO_VIEWS], ids=["one view", "two views"])
@pytest.mark.parametrize(("batch_size", "m"), [(4, (1.5, 0.3)), (24, (0.4, 0.1)), (64, (3.0, 0.2))])
def test_contrast_is_the_mean_of_batches(groups, batch_size, m):
    x, x_pos, member = batches(groups, 40_000 // batch_size, batch_size, 1)
    found = batch_noise.contrast_of_batches(x, x_pos, np.array(m)[member])
    diagonal = np.einsum("bii->bi", found)
    means = np.stack([diagonal[:, member == g].mean(axis=1) for g in (0, 1)])
    error = means.std(axis=1) / np.sqrt(len(x))
    theory = finite_batch.predict(groups, m, batch_size=batch_size).contrast
    assert np.all(np.abs(means.mean(axis=1) - theory) < 4 * error)
    off_by_one = finite_batch.predict(groups, m, batch_size=batch_size + 1).contrast
    if batch_size == 4:
        assert np.any(np.abs(means.mean(axis=1) - off_by_one) > 4 * error)


@pytest.mark.parametrize("views", ["one", "two"])
@pytest.mark.parametrize("draw", range(3))
def test_full_covariances_that_do_not_commute(draw, views):
    rng = np.random.default_rng(draw)
    dim, batch_size = 6, 24
    root, noise = rng.normal(size=(2, dim, 2 * dim)) / np.sqrt(2 * dim)
    w = 0.6 * rng.normal(size=(dim, dim))
    clean, added = root @ root.T + 0.2 * np.eye(dim), 0.7 * noise @ noise.T
    two = views == "two"
    covariances = (clean + added, 2 * added, -added) if two else (clean, added, None)
    factors = [np.linalg.cholesky(matrix) for matrix in (clean, added)]
    z, n, n_pos = rng.normal(size=(3, 1500, batch_size, dim))
    x = z @ factors[0].T
    x, x_pos = x + two * (n @ factors[1].T), x + n_pos @ factors[1].T
    back = np.linalg.inv(w)
    found = back @ contrast(x, x_pos, w) @ back.T
    error = found.std(axis=0) / np.sqrt(len(found))
    theory = finite_batch.predict_weights(w, *covariances, batch_size=batch_size, anchors=4096)
    z_score = (theory.contrast - found.mean(axis=0)) / error
    assert np.sqrt(np.mean(z_score**2)) < 1.6
    assert np.abs(z_score).max() < 4.5
    doubled = finite_batch.predict_weights(
        w, covariances[0], 1.2 * covariances[1], covariances[2], batch_size=batch_size
    )
    assert np.abs((doubled.contrast - found.mean(axis=0)) / error).max() > 4.5


@pytest.mark.parametrize("groups", [ONE_VIEW, TWO_VIEWS], ids=["one view", "two views"])
@pytest.mark.parametrize("m", [(1e-14, 1e-14), (0.5, 0.1), (6.0, 0.3), (1e3, 1e-6), (1e6, 1e-14)])
@pytest.mark.parametrize("batch_size", [2, 128, 65_536])
def test_contrast_is_the_gradient_of_the_loss_over_the_whole_range(groups, m, batch_size):
    def loss(g, factor):
        moved = np.array(m) * np.where(np.arange(2) == g, factor, 1.0)
        return finite_batch.loss(groups, moved, batch_size=batch_size)

    found = finite_batch.predict(groups, m, batch_size=batch_size)
    assert np.isfinite(found.loss)
    assert 0 <= found.alpha_ii <= 1 + 1e-6
    step = 0.02
    for g in (0, 1):
        change = (loss(g, 1 + step) - loss(g, 1 - step)) / (2 * step * m[g])
        scale = max(abs(change), 1e-6 * found.loss / m[g])
        assert abs(-0.5 * 8 * found.contrast[g] - change) < 2e-3 * scale


def test_two_samples_are_the_pairwise_logistic_loss():
    groups = [
        (late_time.Modes.of(1.0, 0.0, 0.0, 8), 1.3),
        (late_time.Modes.of(1.0, 1.0, 0.0, 8), 0.2),
    ]
    value, slopes = late_time.pair_average(groups)
    found = finite_batch.predict(ONE_VIEW, [1.3, 0.2], batch_size=2)
    assert np.isclose(found.loss, value, rtol=1e-6)
    assert np.allclose(found.contrast, -2 * slopes / 8, rtol=1e-5)


def test_condensed_batches_are_so_many_pairs():
    """alpha_ii -> 1: N - 1 times the loss of one pair, less a share of two negatives at once, which
    grows as N - 2.
    """
    m = [12.0, 0.25]
    pair = finite_batch.loss(ONE_VIEW, m, batch_size=2)
    missing = [
        1 - finite_batch.loss(ONE_VIEW, m, batch_size=size) / ((size - 1) * pair)
        for size in (10, 130)
    ]
    assert 0 < missing[1] < 1e-3
    assert np.isclose(missing[1] / missing[0], 128 / 8, rtol=0.02)


def test_infinite_batches_are_the_population_limit_and_the_rate_is_one_over_n():
    w = np.sqrt([0.05] * 8 + [0.02] * 8) * np.eye(16)
    noise = np.diag([0.0] * 8 + [1.0] * 8)
    limit = float(population.loss(w, np.eye(16), noise))
    errors = [
        finite_batch.loss(ONE_VIEW, [0.05, 0.02], batch_size=n) - np.log(n) - limit
        for n in (1000, 4000, 16_000)
    ]
    ratios = np.array(errors[:-1]) / errors[1:]
    assert np.all(np.abs(ratios - 4) < 0.4)


def test_flow_reproduces_the_independent_prototype():
    """Values of an independent implementation of the same integral, printed to four digits."""
    path = finite_batch.flow(
        np.array([0.0, 1, 4, 16, 64, 256, 1024]), [0.01, 0.01], ONE_VIEW, batch_size=128
    )
    clean = [0.3129, 1.7382, 2.9060, 4.2205, 5.8662, 7.9930]
    noisy = [0.06010, 0.20566, 0.25838, 0.27181, 0.27181, 0.26952]
    assert np.allclose(path[1:, 0], clean, rtol=3e-4)
    assert np.allclose(path[1:, 1], noisy, rtol=3e-4)


def test_flow_with_a_rate_is_the_map():
    log_m, rate = np.log([0.01, 0.01]), 0.05
    for _ in range(100):
        x = finite_batch.predict(ONE_VIEW, np.exp(log_m), batch_size=32).contrast
        log_m = log_m + 2 * np.log1p(rate * x)
    for given, close in ((rate, True), (0.0, False)):
        path = finite_batch.flow(
            np.array([0.0, 100 * rate]), [0.01, 0.01], ONE_VIEW, batch_size=32, learning_rate=given
        )
        assert np.allclose(np.log(path[-1]), log_m, atol=2e-3) == close


def test_flow_of_layers_is_that_of_their_modes():
    """Balanced layers in a basis of their own, under isotropic noise."""
    rng = np.random.default_rng(0)
    q, r, s = (np.linalg.qr(rng.normal(size=(4, 4)))[0] for _ in range(3))
    times = np.array([0.0, 2.0, 8.0])
    layers = (0.5 * q @ r, 0.5 * s @ q.T)
    w1, w2 = finite_batch.layer_flow(
        times, layers, np.eye(4), 0.1 * np.eye(4), batch_size=16, anchors=1024
    )
    modes = [Modes.of(1.0, 0.1, 0.0, 4)]
    expected = finite_batch.flow(times, [0.0625], modes, batch_size=16, depth=2)[:, 0]
    found = np.linalg.svd(w2 @ w1, compute_uv=False) ** 2
    assert np.allclose(found, expected[:, None], rtol=0.02)


@pytest.mark.parametrize("view", [ONE_VIEW[1], TWO_VIEWS[1]], ids=["one view", "two views"])
def test_stiffness_is_a_second_derivative(view):
    """By an entry of S within and between blocks, from the contrast of full matrices."""
    groups, m = [replace(CLEAN, count=2), replace(view, count=2)], [1.3, 0.4]
    y = finite_batch.stiffness(groups, np.array(m), batch_size=16)
    noisy = np.diag([0.0, 0.0, 1.0, 1.0])
    covariances = (
        np.eye(4) + (view.variance - 1) * noisy,
        view.noise_variance * noisy,
        view.covariance * noisy,
    )

    def entry(a, b, size):
        s = np.diag(np.repeat(m, 2))
        s[a, b] = s[b, a] = size
        w = np.linalg.cholesky(s).T
        found = finite_batch.predict_weights(w, *covariances, batch_size=16, anchors=2**12)
        return found.contrast[a, b]

    for a, b in ((0, 1), (0, 2), (2, 3)):
        slope = -(entry(a, b, 0.04) - entry(a, b, -0.04)) / 0.08
        assert np.isclose(slope, y[a // 2, b // 2], rtol=0.03)


def simulated(noise, rate, end, seeds=16, **changes):
    """Strengths of both blocks (seeds, 2) and squared singular values at the end, fresh batches."""
    record = (0, round(end / rate))
    run = Run(
        noise=noise, learning_rate=rate, batches="fresh", record_at=record, batch_size=32, **changes
    )
    keys = jax.random.split(jax.random.key(11), seeds)
    found = jax.jit(jax.vmap(lambda key: observe.simulate(run, key)))(keys)
    return (
        np.asarray(found["block_strength"])[:, -1],
        np.asarray(found["weight_singular_values"])[:, -1] ** 2,
    )


@pytest.mark.parametrize(
    ("noise", "rate", "changes"),
    [
        (0.5, 0.064, {}),
        (1.0, 0.064, {}),
        (1.3, 0.064, {}),
        (2.0, 0.008, {"views": "two", "loss": Dot(temperature=0.5)}),
    ],
    ids=["0.5", "1.0", "1.3", "dot loss"],
)
def test_training_follows_the_theory_to_first_order_in_the_rate(noise, rate, changes):
    """16 seeds, N = 32, t = 8: means within 4 standard errors or 1.5 %; the spread of the singular
    values within a block within 20 %.
    """
    end, loss = 8.0, changes.get("loss")
    strength, squares = simulated(noise, rate, end, **changes)
    groups, _ = block_modes((0.0, noise), (8, 8), changes.get("views", "one"))
    times = np.array([0.0, round(end / rate) * rate])
    options = {"batch_size": 32, "learning_rate": rate}
    temperature = loss and loss.temperature
    theory = minibatch.first_order(times, [0.01, 0.01], groups, temperature=temperature, **options)
    expected, spread = theory.strengths[-1], (theory.spread * theory.strengths)[-1]
    error = strength.std(axis=0, ddof=1) / np.sqrt(len(strength))
    apart = np.abs(strength.mean(axis=0) - expected)
    assert np.all((apart < 4 * error) | (apart < 0.015 * expected))
    for block, modes in enumerate((slice(0, 8), slice(8, 16))):
        values = squares[:, modes]
        variance = np.mean(np.var(values, axis=1)) * 8 / 70  # of 8 equal modes: 7 x 10 per entry
        assert abs(spread[block] / np.sqrt(variance) - 1) < 0.2


def test_what_first_order_leaves_out_is_by_noise_and_by_steps_apart():
    """Even where the two cancel in the sum."""
    flow, none = np.array([[1.0, 1.0, 1.0]]), np.zeros((1, 3))
    mapped, strengths = flow * np.exp([-0.2, -0.2, 0.0]), flow * np.exp([0.0, -0.2, 0.1])
    found = minibatch.FirstOrder(strengths, mapped, flow, none, none)
    np.testing.assert_allclose(found.left_out, [[2 * 0.2 * 0.4, 0.0, 2 * 0.1 * 0.1]], rtol=1e-12)


def test_spectra_of_single_runs_have_the_mean_and_spread_that_were_asked_for():
    m, spread, level = np.array([[[4.0, 1.0]], [[0.05, 0.05]], [[0.005, 0.1]]])
    found = minibatch.FirstOrder(m, m, m, spread, level)
    squares = minibatch.singular_values(found, ONE_VIEW, draws=4000)[0] ** 2
    assert squares.shape == (4000, 16)
    assert np.allclose(squares[:, :8].mean(), 4.0, rtol=2e-3)
    assert np.allclose(squares[:, 8:].mean(), 1.0, rtol=1e-2)
    within = np.mean(np.var(squares[:, :8], axis=1)) * 8 / 70
    assert np.isclose(np.sqrt(within), 0.2, rtol=0.05)


@pytest.mark.parametrize(
    ("strengths", "batch_size", "told"),
    [
        ([1.0], 8, "strengths must be 2 finite numbers"),
        ([1.0, -1.0], 8, "strengths must be 2 finite numbers"),
        ([1.0, np.nan], 8, "strengths must be 2 finite numbers"),
        ([1.0, 1.0], 1, "batch_size must be at least 2; got 1"),
    ],
)
def test_bad_input_is_named(strengths, batch_size, told):
    with pytest.raises(ValueError, match=told):
        finite_batch.predict(ONE_VIEW, strengths, batch_size=batch_size)


def test_a_group_must_be_possible():
    with pytest.raises(ValueError, match="too large"):
        Modes.of(1.0, 0.5, -1.0, 2)
    with pytest.raises(ValueError, match="need variance > 0"):
        Modes.of(0.0, 0.5, 0.0, 2)


@pytest.mark.parametrize(("temperature", "fine", "coarse"), [(None, 1e-6, 1e-3), (0.5, 1e-3, 2e-2)])
def test_quadratures_are_as_exact_as_stated(temperature, fine, coarse):
    groups = [Modes.of(1.0, 0.0, 0.0, 8), Modes.of(2.0, 2.0, -1.0, 8)]

    def contrast(quadrature):
        setting = {"batch_size": 128, "temperature": temperature, "quadrature": quadrature}
        return finite_batch.predict(groups, [3.0, 0.2], **setting).contrast

    exact = contrast(FINE._replace(radii=24, rare=1e-16, step=0.125))
    assert np.abs(contrast(FINE) / exact - 1).max() < fine
    assert fine / 10 < np.abs(contrast(COARSE) / exact - 1).max() < coarse


def test_sampled_anchors_are_as_exact_as_stated():
    groups = [Modes.of(1.0, c, 0.0, 2) for c in (0.0, 0.2, 0.5, 1.0)]

    def contrast(quadrature):
        strengths = [2.0, 1.5, 1.0, 0.5]
        return finite_batch.predict(
            groups, strengths, batch_size=128, quadrature=quadrature
        ).contrast

    exact = contrast(FINE._replace(radii=6))
    for quadrature, stated in ((FINE, 5e-3), (COARSE, 2e-2)):
        off = np.abs(contrast(quadrature._replace(radii=200)) - exact) / np.abs(exact).max()
        assert stated / 20 < off.max() < stated
