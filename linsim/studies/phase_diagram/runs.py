"""Phase diagrams: collapsed dimensions over noise x initial scale, measured and predicted (distance loss, mean).

A dimension has collapsed while its embeddings' standard deviation sqrt(a) w (anchor variance a, singular value w of the product
of the weights) is below `cutoff`. The distance loss has a unit of length, so that this needs no other dimension to compare with,
and a model of which nothing has grown yet counts as wholly collapsed.
"""

from collections.abc import Callable
from typing import Any, cast

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float, PRNGKeyArray

from linsim import data, dynamics, predictions, runs, spectra
from linsim.arrays import Array
from linsim.config import at
from linsim.models import product
from linsim.results import labelled
from linsim.runs import BLOCKS, Observables
from linsim.settings import LinearConfig, PhaseConfig, TwoLayerConfig
from linsim.sweep import Engine
from linsim.theory import population

FINE = 121  # points of the theory's curves along each axis
OWN_FLOW = "population_embedding_deviation"  # by the population flow from the run's own start


def setting(config: PhaseConfig, model: str) -> LinearConfig | TwoLayerConfig:
    """The configuration of one panel's runs."""
    fields: dict[str, Any] = {
        name: getattr(config, name) for name in ("preset", "steps", "batch_size", "dim", "noisy_dims", "seeds", "seed", "x64")
    }
    fields |= {"noise": (0.0,), "init_scale": (1.0,), "loss": "distance", "batches": "fresh"}
    fields |= {"views": "two" if model == "two-views" else "one", "learning_rate": time(config, model) / config.steps}
    if depth(model) == 1:
        return LinearConfig(**fields, init="orthogonal")
    if model == "two-layers":
        return TwoLayerConfig(**fields, init="balanced", decay=0.0, hidden=config.dim)
    return TwoLayerConfig(**fields, init="spectral", hidden=config.dim)


def depth(model: str) -> int:
    """Number of layers of a panel's model."""
    return 2 if model.startswith("two-layers") else 1


def time(config: PhaseConfig, model: str) -> float:
    """Time at which a panel is looked at."""
    return config.one_layer_time if depth(model) == 1 else config.two_layer_time


def simulate(config: PhaseConfig, model: str) -> Callable[..., Observables]:
    """One run of a panel (key, *, noise, init_scale) -> final embedding_deviation, alpha_ii, loss; traceable."""
    fixed, steps = setting(config, model), np.array([0, config.steps])
    train: Any = runs.train_layers if isinstance(fixed, TwoLayerConfig) else runs.train_one_layer
    block = data.block_covariance(config.dim, config.noisy_dims)

    def run(key: PRNGKeyArray, *, noise: Float[Array, ""], init_scale: Float[Array, ""]) -> Observables:
        point = at(fixed, noise=noise, init_scale=init_scale)
        trajectory, _ = train(point, steps, key)
        anchors = data.moments(jnp.eye(config.dim), noise**2 * block, fixed.views).anchor
        starts = {f"initial_w{number}": layer[0] for number, layer in enumerate(trajectory.weights, 1)}
        observed = {"embedding_deviation": _deviation(trajectory, anchors)} | starts
        return observed | {"alpha_ii": trajectory.alpha_ii, "loss": trajectory.loss}

    return run


def _deviation(trajectory: dynamics.Trajectory, anchors: Float[Array, "d d"]) -> Float[Array, "n"]:
    w = product(tuple(layer[-1] for layer in trajectory.weights))
    return jnp.sqrt(jnp.maximum(spectra.eigenvalues(w @ anchors @ w.T), 0.0))


def flow(config: PhaseConfig, model: str) -> Callable[..., Observables]:
    """The population flow of one run (noise, *initial layers) -> final embedding_deviation; float64, traceable."""
    fixed, block = setting(config, model), data.block_covariance(config.dim, config.noisy_dims)
    times = np.array([0.0, time(config, model)])

    def run(noise: Float[Array, ""], *layers: Float[Array, "_out _in"]) -> Observables:
        drive = predictions.population_drive(fixed, noise**2 * block)
        anchors = data.moments(jnp.eye(config.dim), noise**2 * block, fixed.views).anchor
        return {"embedding_deviation": _deviation(dynamics.gradient_flow(layers, drive, times, tolerance=1e-6), anchors)}

    return run


def axes(config: PhaseConfig) -> dict[str, list[float]]:
    """The grid: noise evenly spaced, initial scale evenly on a log scale."""
    return {
        "noise": np.linspace(*config.noise_range, config.grid[0]).tolist(),
        "init_scale": np.geomspace(*config.scale_range, config.grid[1]).tolist(),
    }


def train(config: PhaseConfig, where: Engine) -> xr.Dataset | None:
    """All panels' runs: Dataset over (model, noise, init_scale, seed), or None if chunks are missing."""
    coords = {"step": ("time", [0, config.steps])}
    panels = []
    for model in config.models:
        finish = None
        if model == "two-layers-random":  # no balanced flow to compare with
            finish = predictions.flows(
                flow(config, model), ("noise", "initial_w1", "initial_w2"), ("embedding_deviation",), where
            )
        panel = where.run(
            simulate(config, model), axes(config), seed=config.seed, seeds=config.seeds, coords=coords, finish=finish, label=model
        )
        if panel is not None:
            panel = panel.drop_vars([name for name in panel if str(name).startswith("initial")])
            panels.append(panel.assign({OWN_FLOW: panel.get(OWN_FLOW, np.nan * panel["embedding_deviation"])}))
    if len(panels) < len(config.models):
        return None
    models = xr.IndexVariable("model", list(config.models))
    return cast(xr.Dataset, xr.concat(panels, models, join="exact", combine_attrs="override"))


def start(config: PhaseConfig, model: str, scale: np.ndarray) -> np.ndarray:
    """Singular value w0 of the product of the initial layers; for the random start the geometric mean of s1_k s2_k."""
    fixed = setting(config, model)
    decay = fixed.decay * (config.dim - 1) if isinstance(fixed, TwoLayerConfig) else 0.0
    return scale ** depth(model) * np.exp(-decay)


def variances(config: PhaseConfig, model: str, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Anchor variance a and noise variance c of a clean and of a noisy mode, each (2, len(noise))."""
    blocks = [predictions.mode_moments(setting(config, model), amplitude)[:2] for amplitude in (0 * noise, noise)]
    a, c = (np.stack([np.broadcast_to(values, noise.shape) for values in pair]) for pair in zip(*blocks, strict=True))
    return a, c


def predicted_deviation(config: PhaseConfig, model: str, noise: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """sqrt(a) w at the end of the balanced population flow: (2 blocks, noise, init_scale)."""
    a, c = (values[:, :, None] for values in variances(config, model, noise))
    times = np.array([time(config, model)])
    w = population.balanced_flow(start(config, model, scale), times, depth(model), a, c)[0]
    return np.sqrt(a) * w


def escape_boundary(config: PhaseConfig, model: str, noise: np.ndarray) -> np.ndarray:
    """Initial scale from which a block escapes in time, w0 = 1/(2 lambda(0) t); nan without one: (2 blocks, noise)."""
    rate = np.asarray(population.growth_rate(*variances(config, model, noise)))
    if depth(model) == 1:
        return np.full(rate.shape, np.nan)
    w0 = 1 / (2 * np.where(rate > 0, rate, np.nan) * time(config, model))
    return np.sqrt(w0 / start(config, model, np.ones(1)))


def near_boundary(counts: np.ndarray) -> np.ndarray:
    """Cells (x, y) of which a neighbour, diagonal ones too, has another count."""
    padded = np.pad(counts, 1, mode="edge")
    rows, columns = counts.shape
    shifts = [padded[i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
    return np.any([shift != counts for shift in shifts], axis=0)


def _count(deviation: xr.DataArray, config: PhaseConfig) -> xr.DataArray:
    return (deviation < config.cutoff).sum("mode").where(deviation.notnull().all("mode"))


def compare(dataset: xr.Dataset, config: PhaseConfig) -> xr.Dataset:
    """`dataset` with measured and predicted counts, the boundary's cells, and the theory's curves on a finer grid."""
    noise, scale = map(np.asarray, axes(config).values())
    fine_noise, fine_scale = np.linspace(noise[0], noise[-1], FINE), np.geomspace(scale[0], scale[-1], FINE)
    dims = np.array([config.dim - config.noisy_dims, config.noisy_dims])
    deviation = np.stack([predicted_deviation(config, model, noise, scale) for model in config.models])
    counts = np.einsum("mbns,b->mns", deviation < config.cutoff, dims)
    curves = np.stack([predicted_deviation(config, model, fine_noise, fine_scale) for model in config.models])
    cells = ("model", "noise", "init_scale")
    added = {
        "collapsed": ((*cells, "seed"), _count(dataset["embedding_deviation"], config).transpose(*cells, "seed")),
        "population_collapsed": ((*cells, "seed"), _count(dataset[OWN_FLOW], config).transpose(*cells, "seed")),
        "predicted_collapsed": (cells, counts),
        "near_boundary": (cells, np.stack([near_boundary(panel) for panel in counts]).astype(np.int8)),
        "predicted_deviation": (("model", "block", "fine_noise", "fine_init_scale"), curves),
        "escape_boundary": (
            ("model", "block", "fine_noise"),
            [escape_boundary(config, model, fine_noise) for model in config.models],
        ),
        "end_time": (("model",), [time(config, model) for model in config.models]),
    }
    coords = {"block": list(BLOCKS), "fine_noise": fine_noise, "fine_init_scale": fine_scale}
    return dataset.merge(labelled(added, coords), combine_attrs="override")
