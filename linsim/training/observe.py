"""What is kept of a run: spectra of one linear layer (paper, section 4), of two and their alignment
(section 5), of any network.

Imbalance, identity residual and bound are those of `linsim.theory.alignment`, applied to the
measured weights.
"""

import itertools
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Float, PRNGKeyArray

from linsim import spectra
from linsim.arrays import Array
from linsim.theory import alignment
from linsim.training import models
from linsim.training.run import Run, Trained, train

Observables = dict[str, Array]
Block = Literal["clean", "noisy"]
BLOCKS: tuple[Block, ...] = ("clean", "noisy")
MOST_PAIRS = 7  # of adjacent layers


def simulate(
    run: Run, key: PRNGKeyArray, observe: Callable[[Run, Trained], Observables] | None = None
) -> Observables:
    """Train a run and observe it: arrays by the names of `linsim.sweeps.results.LONG_NAMES`, with
    the initial weights.

    Args: run; key of its initial weights, data and batches; observe: what to keep (default:
    `one_layer` or `two_layers`, by the number of layers). Traceable, so that it can be compiled,
    and mapped over runs that share their static part.
    Raises: ValueError for a run of more than two layers without `observe`.
    """
    if observe is None:
        if len(run.hidden) > 1:
            raise ValueError(f"say what to observe of {len(run.hidden) + 1} layers")
        observe = two_layers if run.hidden else one_layer
    return observe(run, train(run, key))


def residual(columns: Float[Array, "n b"], others: Float[Array, "n c"]) -> Float[Array, "n b"]:
    """`columns` less their projection onto the span of `others`. Args: (n, b), (n, c). Returns: (n,
    b).
    """
    basis, _ = jnp.linalg.qr(others)
    return columns - basis @ (basis.T @ columns)


def block_strength(w: Float[Array, "n d"], noisy_dims: int) -> Float[Array, "2"]:
    """Strength m per mode of the clean and of the noisy block of W's columns.

        m = |W_c|^2 / d_c   and   m = |V_n|^2 / d_n

    with V_n the part of W_n orthogonal to the columns of W_c. Sampling noise keeps writing small
    multiples of the clean columns into the noisy ones; V_n leaves them out, as the singular values
    of W do. Args: W (n, d), whose last `noisy_dims` columns are noisy. Returns: (2,), nan for an
    empty block.

    >>> block_strength(jnp.diag(jnp.array([2.0, 2.0, 0.5])), noisy_dims=1).tolist()
    [4.0, 0.25]
    """
    split = w.shape[1] - noisy_dims
    clean, noisy = w[:, :split], w[:, split:]
    return jnp.stack(
        [jnp.sum(block**2) / block.shape[1] for block in (clean, residual(noisy, clean))]
    )


def one_layer(run: Run, trained: Trained) -> Observables:
    """Spectra of a one-layer run at its T records, and W(0). Returns: arrays, T first."""
    trajectory, data_cov = trained
    (weights,) = trajectory.weights

    def at_one_time(w, x):
        return {
            "weight_singular_values": spectra.singular_values(w),
            "embedding_spectrum": jnp.maximum(spectra.eigenvalues(w @ data_cov @ w.T), 0.0),
            "contrast_eigenvalues": spectra.eigenvalues(x),
            "block_strength": block_strength(w, run.noisy_dims),
        }

    observed = jax.vmap(at_one_time)(weights, trajectory.contrast)
    return observed | _scalars(trained) | {"initial_weights": weights[0]}


def simulate_map(run: Run, key: PRNGKeyArray) -> Observables:
    """Train a run of any number of layers and observe their `product`. Traceable."""
    return simulate(run, key, product)


def product(run: Run, trained: Trained) -> Observables:
    """Spectra of the product of a run's layers at its T records, as `one_layer` of it. Returns:
    arrays, T first.
    """
    path = trained.trajectory
    weights = jax.vmap(models.product)(path.weights)
    return one_layer(run, trained._replace(trajectory=path._replace(weights=(weights,))))


def two_layers(run: Run, trained: Trained) -> Observables:
    """Spectra and alignment of a two-layer run at its T records, and its initial layers.

    imbalance_norm: |C|_2 of C = W1 W1^T - W2^T W2; identity_residual: of the alignment identity
    with the C that ought to be conserved, C(0) plus the tallied drift (nan for an optimiser whose
    drift is not tallied); mode_pull: v1_k^T X/N v1_k, what Theorem 3 calls the pull of a mode.
    Returns: arrays with a leading axis T.
    """
    trajectory, data_cov = trained
    first, second = trajectory.weights
    start = alignment.imbalance(first[0], second[0])
    drift = _tallied(run, trained, start)

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
            "embedding_spectrum": jnp.maximum(
                spectra.eigenvalues(product @ data_cov @ product.T), 0.0
            ),
            "alignment": spectra.alignment_matrix(w1, w2),
            "alignment_bound": alignment.alignment_bound(w1, w2, conserved),
            "imbalance_norm": jnp.linalg.norm(alignment.imbalance(w1, w2), 2),
            "identity_residual": alignment.identity_residual(w1, w2, conserved),
            "mode_pull": complete(pull),
        }

    observed = jax.vmap(at_one_time)(first, second, trajectory.contrast, drift)
    return observed | _scalars(trained) | {"initial_w1": first[0], "initial_w2": second[0]}


def network(params: models.Params, z: Float[Array, "N n"]) -> Observables:
    """Embedding spectrum of a network of any depth, and imbalance and alignment of every pair of
    adjacent layers.

    Args: params; its embeddings z of clean samples. Returns: arrays, those of pairs padded to
    MOST_PAIRS with nan.
    """
    pairs = list(itertools.pairwise(params))
    width = z.shape[1]

    def padded(values: list, shape: tuple[int, ...]) -> Float[Array, "..."]:
        return jnp.stack(
            [*values, *[jnp.full(shape, jnp.nan, z.dtype)] * (MOST_PAIRS - len(values))]
        )

    return {
        "embedding_spectrum": spectra.singular_values(z - jnp.mean(z, axis=0)) ** 2 / len(z),
        "pair_imbalance": padded(
            [jnp.linalg.norm(alignment.imbalance(*pair)) for pair in pairs], ()
        ),
        "pair_alignment": padded(
            [jnp.abs(jnp.diag(spectra.alignment_matrix(*pair))) for pair in pairs], (width,)
        ),
    }


def final_deviation(run: Run, trained: Trained) -> Float[Array, "n"]:
    """Standard deviations of the anchors' embeddings along their principal axes at the last record,
    largest first.
    """
    w = models.product(tuple(layer[-1] for layer in trained.trajectory.weights))
    return jnp.sqrt(jnp.maximum(spectra.eigenvalues(w @ run.moments().anchor @ w.T), 0.0))


def _scalars(trained: Trained) -> Observables:
    return {"loss": trained.trajectory.loss, "alpha_ii": trained.trajectory.alpha_ii}


def _tallied(run: Run, trained: Trained, start: Float[Array, "h h"]) -> Float[Array, "T h h"]:
    """The drift of C that the run has tallied: nothing along a flow, nan where descent did not
    tally it.
    """
    trajectory = trained.trajectory
    if trajectory.tally is not None:
        return trajectory.tally
    unknown = jnp.nan if run.solver == "descent" else 0.0
    return jnp.full((len(trajectory.loss), *start.shape), unknown, start.dtype)
