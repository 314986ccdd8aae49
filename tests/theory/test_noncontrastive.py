"""Without negatives: exact flows, the conserved relation, fixed points, kinds of collapse."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, assert_not_close, command

from linsim import spectra
from linsim.studies.collapse_kinds.runs import OBJECTIVES
from linsim.sweeps import results
from linsim.theory import noncontrastive
from linsim.training.objective_run import ObjectiveRun

MEAN = jnp.diag(jnp.array([1.0, 2.0, 0.5]))
AUG = jnp.array([[0.5, 0.1, 0.0], [0.1, 0.8, 0.2], [0.0, 0.2, 0.3]])


def solve(field, start, time, tolerance=1e-12):
    def run(y0):
        return diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, y, args: field(y)),
            diffrax.Dopri8(),
            0.0,
            time,
            None,
            y0,
            stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance),
            max_steps=100_000,
        ).ys

    return jax.tree.map(lambda leaf: leaf[-1], jax.jit(run)(start))


def random_start(seed=0):
    key = jax.random.key(seed)
    return jax.random.normal(key, (3, 3)), jax.random.normal(jax.random.fold_in(key, 1), (3, 3))


def test_alignment_only_is_the_matrix_exponential():
    w, _ = random_start()
    solved = solve(lambda y: -y @ AUG, w, 2.0)
    assert_close(noncontrastive.alignment_only(w, AUG, 2.0), solved, rtol=1e-8)
    assert_not_close(noncontrastive.alignment_only(w, 1.01 * AUG, 2.0), solved)


@pytest.mark.parametrize("ratio", [1.0, 3.0])
def test_conserved_relation_decays_exactly(ratio):
    """W W^T - Wp^T Wp / ratio = e^(-2 eta t) C(0) with predictor and stop-gradient; broken without
    the stop-gradient.
    """
    eta, time, start = 0.1, 3.0, random_start()
    setting = {"ratio": ratio, "weight_decay": eta}
    end = solve(
        lambda y: noncontrastive.predictor_rates(y[0], y[1], MEAN, AUG, **setting), start, time
    )
    expected = np.exp(-2 * eta * time) * noncontrastive.conserved(start[0], start[1], ratio)
    assert np.abs(noncontrastive.conserved(end[0], end[1], ratio) - expected).max() < 1e-8
    assert np.abs(noncontrastive.conserved(end[0], end[1], 1.1 * ratio) - expected).max() > 1e-3
    joint = solve(
        lambda y: noncontrastive.joint_rates(y[0], y[1], MEAN, AUG, **setting), start, time
    )
    assert np.abs(noncontrastive.conserved(joint[0], joint[1], ratio) - expected).max() > 1e-3


@pytest.mark.parametrize(
    "objective", ["predictor", "no-stop-gradient", "no-predictor", "alignment-only"]
)
def test_rates_are_the_expected_gradients_of_the_losses(objective):
    """On samples with exactly the population's second moments the negative gradient is the rate,
    which is that of the theory.
    """
    run = ObjectiveRun(objective=OBJECTIVES[objective], dim=3, noisy_dims=1)
    deviations = np.asarray(run.noise_deviations())
    signs = np.array(np.meshgrid(*[[-1.0, 1.0]] * 9, indexing="ij")).reshape(9, -1).T
    data, first, second = signs[:, :3], signs[:, 3:6] * deviations, signs[:, 6:] * deviations
    params = random_start(3)
    views = jnp.asarray(data + first), jnp.asarray(data + second)
    towards = jax.jit(jax.grad(run.objective.loss))(params, *views)
    rates = run.objective.rates(params, run.moments(), run.batch_size)
    w, wp = params
    clean, noise = jnp.eye(3), jnp.diag(jnp.asarray(deviations**2))
    setting = {"ratio": 1.0, "weight_decay": 0.0}
    expected = {
        "predictor": lambda: noncontrastive.predictor_rates(w, wp, clean, noise, **setting),
        "no-stop-gradient": lambda: noncontrastive.joint_rates(w, wp, clean, noise, **setting),
        "no-predictor": lambda: (noncontrastive.no_predictor_rate(w, noise, 0.0), 0 * wp),
        "alignment-only": lambda: (-2 * w @ noise, 0 * wp),
    }[objective]()
    for gradient, rate, stated in zip(towards, rates, expected, strict=True):
        assert_close(-gradient, rate, rtol=1e-12)
        assert_close(rate, stated, rtol=1e-12)


def test_predictor_settles_where_theory_says_and_collapses_beyond():
    """Balanced start, one mode each: sigma = 1; noise 0.25 survives weight decay 0.1, noise 6.25
    does not.
    """
    aug = jnp.diag(jnp.array([0.25, 6.25]))
    w, wp = solve(
        lambda y: noncontrastive.predictor_rates(
            y[0], y[1], jnp.eye(2), aug, ratio=1.0, weight_decay=0.1
        ),
        (jnp.eye(2), jnp.eye(2)),
        300.0,
    )
    fixed = noncontrastive.predictor_fixed_point(1.0, jnp.array([0.25, 6.25]), 0.1)
    assert fixed[1] == 0
    assert_close(w[0, 0], fixed[0], rtol=1e-6)
    assert_close(wp[0, 0], fixed[0], rtol=1e-6)
    assert abs(w[1, 1]) < 1e-6
    assert_not_close(w[0, 0], noncontrastive.predictor_fixed_point(1.0, 0.25, 0.11), by=1e-2)


def test_predictor_fixed_point_is_the_larger_root_and_zero_beyond_it():
    variance, noise, decay = np.array([1.7, 0.6]), np.array([0.3, 0.1]), 0.11
    p = np.asarray(noncontrastive.predictor_fixed_point(variance, noise, decay))
    assert_close(p**2 * (variance + noise) + decay, p * variance)
    assert np.all(p > variance / (2 * (variance + noise)))
    assert (
        noncontrastive.predictor_fixed_point(2.0, 0.0, 0.5) == 0.5
    )  # both roots meet: sigma^2 = 4 eta (sigma + a)
    with jax.debug_nans(True):
        assert noncontrastive.predictor_fixed_point(1.0, 0.25, 0.201) == 0  # just beyond


def test_rates_of_single_entries():
    """The flows written out for one input, one embedding and one predictor dimension."""
    w, wp, sigma, a, ratio, eta = 0.7, 1.3, 1.1, 0.4, 2.5, 0.2
    one = lambda value: jnp.full((1, 1), value)
    setting = {"ratio": ratio, "weight_decay": eta}
    error = w * sigma - wp * w * (sigma + a)
    rates = noncontrastive.predictor_rates(one(w), one(wp), one(sigma), one(a), **setting)
    assert_close(np.ravel(rates), [wp * error - eta * w, ratio * error * w - eta * wp])
    joint = noncontrastive.joint_rates(one(w), one(wp), one(sigma), one(a), **setting)
    assert_close(
        np.ravel(joint),
        [wp * error - eta * w + wp * w * sigma - w * (sigma + a), ratio * error * w - eta * wp],
    )
    assert_close(noncontrastive.no_predictor_rate(one(w), one(a), eta), one(-w * (a + eta)))
    assert_close(noncontrastive.conserved(one(w), one(wp), ratio), one(w**2 - wp**2 / ratio))
    assert_close(noncontrastive.alignment_only(one(w), one(a), 3.0), one(w * np.exp(-a * 3.0)))


def test_the_relation_decays_at_the_rate_of_its_own_flow():
    """dC/dt = -2 eta C from the rates alone, without integration."""
    (w, wp), setting = random_start(5), {"ratio": 1.7, "weight_decay": 0.3}
    rates = noncontrastive.predictor_rates(w, wp, MEAN, AUG, **setting)
    c, rate = jax.jvp(lambda w, wp: noncontrastive.conserved(w, wp, 1.7), (w, wp), rates)
    assert_close(rate, -0.6 * c, size=100)


def test_kinds_of_constructed_spectra():
    kind = spectra.collapse_kind
    assert kind(np.array([1.0, 0.5, 0.01]), 3.0) == "none"
    assert kind(np.array([1.0, 0.5, 0.99e-4]), 3.0) == "dimensional"
    assert kind(np.array([1.0, 0.5, 0.99e-4]), 3.0, dimensional=1e-5) == "none"
    assert kind(np.array([0.029, 0.0, 0.0]), 3.0) == "complete"
    assert kind(np.full(3, 0.02), 3.0) == "none"  # it is the total that counts
    assert kind(np.array([0.031, 0.0, 0.0]), 3.0) == "dimensional"
    assert kind(np.array([0.031, 0.0, 0.0]), 3.0, complete=0.1) == "complete"
    assert kind(np.zeros(3), 3.0) == "complete"
    for spectrum, start in (([1.0, np.nan], 1.0), ([1.0], 0.0)):
        with pytest.raises(ValueError, match="finite"):
            kind(np.array(spectrum), start)


@pytest.mark.slow
def test_collapse_kinds_command(tmp_path):
    done = command(
        "collapse_kinds", "--seeds", "1", "--dim", "8", "--noisy-dims", "4", "--out", tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert (
        done.stdout.splitlines()[-1]
        == "verdict: the kind of collapse that theory predicts in 6 of 6 objectives"
    )
    dataset = results.load(tmp_path / "collapse_kinds.nc")
    found = {
        str(o): spectra.KINDS[int(k)]
        for o, k in zip(dataset["objective"].values, dataset["kind"].values[:, 0], strict=True)
    }
    assert (
        found["no-stop-gradient"] == found["no-predictor"] == found["alignment-only"] == "complete"
    )
    assert found["predictor"] == found["infonce-one-view"] == "dimensional"
    assert found["infonce-two-views"] == "none"
    bad = command("collapse_kinds", "--complete", "2", "--out", tmp_path / "bad")
    assert bad.returncode == 2
    assert "--complete 2.0" in bad.stderr


def test_rates_of_anisotropic_data_are_the_expected_gradients():
    """Means that commute with nothing, and second moments exact on all signs: W Sigma is told from
    Sigma W.
    """
    w, wp = random_start(5)
    root, aug_root = (
        np.linalg.cholesky(np.asarray(MEAN + 0.3 * AUG)),
        np.linalg.cholesky(np.asarray(AUG)),
    )
    signs = np.array(np.meshgrid(*[[-1.0, 1.0]] * 9, indexing="ij")).reshape(9, -1).T
    clean = signs[:, :3] @ root.T
    x, x_pos = (jnp.asarray(clean + part @ aug_root.T) for part in (signs[:, 3:6], signs[:, 6:]))
    for objective, rates in (
        (OBJECTIVES["predictor"], noncontrastive.predictor_rates),
        (OBJECTIVES["no-stop-gradient"], noncontrastive.joint_rates),
    ):
        towards = jax.jit(jax.grad(objective.loss))((w, wp), x, x_pos)
        stated = rates(w, wp, jnp.asarray(root @ root.T), AUG, ratio=1.0, weight_decay=0.0)
        for rate, gradient in zip(stated, towards, strict=True):
            assert_close(rate, -gradient, rtol=1e-12)
