"""The runs of the phase diagrams, and what theory says of each cell (distance loss, mean)."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import xarray as xr
from jaxtyping import PRNGKeyArray

from linsim.arrays import Array
from linsim.studies import theory
from linsim.studies.phase_diagram import PhaseModel, PhaseSettings
from linsim.studies.words import collapsed_count
from linsim.sweeps.engine import Engine
from linsim.sweeps.results import labelled
from linsim.sweeps.sweep import Arrays, Finish, Sweep
from linsim.theory import population
from linsim.training import data, starts
from linsim.training.observe import BLOCKS, Observables, final_deviation
from linsim.training.run import Run, train

FINE = 121  # points of the theory's curves along each axis
OWN_FLOW = "population_embedding_deviation"  # by the population flow from the run's own start
TOLERANCE = 1e-6  # of that flow
DECAY = 0.35  # of the random start's singular values


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
    start = starts.Imbalanced(decay=0.0) if model == "two-layers" else starts.Spectral(decay=DECAY)
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
    """The population flow of every run that starts at random, for which no balanced flow is known;
    in place of its layers.
    """

    def flow(run: Run, *layers: Array) -> Observables:
        trained = theory.population_flow(run, *layers, tolerance=TOLERANCE)
        return {"embedding_deviation": final_deviation(run, trained)}

    from_start = theory.flows(flow, ("initial_w1", "initial_w2"), ("embedding_deviation",), engine)
    unknown = theory.unknown(("embedding_deviation",))

    def finish(runs: Run, measured: Arrays) -> Mapping[str, Array]:
        found = (from_start if isinstance(runs.start, starts.Spectral) else unknown)(runs, measured)
        return {name: array for name, array in found.items() if not name.startswith("initial")}

    return finish


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
        kept="final deviation and population flow",
        coords={"step": ("time", [0, settings.steps])},
    )


def start(settings: PhaseSettings, model: PhaseModel, scale: np.ndarray) -> np.ndarray:
    """Singular value w0 of the product of the initial layers; for the random start the geometric
    mean of s1_k s2_k.
    """
    decay = DECAY if model == "two-layers-random" else 0.0
    return scale ** depth(model) * np.exp(-decay * (settings.dim - 1))


def variances(
    settings: PhaseSettings, model: PhaseModel, noise: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Anchor variance a and noise variance c of a clean and a noisy mode, each (2, noises)."""
    views = fixed_run(settings, model).views
    blocks = [data.mode_moments(amplitude**2, views)[:2] for amplitude in (0 * noise, noise)]
    a, c = (
        np.stack([np.broadcast_to(values, noise.shape) for values in pair])
        for pair in zip(*blocks, strict=True)
    )
    return a, c


def predicted_deviation(
    settings: PhaseSettings, model: PhaseModel, noise: np.ndarray, scale: np.ndarray
) -> np.ndarray:
    """sqrt(a) w at the end of the balanced population flow: (2 blocks, noise, init_scale)."""
    a, c = (values[:, :, None] for values in variances(settings, model, noise))
    times = np.array([end_time(settings, model)])
    w = population.balanced_flow(start(settings, model, scale), times, depth(model), a, c)[0]
    return np.sqrt(a) * w


def escape_boundary(settings: PhaseSettings, model: PhaseModel, noise: np.ndarray) -> np.ndarray:
    """Initial scale from which a block escapes in time, w0 = 1/(2 lambda(0) t); nan without one: (2
    blocks, noise).
    """
    rate = np.asarray(population.growth_rate(*variances(settings, model, noise)))
    if depth(model) == 1:
        return np.full(rate.shape, np.nan)
    w0 = 1 / (2 * np.where(rate > 0, rate, np.nan) * end_time(settings, model))
    return np.sqrt(w0 / start(settings, model, np.ones(1)))


def near_boundary(counts: np.ndarray) -> np.ndarray:
    """Cells (x, y) of which a neighbour, diagonal ones too, has another count."""
    padded = np.pad(counts, 1, mode="edge")
    rows, columns = counts.shape
    shifts = [padded[i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
    return np.any([shift != counts for shift in shifts], axis=0)


def _count(deviation: xr.DataArray, settings: PhaseSettings) -> xr.DataArray:
    return collapsed_count(deviation, settings.cutoff, unit=1.0)


def compare(dataset: xr.Dataset, settings: PhaseSettings) -> xr.Dataset:
    """`dataset` with measured and predicted counts, the boundary's cells, and the theory's curves
    on a finer grid.
    """
    noise, scale = map(np.asarray, axes(settings).values())
    fine_noise, fine_scale = (
        np.linspace(noise[0], noise[-1], FINE),
        np.geomspace(scale[0], scale[-1], FINE),
    )
    dims = np.array([settings.dim - settings.noisy_dims, settings.noisy_dims])
    deviation = np.stack(
        [predicted_deviation(settings, model, noise, scale) for model in settings.models]
    )
    counts = np.einsum("mbns,b->mns", deviation < settings.cutoff, dims)
    curves = np.stack(
        [predicted_deviation(settings, model, fine_noise, fine_scale) for model in settings.models]
    )
    cells = ("model", "noise", "init_scale")
    added = {
        "collapsed": (
            (*cells, "seed"),
            _count(dataset["embedding_deviation"], settings).transpose(*cells, "seed"),
        ),
        "population_collapsed": (
            (*cells, "seed"),
            _count(dataset[OWN_FLOW], settings).transpose(*cells, "seed"),
        ),
        "predicted_collapsed": (cells, counts),
        "near_boundary": (
            cells,
            np.stack([near_boundary(panel) for panel in counts]).astype(np.int8),
        ),
        "predicted_deviation": (("model", "block", "fine_noise", "fine_init_scale"), curves),
        "escape_boundary": (
            ("model", "block", "fine_noise"),
            [escape_boundary(settings, model, fine_noise) for model in settings.models],
        ),
        "end_time": (("model",), [end_time(settings, model) for model in settings.models]),
    }
    coords = {"block": list(BLOCKS), "fine_noise": fine_noise, "fine_init_scale": fine_scale}
    return dataset.merge(labelled(added, coords), combine_attrs="override")
