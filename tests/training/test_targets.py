"""Objectives that carry a target, a centre or a predictor from step to step."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, assert_not_close, make_case

from linsim import losses
from linsim.training import objective_run
from linsim.training.data import Moments
from linsim.training.objective_run import ObjectiveRun
from linsim.training.objectives import Predicted
from linsim.training.targets import (
    DirectPrediction,
    MovingAverage,
    SelfDistillation,
    Teacher,
    averaged,
)

STEPS = 3
SMALL = ObjectiveRun(
    dim=3,
    noisy_dims=1,
    batch_size=9,
    weight_decay=0.1,
    learning_rate=0.2,
    init_scale=0.8,
    record_at=tuple(range(STEPS + 1)),
)


def batches(shift=0.0):
    """A source of batches, by the step's key."""

    def source(key):
        clean, first, second = jax.random.normal(key, (3, SMALL.batch_size, SMALL.dim))
        return clean + 0.5 * first + shift, clean + 0.5 * second + shift

    return source


def by_hand(objective, loss_of, carry, shift=0.0):
    """Weights, predictor and what is carried after STEPS of descent, by automatic
    differentiation: the loss of (W, V, carried, x, x'), and what carries it on.
    """
    run, key = replace(SMALL, objective=objective), jax.random.key(4)
    (layer,), head, carried = run.start(jax.random.key(5))
    source = batches(shift)
    for index in range(STEPS):
        x, x_pos = source(jax.random.fold_in(key, index))
        towards = jax.grad(loss_of, argnums=(0, 1))(layer, head, carried, x, x_pos)
        carried = carry(carried, layer, x, x_pos)
        layer = layer - run.learning_rate * (towards[0] + run.weight_decay * layer)
        head = head - run.learning_rate * (towards[1] + run.weight_decay * head)
    return layer, head, carried


def trained(objective, shift=0.0):
    run, key = replace(SMALL, objective=objective), jax.random.key(4)
    states, _ = objective_run.descend(run, run.start(jax.random.key(5)), batches(shift), key)
    (layer,), head, carried = jax.tree.map(lambda each: each[-1], states)
    return layer, head, carried


def test_byols_target_is_the_moving_average_of_the_encoder():
    def renewed(target, w):
        return 0.7 * target + 0.3 * w

    def loss(w, head, target, x, x_pos):
        return losses.jepa(x @ w.T @ head.T, x_pos @ renewed(target, w).T)

    expected = by_hand(
        MovingAverage(decay=0.7), loss, lambda target, w, x, x_pos: renewed(target, w)
    )
    found = trained(MovingAverage(decay=0.7))
    for one, other in zip(found, expected, strict=True):
        assert_close(one, other, size=100)
    assert_not_close(found[2], found[0], by=1e-3)


def test_without_delay_byol_is_the_stop_gradient():
    found, expected = trained(MovingAverage(decay=0.0)), trained(Predicted())
    assert_close(found[0], expected[0], size=100)
    assert expected[2] is None
    assert_not_close(trained(MovingAverage(decay=0.5))[0], expected[0], by=1e-3)


def test_what_is_carried_moves_slowly_towards_the_new_unless_asked_otherwise():
    old, new = np.array([2.0]), np.array([3.0])
    byol, dino, direct = MovingAverage(), SelfDistillation(), DirectPrediction()
    for decay in (byol.decay, dino.decay, dino.centre_decay, direct.decay):
        assert 2 < averaged(old, new, decay)[0] < 2.2
    assert averaged(old, new, 0.75)[0] == 2.25


@pytest.mark.parametrize("centring", [True, False])
def test_dinos_centre_is_the_running_mean_of_the_teachers_outputs(centring):
    of = SelfDistillation(
        decay=0.7,
        centre_decay=0.6,
        student_temperature=0.9,
        teacher_temperature=0.4,
        centring=centring,
    )

    def renewed(carried, w):
        return 0.7 * carried.target + 0.3 * w

    def loss(w, head, carried, x, x_pos):
        return losses.dino(x @ w.T, x_pos @ renewed(carried, w).T, carried.centre, 0.9, 0.4)

    def carry(carried, w, x, x_pos):
        target = renewed(carried, w)
        mean = jnp.mean(x_pos @ target.T, axis=0) if centring else 0.0
        return Teacher(target, centring * (0.6 * carried.centre + 0.4 * mean))

    found, expected = trained(of, 1.5), by_hand(of, loss, carry, 1.5)
    assert_close(found[0], expected[0], size=100)
    assert_close(found[2].target, expected[2].target, size=100)
    assert_close(found[2].centre, expected[2].centre, size=100)
    assert (float(jnp.abs(found[2].centre).max()) > 0.1) == centring


def test_centring_has_nothing_to_do_on_batches_of_mean_zero():
    def run(centring, shift):
        of = SelfDistillation(student_temperature=0.9, teacher_temperature=0.4, centring=centring)
        source = batches(shift)

        def mirrored(key):
            x, x_pos = source(key)
            return jnp.concatenate([x, 2 * shift - x]), jnp.concatenate([x_pos, 2 * shift - x_pos])

        run = replace(SMALL, objective=of)
        states, _ = objective_run.descend(
            run, run.start(jax.random.key(5)), mirrored, jax.random.key(4)
        )
        return states.layers[0][-1]

    assert_close(run(True, 0.0), run(False, 0.0), size=10)
    assert_not_close(run(True, 1.0), run(False, 1.0), by=1e-3)


@pytest.mark.parametrize("isotropic", [True, False])
def test_the_direct_predictor_is_the_root_of_the_second_moment(isotropic):
    of = DirectPrediction(isotropic=isotropic, decay=0.8)

    def loss(w, head, moment, x, x_pos):
        values, axes = np.linalg.eigh(np.asarray(moment))
        p = jnp.asarray(axes @ np.diag(np.sqrt(values)) @ axes.T)
        z, z_pos = x @ w.T, x_pos @ w.T
        return losses.isoloss(z, z_pos, z @ p) if isotropic else losses.jepa(z @ p, z_pos)

    def carry(moment, w, x, x_pos):
        return 0.8 * moment + 0.2 * w @ (x.T @ x) @ w.T / len(x)

    found, expected = trained(of), by_hand(of, loss, carry)
    assert_close(found[0], expected[0], size=100)
    assert_close(found[2], expected[2], size=100)


@pytest.mark.parametrize("of", [MovingAverage(), DirectPrediction(), SelfDistillation()])
def test_the_mean_of_what_is_carried(of):
    """On batches whose moments are those of the data."""
    case = make_case(3, 24, 3, 3)
    x, x_pos = (jnp.concatenate([v, -v]) for v in (case.x, case.x_pos))
    moments = Moments(x.T @ x / len(x), x_pos.T @ x_pos / len(x), x.T @ x_pos / len(x))
    carried = of.begin(0.5 * case.w)
    stated, exact = of.mean_carry(carried, case.w, moments), of.carry(carried, case.w, x, x_pos)
    for one, other in zip(jax.tree.leaves(stated), jax.tree.leaves(exact), strict=True):
        assert_close(one, other, size=100)


def test_the_first_step_of_what_carries_is_its_public_loss():
    case, head = make_case(4, 12, 3, 3), make_case(5, 1, 3, 3).w
    params = case.w, head
    value = MovingAverage().loss(params, case.x, case.x_pos)
    assert_close(value, losses.jepa(case.z @ head.T, case.z_pos), size=100)
    x, x_pos = case.x, case.x_pos
    moments = Moments(x.T @ x / 12, x_pos.T @ x_pos / 12, x.T @ x_pos / 12)
    _, towards = MovingAverage().gradient(params, x, x_pos)
    for rate, gradient in zip(MovingAverage().rates(params, moments, 12), towards, strict=True):
        assert_close(rate, -gradient, size=100)
    dino = SelfDistillation()
    value, _ = dino.gradient(params, x, x_pos)
    assert_close(value, losses.dino(case.z, case.z_pos), size=100)
    assert np.any(dino.carry(dino.begin(case.w), case.w, x, x_pos).centre)  # centred by default
    assert not dino.solved
    assert not dino.first(case.w).solved
    with pytest.raises(ValueError, match="no theory is known for DINO's loss"):
        SelfDistillation().rates(params, moments, 12)
