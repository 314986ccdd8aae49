"""Kinds of collapse: one linear layer with and without negatives, predictor and stop-gradient (paper, section 3, Figure 1).

Every objective sees the same data: all coordinates are augmented, the last ones strongly.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from jaxtyping import Float, PRNGKeyArray

from linsim import data, dynamics, losses, models, predictions, spectra, train
from linsim.arrays import Array
from linsim.results import labelled
from linsim.runs import Observables
from linsim.settings import KindsConfig
from linsim.sweep import Engine, Finish
from linsim.theory import noncontrastive, population

SHOWN = 256  # samples in the scatter plots
Pair = tuple[Float[Array, "n d"], Float[Array, "n n"]]


def noise_covariance(config: Any) -> np.ndarray:
    """Covariance of one view's noise, a diagonal (d, d)."""
    block = data.block_covariance(config.dim, config.noisy_dims)
    return config.base_noise**2 * (np.eye(config.dim) - block) + config.noise**2 * block


def loss(objective: str) -> Callable[[Pair, Float[Array, "N d"], Float[Array, "N d"]], Float[Array, ""]]:
    """The mean loss ((W, Wp), x, x') of an objective, without weight decay; objectives without a predictor ignore Wp."""
    halved, fixed = losses.alignment_only, jax.lax.stop_gradient

    def infonce(p, x, x_pos):
        return losses.infonce(x @ p[0].T, x_pos @ p[0].T) / len(x)

    others = {
        "alignment-only": lambda p, x, x_pos: halved(x @ p[0].T, x_pos @ p[0].T),
        "predictor": lambda p, x, x_pos: halved(x @ p[0].T @ p[1].T, fixed(x_pos @ p[0].T)),
        "no-stop-gradient": lambda p, x, x_pos: halved(x @ p[0].T @ p[1].T, x_pos @ p[0].T),
        "no-predictor": lambda p, x, x_pos: halved(x @ p[0].T, fixed(x_pos @ p[0].T)),
    }
    return others.get(objective, infonce)


def decay(config: Any) -> float:
    """Weight decay of a configuration's objective: only those with a stop-gradient or a predictor have any."""
    return 0.0 if config.objective in ("infonce-two-views", "infonce-one-view", "alignment-only") else config.weight_decay


def views(config: Any) -> data.Views:
    """Noisy views of a configuration's objective."""
    return "one" if config.objective == "infonce-one-view" else "two"


def predictor(config: Any) -> Float[Array, "n n"]:
    """The initial predictor: balanced with W(0), Wp^T Wp = W W^T, plus --imbalance times I."""
    return (config.init_scale + config.imbalance) * jnp.eye(config.dim)


def rates(config: Any) -> Callable[[Pair], Pair]:
    """The population flow of a configuration's objective: (W, Wp) -> their rates."""
    noise = noise_covariance(config)
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


def simulate(config: Any, steps: np.ndarray) -> Callable[..., Observables]:
    """One run (key) of a configuration with one objective -> observables at `steps`; traceable."""
    objective = loss(config.objective)

    def run(key: PRNGKeyArray, **_point: Any) -> Observables:
        key_init, key_data, key_steps, key_show = jax.random.split(key, 4)
        (start,) = models.orthogonal(key_init, (config.dim, config.dim), config.init_scale)
        clean, noise = data.factor(np.eye(config.dim)), data.factor(noise_covariance(config))
        sample, _ = data.sampler(key_data, "fresh", clean, noise, views=views(config), batch_size=config.batch_size)

        def gradient(params, step_key):
            value, towards = jax.value_and_grad(objective)(params, *sample(step_key))
            return towards, value, None

        optimizer = optax.chain(optax.add_decayed_weights(decay(config)), optax.sgd(config.learning_rate))
        (w, _), values, _ = dynamics.descend((start, predictor(config)), gradient, optimizer, steps, key_steps)
        x = data.gaussian(key_show, SHOWN, clean)
        axes = jnp.linalg.svd(w[-1])[0]
        return {
            "embedding_spectrum": spectrum(w),
            "scatter": (x @ w[-1].T @ axes)[:, jnp.array([0, 1, -2, -1])],
            "initial_weights": w[0],
            "loss": values,
        }

    return run


def spectrum(weights: Float[Array, "T n d"]) -> Float[Array, "T n"]:
    """Embedding covariance's eigenvalues of clean isotropic data, W W^T, at every record."""
    return jax.lax.map(lambda w: spectra.singular_values(w) ** 2, weights)


def flows(config: Any, times: np.ndarray, where: Engine) -> Finish:
    """The population flow of every run from its own start, in float64."""

    def flow(start: Float[Array, "n d"]) -> Observables:
        w, _ = dynamics.integrate(rates(config), (start, predictor(config)), times, tolerance=predictions.TOLERANCE)
        return {"embedding_spectrum": spectrum(w)}

    return predictions.flows(flow, ("initial_weights",), ("embedding_spectrum",), where)


def runs(config: KindsConfig, where: Engine) -> xr.Dataset | None:
    """All runs: Dataset over (objective, seed, time, ..), or None if chunks are missing."""
    return train.grid(simulate, config, {"objective": config.objective}, where, finish=flows)


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
