"""One run of a one-layer linear model, from settings to observables (paper, section 4)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float, PRNGKeyArray

from linsim import contrast, data, dynamics, models, spectra
from linsim.arrays import Array
from linsim.config import LinearConfig
from linsim.dynamics import Trajectory

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


def simulate(config: LinearConfig, steps: np.ndarray) -> Callable[..., Observables]:
    """The run (key, *, noise, init_scale) -> observables at `steps`, and the initial weights; traceable."""
    data_factor = data.factor(np.eye(config.dim))
    block_factor = data.factor(data.block_covariance(config.dim, config.noisy_dims))
    drive = contrast.named(config.loss, config.temperature)
    initialise = getattr(models, config.init)

    def run(key: PRNGKeyArray, *, noise: Float[Array, ""], init_scale: Float[Array, ""]) -> Observables:
        key_init, key_data, key_steps = jax.random.split(key, 3)
        params = initialise(key_init, (config.dim, config.dim), init_scale)
        sample, data_cov = data.sampler(
            key_data,
            config.batches,
            data_factor,
            noise * block_factor,
            views=config.views,
            batch_size=config.batch_size,
            dataset_size=config.dataset_size,
        )
        optimizer = optax.sgd(config.learning_rate)
        trajectory = dynamics.gradient_descent(params, lambda w, k: drive(w, *sample(k)), optimizer, steps, key_steps)
        return observe(trajectory, data_cov, config.noisy_dims) | {"initial_weights": params[0]}

    return run
