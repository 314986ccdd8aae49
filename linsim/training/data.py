"""Gaussian inputs and additive-noise view pairs, with their exact second moments (paper, sections 4
and 5).

Conventions: a batch is rows; `noise` is the standard deviation of the additive noise in the noisy
coordinates, in units of the data's; with one noisy view the anchor stays clean (the paper's
setting), with two both are noisy (SimCLR's, and the released code's).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, PRNGKeyArray

from linsim.arrays import Array
from linsim.training import noise
from linsim.training.names import Batches, NoiseShape, Views
from linsim.training.records import Real, record, static

Batch = Float[Array, "N d"]
Square = Float[Array, "d d"]


class Moments(NamedTuple):
    """Second moments of a pair of views: E[x x^T], E[x' x'^T], E[x x'^T], each (d, d)."""

    anchor: Square
    positive: Square
    cross: Square

    @property
    def step(self) -> Square:
        """Covariance of x' - x: the augmentation as the distance loss sees it."""
        return self.anchor + self.positive - self.cross - self.cross.T


def moments(data_cov: Square, noise_cov: Square, views: Views) -> Moments:
    """Exact second moments of a view pair.

        one: x = clean, x' = clean + noise;      two: x and x' = clean + independent noise

    Args: data_cov, noise_cov (d, d), the noise of one noisy view; views "one" or "two". Returns:
    Moments.
    """
    noisy = data_cov + noise_cov
    return Moments(noisy if views == "two" else data_cov, noisy, data_cov)


def variances(dim: int, exponent: Real) -> Float[Array, "d"]:
    """Variances of the coordinates k = 1..d of the clean data, a power law of mean 1.

        a_k = k^-p / mean_j j^-p

    Args: dim d; exponent p, 0 for isotropic data. Returns: (d,).

    >>> [round(float(a), 2) for a in variances(4, 1.0)]
    [1.92, 0.96, 0.64, 0.48]
    """
    powers = jnp.arange(1.0, dim + 1) ** -exponent
    return powers / jnp.mean(powers)


def block_covariance(dim: int, noisy_dims: int) -> Square:
    """Covariance of unit noise in the last `noisy_dims` of `dim` coordinates, none elsewhere.

    Source: paper, section 4.2 (the last 8 of 16). Raises: ValueError if the block does not fit.
    """
    if not 0 <= noisy_dims <= dim:
        raise ValueError(f"noisy_dims must lie between 0 and dim = {dim}; got {noisy_dims}")
    return np.diag((np.arange(dim) >= dim - noisy_dims).astype(float))


def noise_covariance(shape: NoiseShape, dim: int, noisy_dims: int) -> Square:
    """Covariance of one view's noise of amplitude 1.

    "block": `block_covariance`; "graded": in all coordinates, of standard deviations (1 + k/d)/2, k
    = 1..d.
    """
    if shape == "graded":
        return np.diag((0.5 + 0.5 * np.arange(1, dim + 1) / dim) ** 2)
    return block_covariance(dim, noisy_dims)


def factor(cov: Square) -> Float[Array, "rank d"]:
    """A factor F with F^T F = cov and no more rows than the rank, so that normal(rank) @ F has
    covariance cov.

    Args: cov (d, d), concrete (not traced). Raises: ValueError if cov is not symmetric positive
    semi-definite.
    """
    matrix = np.asarray(cov, dtype=np.float64)
    eigenvalues, vectors = np.linalg.eigh(matrix)
    rounding = (
        1e3
        * len(matrix)
        * np.finfo(jnp.asarray(cov).dtype).eps
        * max(np.abs(eigenvalues).max(initial=0), 1e-300)
    )
    if not np.allclose(matrix, matrix.T, atol=rounding) or eigenvalues.min(initial=0) < -rounding:
        raise ValueError("covariance must be symmetric and positive semi-definite")
    kept = eigenvalues > rounding
    return jnp.asarray(
        (vectors[:, kept] * np.sqrt(eigenvalues[kept])).T, dtype=jnp.asarray(cov).dtype
    )


def gaussian(key: PRNGKeyArray, count: int, cov_factor: Float[Array, "rank d"]) -> Batch:
    """Independent centred Gaussian rows with covariance F^T F. Args: key, count, F = `factor(cov)`.
    Returns: (count, d).
    """
    return _rows(noise.normal(key, (len(cov_factor), count), cov_factor.dtype), cov_factor)


def _rows(normals: Float[Array, "rank N"], cov_factor: Float[Array, "rank d"]) -> Batch:
    """Normals, a sample to a column as the closed form of the training step wants it, with
    covariance F^T F.
    """
    return (cov_factor.T @ normals).T


def view_pair(
    key: PRNGKeyArray, clean: Batch, noise_factor: Float[Array, "rank d"], views: Views
) -> tuple[Batch, Batch]:
    """Two views of each row by additive noise. Args: clean (N, d); noise_factor F (`factor`).
    Returns: x, x', each (N, d).
    """
    normals = noise.normal(
        key, (_noisy_views(views) * len(noise_factor), len(clean)), noise_factor.dtype
    )
    return _views(clean, normals, noise_factor)


def _noisy_views(views: Views) -> int:
    return 2 if views == "two" else 1


def _views(
    clean: Batch, normals: Float[Array, "_ N"], noise_factor: Float[Array, "rank d"]
) -> tuple[Batch, Batch]:
    """The anchors and their positives; normals (rank, N) for the positives' noise, or (2 rank, N)
    for the anchors' too.
    """
    rank = len(noise_factor)
    noisy = clean + _rows(normals[:rank], noise_factor)
    return (clean if len(normals) == rank else clean + _rows(normals[rank:], noise_factor)), noisy


def stratified_rows(key: PRNGKeyArray, count: int, total: int) -> Int[Array, "count"]:
    """`count` distinct row numbers out of `total`: one, uniformly, from each of `count` equal
    strata.

    On independent rows this is a uniform batch without replacement, at O(count) instead of a
    shuffle of the whole set. A repeated row would matter: a pair at distance zero dominates the
    softmax of the distance loss.
    """
    edges = np.arange(count + 1) * total // count
    return jnp.asarray(edges[:-1]) + jnp.floor(
        jax.random.uniform(key, (count,)) * jnp.asarray(np.diff(edges))
    ).astype(int)


@record
class Source:
    """Where a run's batches come from: a source called with a key gives the two views (x, x') of a
    batch.

    "fresh": new samples and new noise in every batch; "dataset": distinct rows of a fixed set of
    clean samples (`stratified_rows`) with new noise; "fixed": always the same batch, noise
    included. Made by `source`.
    """

    data_factor: Float[Array, "rank d"]
    noise_factor: Float[Array, "noise_rank d"]
    dataset: Batch | None = None
    pair: tuple[Batch, Batch] | None = None
    views: Views = static("one")
    batch_size: int = static(128)

    def __call__(self, key: PRNGKeyArray) -> tuple[Batch, Batch]:
        """The anchors x and their positives x' of one batch, each (batch_size, d)."""
        if self.pair is not None:
            return self.pair
        if self.dataset is not None:
            key_rows, key_views = jax.random.split(key)
            rows = stratified_rows(key_rows, self.batch_size, len(self.dataset))
            return view_pair(key_views, self.dataset[rows], self.noise_factor, self.views)
        rank = len(self.data_factor)
        count = rank + _noisy_views(self.views) * len(self.noise_factor)
        normals = noise.normal(key, (count, self.batch_size), self.data_factor.dtype)
        return _views(_rows(normals[:rank], self.data_factor), normals[rank:], self.noise_factor)

    def second_moment(self) -> Square:
        """E[x x^T] of the clean samples, (d, d): of the data set or batch where there is one, else
        the population's.
        """
        if self.dataset is None:
            return self.data_factor.T @ self.data_factor
        return self.dataset.T @ self.dataset / len(self.dataset)


def source(
    key: PRNGKeyArray,
    batches: Batches,
    data_factor: Float[Array, "rank d"],
    noise_factor: Float[Array, "noise_rank d"],
    *,
    views: Views,
    batch_size: int,
    dataset_size: int = 10_000,
) -> Source:
    """A `Source` of batches: "fresh", from a "dataset" of `dataset_size` clean samples, or one
    "fixed" batch.

    Args: key of the data set or fixed batch; batches; factors of the covariances of data and noise
    (`factor`); views; sizes.
    Raises: ValueError if the batch is larger than the data set, or `batches` is unknown.
    """
    key_data, key_noise = jax.random.split(key)
    held: dict = {
        "data_factor": data_factor,
        "noise_factor": noise_factor,
        "views": views,
        "batch_size": batch_size,
    }
    if batches == "fresh":
        return Source(**held)
    if batches == "dataset":
        if batch_size > dataset_size:
            raise ValueError(
                f"batch_size must not exceed dataset_size = {dataset_size}; got {batch_size}"
            )
        return Source(**held, dataset=gaussian(key_data, dataset_size, data_factor))
    if batches == "fixed":
        clean = gaussian(key_data, batch_size, data_factor)
        return Source(**held, dataset=clean, pair=view_pair(key_noise, clean, noise_factor, views))
    raise ValueError(f"batches {batches!r} is unknown; choose fresh, dataset or fixed")
