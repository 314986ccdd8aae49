"""What theory says about the very runs that are trained: the flow of infinitely many samples from
each run's own start.

With each study's `compare` and with `linsim.claims`, the place where theory and simulation meet. A
run whose loss has no theory, or whose optimiser is not plain gradient descent, gets nan, and tables
say that nothing is known of it.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from linsim.arrays import Array
from linsim.sweeps.engine import Engine
from linsim.sweeps.sweep import Arrays, Finish
from linsim.training import dynamics, observe, optimizers
from linsim.training.dynamics import Trajectory
from linsim.training.loss import SolvedLoss
from linsim.training.observe import Observables
from linsim.training.run import Run, Trained, population_drive

TOLERANCE = 1e-8  # of the population flows


def covers(run: Run) -> bool:
    """Whether there is a theory of a run's training: of its loss, under plain descent, with linear
    layers.
    """
    return (
        isinstance(run.loss, SolvedLoss)
        and optimizers.is_plain_descent(run.optimizer)
        and run.activation == "linear"
    )


def silence(run: Run) -> str:
    """Why theory is silent about a run, in words; empty if it is not."""
    if not isinstance(run.loss, SolvedLoss):
        return f"no theory is known for the {type(run.loss).__name__.lower()} loss"
    if not optimizers.is_plain_descent(run.optimizer):
        return "the theory is that of plain gradient descent, without momentum, adaptation or decay"
    return ""


def population_flow(run: Run, *layers: Array, tolerance: float | None = None) -> Trained:
    """The flow of infinitely many samples from given initial layers, at the run's own records;
    float64, traceable.
    """
    step = TOLERANCE if tolerance is None else tolerance
    flow: Trajectory = dynamics.gradient_flow(
        layers, population_drive(run), run.times, tolerance=step
    )
    return Trained(flow, jnp.eye(run.dim))


def flows(
    flow: Callable[..., Observables], starts: tuple[str, ...], kept: tuple[str, ...], engine: Engine
) -> Finish[Any]:
    """A theory of every run of a chunk from its own initial weights, in float64, beside what was
    measured.

    Args: flow(run, *initial weights) -> observables; names of the measured initial weights; names
    of the observables to keep, as `population_<name>`; the engine. Returns: what a `Sweep` takes as
    `finish`.
    """

    def wide(tree: Any) -> Any:
        return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), tree)

    compiled = engine.vectorised(lambda run, *start: flow(run, *wide(start)))

    def finish(runs: Any, measured: Arrays) -> Mapping[str, Array]:
        with jax.enable_x64(True):
            observed = compiled(runs, *(measured[name] for name in starts))
            return {**measured, **{f"population_{name}": observed[name] for name in kept}}

    return finish


def one_layer_flows(fixed: Run, engine: Engine) -> Finish[Run]:
    """`flows` of one layer. Args: a run of the sweep, for its static part; the engine."""
    kept = ("weight_singular_values", "embedding_spectrum", "block_strength", "loss")
    if not covers(fixed):
        return unknown(kept)
    return flows(
        lambda run, w: observe.one_layer(run, population_flow(run, w)),
        ("initial_weights",),
        kept,
        engine,
    )


def two_layer_flows(fixed: Run, engine: Engine) -> Finish[Run]:
    """`flows` of two layers."""
    kept = ("w1_singular_values", "w2_singular_values", "embedding_spectrum")
    if not covers(fixed):
        return unknown(kept)

    def flow(run: Run, w1: Array, w2: Array) -> Observables:
        return observe.two_layers(replace(run, solver="population"), population_flow(run, w1, w2))

    return flows(flow, ("initial_w1", "initial_w2"), kept, engine)


def unknown(kept: tuple[str, ...]) -> Finish[Any]:
    """A `finish` that puts nan where theory is silent."""

    def finish(_: Any, measured: Arrays) -> Mapping[str, Array]:
        return {
            **measured,
            **{f"population_{name}": jnp.full_like(measured[name], jnp.nan) for name in kept},
        }

    return finish
