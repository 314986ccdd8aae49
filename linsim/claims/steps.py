"""Claims L19 and L20: what the noise of minibatches adds to the theory of losses without negatives
(docs/theory.md, "Mean squares on batches").
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from linsim.claims.ledger import Evidence, Tolerance, claim, equation, rounding
from linsim.claims.setups import FLOW, error, remembered, two_noisy_views
from linsim.studies import square_noise
from linsim.training import objective_run
from linsim.training.objective_run import ObjectiveRun, population_flow
from linsim.training.objectives import Objective, Predicted, Reconstructed
from linsim.training.redundancy import BarlowTwins

RUNS = 512


def run_of(objective: Objective, **fields) -> ObjectiveRun:
    """Two clean modes and a noisy one, on small batches."""
    return ObjectiveRun(
        objective=objective,
        noise=1.5,
        init_scale=0.5,
        dim=3,
        noisy_dims=1,
        **fields,
    )


@remembered
@functools.partial(jax.jit, static_argnums=0)
def mean_spectrum(run: ObjectiveRun, seed):
    """The mean spectrum at the end of RUNS runs, and its standard error."""
    keys = jax.random.split(jax.random.fold_in(jax.random.key(13), seed), RUNS)
    ends = jax.vmap(lambda key: objective_run.simulate(run, key)["embedding_spectrum"][-1])(keys)
    return jnp.mean(ends, axis=0), jnp.std(ends, axis=0) / np.sqrt(RUNS)


@claim(
    "L19",
    "new",
    equation("square-noise"),
    tolerance=Tolerance(4.5, "standard errors of 512 runs, and the second order of the rate"),
    recorded="holds",
    error="the departure {} too large",
    by=0.5,
    slow=True,
)
def mean_squares_on_batches(seed: int, wrong: float) -> Evidence:
    """What descent on batches of N samples adds to the flow of a linear JEPA or autoencoder is, to
    first order in the learning rate, as stated in closed form.
    """
    off = []
    for objective in (Predicted(), Reconstructed()):
        run = run_of(objective, learning_rate=0.02, batch_size=32, record_at=(0, 1, 500, 1000))
        found, errors = mean_spectrum(run, seed)
        stated = square_noise.spectrum(run)[-1]
        flow = population_flow(run, run.start(jax.random.key(seed)).layers[0][None], FLOW)
        departure = blocks(stated) - blocks(np.asarray(flow["embedding_spectrum"][-1]))
        apart = blocks(found) - blocks(stated) - wrong * departure
        off.append(float(np.abs(apart / blocks(errors)).max()))
    return Evidence(max(off))


def blocks(values) -> np.ndarray:
    """Means of the two clean modes and of the noisy one."""
    return np.array([np.mean(values[:2]), values[2]])


@functools.partial(jax.jit, static_argnums=(0, 1))
def grown(steps: int, size: int, epsilon, rate, seed):
    """By how much the squared norm of each output's weights grows in some steps of Barlow Twins,
    and the sum of the squared gradients of these steps.
    """
    of, dim = BarlowTwins(epsilon=epsilon), 4
    key = jax.random.fold_in(jax.random.key(14), seed)
    start = jax.random.normal(key, (dim, dim))

    def step(w, key):
        views = two_noisy_views(key, size, jnp.full(dim, 0.5))
        gradient = of.gradient((w, jnp.eye(dim)), *views)[1][0]
        return w - rate * gradient, jnp.sum(gradient**2, axis=1)

    end, squares = jax.lax.scan(step, start, jax.random.split(key, steps))
    return jnp.sum(end**2 - start**2, axis=1), jnp.sum(squares, axis=0)


@claim(
    "L20",
    "new",
    equation("barlow-twins-norm"),
    tolerance=rounding(4096),
    recorded="exact",
    error="the rate {} too large",
    by=1e-6,
)
def barlow_twins_grows_by_noise_alone(seed: int, wrong: float) -> Evidence:
    """Barlow Twins (ε = 0) does not see the scale of an output, and only finite steps change it:
    the squared norm of its weights grows by η² times the sum of its squared gradients, which on
    batches never vanish.
    """
    growth, squares = grown(400, 32, 0.0, 0.05, seed)
    return Evidence(error(growth, (0.05 * (1 + wrong)) ** 2 * squares))
