"""The runs of the phase diagrams, and what theory says of each cell (distance loss, mean)."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import xarray as xr
from jaxtyping import PRNGKeyArray

from linsim.arrays import Array
from linsim.studies import theory
from linsim.studies.phase_diagram import PhaseModel, PhaseSettings
from linsim.studies.side_by_side import side_by_side
from linsim.studies.words import collapsed_count
from linsim.sweeps.engine import Engine
from linsim.sweeps.results import labelled
from linsim.sweeps.sweep import Arrays, Finish, Sweep
from linsim.theory import finite_batch, population
from linsim.theory.modes import Modes
from linsim.training import starts
from linsim.training.observe import BLOCKS, Observables, final_deviation
from linsim.training.run import Run, train
from linsim.training.views import mode_moments

FINE = 121  # points of the population's curves along each axis
TOLERANCE = 1e-3  # of the exact theory's flows, per step
ANCHORS = 128  # of the same, from a random start
POPULATION_TOLERANCE = 1e-6
CELLS = ("model", "noise", "init_scale", "seed")
LAYERS = ("initial_w1", "initial_w2")


def fixed_run(settings: PhaseSettings, model: PhaseModel) -> Run:
    """What the runs of one panel share."""
    one_layer = Run(
        learning_rate=end_time(settings, model) / settings.steps,
        dim=settings.dim,
        noisy_dims=settings.noisy_dims,
        views="two" if model == "two-views" else "one",
        batch_size=settings.batch_size,
        record_at=(0, settings.steps),
    )
    if depth(model) == 1:
        return one_layer
    start = starts.Imbalanced(decay=0.0) if model == "two-layers" else starts.Spectral()
    return replace(one_layer, start=start, hidden=(settings.dim,))


def depth(model: PhaseModel) -> int:
    """Number of layers of a panel's model."""
    return 2 if model in ("two-layers", "two-layers-random") else 1


def end_time(settings: PhaseSettings, model: PhaseModel) -> float:
    """Time at which a panel is looked at."""
    return settings.one_layer_time if depth(model) == 1 else settings.two_layer_time


def simulate(run: Run, key: PRNGKeyArray) -> Observables:
    """Train a run: final embedding_deviation, initial layers, alpha_ii and loss. Traceable."""
    trained = train(run, key)
    trajectory = trained.trajectory
    layers = {f"initial_w{number}": layer[0] for number, layer in enumerate(trajectory.weights, 1)}
    observed = {"embedding_deviation": final_deviation(run, trained)} | layers
    return observed | {"alpha_ii": trajectory.alpha_ii, "loss": trajectory.loss}


def own_flows(engine: Engine) -> Finish[Run]:
    """The population flow of every run that starts at random, for which no balanced flow is known,
    beside its layers; of others no layers.
    """
    from_start = theory.flows(_flow, LAYERS, ("embedding_deviation",), engine)
    unknown = theory.unknown(("embedding_deviation",))

    def finish(runs: Run, measured: Arrays) -> Mapping[str, Array]:
        if isinstance(runs.start, starts.Spectral):
            return from_start(runs, measured)
        found = unknown(runs, measured)
        return {name: array for name, array in found.items() if not name.startswith("initial")}

    return finish


def _flow(run: Run, *layers: Array) -> Observables:
    trained = theory.population_flow(run, *layers, tolerance=POPULATION_TOLERANCE)
    return {"embedding_deviation": final_deviation(run, trained)}


def axes(settings: PhaseSettings) -> dict[str, list[float]]:
    """The grid: noise evenly spaced, initial scale evenly on a log scale."""
    return {
        "noise": np.linspace(*settings.noise_range, settings.grid[0]).tolist(),
        "init_scale": np.geomspace(*settings.scale_range, settings.grid[1]).tolist(),
    }


def sweep(settings: PhaseSettings, engine: Engine) -> Sweep[Run]:
    """All panels' runs, over models, noise and initial scale."""
    panels = {model: fixed_run(settings, model) for model in settings.models}
    return Sweep(
        axes={"model": settings.models, **axes(settings)},
        make=lambda model, noise, init_scale: replace(
            panels[model], noise=noise, init_scale=init_scale
        ),
        simulate=simulate,
        seed=settings.seed,
        seeds=settings.seeds,
        finish=own_flows(engine),
        kept="final deviation, population flow and random layers",
        coords={"step": ("time", [0, settings.steps])},
    )


def variances(
    settings: PhaseSettings, model: PhaseModel, noise: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Anchor variance a and noise variance c of a clean and a noisy mode, each (2, noises)."""
    views = fixed_run(settings, model).views
    blocks = [mode_moments(amplitude**2, views)[:2] for amplitude in (0 * noise, noise)]
    a, c = (
        np.stack([np.broadcast_to(values, noise.shape) for values in pair])
        for pair in zip(*blocks, strict=True)
    )
    return a, c


def predicted_deviation(
    settings: PhaseSettings, model: PhaseModel, noise: np.ndarray, scale: np.ndarray
) -> np.ndarray:
    """sqrt(a) w at the end of the balanced population flow: (2 blocks, noise, init_scale); nan for
    the random start.
    """
    if model == "two-layers-random":
        return np.full((2, len(noise), len(scale)), np.nan)
    a, c = (values[:, :, None] for values in variances(settings, model, noise))
    times = np.array([end_time(settings, model)])
    w = population.balanced_flow(scale ** depth(model), times, depth(model), a, c)[0]
    return np.sqrt(a) * w


def escape_boundary(settings: PhaseSettings, model: PhaseModel, noise: np.ndarray) -> np.ndarray:
    """Initial scale from which a block of two balanced layers escapes in time, w0 = scale^2 =
    1/(2 lambda(0) t); nan without one: (2 blocks, noise).
    """
    rate = np.asarray(population.growth_rate(*variances(settings, model, noise)))
    if model != "two-layers":
        return np.full(rate.shape, np.nan)
    return np.sqrt(1 / (2 * np.where(rate > 0, rate, np.nan) * end_time(settings, model)))


def _theory(dataset: xr.Dataset, settings: PhaseSettings) -> xr.DataArray:
    """`at_batch_size` of all panels, beside what was measured."""
    measured = dataset["embedding_deviation"].transpose(*CELLS, "mode")
    found = []
    for model in settings.models:
        layers = [
            dataset[name].sel(model=model).transpose(*CELLS[1:], ...).values
            for name in LAYERS
            if name in dataset
        ]
        panel = at_batch_size(fixed_run(settings, model), settings, layers)
        found.append(np.broadcast_to(panel, measured.shape[1:]))
    return measured.copy(data=np.stack(found))


def _population(dataset: xr.Dataset, settings: PhaseSettings) -> xr.DataArray:
    """The same in infinite batches: from random starts what was integrated, else balanced flows."""
    own = dataset["population_embedding_deviation"].transpose(*CELLS, "mode").copy()
    for model in set(settings.models) - {"two-layers-random"}:
        blocks = predicted_deviation(settings, model, *map(np.asarray, axes(settings).values()))
        groups, _ = theory.mode_groups(fixed_run(settings, model))
        own.loc[{"model": model}] = theory.spectrum(groups, np.moveaxis(blocks, 0, -1))[:, :, None]
    return own


def near_boundary(counts: np.ndarray) -> np.ndarray:
    """Cells (x, y) of which a neighbour, diagonal ones too, has another count."""
    padded = np.pad(counts, 1, mode="edge")
    rows, columns = counts.shape
    shifts = [padded[i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
    return np.any([shift != counts for shift in shifts], axis=0)


def _count(deviation: xr.DataArray, settings: PhaseSettings) -> xr.DataArray:
    return collapsed_count(deviation, settings.cutoff, unit=1.0)


def at_batch_size(run: Run, settings: PhaseSettings, layers: Sequence[np.ndarray]) -> np.ndarray:
    """Final deviations in every cell by the theory of this batch size, (noise, init_scale, seed,
    d), with one seed if all start alike.

    It is the flow of small steps: at these learning rates finite ones move no count, and would take
    twice the time.
    Args: a run of the panel; settings; initial layers of the runs that start at random, (noise,
    init_scale, seed, ...) each.
    """
    grid = axes(settings).values()
    cells = [replace(run, noise=n, init_scale=s) for n, s in itertools.product(*grid)]
    if isinstance(run.start, starts.Spectral):
        runs = [cell for cell in cells for _ in range(settings.seeds)]
        found = _random(runs, [layer.reshape(-1, *layer.shape[3:]) for layer in layers])
    else:
        found = _balanced(cells)
    return found.reshape(*settings.grid, -1, settings.dim)


def _balanced(runs: Sequence[Run]) -> np.ndarray:
    """Of runs that start with equal singular values, (R, d)."""
    calls = []
    for run in runs:
        groups, _ = theory.mode_groups(run)
        layers = len(run.hidden) + 1
        calls.append(
            {
                "times": np.asarray(run.times, dtype=float),
                "start": np.full(len(groups), float(run.init_scale) ** (2 * layers)),
                "groups": groups,
                "batch_size": run.batch_size,
                "depth": layers,
                "tolerance": TOLERANCE,
            }
        )
    flows = side_by_side(finite_batch.flow, calls)
    return np.stack([_deviations(c["groups"], m[-1]) for c, m in zip(calls, flows, strict=True)])


def _deviations(groups: Sequence[Modes], strengths: np.ndarray) -> np.ndarray:
    """Embeddings' standard deviations, largest first, (d,). Args: groups; strengths (G,)."""
    variance = np.array([group.variance for group in groups])
    return theory.spectrum(groups, np.sqrt(variance * strengths))


def _random(runs: Sequence[Run], layers: Sequence[np.ndarray]) -> np.ndarray:
    """Of two layers with one clean view, from their own start, (R, d)."""
    paths = theory.layers_in_time(
        runs,
        list(zip(*layers, strict=True)),
        learning_rate=0.0,
        anchors=ANCHORS,
        tolerance=TOLERANCE,
        stiff=True,
    )
    first, second = (np.stack([path[layer][-1] for path in paths]) for layer in (0, 1))
    return np.linalg.svd(second @ first, compute_uv=False)


def compare(dataset: xr.Dataset, settings: PhaseSettings) -> xr.Dataset:
    """`dataset` with measured and predicted counts, the predicted boundary's cells, and the
    population's curves on a finer grid.
    """
    noise, scale = map(np.asarray, axes(settings).values())
    fine_noise, fine_scale = (
        np.linspace(noise[0], noise[-1], FINE),
        np.geomspace(scale[0], scale[-1], FINE),
    )
    dataset = dataset.assign(
        theory_embedding_deviation=_theory(dataset, settings),
        population_embedding_deviation=_population(dataset, settings),
    )
    counts = {
        f"{prefix}collapsed": (CELLS, _count(dataset[f"{prefix}embedding_deviation"], settings))
        for prefix in ("", "theory_", "population_")
    }
    near = xr.apply_ufunc(
        near_boundary,
        counts["theory_collapsed"][1],
        input_core_dims=[["noise", "init_scale"]],
        output_core_dims=[["noise", "init_scale"]],
        vectorize=True,
    )
    arrays = {
        name: (dims, count.transpose(*dims).values)
        for name, (dims, count) in (counts | {"near_boundary": (CELLS, near)}).items()
    }
    curves = [
        predicted_deviation(settings, model, fine_noise, fine_scale) for model in settings.models
    ]
    escapes = [escape_boundary(settings, model, fine_noise) for model in settings.models]
    added = {
        **arrays,
        "predicted_deviation": (("model", "block", "fine_noise", "fine_init_scale"), curves),
        "escape_boundary": (("model", "block", "fine_noise"), escapes),
        "end_time": (("model",), [end_time(settings, model) for model in settings.models]),
    }
    coords = {"block": list(BLOCKS), "fine_noise": fine_noise, "fine_init_scale": fine_scale}
    return dataset.merge(labelled(added, coords), combine_attrs="override")
