"""Claims C19 and C20: depth, linear and with ReLU (paper, Figure 11)."""

import functools
import itertools

import jax
import jax.numpy as jnp
import optax

from linsim import data, deep, dynamics, models, spectra
from linsim.claims.ledger import COUNT, Evidence, claim

WIDTH, BATCH, STEPS, RATE, NOISE = 8, 64, 400, 0.05, 0.1
DEPTHS = (1, 2, 3)
SMALL_DEVIATION = 0.01  # a dimension has collapsed below this fraction of the largest standard deviation
CONDITIONS = "from layers that all have small singular values, at one time (t = 20)"


@functools.partial(jax.jit, static_argnames="network")
def embedding_deviations(params: models.Params, seed, *, network: str):
    """Standard deviations of the embedded clean data, largest first, after training on fresh batches, noise on one view."""
    unit = jnp.eye(WIDTH)
    sample, _ = data.sampler(jax.random.key(0), "fresh", unit, NOISE * unit, views="one", batch_size=BATCH)
    gradient, key = deep.gradient(network), jax.random.fold_in(jax.random.key(3), seed)

    def step(params, step_key):
        towards, loss, _ = gradient(params, *sample(step_key))
        return towards, loss, None

    trained, _, _ = dynamics.descend(params, step, optax.sgd(RATE), (0, 1, STEPS), key)
    x, _ = sample(jax.random.fold_in(key, STEPS))
    z = deep.embed(network)(jax.tree.map(lambda w: w[-1], trained), x)
    return spectra.singular_values(z - jnp.mean(z, axis=0))


def grows_with_depth(network: str, seed: int, wrong: bool) -> Evidence:
    """Collapsed dimensions of one layer, and how often another layer adds none; wrong: a start without small values."""
    values = jnp.exp(-(0.0 if wrong else 0.7) * jnp.arange(WIDTH))
    counts = []
    for depth in DEPTHS:
        start = models.balanced(jax.random.key(seed), (WIDTH,) * (depth + 1), values)
        counts.append(int(spectra.collapsed_dimensions(embedding_deviations(start, seed, network=network), SMALL_DEVIATION)))
    return Evidence(counts[0] + sum(more <= fewer for fewer, more in itertools.pairwise(counts)))


@claim("C19", "5", "Fig. 11a", tolerance=COUNT, recorded="holds", conditions=CONDITIONS)
def linear_layers(seed: int, wrong: bool) -> Evidence:
    """More linear layers, more collapsed dimensions; none with one layer."""
    return grows_with_depth("linear", seed, wrong)


@claim("C20", "5", "Fig. 11b", tolerance=COUNT, recorded="holds", conditions=CONDITIONS)
def relu_layers(seed: int, wrong: bool) -> Evidence:
    """The same with ReLU between the layers."""
    return grows_with_depth("relu", seed, wrong)
