"""The dot loss of finite batches: against pairs, random batches, infinite batches, and itself."""

import jax
import numpy as np
import pytest

from linsim.theory import batch_noise, finite_batch, population
from linsim.theory.modes import Modes, product_anchors
from linsim.training import contrast

TWO_VIEWS = [Modes.of(1.0, 0.0, 0.0, 3), Modes.of(2.0, 2.0, -1.0, 2)]
ONE_VIEW = [Modes.of(1.0, 0.0, 0.0, 3), Modes.of(1.0, 1.0, 0.0, 2)]
STRENGTHS = np.array([0.4, 0.15])
TAU = 0.5


def covariances(groups):
    """Of the anchors, of the augmentation and of the two, (d, d) each."""
    diagonals = zip(
        *[(g.variance, g.noise_variance, g.covariance) for g in groups for _ in range(g.count)],
        strict=True,
    )
    return [np.diag(values) for values in diagonals]


@pytest.mark.parametrize("groups", [ONE_VIEW, TWO_VIEWS])
def test_two_samples_are_a_pairwise_logistic_loss(groups):
    """E log(1 + e^(g - p)), where g - p is Gaussian given the anchor."""
    anchors = product_anchors(tuple(g.count for g in groups))
    m, squares = STRENGTHS / TAU, anchors.squares
    cross = np.array([g.variance + g.covariance for g in groups])
    second = np.array([g.variance + g.noise_variance + 2 * g.covariance for g in groups])
    first = np.array([g.variance for g in groups])
    mean = -squares @ (m * cross)
    variance = squares @ (m**2 * (first * second + first * second - cross**2))
    z, weights = np.polynomial.hermite_e.hermegauss(120)
    gap = mean[:, None] + np.sqrt(variance)[:, None] * z
    pairs = np.logaddexp(0, gap) @ (weights / weights.sum()) @ anchors.weights
    found = finite_batch.loss(groups, STRENGTHS, batch_size=2, temperature=TAU)
    assert np.isclose(found, pairs, rtol=1e-7)
    three = finite_batch.loss(groups, STRENGTHS, batch_size=3, temperature=TAU)
    assert not np.isclose(three, pairs, rtol=1e-2)


@pytest.mark.parametrize("groups", [ONE_VIEW, TWO_VIEWS])
def test_it_is_the_mean_over_random_batches(groups):
    """Loss, contrast and alpha_ii, within 4.5 standard errors; a batch of one more is not."""
    size, batches = 8, 12_000
    x, x_pos = batch_noise.random_views(groups, batches, size, np.random.default_rng(0))
    member = batch_noise.members(groups)
    w = np.diag(np.sqrt(STRENGTHS[member]))
    drive = jax.jit(jax.vmap(lambda a, b: contrast.dot(w, a, b, TAU)))(x, x_pos)
    diagonal = np.einsum("bii->bi", np.asarray(drive.contrast))
    drawn = np.stack(
        [drive.loss, *(diagonal[:, member == g].mean(1) for g in (0, 1)), drive.alpha_ii], 1
    )
    error = drawn.std(axis=0) / np.sqrt(batches)

    def deviation(batch_size):
        found = finite_batch.predict(groups, STRENGTHS, batch_size=batch_size, temperature=TAU)
        return np.abs(np.array([found.loss, *found.contrast, found.alpha_ii]) - drawn.mean(0))

    assert np.all(deviation(size) < 4.5 * error)
    assert np.any(deviation(size + 1) > 10 * error)


@pytest.mark.parametrize("groups", [ONE_VIEW, TWO_VIEWS])
def test_stiffness_is_the_mean_variance_of_a_changed_score(groups):
    """d^2 l = sum_i Var_alpha(d s_ij) / N for an entry of S between two modes, over random batches
    within 4 standard errors; a batch of one more is not.
    """
    size, batches = 8, 20_000
    x, x_pos = batch_noise.random_views(groups, batches, size, np.random.default_rng(0))
    scores = (x * (STRENGTHS[batch_noise.members(groups)] / TAU)) @ x_pos.transpose(0, 2, 1)
    alpha = np.exp(scores - scores.max(axis=2, keepdims=True))
    alpha /= alpha.sum(axis=2, keepdims=True)

    def off(a, b):
        change = x[:, :, None, a] * x_pos[:, None, :, b] + x[:, :, None, b] * x_pos[:, None, :, a]
        mean = np.sum(alpha * change, axis=2)
        drawn = np.mean(np.sum(alpha * change**2, axis=2) - mean**2, axis=1) / TAU**2
        error = drawn.std() / np.sqrt(batches)
        return [
            abs(drawn.mean() - y[a // 3, b // 3]) / error
            for n in (size, size + 1)
            for y in [finite_batch.stiffness(groups, STRENGTHS, batch_size=n, temperature=TAU)]
        ]

    right, wrong = np.transpose([off(0, 1), off(0, 3), off(3, 4)])
    assert np.all(right < 4)
    assert np.any(wrong > 6)


def test_noise_of_batches_is_that_of_the_training_step():
    """Contrast matrices batch by batch, against the training step's."""
    views = batch_noise.random_views(TWO_VIEWS, 5, 8, np.random.default_rng(0))
    m = STRENGTHS[batch_noise.members(TWO_VIEWS)]
    found = batch_noise.contrast_of_batches(*views, m, TAU)
    w = np.diag(np.sqrt(m))
    for x, x_pos, one in zip(*views, found, strict=True):
        with jax.enable_x64(True):
            np.testing.assert_allclose(
                one, contrast.dot(w, x, x_pos, TAU).contrast, rtol=1e-10, atol=1e-12
            )


def test_contrast_is_the_derivative_of_the_loss():
    count = np.array([g.count for g in TWO_VIEWS])

    def at(m):
        return finite_batch.loss(TWO_VIEWS, m, batch_size=16, temperature=TAU)

    steps = 1e-5 * np.diag(STRENGTHS)
    slopes = [(at(STRENGTHS + e) - at(STRENGTHS - e)) / (2 * e.sum()) for e in steps]
    found = finite_batch.predict(TWO_VIEWS, STRENGTHS, batch_size=16, temperature=TAU).contrast
    assert np.allclose(found, -2 * np.array(slopes) / count, rtol=1e-6)


def test_full_matrices_are_differentiated_too():
    """X = -2 dl/dS for covariances that do not commute, and for modes it is that of the groups."""
    rng = np.random.default_rng(1)
    a, b, w = rng.normal(size=(3, 4, 4))
    data, noise = np.eye(4) + 0.2 * a @ a.T, 0.1 * b @ b.T
    setting = (data, noise, -0.5 * noise)

    def predict(w):
        return finite_batch.predict_weights(w, *setting, batch_size=8, anchors=256, temperature=TAU)

    w, direction = 0.3 * w, rng.normal(size=(4, 4))
    slope = (predict(w + 1e-5 * direction).loss - predict(w - 1e-5 * direction).loss) / 2e-5
    assert np.isclose(slope, -np.sum(direction * (w @ predict(w).contrast)), rtol=1e-5)
    modes = finite_batch.predict_weights(
        np.diag(np.sqrt(STRENGTHS[batch_noise.members(TWO_VIEWS)])),
        *covariances(TWO_VIEWS),
        batch_size=8,
        anchors=4096,
        temperature=TAU,
    )
    groups = finite_batch.predict(TWO_VIEWS, STRENGTHS, batch_size=8, temperature=TAU)
    assert np.isclose(modes.loss, groups.loss, rtol=2e-3)
    assert np.allclose(np.diag(modes.contrast), groups.contrast[[0, 0, 0, 1, 1]], rtol=0.02)


def test_large_batches_have_the_population_loss():
    """l_N - log N tends to it as 1/N while scores are weak."""
    data, noise, shared = covariances(TWO_VIEWS)
    m = np.array([0.02, 0.01])
    w = np.diag(np.sqrt(m[batch_noise.members(TWO_VIEWS)]))
    limit = float(population.loss_dot(w, data, data + noise + 2 * shared, data + shared, TAU))
    gaps = [
        finite_batch.loss(TWO_VIEWS, m, batch_size=n, temperature=TAU) - np.log(n) - limit
        for n in (64, 256)
    ]
    assert np.isclose(gaps[0] / gaps[1], 4, rtol=0.02)
    assert abs(4 * gaps[1] - gaps[0]) / 3 < 1e-5


def test_a_flow_settles_where_the_contrast_vanishes():
    path = finite_batch.flow(
        np.array([0.0, 40.0]), [0.01, 0.01], TWO_VIEWS, batch_size=32, temperature=TAU
    )
    found = finite_batch.predict(TWO_VIEWS, path[-1], batch_size=32, temperature=TAU)
    assert np.all(np.abs(found.contrast) < 1e-3)
    a, b, cross = 2.0, 2.0, 1.0
    limit = population.fixed_point_dot(a, b, cross, TAU)
    assert path[-1, 1] > 1.05 * limit  # finite batches settle higher than infinite ones
