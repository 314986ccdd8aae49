"""The workloads in linsim: the functions that its experiments use, vectorised as its sweeps are."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.workloads import NOISE, RATE, Descent
from linsim.sweeps import programs, sweep
from linsim.training import contrast, data, dynamics, models


def descent(work: Descent) -> Callable[[], np.ndarray]:
    """A function that trains all runs and returns their final products."""
    count, dim = work.x.shape[1:]
    noise_factor = NOISE * jnp.eye(dim, dtype=work.x.dtype)[dim // 2 :]
    data_factor = jnp.eye(dim, dtype=work.x.dtype)
    sample = data.source(
        jax.random.key(1), "fresh", data_factor, noise_factor, views="one", batch_size=count
    )

    def run(key, layers, x, x_pos):
        def drive(w, step_key):
            return contrast.distance(w, *(sample(step_key) if work.fresh else (x, x_pos)))

        steps = np.array([0, work.steps])
        trajectory = dynamics.gradient_descent(layers, drive, optax.sgd(RATE), steps, key)
        return (
            models.product(tuple(w[-1] for w in trajectory.weights)),
            trajectory.loss,
            trajectory.alpha_ii,
        )

    program = programs.vectorised(run, tuple(jax.local_devices()))
    columns = jax.tree.map(
        jnp.asarray, (sweep.run_keys(0, len(work.x)), work.layers, work.x, work.x_pos)
    )
    return lambda: np.asarray(program(*columns)[0])


def one_gradient(w: np.ndarray, x: np.ndarray, x_pos: np.ndarray) -> Callable[[], np.ndarray]:
    """A function that returns dL/dW of one batch."""
    program = jax.jit(lambda w, x, x_pos: -w @ contrast.distance(w, x, x_pos).contrast)
    batch = jax.tree.map(jnp.asarray, (w, x, x_pos))
    return lambda: np.asarray(program(*batch))


def flow(work: Descent, time: float, tolerance: float) -> Callable[[], np.ndarray]:
    """A function that takes all runs along gradient flow to `time`. Needs jax_enable_x64."""

    def run(layer, x, x_pos):
        times = np.array([0.0, time])
        flow = dynamics.gradient_flow(
            (layer,), lambda w: contrast.distance(w, x, x_pos), times, tolerance=tolerance
        )
        return flow.weights[0][-1]

    program = programs.vectorised(run, tuple(jax.local_devices()))
    columns = [jnp.asarray(array) for array in (work.layers[0], work.x, work.x_pos)]
    return lambda: np.asarray(program(*columns))
