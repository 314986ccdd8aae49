"""What finite steps and the noise of minibatches do to losses that are mean squares, to first order
in the learning rate (this project, docs/theory.md).

The gradient of such a loss is linear in the second moments of the batch. With the mean field f, on
parameters theta, one step adds eta f plus noise of covariance eta^2 D/N. At first order in eta the
mean of theta departs by delta from the flow, and theta has the covariance S:

    dS/dt     = J S + S J^T + (eta/N) D,                       J = df/dtheta
    ddelta/dt = J delta + 1/2 sum_qr (d^2 f/dtheta_q dtheta_r) S_qr - (eta/2) J f

The last term is that of finite steps. For Gaussian views with the joint second moment M, D is exact
(Isserlis): with the symmetric slopes G_p = df_p/dM of a field that is linear in M,

    D_pq = 2 tr(G_p M G_q M).

NumPy float64, derivatives by JAX.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Float

from linsim.arrays import Array

Vector = Float[Array, "p"]
Joint = Float[Array, "y y"]
Field = Callable[[Any, Vector, Joint], Vector]


class Departure(NamedTuple):
    """The flow theta, the mean's departure delta from it, each (T, p), and the covariance S
    (T, p, p), at T times.
    """

    flow: Float[np.ndarray, "T p"]
    shift: Float[np.ndarray, "T p"]
    covariance: Float[np.ndarray, "T p p"]


def gradient_noise(field: Field, context: Any, theta: Vector, joint: Joint) -> Float[Array, "p p"]:
    """The covariance D of the field of a single Gaussian sample, N times that of a batch.

        D_pq = 2 tr(G_p M G_q M),   G_p the symmetric part of df_p/dM

    Source: this project, docs/theory.md, "Mean squares on batches".

    Args:
        field: A function (context, theta, M) -> f that is linear in M but for what M leaves alone.
        context: What else the field depends on.
        theta: The parameters, shape (p,).
        joint: The second moment M of both views together, shape (y, y).

    Returns:
        The covariance, shape (p, p).

    Example:
        The variance of the square of a normal variable is 2:

        >>> square = lambda context, theta, joint: joint[0]
        >>> float(gradient_noise(square, None, jnp.ones(1), jnp.eye(1))[0, 0])
        2.0
    """
    slopes = jax.jacfwd(field, argnums=2)(context, theta, joint)
    symmetric = 0.5 * (slopes + jnp.swapaxes(slopes, 1, 2))
    weighted = symmetric @ joint
    return 2 * jnp.einsum("pab,qba->pq", weighted, weighted)


def first_order(
    field: Field,
    context: Any,
    start: Vector,
    joint: Joint,
    times: Float[np.ndarray, "T"],
    *,
    learning_rate: float,
    batch_size: int,
    tolerance: float = 1e-8,
) -> Departure:
    """Descent on batches of Gaussian samples, to first order in the learning rate.

    Source: this project, docs/theory.md, "Mean squares on batches". Time is learning rate times
    steps.

    Args:
        field: As of `gradient_noise`, a function that is jitted here.
        context: What else the field depends on, a tree of arrays.
        start: The initial parameters, shape (p,), float64.
        joint: The second moment of both views together, shape (y, y).
        times: Increasing times, from the start on, shape (T,).
        learning_rate: The learning rate eta.
        batch_size: The samples N of a batch.
        tolerance: The solver's tolerance per step.

    Returns:
        Flow, departure and covariance.

    Example:
        Of dw = -eta w x^2 the mean of w is (1 - eta)^steps exactly, that of w^2 larger by the
        noise, in the first order by 2 eta t w^2/N:

        >>> with jax.enable_x64(True):
        ...     found = first_order(lambda _, w, m: -w * m[0, 0], None, jnp.ones(1), jnp.eye(1),
        ...                         np.array([0.0, 1.0]), learning_rate=0.01, batch_size=4)
        >>> float(np.round(found.covariance[-1, 0, 0] / (2 * 0.01 / 4 * np.exp(-2)), 5))
        1.0
        >>> float(np.round(found.shift[-1, 0] / (-0.005 * np.exp(-1)), 5))
        1.0
    """
    size = len(start)
    velocity = _velocity(field)

    def flat(_, state):
        return np.asarray(
            velocity(context, state, joint, learning_rate, learning_rate / batch_size)
        )

    initial = np.concatenate([np.asarray(start), np.zeros(size + size**2)])
    solved = scipy.integrate.solve_ivp(
        flat,
        (times[0], times[-1]),
        initial,
        method="DOP853",
        t_eval=times,
        rtol=tolerance,
        atol=tolerance * learning_rate,
    )
    flow, shift, covariance = np.split(solved.y.T, [size, 2 * size], axis=1)
    return Departure(flow, shift, covariance.reshape(-1, size, size))


@functools.cache
def _velocity(field: Field) -> Callable[..., Vector]:
    """The rates of (theta, delta, S) in one vector, compiled once for each field."""

    @jax.jit
    def velocity(context, state, joint, eta, noise):
        size = round((len(state) + 1) ** 0.5) - 1
        theta, shift, covariance = jnp.split(state, [size, 2 * size])
        covariance = covariance.reshape(size, size)
        at = functools.partial(field, context)
        f = at(theta, joint)
        slopes = jax.jacfwd(at)(theta, joint)
        curved = jax.jacfwd(jax.jacfwd(at))(theta, joint)
        shifted = slopes @ (shift - 0.5 * eta * f)
        shifted += 0.5 * jnp.einsum("pqr,qr->p", curved, covariance)
        spread = slopes @ covariance
        spread = spread + spread.T + noise * gradient_noise(field, context, theta, joint)
        return jnp.concatenate([f, shifted, spread.ravel()])

    return velocity
