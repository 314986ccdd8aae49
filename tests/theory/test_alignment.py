"""Claims C10 and C11: the conserved imbalance, the exact alignment identity, the bound."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import assert_close, assert_not_close, make_case

from linsim import spectra
from linsim.theory import alignment, population
from linsim.training import contrast, dynamics, models


def fixed_drive(case):
    return lambda w, key=None: contrast.distance(w, case.x, case.x_pos)


def start(seed, widths=(6, 6, 6), scale=0.7):
    return models.spectral(
        jax.random.key(seed), widths, scale * jnp.exp(-0.35 * jnp.arange(min(widths)))
    )


@pytest.mark.parametrize("widths", [(5, 5, 5), (5, 8, 4), (6, 3, 5)])
def test_initialisations_have_the_singular_values_they_name(widths):
    rank = min(widths)
    values = jnp.exp(-0.35 * jnp.arange(rank))
    for w in models.spectral(jax.random.key(0), widths, values):
        assert_close(np.linalg.svd(w, compute_uv=False)[:rank], values, size=64)
    for kappa in (0.0, 0.5, -0.5):
        w1, w2 = models.imbalanced(jax.random.key(1), widths, values, kappa)
        assert_close(np.linalg.svd(w2 @ w1, compute_uv=False)[:rank], values, size=64)
        basis = np.linalg.svd(w1, full_matrices=False)[0][:, :rank]
        assert_close(
            basis.T @ alignment.imbalance(w1, w2) @ basis, kappa * np.eye(rank), size=64, rtol=1e-12
        )
        assert_close(
            np.abs(np.diag(spectra.alignment_matrix(w1, w2)))[:rank], np.ones(rank), size=64
        )


@pytest.mark.parametrize("tolerance", [1e-6, 1e-9])
def test_flow_conserves_the_imbalance_to_its_tolerance(tolerance):
    case = make_case(0, 16, 6, 6)
    flow = jax.jit(
        lambda p: dynamics.gradient_flow(
            p, fixed_drive(case), np.array([0.0, 1.0, 30.0, 1000.0]), tolerance=tolerance
        )
    )(start(0))
    before = alignment.imbalance(*(w[0] for w in flow.weights))
    after = alignment.imbalance(*(w[-1] for w in flow.weights))
    moved = np.linalg.norm(flow.weights[0][-1] - flow.weights[0][0])
    assert moved > 0.5  # the weights did change
    assert np.linalg.norm(after - before) < 100 * tolerance
    broken = [w.at[0, 0].add(0.01) for w in (flow.weights[0][-1], flow.weights[1][-1])]
    assert np.linalg.norm(alignment.imbalance(*broken) - before) > 100 * tolerance


def test_descent_drifts_by_the_exact_formula():
    case, rate = make_case(1, 16, 6, 6), 0.1
    params = start(1, widths=(6, 7, 5), scale=1.0)
    case = make_case(1, 16, 6, 5)
    tally = lambda p, grad: alignment.imbalance_drift(p[0], p[1], grad, rate)
    run = jax.jit(
        lambda p: dynamics.gradient_descent(
            p, fixed_drive(case), optax.sgd(rate), [0, 1, 50, 400], jax.random.key(0), tally=tally
        )
    )(params)
    conserved = alignment.imbalance(*params)
    records = [alignment.imbalance(*(w[k] for w in run.weights)) for k in range(4)]
    for k, now in enumerate(records):
        assert_close(now, conserved + run.tally[k], rtol=1e-10)
    drift = np.linalg.norm(run.tally[-1])
    assert drift > 1e-4  # there is something to get right
    assert_not_close(records[-1], conserved - run.tally[-1], by=1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_identity_and_bound_along_gradient_flow(seed):
    case = make_case(seed, 16, 6, 6)
    flow = FLOW(start(seed), case.x, case.x_pos)
    conserved = alignment.imbalance(*(w[0] for w in flow.weights))
    wrong = conserved + 0.01 * jnp.eye(6)
    for k in range(len(TIMES)):
        w1, w2 = (w[k] for w in flow.weights)
        assert alignment.identity_residual(w1, w2, conserved) < 1e-9
        assert alignment.identity_residual(w1, w2, wrong) > 1e-4
        diagonal = np.abs(np.diag(spectra.alignment_matrix(w1, w2)))
        assert np.all(diagonal >= alignment.alignment_bound(w1, w2, conserved) - 1e-9)


TIMES = np.array([0.0, 0.3, 1.0, 3.0, 10.0, 100.0])


@jax.jit
def FLOW(params, x, x_pos):
    return dynamics.gradient_flow(
        params, lambda w: contrast.distance(w, x, x_pos), TIMES, tolerance=1e-11
    )


def test_bound_is_sharp_and_fails_for_a_smaller_imbalance():
    """Two modes with gap g and off-diagonal imbalance c: |A_kk|^2 = 1 - (c/gap)^2 is attained."""
    angle = 0.3
    turn = jnp.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    w1, w2 = jnp.diag(jnp.array([2.0, 1.0])), jnp.diag(jnp.array([2.0, 1.0])) @ turn.T
    c = alignment.imbalance(w1, w2)
    diagonal = np.abs(np.diag(spectra.alignment_matrix(w1, w2)))
    bound = alignment.alignment_bound(w1, w2, c)
    assert_close(diagonal, np.cos(angle) * np.ones(2), size=8)
    assert np.all(bound <= diagonal + 1e-12)
    assert np.all(bound > 0.9)
    assert np.any(alignment.alignment_bound(w1, w2, 0.5 * c) > diagonal)


def literal_gap(a, b):
    return np.array([min(abs(a[k] - b[j]) for j in range(len(b)) if j != k) for k in range(len(a))])


@pytest.mark.parametrize("widths", [(5, 5, 5), (3, 5, 4), (6, 4, 5)])
def test_identity_is_algebra_for_layers_of_any_shape(widths):
    d, h, n = widths
    rng = np.random.default_rng(h)
    w1, w2 = jnp.asarray(rng.standard_normal((h, d))), jnp.asarray(rng.standard_normal((n, h)))
    c = alignment.imbalance(w1, w2)
    assert_close(c, np.asarray(w1) @ np.asarray(w1).T - np.asarray(w2).T @ np.asarray(w2), size=64)
    u1, a, v2, b = alignment.hidden_bases(w1, w2)
    assert_close((u1 * a) @ u1.T, w1 @ w1.T, size=64)
    assert_close((v2 * b) @ v2.T, w2.T @ w2, size=64)
    for basis in (u1, v2):
        assert_close(basis.T @ basis, np.eye(h), size=64)
    assert alignment.identity_residual(w1, w2, c) < 1e-13 * np.linalg.norm(w1) ** 2
    wrong = jnp.asarray(
        rng.standard_normal((h, h))
    )  # the residual is the error of C in the two bases
    assert_close(
        alignment.identity_residual(w1, w2, c + wrong), np.abs(v2.T @ wrong @ u1).max(), size=1000
    )
    # the sum behind the bound, and the bound
    assert_close(
        np.sum((v2.T @ u1) ** 2 * (a[None, :] - b[:, None]) ** 2, axis=0),
        np.sum((c @ u1) ** 2, axis=0),
        size=1000,
    )
    for scale in (1.0, 0.1, 0.01):
        gap = np.maximum(literal_gap(np.asarray(a), np.asarray(b)), 1e-100)
        expected = np.sqrt(np.maximum(1 - (np.linalg.norm(scale * c, 2) / gap) ** 2, 0))
        assert_close(alignment.alignment_bound(w1, w2, scale * c), expected, rtol=1e-10)
    assert np.any(expected > 0)


def test_bound_says_nothing_about_modes_without_a_gap():
    """Equal modes, exactly balanced: their bases are arbitrary, and no alignment is promised."""
    w1, w2 = jnp.diag(jnp.array([2.0, 1.0, 1.0])), jnp.diag(jnp.array([2.0, 1.0, 1.0]))
    np.testing.assert_array_equal(alignment.alignment_bound(w1, w2, jnp.zeros((3, 3))), [1, 0, 0])


def test_drift_is_the_change_of_the_imbalance_in_one_step():
    rng = np.random.default_rng(4)
    w1, w2, grad = (jnp.asarray(rng.standard_normal(shape)) for shape in ((5, 3), (4, 5), (4, 3)))
    moved = alignment.imbalance(w1 - 0.3 * w2.T @ grad, w2 - 0.3 * grad @ w1.T)
    assert_close(
        alignment.imbalance_drift(w1, w2, grad, 0.3), moved - alignment.imbalance(w1, w2), size=1000
    )


def test_degenerate_groups_and_their_angles():
    assert alignment.degenerate_groups(np.array([1.0, 0.95, 0.91, 0.5, 0.1, 0.0]), 0.1) == [
        range(3),
        range(3, 4),
        range(4, 5),
        range(5, 6),
    ]
    slow = np.array(
        [1.0, 0.95, 0.9, 0.86, 0.82]
    )  # each near the one before, the last far from the first
    for scale in (1.0, 10.0, 0.1):
        assert alignment.degenerate_groups(scale * slow, 0.1) == [range(5)]
        assert alignment.degenerate_groups(scale * slow, 0.04) == [
            range(1),
            range(1, 2),
            range(2, 3),
            range(3, 4),
            range(4, 5),
        ]
    assert alignment.degenerate_groups(np.array([1.0, 0.5, 0.0, 0.0]), 0.5) == [
        range(2),
        range(2, 4),
    ]  # the limit belongs to it
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    block = np.zeros((5, 5))
    block[:3, :3], block[3, 4], block[4, 3] = rotation, 1.0, -1.0
    assert alignment.group_angle(block, range(3)) < 1e-5  # the same subspace in another basis
    assert_close(alignment.group_angle(block, range(3, 4)), 90.0, rtol=1e-9)
    assert alignment.group_angle(block, range(3, 5)) < 1e-5
    tilted = np.diag(np.cos([0.1, 0.4, 0.2]))
    assert_close(alignment.group_angle(tilted, range(3)), np.degrees(0.4), rtol=1e-9)  # the largest
    for k, angle in enumerate((0.1, 0.4, 0.2)):
        assert_close(alignment.group_angle(-tilted, range(k, k + 1)), np.degrees(angle), rtol=1e-9)
    assert (
        alignment.group_angle((1 + 1e-12) * np.eye(2), range(2)) == 0
    )  # a cosine that rounds to more than 1


def test_principal_angles():
    basis = jnp.eye(4)[:, :2]
    tilted = jnp.stack(
        [jnp.eye(4)[:, 1], np.cos(0.2) * jnp.eye(4)[:, 0] + np.sin(0.2) * jnp.eye(4)[:, 2]], axis=1
    )
    assert_close(alignment.principal_angles(basis, -tilted), [0.0, np.degrees(0.2)], rtol=1e-6)
    np.testing.assert_array_equal(alignment.principal_angles((1 + 1e-12) * basis, basis), [0, 0])


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_population_layer_rates_are_the_drive_of_the_flow(depth):
    rng = np.random.default_rng(depth)
    weights = tuple(jnp.asarray(rng.standard_normal((4, 4))) for _ in range(depth))
    cov, noise = jnp.diag(jnp.array([1.0, 2.0, 0.5, 1.0])), 0.3 * jnp.eye(4)
    exact = jax.grad(lambda p: population.loss(models.product(p), cov, noise))(weights)
    for rate, grad in zip(population.layer_rates(weights, cov, noise), exact, strict=True):
        assert_close(rate, -grad, size=100)


def population_flow(params, times, noise=0.0):
    cov, noise_cov = jnp.eye(len(params[0])), noise * jnp.eye(len(params[0]))

    def drive(w):
        return contrast.Drive(
            population.loss(w, cov, noise_cov),
            population.contrast_matrix(w, cov, noise_cov),
            jnp.zeros(()),
        )

    return jax.jit(lambda p: dynamics.gradient_flow(p, drive, times, tolerance=1e-10))(params)


@pytest.mark.parametrize("w0", [1e-2, 1e-3, 1e-4])
def test_balanced_two_layers_escape_when_predicted(w0):
    """The product's singular value passes 1 within 2 % of 1/(2 lambda(0) w0)."""
    predicted = float(population.escape_time(w0, 2, population.growth_rate(1.0, 0.0)))
    times = predicted * np.concatenate([[0.0], np.linspace(0.9, 1.1, 801)])
    flow = population_flow(models.imbalanced(jax.random.key(0), (1, 1, 1), jnp.array([w0])), times)
    product = np.abs(np.asarray(flow.weights[0] * flow.weights[1]).ravel())
    measured = times[np.argmax(product > 1.0)]
    assert_close(measured, predicted, rtol=0.02)


@pytest.mark.parametrize("kappa", [0.0, 0.8, -0.8])
def test_mode_rates_of_balanced_and_imbalanced_layers(kappa):
    params = models.imbalanced(jax.random.key(0), (3, 3, 3), jnp.array([0.5, 0.3, 0.1]), kappa)
    rates = population.layer_rates(params, jnp.eye(3), 0.3 * jnp.eye(3))
    product_rate = rates[1] @ params[0] + params[1] @ rates[0]
    u, w, vt = np.linalg.svd(params[1] @ params[0])
    exact = np.einsum("nk,nd,kd->k", u, product_rate, vt)
    assert_close(population.imbalanced_rate(w, kappa, 1.0, 0.3), exact, size=100)
    if kappa == 0:
        assert_close(population.balanced_rate(w, 2, 1.0, 0.3), exact, size=100)
