import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import assert_close, make_case, relative_error

from linsim import losses
from linsim.training import contrast, dynamics, recording


def fixed_drive(case):
    return lambda w, key=None: contrast.distance(w, case.x, case.x_pos)


def test_record_steps_hold_the_ends():
    steps = recording.record_steps(10_000)
    assert steps[0] == 0
    assert steps[1] == 1
    assert steps[-1] == 10_000
    assert np.all(np.diff(steps) > 0)
    assert len(steps) <= 80


@pytest.mark.parametrize(
    "optimizer", [optax.sgd(0.05), optax.adam(0.01), optax.sgd(0.02, momentum=0.9)]
)
def test_descent_is_the_plain_loop_with_jax_grad(optimizer):
    case = make_case(0, 16, 4, 3)
    steps = [0, 1, 3, 10]
    trajectory = dynamics.gradient_descent(
        (case.w,), fixed_drive(case), optimizer, steps, jax.random.key(0)
    )
    loss = lambda w: losses.infonce(case.x @ w.T, case.x_pos @ w.T) / 16
    w, state, weights, values = case.w, optimizer.init(case.w), [case.w], []
    for _ in range(10):
        value, grad = jax.value_and_grad(loss)(w)
        update, state = optimizer.update(grad, state, w)
        w = jnp.asarray(optax.apply_updates(w, update))
        weights.append(w)
        values.append(value)
    assert_close(trajectory.weights[0], jnp.stack([weights[k] for k in steps]), size=1000)
    means = [values[0], values[0], np.mean(values[1:3]), np.mean(values[3:10])]
    assert_close(trajectory.loss, np.array(means), size=1000)


def test_descent_gives_each_step_its_own_key():
    seen = dynamics.gradient_descent(
        (jnp.eye(2),),
        lambda w, key: contrast.Drive(jax.random.uniform(key), jnp.zeros((2, 2)), jnp.zeros(())),
        optax.sgd(0.1),
        [0, 1, 2, 3],
        jax.random.key(0),
    ).loss
    assert len(np.unique(seen)) == 3  # the first record repeats the second's


@pytest.mark.parametrize("steps", [[1, 2], [0, 2, 2], [0, 3, 1]])
def test_descent_refuses_bad_records(steps):
    with pytest.raises(ValueError, match="start with 0 and increase"):
        dynamics.gradient_descent(
            (jnp.eye(2),),
            fixed_drive(make_case(0, 4, 2, 2)),
            optax.sgd(0.1),
            steps,
            jax.random.key(0),
        )


def test_flow_error_falls_with_the_tolerance_and_descent_converges_to_it_at_first_order():
    case = make_case(1, 16, 4, 3)
    times = np.array([0.0, 1.0, 4.0])
    flow = jax.jit(
        lambda tol: dynamics.gradient_flow(
            (case.w,), fixed_drive(case), times, tolerance=tol
        ).weights[0]
    )
    exact = flow(1e-12)
    errors = [relative_error(flow(10.0**-k), exact) for k in (4, 6, 8)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-7

    def descent_error(rate):
        steps = np.rint(times / rate).astype(int)
        run = dynamics.gradient_descent(
            (case.w,), fixed_drive(case), optax.sgd(rate), steps, jax.random.key(0)
        )
        return relative_error(run.weights[0], exact)

    rates = [0.02, 0.01, 0.005]
    order = np.polyfit(np.log(rates), np.log([descent_error(rate) for rate in rates]), 1)[0]
    assert abs(order - 1) < 0.1


def test_flow_records_the_drive_at_its_times_and_lowers_the_loss():
    case = make_case(2, 16, 4, 3)
    trajectory = dynamics.gradient_flow((case.w,), fixed_drive(case), np.linspace(0, 3, 7))
    assert np.all(np.diff(trajectory.loss) < 0)
    expected = contrast.distance(trajectory.weights[0][3], case.x, case.x_pos)
    assert_close(trajectory.contrast[3], expected.contrast, size=100)


def test_flow_refuses_single_precision():
    case = make_case(3, 8, 3, 3, dtype=jnp.float32)
    with pytest.raises(TypeError, match="float32"):
        dynamics.gradient_flow((case.w,), fixed_drive(case), np.array([0.0, 1.0]))
