"""The spectrum of a run on batches under a mean square, to first order in the learning rate
(`linsim.theory.square_noise`).

From a start with equal singular values modes meet only in pairs: the departure of a mode from the
flow is a sum over the others. Three small models, with one clean and one noisy mode, and one more
of either, tell it for any number of modes. All have three coordinates, so that they are compiled
once; in the first the data leave one alone.
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
from linsim.training import data, models
from linsim.training.data import Moments
from linsim.training.objective_run import ObjectiveRun, Trainable, velocity

DIM = 3
BLOCKS = (  # clean and noisy coordinates of the small models
    ((1, 0, 0), (0, 0, 1)),
    ((1, 1, 0), (0, 0, 1)),
    ((1, 0, 0), (0, 1, 1)),
)


def spectrum(run: ObjectiveRun) -> np.ndarray:
    """The embedding spectrum in time at the run's batch size and learning rate, (T, d): of each
    block of modes the mean, largest first.
    """
    with jax.enable_x64(True):
        found = [_strengths(run, jnp.array(blocks, float)) for blocks in BLOCKS]
    (flow, alone), (_, cleaner), (_, noisier) = found
    clean, noisy = run.dim - run.noisy_dims, run.noisy_dims
    departed = alone + (clean - 1) * (cleaner - alone) + (noisy - 1) * (noisier - alone)
    values = flow * np.exp(departed / flow)  # positive, and the same to first order
    return np.sort(np.repeat(values, [clean, noisy], axis=1), axis=1)[:, ::-1]


def _strengths(run: ObjectiveRun, blocks: Float[Array, "2 d"]) -> tuple[np.ndarray, np.ndarray]:
    """The strengths of both blocks by the flow, and the departures of their mean, (T, 2) each, with
    these coordinates in the blocks.
    """
    # what the field does not depend on is the same in all runs
    small = replace(run, dim=DIM, noisy_dims=1, record_at=(0, 1), batch_size=1)
    small = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), small)
    start, _ = ravel_pytree(_start(small))
    found = square_noise.first_order(
        _field,
        small,
        start,
        _joint(small, blocks),
        np.asarray(run.times, dtype=float),
        learning_rate=float(run.learning_rate),
        batch_size=run.batch_size,
    )
    flow, departure = (np.asarray(each) for each in _read(small, found, blocks))
    return flow, departure


def _start(run: ObjectiveRun) -> Trainable:
    """Equal singular values, in the coordinates of the data: others differ by a rotation."""
    root = jnp.asarray(run.init_scale) ** (1 / run.depth)
    return run.headed((root * jnp.eye(run.dim),) * run.depth)


def _joint(run: ObjectiveRun, blocks: Float[Array, "2 d"]) -> Joint:
    """The second moment of both views together."""
    clean, noisy = blocks
    noise = jnp.diag(clean * run.base_noise**2 + noisy * run.noise**2)
    moments = data.moments(jnp.diag(clean + noisy), noise, run.views)
    return jnp.block([[moments.anchor, moments.cross], [moments.cross.T, moments.positive]])


def _field(run: ObjectiveRun, theta: Vector, joint: Joint) -> Vector:
    _, unravel = ravel_pytree(_start(run))
    d = run.dim
    moments = Moments(joint[:d, :d], joint[d:, d:], joint[:d, d:])
    return ravel_pytree(velocity(run, unravel(jnp.asarray(theta)), moments))[0]


@jax.jit
def _read(
    run: ObjectiveRun, found: Departure, blocks: Float[Array, "2 d"]
) -> tuple[Float[Array, "T 2"], Float[Array, "T 2"]]:
    """The leading eigenvalues of W W^T, as many as there are clean modes, and the others: their
    means along the flow, and the departure of these by first-order perturbation, with the repulsion
    of the two blocks.
    """
    _, unravel = ravel_pytree(_start(run))
    counts = jnp.sum(blocks, axis=1)

    def gram(theta: Vector) -> Float[Array, "d d"]:
        w = models.product(unravel(jnp.asarray(theta)).layers)
        return w @ w.T

    def means(theta: Vector) -> Float[Array, "2"]:
        return blocks @ jnp.diag(gram(theta)) / counts

    def at(theta, shift, covariance):
        strengths = means(theta)
        departed = jax.jacfwd(means)(theta) @ shift
        departed += 0.5 * jnp.einsum("bqr,qr->b", jax.hessian(means)(theta), covariance)
        slope = jax.jacfwd(lambda theta: gram(theta)[0, -1])(theta)
        gap = strengths[0] - strengths[1]
        apart = jnp.where(gap == 0, 1.0, gap)
        repelled = jnp.where(gap == 0, 0.0, slope @ covariance @ slope / apart)
        return strengths, departed + repelled * jnp.stack([counts[1], -counts[0]])

    return jax.lax.map(lambda each: at(*each), tuple(map(jnp.asarray, found)))
