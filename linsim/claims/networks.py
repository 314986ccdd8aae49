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

WIDTH, BATCH, STEPS, RATE, NOISE = 12, 64, 400, 0.05, 0.1
DEPTHS = (1, 2, 4)
SMALL_DEVIATION = (
    0.01  # a dimension has collapsed below this fraction of the largest standard deviation
)
CONDITIONS = (
    "from small singular values of the product, the same with every number of layers, "
    "at one time (t = 20)"
)
UNTRAINED = "the same networks before training"


@functools.partial(jax.jit, static_argnames="network")
def embedding_deviations(params: models.Params, seed, *, network: Activation):
    """Standard deviations of the embedded clean data, largest first, before and after training on
    fresh batches, noise on one view.
    """
    unit = jnp.eye(WIDTH)
    sample = data.source(
        jax.random.key(0), "fresh", unit, NOISE * unit, views="one", batch_size=BATCH
    )
    run, key = Run(activation=network), jax.random.fold_in(jax.random.key(3), seed)

    def step(params, step_key):
        towards, now = gradient(run, params, *sample(step_key))
        return towards, now.loss, None

    def deviations(params):
        z = models.relu_network(params, x) if network == "relu" else x @ models.product(params).T
        return spectra.singular_values(z - jnp.mean(z, axis=0))

    trained, _, _ = dynamics.descend(params, step, optax.sgd(RATE), (0, STEPS), key)
    x, _ = sample(jax.random.fold_in(key, STEPS))
    return jax.vmap(deviations)(trained)


@functools.cache
def counts(network: Activation, seed: int) -> tuple[list[int], list[int]]:
    """Collapsed dimensions with each number of layers, before and after training, from layers of
    whose product the singular values are e^(-0.6 k).
    """
    modes, found = jnp.arange(WIDTH), []
    for depth in DEPTHS:
        widths, values = (WIDTH,) * (depth + 1), jnp.exp(-0.6 * modes / depth)
        start = models.balanced(jax.random.key(seed), widths, values)
        both = embedding_deviations(start, seed, network=network)
        found.append([int(spectra.collapsed_dimensions(each, SMALL_DEVIATION)) for each in both])
    before, after = zip(*found, strict=True)
    return list(before), list(after)


@claim(
    "C19",
    "5",
    "Fig. 11a",
    tolerance=COUNT,
    recorded="holds",
    error=UNTRAINED,
    conditions=CONDITIONS,
)
def linear_layers(seed: int, wrong: float) -> Evidence:
    """More linear layers, more collapsed dimensions; none with one layer."""
    before, after = counts("linear", seed)
    found = before if wrong else after
    return Evidence(
        found[0]
        + sum(more <= fewer for fewer, more in itertools.pairwise(found))
        + (after[-1] <= before[-1])
    )


@claim(
    "C20",
    "5",
    "Fig. 11b",
    tolerance=COUNT,
    recorded="holds",
    error=UNTRAINED,
    conditions=CONDITIONS,
)
def relu_layers(seed: int, wrong: float) -> Evidence:
    """With ReLU between them, four layers collapse more dimensions than one, which collapses none;
    no layer lowers the count.
    """
    before, after = counts("relu", seed)
    found = before if wrong else after
    return Evidence(
        found[0]
        + (found[-1] <= found[0])
        + sum(more < fewer for fewer, more in itertools.pairwise(found))
        + (after[-1] <= before[-1])
    )
