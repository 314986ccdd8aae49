"""Claims C19 and C20: depth, linear and with ReLU (paper, Figure 11)."""

import functools
import itertools

import jax
import jax.numpy as jnp
import optax

from linsim import spectra
from linsim.claims.ledger import COUNT, Evidence, claim
from linsim.training import data, dynamics, models
from linsim.training.names import Activation
from linsim.training.run import Run, gradient

WIDTH, BATCH, STEPS, RATE, NOISE = 8, 64, 400, 0.05, 0.1
DEPTHS = (1, 2, 3)
SMALL_DEVIATION = (
    0.01  # a dimension has collapsed below this fraction of the largest standard deviation
)
CONDITIONS = "from layers that all have small singular values, at one time (t = 20)"


@functools.partial(jax.jit, static_argnames="network")
def embedding_deviations(params: models.Params, seed, *, network: Activation):
    """Standard deviations of the embedded clean data, largest first, after training on fresh
    batches, noise on one view.
    """
    unit = jnp.eye(WIDTH)
    sample = data.source(
        jax.random.key(0), "fresh", unit, NOISE * unit, views="one", batch_size=BATCH
    )
    run, key = Run(activation=network), jax.random.fold_in(jax.random.key(3), seed)

    def step(params, step_key):
        towards, now = gradient(run, params, *sample(step_key))
        return towards, now.loss, None

    trained, _, _ = dynamics.descend(params, step, optax.sgd(RATE), (0, 1, STEPS), key)
    x, _ = sample(jax.random.fold_in(key, STEPS))
    params = jax.tree.map(lambda w: w[-1], trained)
    z = models.relu_network(params, x) if network == "relu" else x @ models.product(params).T
    return spectra.singular_values(z - jnp.mean(z, axis=0))


def counts(network: Activation, seed: int, decay: float = 0.7) -> list[int]:
    """Collapsed dimensions with each number of layers, from layers whose singular values are
    e^(-decay k).
    """
    values = jnp.exp(-decay * jnp.arange(WIDTH))
    found = []
    for depth in DEPTHS:
        start = models.balanced(jax.random.key(seed), (WIDTH,) * (depth + 1), values)
        found.append(
            int(
                spectra.collapsed_dimensions(
                    embedding_deviations(start, seed, network=network), SMALL_DEVIATION
                )
            )
        )
    return found


@claim("C19", "5", "Fig. 11a", tolerance=COUNT, recorded="holds", conditions=CONDITIONS)
def linear_layers(seed: int, wrong: bool) -> Evidence:
    """More linear layers, more collapsed dimensions; none with one layer."""
    found = counts("linear", seed, decay=0.0) if wrong else counts("linear", seed)
    return Evidence(found[0] + sum(more <= fewer for fewer, more in itertools.pairwise(found)))


@claim("C20", "5", "Fig. 11b", tolerance=COUNT, recorded="holds", conditions=CONDITIONS)
def relu_layers(seed: int, wrong: bool) -> Evidence:
    """With ReLU between them, three layers collapse more dimensions than one, which collapses none;
    no layer lowers the count.
    """
    found = counts("relu", seed)[
        :: -1 if wrong else 1
    ]  # wrong: fewer layers, more collapsed dimensions
    return Evidence(
        found[0]
        + (found[-1] <= found[0])
        + sum(more < fewer for fewer, more in itertools.pairwise(found))
    )
