"""One run of a linear model, from settings to observables: one layer (paper, section 4) or two (section 5).

Imbalance, identity residual and bound are those of `linsim.theory.alignment`, applied to the measured weights.
"""

from collections.abc import Callable
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float, PRNGKeyArray

from linsim import contrast, data, dynamics, models, spectra
from linsim.arrays import Array
from linsim.config import at
from linsim.dynamics import Trajectory
from linsim.settings import LinearConfig, TwoLayerConfig
from linsim.theory import alignment

Observables = dict[str, Array]
BLOCKS = ("clean", "noisy")


def residual(columns: Float[Array, "n b"], others: Float[Array, "n c"]) -> Float[Array, "n b"]:
    """`columns` less their projection onto the span of `others`. Args: (n, b), (n, c). Returns: (n, b)."""
    basis, _ = jnp.linalg.qr(others)
    return columns - basis @ (basis.T @ columns)


def observe(trajectory: Trajectory, data_cov: Float[Array, "d d"], noisy_dims: int) -> Observables:
    """Spectra of a one-layer trajectory at its T recorded times.

    With W = (W_c, W_n) by clean and noisy coordinates, and V_n the part of W_n orthogonal to the image of W_c:
    block_strength: m = |W_c|^2 / d_c and |V_n|^2 / d_n per mode. Sampling noise keeps writing small multiples of the
    clean columns into the noisy ones; V_n leaves them out, as the singular values of W do.
    Args: trajectory; data_cov, second moment of the clean data behind the embedding spectrum; noisy_dims, the last ones.
    Returns: arrays by the names of `results.LONG_NAMES`, leading axis T; nan for an empty block.
    """
    (weights,) = trajectory.weights
    split = len(data_cov) - noisy_dims

    def at_one_time(w, x):
        clean, noisy = w[:, :split], w[:, split:]
        blocks = clean, residual(noisy, clean)
        return {
            "weight_singular_values": spectra.singular_values(w),
            "embedding_spectrum": jnp.maximum(spectra.eigenvalues(w @ data_cov @ w.T), 0.0),
            "contrast_eigenvalues": spectra.eigenvalues(x),
            "block_strength": jnp.stack([jnp.sum(block**2) / block.shape[1] for block in blocks]),
        }

    observed = jax.vmap(at_one_time)(weights, trajectory.contrast)
    return observed | {"loss": trajectory.loss, "alpha_ii": trajectory.alpha_ii}


def observe_layers(trajectory: Trajectory, data_cov: Float[Array, "d d"]) -> Observables:
    """Spectra and alignment of a two-layer trajectory at its T recorded times.

    imbalance_norm: |C|_2 of C = W1 W1^T - W2^T W2; identity_residual: of the alignment identity with the C that ought to be
    conserved, C(0) plus the tallied drift; mode_pull: v1_k^T X/N v1_k, what Theorem 3 calls the pull of a mode.
    Args: trajectory, its tally the drift of C (None: no drift); data_cov behind the embedding spectrum.
    Returns: arrays by the names of `results.LONG_NAMES`, leading axis T.
    """
    first, second = trajectory.weights
    start = alignment.imbalance(first[0], second[0])
    drift = jnp.zeros((len(trajectory.loss), *start.shape)) if trajectory.tally is None else trajectory.tally

    def complete(values):
        """One value per mode of the hidden space; zero where a layer has no rank."""
        return jnp.zeros(len(start), values.dtype).at[: len(values)].set(values)

    def at_one_time(w1, w2, x, drift):
        conserved, product = start + drift, w2 @ w1
        v1 = jnp.linalg.svd(w1, full_matrices=False)[2].T
        pull = jnp.einsum("dk,de,ek->k", v1, x, v1)
        return {
            "w1_singular_values": complete(spectra.singular_values(w1)),
            "w2_singular_values": complete(spectra.singular_values(w2)),
            "embedding_spectrum": jnp.maximum(spectra.eigenvalues(product @ data_cov @ product.T), 0.0),
            "alignment": spectra.alignment_matrix(w1, w2),
            "alignment_bound": alignment.alignment_bound(w1, w2, conserved),
            "imbalance_norm": jnp.linalg.norm(alignment.imbalance(w1, w2), 2),
            "identity_residual": alignment.identity_residual(w1, w2, conserved),
            "mode_pull": complete(pull),
        }

    observed = jax.vmap(at_one_time)(first, second, trajectory.contrast, drift)
    return observed | {"loss": trajectory.loss, "alpha_ii": trajectory.alpha_ii}


def two_layers(config: TwoLayerConfig, key: PRNGKeyArray, scale: float | Float[Array, ""]) -> models.Params:
    """The initial layers (W1 (hidden, dim), W2 (dim, hidden)) of a configuration."""
    widths = (config.dim, config.hidden, config.dim)
    if config.init == "gaussian":
        return models.gaussian(key, widths, scale)
    values = scale * jnp.exp(-config.decay * jnp.arange(min(widths)))
    if config.init == "balanced":
        return models.imbalanced(key, widths, values**2, config.kappa)
    return models.spectral(key, widths, values)


def noise_covariance(config: TwoLayerConfig) -> Float[Array, "d d"]:
    """Covariance of one view's noise at --noise 1: the block, or standard deviations (1 + k/d)/2, k = 1..d."""
    if config.noise_shape == "graded":
        return np.diag((0.5 + 0.5 * np.arange(1, config.dim + 1) / config.dim) ** 2)
    return data.block_covariance(config.dim, config.noisy_dims)


def _sampler(config: LinearConfig, key: PRNGKeyArray, noise_cov: Float[Array, "d d"]) -> tuple[data.Sampler, Float[Array, "d d"]]:
    """`data.sampler` of a configuration with one (maybe traced) value of noise, isotropic clean data."""
    return data.sampler(
        key,
        config.batches,
        data.factor(np.eye(config.dim)),
        cast(Array, config.noise) * data.factor(noise_cov),
        views=config.views,
        batch_size=config.batch_size,
        dataset_size=config.dataset_size,
    )


def train_layers(config: TwoLayerConfig, steps: np.ndarray, key: PRNGKeyArray) -> tuple[Trajectory, Float[Array, "d d"]]:
    """One two-layer run of a configuration with one value of noise and init_scale: trajectory, clean data's covariance."""
    key_init, key_data, key_steps = jax.random.split(key, 3)
    params = two_layers(config, key_init, cast(Array, config.init_scale))
    sample, data_cov = _sampler(config, key_data, noise_covariance(config))
    batch_drive = contrast.named(config.loss, config.temperature)

    def drive(w, k):
        return batch_drive(w, *sample(k))

    def drift(params, gradient):
        w1, w2 = params
        return alignment.imbalance_drift(w1, w2, gradient, config.learning_rate)

    if config.solver == "flow":
        times = steps * config.learning_rate
        return dynamics.gradient_flow(params, lambda w: drive(w, key_steps), times, tolerance=config.tolerance), data_cov
    optimizer = optax.sgd(config.learning_rate)
    return dynamics.gradient_descent(params, drive, optimizer, steps, key_steps, tally=drift), data_cov


def train_one_layer(config: LinearConfig, steps: np.ndarray, key: PRNGKeyArray) -> tuple[Trajectory, Float[Array, "d d"]]:
    """One run of one layer, as `train_layers`."""
    key_init, key_data, key_steps = jax.random.split(key, 3)
    params = getattr(models, config.init)(key_init, (config.dim, config.dim), config.init_scale)
    sample, data_cov = _sampler(config, key_data, data.block_covariance(config.dim, config.noisy_dims))
    drive = contrast.named(config.loss, config.temperature)
    optimizer = optax.sgd(config.learning_rate)
    return dynamics.gradient_descent(params, lambda w, k: drive(w, *sample(k)), optimizer, steps, key_steps), data_cov


def simulate_layers(config: TwoLayerConfig, steps: np.ndarray) -> Callable[..., Observables]:
    """The two-layer run (key, **fields of the configuration) -> observables at `steps`; traceable."""

    def run(key: PRNGKeyArray, **point: Float[Array, ""]) -> Observables:
        trajectory, data_cov = train_layers(at(config, **point), steps, key)
        w1, w2 = (weights[0] for weights in trajectory.weights)
        return observe_layers(trajectory, data_cov) | {"initial_w1": w1, "initial_w2": w2}

    return run


def simulate(config: LinearConfig, steps: np.ndarray) -> Callable[..., Observables]:
    """The one-layer run (key, **fields of the configuration) -> observables at `steps`, and the initial weights; traceable."""

    def run(key: PRNGKeyArray, **point: Float[Array, ""]) -> Observables:
        trajectory, data_cov = train_one_layer(at(config, **point), steps, key)
        return observe(trajectory, data_cov, config.noisy_dims) | {"initial_weights": trajectory.weights[0][0]}

    return run
