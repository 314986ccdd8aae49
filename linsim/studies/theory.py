"""What theory says about the very runs that are trained, from each run's own start: the exact mean
dynamics at its batch size and learning rate, and the flow of infinitely many samples.

With each study's `compare` and with `linsim.claims`, the place where theory and simulation meet. A
run whose loss has no theory, or whose optimiser is not plain gradient descent, gets nan, and tables
say that nothing is known of it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy

from linsim.arrays import Array
from linsim.studies.side_by_side import as_they_end, in_order
from linsim.sweeps.engine import Engine
from linsim.sweeps.sweep import Arrays, Finish
from linsim.theory import batch_noise, finite_batch
from linsim.theory.modes import Modes
from linsim.training import data, dynamics, observe, optimizers
from linsim.training.dynamics import Trajectory
from linsim.training.loss import Distance, Dot, Loss, SolvedLoss
from linsim.training.observe import Observables
from linsim.training.run import Run, Trained, population_drive
from linsim.training.starts import Balanced, Orthogonal
from linsim.training.views import block_modes, equal_modes

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


def any_batch_size(run: Run) -> bool:
    """Whether the exact theory of any batch size is drawn for a run: descent on changing batches.

    With two noisy views it is known from any start, but takes minutes unless coordinates are modes;
    so does that of the dot loss, which is drawn for blocks of equal modes.
    """
    if not (covers(run) and isinstance(run.loss, SolvedLoss) and run.loss.any_batch_size):
        return False
    if run.solver != "descent" or run.batches == "fixed":
        return False
    if isinstance(run.loss, Dot):
        return has_blocks(run) and (not run.hidden or has_modes(run))
    return run.views == "one" or has_modes(run)


def temperature(loss: Loss) -> float | None:
    """The temperature that the exact theory of a run's batch size is given: the dot loss's, else
    None.
    """
    return float(loss.temperature) if isinstance(loss, Dot) else None


def has_blocks(run: Run) -> bool:
    """Whether the modes of a block are equal: isotropic data, and one strength of noise."""
    return run.noise_shape == "block" and bool(run.data_exponent == 0)


def has_modes(run: Run) -> bool:
    """Whether coordinates are modes: W^T W starts as a multiple of the identity, and stays diagonal
    as the covariances of data and noise are.
    """
    if run.noise_shape != "block":
        return False
    if run.hidden:
        return isinstance(run.start, Balanced) and run.start.decay == 0
    return isinstance(run.start, Orthogonal)


def is_degenerate(run: Run) -> bool:
    """Whether all modes of a block of one layer are equal, and start alike."""
    return not run.hidden and has_modes(run) and has_blocks(run)


def has_flow_of_modes(run: Run) -> bool:
    """Whether `population_modes` is the flow of infinitely many samples of a run."""
    return covers(run) and has_modes(run) and not is_degenerate(run)


def is_known_to_first_order(run: Run) -> bool:
    """Whether `linsim.theory.minibatch`, which adds the noise of minibatches, is of this run."""
    return any_batch_size(run) and is_degenerate(run)


def mode_groups(run: Run) -> tuple[list[Modes], list[int]]:
    """The groups of equal modes of the clean and of the noisy block, and to which of the two each
    belongs: one group a block if the data are isotropic, else one a coordinate.
    """
    clean = run.dim - run.noisy_dims
    noise = 0.0, float(run.noise)
    if run.data_exponent == 0:
        return block_modes(noise, (clean, run.noisy_dims), run.views)
    block = [int(k >= clean) for k in range(run.dim)]
    found = [
        equal_modes(noise[b], 1, run.views, float(variance))
        for variance, b in zip(data.variances(run.dim, run.data_exponent), block, strict=True)
    ]
    return found, block


def block_means(values: np.ndarray, groups: Sequence[Modes], block: Sequence[int]) -> np.ndarray:
    """Mean over the modes of the clean and of the noisy block, nan without modes. Args: values of
    groups of modes (T, G); these; the block of each. Returns: (T, 2).
    """
    means = np.full((len(values), 2), np.nan)
    for b in set(block):
        own = [g for g, other in enumerate(block) if other == b]
        means[:, b] = np.average(values[:, own], axis=1, weights=[groups[g].count for g in own])
    return means


def spectrum(groups: Sequence[Modes], values: np.ndarray) -> np.ndarray:
    """Values of groups of modes, (..., G), as those of all their modes, largest first, (..., d)."""
    return np.sort(values[..., batch_noise.members(groups)], axis=-1)[..., ::-1]


def layers_in_time(
    runs: Sequence[Run], layers: Sequence[tuple[np.ndarray, ...]], **options: Any
) -> list[tuple[np.ndarray, ...]]:
    """The layers of runs at their records by the exact theory, finite steps included, each (T, out,
    in), from given initial ones. Options: of `finite_batch.layer_flow`.
    """
    return in_order(begin_layers_in_time(runs, layers, **options))


def begin_layers_in_time(
    runs: Sequence[Run], layers: Sequence[tuple[np.ndarray, ...]], **options: Any
) -> Iterable[tuple[int, tuple[np.ndarray, ...]]]:
    """`layers_in_time`, begun in other processes if there are several: what `as_they_end`
    returns.
    """
    calls = [
        {"layers": start, **_circumstances(run), **options}
        for run, start in zip(runs, layers, strict=True)
    ]
    return as_they_end(finite_batch.layer_flow, calls)


def _circumstances(run: Run) -> dict[str, Any]:
    """What `finite_batch.layer_flow` needs to know of a run beside its initial layers."""
    with jax.enable_x64(True):
        moments = run.moments()
        anchor, step, cross = (
            np.asarray(matrix) for matrix in (moments.anchor, moments.step, moments.cross)
        )
    return {
        "times": np.asarray(run.times, dtype=float),
        "data_cov": anchor,
        "noise_cov": step,
        "covariance": cross - anchor,
        "batch_size": run.batch_size,
        "learning_rate": float(run.learning_rate),
    }


def single_runs(runs: Any) -> list[Any]:
    """The runs of a chunk, one by one. Args: runs stacked along their first axis."""
    number = len(jax.tree.leaves(runs)[0])
    return [jax.tree.map(lambda leaf, i=i: leaf[i], runs) for i in range(number)]


def population_flow(run: Run, *layers: Array, tolerance: float | None = None) -> Trained:
    """The flow of infinitely many samples from given initial layers, at the run's own records;
    float64, traceable.
    """
    step = TOLERANCE if tolerance is None else tolerance
    flow: Trajectory = dynamics.gradient_flow(
        layers, population_drive(run), run.times, tolerance=step
    )
    return Trained(flow, run.data_cov())


def population_modes(
    run: Run, groups: Sequence[Modes], start: np.ndarray, times: np.ndarray
) -> np.ndarray:
    """The strengths of modes in time, in infinitely large batches and at small learning rates.

        d ln(m_g)/dt = 2 L m_g^(1 - 1/L) X_g

    of L balanced layers, X the contrast matrix of infinite batches, which is diagonal as W^T W is.

    Args: run with a `SolvedLoss`; groups; their strengths at times[0], (G,); times (T,). Returns:
    (T, G).
    """
    assert isinstance(run.loss, SolvedLoss)
    loss, depth = run.loss, len(run.hidden) + 1
    anchor, step, cross = (
        np.array([getattr(group, name) for group in groups])
        for name in ("variance", "noise_variance", "covariance")
    )
    moments = data.Moments(*map(np.diag, (anchor, anchor + step + 2 * cross, anchor + cross)))

    def velocity(_, log_m: np.ndarray) -> np.ndarray:
        m = np.exp(log_m)
        x = np.diag(loss.population_drive(np.diag(np.sqrt(m)), moments).contrast)
        return 2 * depth * m ** (1 - 1 / depth) * x

    ends = times[0], times[-1]
    with jax.enable_x64(True):
        solution = scipy.integrate.solve_ivp(
            velocity, ends, np.log(start), "LSODA", times, rtol=TOLERANCE, atol=TOLERANCE
        )
    if not solution.success:
        raise ArithmeticError(f"the flow could not be integrated: {solution.message}")
    return np.exp(solution.y.T)


def flows(
    flow: Callable[..., Observables], starts: tuple[str, ...], kept: tuple[str, ...], engine: Engine
) -> Finish[Any]:
    """A theory of every run of a chunk from its own initial weights, in float64, beside what was
    measured.

    Args: flow(run, *initial weights) -> observables, a function of a module; names of the measured
    initial weights; names of the observables to keep, as `population_<name>`; the engine. Returns:
    what a `Sweep` takes as `finish`.
    """

    def wide(tree: Any) -> Any:
        return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), tree)

    compiled = engine.vectorised(flow)

    def finish(runs: Any, measured: Arrays) -> Mapping[str, Array]:
        with jax.enable_x64(True):
            observed = compiled(runs, *(wide(measured[name]) for name in starts))
            return {**measured, **{f"population_{name}": observed[name] for name in kept}}

    return finish


def one_layer_flows(fixed: Run, engine: Engine) -> Finish[Run]:
    """`flows` of one layer, unless its coordinates are modes and each has a flow of its own
    (`linsim.theory.population.balanced_flow`, `population_modes`).

    Args: a run of the sweep, for its static part; the engine.
    """
    kept = ("weight_singular_values", "embedding_spectrum", "block_strength", "loss")
    first_order = is_known_to_first_order(fixed) and isinstance(fixed.loss, Distance)
    if first_order or has_flow_of_modes(fixed):
        return lambda _, measured: measured
    if not covers(fixed):
        return unknown(kept)
    return flows(_one_layer_flow, ("initial_weights",), kept, engine)


def _one_layer_flow(run: Run, w: Array) -> Observables:
    return observe.one_layer(run, population_flow(run, w))


def two_layer_flows(fixed: Run, engine: Engine) -> Finish[Run]:
    """`flows` of two layers, and beside them the exact theory of their batch size where it is
    known.
    """
    kept = ("w1_singular_values", "w2_singular_values", "embedding_spectrum")
    limit, exact = unknown(kept), unknown((*kept, "alignment"), prefix="theory_")
    if covers(fixed):
        limit = flows(_two_layer_flow, ("initial_w1", "initial_w2"), kept, engine)
    if any_batch_size(fixed):
        return lambda runs, measured: two_layers_at_batch_size(runs, measured, limit)
    return lambda runs, measured: exact(runs, limit(runs, measured))


def _two_layer_flow(run: Run, w1: Array, w2: Array) -> Observables:
    return observe.two_layers(replace(run, solver="population"), population_flow(run, w1, w2))


def two_layers_at_batch_size(
    runs: Any, measured: Arrays, limit: Finish[Any]
) -> Mapping[str, Array]:
    """Adds `theory_` observables of every two-layer run of a chunk, by the exact theory from its
    own initial weights, and beside it what `limit` adds.
    """
    starts = np.asarray(measured["initial_w1"]), np.asarray(measured["initial_w2"])
    begun = begin_layers_in_time(single_runs(runs), list(zip(*starts, strict=True)))
    more = limit(runs, measured)
    found = [_two_layers(path) for path in in_order(begun)]
    return {**more, **{name: np.stack([one[name] for one in found]) for name in found[0]}}


def _two_layers(layers: tuple[np.ndarray, ...]) -> dict[str, np.ndarray]:
    """What is observed of two layers in time, (T, ...)."""
    first, second = layers
    u1, s1, _ = np.linalg.svd(first)
    _, s2, v2 = np.linalg.svd(second)
    hidden = first.shape[1]
    return {
        "theory_w1_singular_values": _padded(s1, hidden),
        "theory_w2_singular_values": _padded(s2, hidden),
        "theory_embedding_spectrum": np.linalg.svd(second @ first, compute_uv=False) ** 2,
        "theory_alignment": v2 @ u1,
    }


def _padded(values: np.ndarray, length: int) -> np.ndarray:
    return np.pad(values, ((0, 0), (0, length - values.shape[1])))


def unknown(kept: tuple[str, ...], prefix: str = "population_") -> Finish[Any]:
    """A `finish` that puts nan where theory is silent."""

    def finish(_: Any, measured: Arrays) -> Mapping[str, Array]:
        return {
            **measured,
            **{f"{prefix}{name}": jnp.full_like(measured[name], jnp.nan) for name in kept},
        }

    return finish
