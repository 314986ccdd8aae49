"""DirectPred and IsoLoss in modes, and DINO's onset."""

import numpy as np
import pytest
from helpers import assert_close
from scipy.integrate import solve_ivp

from linsim.theory import distillation, isoloss, jepa, noncontrastive

VARIANCES = np.array([1.25, 3.0, 7.25])


def flow(times, start, covariance, decay, isotropic):
    def rate(_, v):
        pulled = v * (covariance - v * VARIANCES)
        return (pulled if isotropic else v * pulled) - decay * v

    ends = times[0], times[-1]
    return solve_ivp(rate, ends, start, "DOP853", times, rtol=1e-10, atol=1e-13).y.T


def test_the_root_of_a_second_moment_is_symmetric_and_its_square_is_it():
    z = np.random.default_rng(0).standard_normal((5, 3))
    moment = z @ z.T  # of rank 3: what rounding leaves below zero is no obstacle
    found = np.asarray(isoloss.root(moment))
    assert_close(found, found.T, size=5)
    assert_close(found @ found, moment, size=100)
    assert np.linalg.eigvalsh(found).min() > -1e-6


def test_isoloss_is_logistic_with_weight_decay_too():
    times, start = np.array([0.0, 1.0, 4.0]), 0.1 / VARIANCES
    for covariance, decay in ((1.0, ()), (1.0, (0.3,)), (0.5, (0.9,))):
        found = flow(times, start, covariance, sum(decay), True)
        stated = isoloss.predictor_value(times[:, None], start, VARIANCES, covariance, *decay)
        assert_close(stated, found, rtol=1e-8)


def test_directpred_is_a_learned_predictor():
    start, value = 0.01, 0.1
    for place, variance in enumerate(VARIANCES):
        time = float(jepa.jepa_time(value, start, 1, 1.0, 1 / variance))
        found = flow(np.array([0.0, time]), np.full(3, start), 1.0, 0.0, False)
        assert_close(found[1, place], value, rtol=1e-8)


@pytest.mark.parametrize("isotropic", [True, False])
def test_modes_settle_and_close_as_stated(isotropic):
    decay = 0.02
    end = flow(np.array([0.0, 2000.0]), np.ones(3), 1.0, decay, isotropic)[-1]
    stated = (
        np.sqrt(VARIANCES * isoloss.settled(VARIANCES, 1.0, decay))
        if isotropic
        else noncontrastive.predictor_fixed_point(1.0, VARIANCES - 1, decay)
    )
    assert_close(end, stated, rtol=1e-6)
    assert_close(isoloss.settled(VARIANCES, 0.9), (0.9 / VARIANCES) ** 2 / VARIANCES)
    rates = np.asarray(isoloss.closing_rate(VARIANCES, 0.9, isotropic=isotropic))
    near = 1.001 * 0.9 / VARIANCES
    left = flow(np.array([0.0, 0.5]), near, 0.9, 0.0, isotropic) - 0.9 / VARIANCES
    assert_close(np.log(left[0] / left[1]) / 0.5, rates, rtol=2e-3)


def test_isoloss_loses_modes_by_weight_decay_alone():
    assert float(isoloss.settled(100.0, 1.0, 0.99)) > 0 == float(isoloss.settled(1.0, 1.0, 1.01))


def test_dinos_threshold_is_that_of_its_growth_whatever_the_target():
    setting = {"outputs": 8, "student_temperature": 0.1, "teacher_temperature": 0.04}
    limit = distillation.threshold(0.1, 0.04)
    for beta in (0.1, 10.0, np.inf):
        rates = [
            float(distillation.growth_rate(f * limit, 1.0, target_rate=beta, **setting))
            for f in (0.99, 1.01)
        ]
        assert rates[0] > 0 > rates[1]
    fast = distillation.growth_rate(1.5, 1.0, target_rate=1e9, **setting)
    assert_close(fast, distillation.growth_rate(1.5, 1.0, **setting), rtol=1e-6)


def test_the_growth_rate_is_an_eigenvalue():
    setting = {"outputs": 8, "student_temperature": 0.5, "teacher_temperature": 0.3}
    s, k, beta = 1.7, 0.9, 0.4
    b, c = s / (8 * 0.5**2), k / (8 * 0.5 * 0.3)
    leading = np.linalg.eigvals(np.array([[-b, c], [beta, -beta]])).max()
    assert_close(distillation.growth_rate(s, k, target_rate=beta, **setting), leading)
