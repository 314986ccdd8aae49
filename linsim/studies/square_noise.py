"""The spectrum of a run on batches under a mean square, to first order in the learning rate
(`linsim.theory.square_noise`).

From a start with equal singular values modes meet only in pairs: the departure of a mode from the
flow is a sum over the others. Three small models, with one clean and one noisy mode, and one more
of either, tell it for any number of modes.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Float

from linsim.arrays import Array
from linsim.theory import square_noise
from linsim.theory.square_noise import Departure, Joint, Vector
from linsim.training import models
from linsim.training.data import Moments
from linsim.training.objective_run import ObjectiveRun, Trainable, velocity

COUNTS = ((1, 1), (2, 1), (1, 2))  # clean and noisy modes of the small models


def spectrum(run: ObjectiveRun) -> np.ndarray:
    """The embedding spectrum in time at the run's batch size and learning rate, (T, d): of each
    block of modes the mean, largest first.
    """
    with jax.enable_x64(True):
        flow, departures = zip(*(_strengths(run, *counts) for counts in COUNTS), strict=True)
    alone, cleaner, noisier = departures
    clean, noisy = run.dim - run.noisy_dims, run.noisy_dims
    departed = alone + (clean - 1) * (cleaner - alone) + (noisy - 1) * (noisier - alone)
    values = flow[0] * np.exp(departed / flow[0])  # positive, and the same to first order
    return np.sort(np.repeat(values, [clean, noisy], axis=1), axis=1)[:, ::-1]


def _strengths(run: ObjectiveRun, clean: int, noisy: int) -> tuple[np.ndarray, np.ndarray]:
    """The strengths of both blocks by the flow, and the departures of their mean, (T, 2) each, with
    so many modes.
    """
    small = replace(run, dim=clean + noisy, noisy_dims=noisy)
    small = replace(small, record_at=(0, 1), batch_size=1)  # which the field does not depend on
    small = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), small)
    start, _ = ravel_pytree(_start(small))
    found = square_noise.first_order(
        _field,
        small,
        start,
        _joint(small.moments()),
        np.asarray(run.times, dtype=float),
        learning_rate=float(run.learning_rate),
        batch_size=run.batch_size,
    )
    flow, departure = (np.asarray(each) for each in _read(small, found))
    return flow, departure


def _start(run: ObjectiveRun) -> Trainable:
    """Equal singular values, in the coordinates of the data: others differ by a rotation."""
    root = jnp.asarray(run.init_scale) ** (1 / run.depth)
    return run.headed((root * jnp.eye(run.dim),) * run.depth)


def _joint(moments: Moments) -> Joint:
    return jnp.block([[moments.anchor, moments.cross], [moments.cross.T, moments.positive]])


def _field(run: ObjectiveRun, theta: Vector, joint: Joint) -> Vector:
    _, unravel = ravel_pytree(_start(run))
    d = run.dim
    moments = Moments(joint[:d, :d], joint[d:, d:], joint[:d, d:])
    return ravel_pytree(velocity(run, unravel(theta), moments))[0]


@jax.jit
def _read(run: ObjectiveRun, found: Departure) -> tuple[Float[Array, "T 2"], Float[Array, "T 2"]]:
    """The leading eigenvalues of W W^T, as many as there are clean modes, and the others: their
    means along the flow, and the departure of these by first-order perturbation, with the repulsion
    of the two blocks.
    """
    _, unravel = ravel_pytree(_start(run))
    clean = run.dim - run.noisy_dims

    def gram(theta: Vector) -> Float[Array, "d d"]:
        w = models.product(unravel(theta).layers)
        return w @ w.T

    def blocks(theta: Vector) -> Float[Array, "2"]:
        own = jnp.diag(gram(theta))
        return jnp.stack([jnp.mean(own[:clean]), jnp.mean(own[clean:])])

    def at(theta, shift, covariance):
        strengths = blocks(theta)
        mean = jax.jacfwd(blocks)(theta) @ shift
        mean += 0.5 * jnp.einsum("bqr,qr->b", jax.hessian(blocks)(theta), covariance)
        slope = jax.jacfwd(lambda theta: gram(theta)[0, -1])(theta)
        gap = strengths[0] - strengths[1]
        repelled = jnp.where(
            gap == 0, 0.0, slope @ covariance @ slope / jnp.where(gap == 0, 1, gap)
        )
        others = jnp.array([run.noisy_dims, -clean])
        return strengths, mean + others * repelled

    return jax.lax.map(lambda each: at(*each), tuple(map(jnp.asarray, found)))
