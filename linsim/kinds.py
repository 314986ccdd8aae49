"""Kinds of collapse: one linear layer with and without negatives, predictor and stop-gradient (paper, section 3, Figure 1).

Every objective sees the same data: all coordinates are augmented, the last ones strongly.
"""

from collections.abc import Callable
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from jaxtyping import Float, PRNGKeyArray

from linsim import data, dynamics, losses, models, spectra, train
from linsim.arrays import Array
from linsim.config import KindsConfig
from linsim.results import labelled
from linsim.runs import Observables
from linsim.sweep import Also, Columns, Engine
from linsim.theory import noncontrastive, population

SHOWN = 256  # samples in the scatter plots
TOLERANCE = 1e-8  # of the population flows
Pair = tuple[Float[Array, "n d"], Float[Array, "n n"]]


def noise_factor(config: Any) -> np.ndarray:
    """Standard deviations of one view's noise, as a diagonal (d, d)."""
    strong = np.arange(config.dim) >= config.dim - config.noisy_dims
    return np.diag(np.where(strong, config.noise, config.base_noise))


def loss(objective: str) -> Callable[[Pair, Float[Array, "N d"], Float[Array, "N d"]], Float[Array, ""]]:
    """The mean loss ((W, Wp), x, x') of an objective, without weight decay; objectives without a predictor ignore Wp."""
    halved = losses.alignment_only

    def regress(params, x, x_pos):
        w, wp = params
        return halved(x @ w.T @ wp.T, jax.lax.stop_gradient(x_pos @ w.T))

    return {
        "infonce-two-views": lambda p, x, x_pos: losses.infonce(x @ p[0].T, x_pos @ p[0].T) / len(x),
        "infonce-one-view": lambda p, x, x_pos: losses.infonce(x @ p[0].T, x_pos @ p[0].T) / len(x),
        "alignment-only": lambda p, x, x_pos: halved(x @ p[0].T, x_pos @ p[0].T),
        "predictor": regress,
        "no-stop-gradient": lambda p, x, x_pos: halved(x @ p[0].T @ p[1].T, x_pos @ p[0].T),
        "no-predictor": lambda p, x, x_pos: halved(x @ p[0].T, jax.lax.stop_gradient(x_pos @ p[0].T)),
    }[objective]


def decay(config: Any) -> float:
    """Weight decay of a configuration's objective: only those with a stop-gradient or a predictor have any."""
    return 0.0 if config.objective in ("infonce-two-views", "infonce-one-view", "alignment-only") else config.weight_decay


def views(config: Any) -> data.Views:
    """Noisy views of a configuration's objective."""
    return "one" if config.objective == "infonce-one-view" else "two"


def start(config: Any, key: PRNGKeyArray) -> Pair:
    """Random orthogonal W of --init-scale, and a predictor balanced with it, Wp^T Wp = W W^T, plus --imbalance times I."""
    (w,) = models.orthogonal(key, (config.dim, config.dim), config.init_scale)
    return w, (config.init_scale + config.imbalance) * jnp.eye(config.dim, dtype=w.dtype)


def rates(config: Any) -> Callable[[Pair], Pair]:
    """The population flow of a configuration's objective: (W, Wp) -> their rates."""
    noise = noise_factor(config) ** 2
    clean = np.eye(config.dim)
    eta = {"ratio": 1.0, "weight_decay": decay(config)}

    def contrastive(params):
        w, wp = params
        moments = data.moments(clean, noise, views(config))
        return w @ population.contrast_matrix(w, moments.anchor, moments.step), jnp.zeros_like(wp)

    flows: dict[str, Callable[[Pair], Pair]] = {
        "alignment-only": lambda p: (-p[0] @ (2 * noise), jnp.zeros_like(p[1])),
        "predictor": lambda p: noncontrastive.predictor_rates(*p, clean, noise, **eta),
        "no-stop-gradient": lambda p: noncontrastive.joint_rates(*p, clean, noise, **eta),
        "no-predictor": lambda p: (noncontrastive.no_predictor_rate(p[0], noise, decay(config)), jnp.zeros_like(p[1])),
    }
    return flows.get(config.objective, contrastive)


def flow(config: Any, times: np.ndarray, params: Pair) -> Pair:
    """(W, Wp) of the population flow at `times`, float64; diffrax Dopri8."""
    field = rates(config)
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda _, y, __: field(y)),
        diffrax.Dopri8(),
        t0=times[0],
        t1=times[-1],
        dt0=None,
        y0=params,
        saveat=diffrax.SaveAt(ts=jnp.asarray(times)),
        stepsize_controller=diffrax.PIDController(rtol=TOLERANCE, atol=TOLERANCE),
        max_steps=1_000_000,
    )
    return solution.ys  # type: ignore[return-value]


def simulate(config: Any, steps: np.ndarray) -> Callable[..., Observables]:
    """One run (key) of a configuration with one objective -> observables at `steps`; traceable."""
    objective = loss(config.objective)

    def run(key: PRNGKeyArray, **_point: Any) -> Observables:
        key_init, key_data, key_steps, key_show = jax.random.split(key, 4)
        params = start(config, key_init)
        sizes = {"views": views(config), "batch_size": config.batch_size}
        factor = data.factor(noise_factor(config) ** 2)
        sample, _ = data.sampler(key_data, "fresh", data.factor(np.eye(config.dim)), factor, **sizes)

        def gradient(params, step_key):
            value, towards = jax.value_and_grad(objective)(params, *sample(step_key))
            return towards, value, None

        optimizer = optax.chain(optax.add_decayed_weights(decay(config)), optax.sgd(config.learning_rate))
        (w, _predictor), values, _ = dynamics.descend(params, gradient, optimizer, steps, key_steps)
        x = data.gaussian(key_show, SHOWN, data.factor(np.eye(config.dim)))
        axes = jnp.linalg.svd(w[-1])[0]
        return {
            "embedding_spectrum": jax.lax.map(lambda one: spectra.singular_values(one) ** 2, w),
            "scatter": (x @ w[-1].T @ axes)[:, jnp.array([0, 1, -2, -1])],
            "initial_weights": w[0],
            "loss": values,
        }

    return run


def flows(config: Any, times: np.ndarray, where: Engine) -> Also:
    """The population flow of every run from its own start, in float64."""

    def spectrum(w: Float[Array, "n d"]) -> Observables:
        predictor = (config.init_scale + config.imbalance) * jnp.eye(config.dim)
        followed, _ = flow(config, times, (w, predictor))
        return {"spectrum": jax.lax.map(lambda one: spectra.singular_values(one) ** 2, followed)}

    compiled = where.vectorised(spectrum)

    def also(values: Columns, measured: Columns) -> Columns:
        with jax.enable_x64(True):
            start = np.asarray(measured["initial_weights"], dtype=np.float64)
            return {"population_embedding_spectrum": np.asarray(compiled(start)["spectrum"])}

    return also


def runs(config: KindsConfig, where: Engine) -> xr.Dataset | None:
    """All runs: Dataset over (objective, seed, time, ..), or None if chunks are missing."""
    return train.grid(simulate, config, {"objective": config.objective}, where, also=flows)


def compare(dataset: xr.Dataset, config: KindsConfig) -> xr.Dataset:
    """`dataset` with each run's kind of collapse, measured and of its population flow."""
    judged = {
        name: xr.apply_ufunc(
            lambda spectrum, total: spectra.KINDS.index(
                spectra.collapse_kind(spectrum, total, complete=config.complete, dimensional=config.dimensional)
            ),
            dataset[source].isel(time=-1),
            dataset[source].isel(time=0).sum("mode"),
            input_core_dims=[["mode"], []],
            vectorize=True,
        )
        for name, source in (("kind", "embedding_spectrum"), ("population_kind", "population_embedding_spectrum"))
    }
    return dataset.merge(labelled({name: (("objective", "seed"), kind.values) for name, kind in judged.items()}, {}))
