"""A linear map trained with InfoNCE on given pairs, to hold the prediction against.

The map is square in the coordinates of the k directions and trained by plain gradient descent on
minibatches, from a random start that knows nothing of the prediction, with a learning rate that
falls to zero. As the loss is convex in S = W^T W, the end depends on none of these. (Adam would not
do: its steps do not vanish with the gradient, so that minibatch noise keeps lost directions alive.)
Coordinates are scaled to noise of variance 1, in which all settled strengths are of the order of 1.

Besides the pairs themselves two stand-ins can be trained on: Gaussian pairs of the same second
moments, and pairs whose directions are drawn from different rows, so that each direction keeps its
own distribution and only what binds them is gone. Where both agree with theory and the pairs do
not, that bond is the reason. JAX float32.
"""

from functools import partial
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float

from linsim.config import CannotGoOn
from linsim.diagnose.views.moments import Role
from linsim.training import contrast

Source = Literal["pairs", "shuffled", "gaussian"]
SOURCES: tuple[Source, ...] = get_args(Source)
STEPS = 3000
RATE = 0.8  # over the largest eigenvalue of the noise in a batch of Gaussian pairs
LEAST = 0.01  # strength below which a trained map has lost a direction
CLEANEST = 1e-3  # ratio; cleaner directions are scaled as if they had it


class Coordinates(NamedTuple):
    """Anchors x and augmentations n along k directions, of R roles, (R, N, k) each, and the scale
    of each coordinate (k,), by which they are multiplied.
    """

    x: Float[np.ndarray, "R N k"]
    n: Float[np.ndarray, "R N k"]
    scale: Float[np.ndarray, "k"]

    @classmethod
    def of(cls, taken: list[Role], vectors: Float[np.ndarray, "d k"], ratios) -> "Coordinates":
        """Those of the pairs along the columns of `vectors`, scaled by the ratios r (k,)."""
        noise = np.where(np.isfinite(ratios), ratios, 1.0)
        scale = 1 / np.sqrt(np.maximum(noise, CLEANEST))
        x, n = (
            np.stack([role[i] @ vectors * scale for role in taken]).astype(np.float32)
            for i in (0, 1)
        )
        return cls(x, n, scale)


class Trained(NamedTuple):
    """Strengths of a trained map along the directions and their standard error over seeds, (k,);
    mixing: the part of S between different directions, as a ratio of Frobenius norms; dimensions:
    how many eigenvalues of S are at least `LEAST`. Both are means over seeds.
    """

    strengths: Float[np.ndarray, "k"]
    errors: Float[np.ndarray, "k"]
    mixing: float
    dimensions: float


def trained(
    found: Coordinates,
    *,
    batch_size: int,
    seeds: int,
    source: Source = "pairs",
    steps: int = STEPS,
    rate: float = RATE,
) -> Trained:
    """Train maps and measure S = W^T W in units in which every direction has variance 1.

    Source: this project, docs/views.md, "Held against training". Mean over anchors.

    Args:
        found: The pairs in the coordinates of the directions.
        batch_size: The number N of pairs in a batch.
        seeds: How many maps, each with its own start and batches.
        source: The pairs, or one of the stand-ins.
        steps: The number of steps.
        rate: The first learning rate times (1 + sqrt(k/N))^2; it falls to zero as a cosine does.

    Returns:
        The strengths, the diagonal of S, averaged over the maps. With one map the errors are nan.

    Raises:
        CannotGoOn: If training diverges.
    """
    maps = np.stack([_one(found, batch_size, source, steps, rate, seed) for seed in range(seeds)])
    if not np.all(np.isfinite(maps)):
        raise CannotGoOn(
            f"training on these pairs diverged at --batch-size {batch_size}; it must be larger, or "
            "rows that lie far out be removed"
        )
    s = found.scale[:, None] * maps * found.scale
    diagonal = np.diagonal(s, axis1=1, axis2=2)
    errors = diagonal.std(axis=0, ddof=1) / np.sqrt(seeds) if seeds > 1 else diagonal[0] * np.nan
    between = s * (1 - np.eye(len(found.scale)))
    mixing = np.mean(np.linalg.norm(between, axis=(1, 2)) / np.linalg.norm(s, axis=(1, 2)))
    dimensions = np.mean(np.sum(np.linalg.eigvalsh(s) >= LEAST, axis=1))
    return Trained(diagonal.mean(axis=0), errors, float(mixing), float(dimensions))


def _one(found: Coordinates, batch_size: int, source: Source, steps: int, rate: float, seed: int):
    """S of one map in the scaled coordinates, (k, k)."""
    roles, rows, dim = found.x.shape
    rng = np.random.default_rng(seed)
    per_epoch = rows // batch_size
    epochs = [
        rng.permutation(rows)[: per_epoch * batch_size].reshape(per_epoch, batch_size)
        for _ in range(-(-steps // per_epoch))
    ]
    batches = np.concatenate(epochs)[:steps].astype(np.int32)
    start = np.linalg.qr(rng.standard_normal((dim, dim)))[0].astype(np.float32) / np.sqrt(dim)
    keys = jax.random.split(jax.random.key(seed), steps)
    first = rate / (1 + np.sqrt(dim / batch_size)) ** 2
    optimizer = optax.sgd(optax.cosine_decay_schedule(first, steps))
    which = rng.integers(roles, size=steps)
    w = _descended(
        source,
        optimizer.update,
        start,
        optimizer.init(jnp.asarray(start)),
        jnp.asarray(found.x),
        jnp.asarray(found.n),
        (batches, which, keys),
    )
    w = np.asarray(w, dtype=np.float64)
    return w.T @ w


@partial(jax.jit, static_argnums=(0, 1))
def _descended(source: Source, update, w, state, x, n, schedule):
    """The weights after a step on every batch of the schedule."""
    gaussian = _gaussian_factors(x, n) if source == "gaussian" else None

    def step(carry, now):
        w, state = carry
        rows, role, key = now
        if source == "gaussian":
            anchors, noise = _gaussian(key, len(rows), gaussian)
        elif source == "shuffled":
            chosen = jax.random.randint(key, (len(rows), x.shape[2]), 0, x.shape[1])
            anchors, noise = (jnp.take_along_axis(v[role], chosen, axis=0) for v in (x, n))
        else:
            anchors, noise = x[role, rows], n[role, rows]
        drive = contrast.distance(w, anchors, anchors + noise)
        change, state = update(-w @ drive.contrast, state, w)
        return (w + change, state), None

    return jax.lax.scan(step, (w, state), schedule)[0][0]


def _gaussian_factors(x, n):
    """Deviation of the anchors, slope of the augmentation on them, deviation of the rest; (k,)."""
    variance, noise, cross = (jnp.mean(a * b, axis=(0, 1)) for a, b in ((x, x), (n, n), (x, n)))
    slope = jnp.where(variance > 0, cross / jnp.where(variance > 0, variance, 1.0), 0.0)
    return jnp.sqrt(variance), slope, jnp.sqrt(jnp.maximum(noise - slope * cross, 0.0))


def _gaussian(key, count: int, factors):
    deviation, slope, rest = factors
    first, second = jax.random.normal(key, (2, count, len(deviation)), deviation.dtype)
    anchors = first * deviation
    return anchors, anchors * slope + second * rest
