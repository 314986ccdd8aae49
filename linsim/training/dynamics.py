"""Training one linear model: gradient descent on batches, or gradient flow under a deterministic
drive.

Both record the same `Trajectory` at chosen times. Rates and times belong to the MEAN loss: time =
learning rate x steps. One run is the unit; `linsim.sweeps` vectorises.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float, PRNGKeyArray

from linsim.arrays import Array
from linsim.training.contrast import Drive
from linsim.training.models import Params, Weights, layer_gradients, product

FieldDrive = Callable[[Weights], Drive]
NoisyDrive = Callable[[Weights, PRNGKeyArray], Drive]
Tally = Callable[[Params, Weights], Any]
Gradient = Callable[[Any, PRNGKeyArray], tuple[Any, Any, Any]]


class Trajectory(NamedTuple):
    """What a run recorded, with a leading axis of T times.

    weights: one (T, out, in) array per layer; loss, contrast (T, d, d) and alpha_ii: from gradient
    descent the averages over the steps since the previous record (the first record repeats the
    second's), from gradient flow the values at that time. tally: what gradient descent was asked to
    add up (leading axis T), sums over all steps so far.
    """

    weights: tuple[Float[Array, "T _out _in"], ...]
    loss: Float[Array, "T"]
    contrast: Float[Array, "T d d"]
    alpha_ii: Float[Array, "T"]
    tally: Any = None


def no_tally(params: Params, gradient: Weights) -> None:
    """Nothing to add up."""


def zeros_like(function: Callable, *args: Any) -> Any:
    """Zeros of the shapes that `function(*args)` would return."""
    return jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(function, *args)
    )


def gradient_descent(
    params: Params,
    drive: NoisyDrive,
    optimizer: optax.GradientTransformation,
    steps: Sequence[int] | np.ndarray,
    key: PRNGKeyArray,
    *,
    tally: Tally = no_tally,
) -> Trajectory:
    """Stochastic gradient descent on the mean loss, G = -W X/N in closed form.

        W_l <- W_l + optimizer update of dL/dW_l = (W_L .. W_{l+1})^T (-W X/N) (W_{l-1} .. W_1)^T

    Source: paper, Lemmas 1 and 3; `linsim.training.contrast` for X. All steps run inside one
    compiled scan.
    Args: params; drive (W, key) -> Drive of a batch; an optax optimizer; steps: the increasing step
    numbers to record, starting with 0; key; tally: (params, gradient G) -> arrays to be added up
    over the steps.
    Returns: Trajectory of T = len(steps) records.
    Raises: ValueError if `steps` does not start with 0 and increase.
    """

    def gradient(params, step_key):
        weights = product(params)
        now = drive(weights, step_key)
        towards = -weights @ now.contrast
        return layer_gradients(params, towards), now, tally(params, towards)

    weights, (loss, contrast, alpha_ii), tallied = descend(params, gradient, optimizer, steps, key)
    return Trajectory(weights, loss, contrast, alpha_ii, tallied)


def descend(
    params: Any,
    gradient: Gradient,
    optimizer: optax.GradientTransformation,
    steps: Sequence[int] | np.ndarray,
    key: PRNGKeyArray,
) -> tuple[Any, Any, Any]:
    """Stochastic gradient descent of any model; all steps run inside one compiled scan.

    Args: params, any arrays; gradient (params, key) -> (their gradient, arrays to average, arrays
    to add up); an optax optimizer; steps: the increasing step numbers to record, starting with 0;
    key.
    Returns: (params, averages since the previous record (the first repeats the second), sums so
    far), each with a leading axis of T = len(steps) records. Raises: ValueError if `steps` does not
    start with 0 and increase.
    """
    steps = np.asarray(steps)
    if steps[0] != 0 or np.any(np.diff(steps) <= 0):
        raise ValueError(f"steps must start with 0 and increase; got {steps}")

    def one_step(index, carry):
        params, state, tallied, total = carry
        towards, now, counted = gradient(params, jax.random.fold_in(key, index))
        tallied = jax.tree.map(jnp.add, tallied, counted)
        updates, state = optimizer.update(towards, state, params)
        return (
            optax.apply_updates(params, updates),
            state,
            tallied,
            jax.tree.map(jnp.add, total, now),
        )

    def segment(carry, bounds):
        start, stop = bounds
        params, state, tallied, total = jax.lax.fori_loop(start, stop, one_step, (*carry, nothing))
        mean = jax.tree.map(lambda t: t / (stop - start), total)
        return (params, state, tallied), ((params, tallied), mean)

    _, nothing, untallied = zeros_like(gradient, params, key)
    bounds = (jnp.asarray(steps[:-1]), jnp.asarray(steps[1:]))
    _, (states, means) = jax.lax.scan(segment, (params, optimizer.init(params), untallied), bounds)

    recorded, tallied = jax.tree.map(
        lambda first, rest: jnp.concatenate([first[None], rest]), (params, untallied), states
    )
    return recorded, jax.tree.map(lambda rest: jnp.concatenate([rest[:1], rest]), means), tallied


def gradient_flow(
    params: Params,
    drive: FieldDrive,
    times: Float[Array, "T"] | np.ndarray,
    *,
    tolerance: float | Float[Array, ""] = 1e-8,
    max_steps: int = 1_000_000,
) -> Trajectory:
    """Gradient flow dW_l/dt = -dL/dW_l of the mean loss, adaptive, in float64.

    Source: paper, Lemmas 1 and 3. Solver: `integrate`.
    Args: params (float64); drive W -> Drive (a fixed batch, or the population); times (T,),
    increasing from the start.
    Returns: Trajectory of T records. Raises: TypeError unless the parameters are float64.
    """
    if any(w.dtype != jnp.float64 for w in params):
        raise TypeError(
            f"gradient flow needs float64 parameters; got {params[0].dtype} (enable jax_enable_x64)"
        )

    def velocity(params):
        weights = product(params)
        return layer_gradients(params, weights @ drive(weights).contrast)

    weights = integrate(velocity, params, times, tolerance=tolerance, max_steps=max_steps)
    return Trajectory(weights, *jax.lax.map(lambda p: drive(product(p)), weights))


def integrate(
    velocity: Callable[[Any], Any],
    start: Any,
    times: Float[Array, "T"] | np.ndarray,
    *,
    tolerance: float | Float[Array, ""],
    max_steps: int = 1_000_000,
) -> Any:
    """Solve dy/dt = velocity(y) from y(times[0]) = start: diffrax Dopri8, relative and absolute
    `tolerance` per step.

    Args: velocity y -> its rate; start, any arrays; times (T,), increasing. Returns: y at `times`,
    leading axis T; to be differentiated in forward mode only.
    """
    import diffrax  # slow to import, and descent does without

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda _, y, __: velocity(y)),
        diffrax.Dopri8(),
        t0=times[0],
        t1=times[-1],
        dt0=None,
        y0=start,
        saveat=diffrax.SaveAt(ts=jnp.asarray(times)),
        stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance),
        max_steps=max_steps,
        adjoint=diffrax.ForwardMode(),
    )
    return solution.ys
