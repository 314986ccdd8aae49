"""How much has collapsed, and in which way."""

from typing import Literal

import numpy as np
from jaxtyping import Float

from linsim.arrays import Array, namespace


def collapsed_dimensions(
    spectrum: Float[Array, "*batch k"], threshold: float = 0.01, *, unit: float | None = None
) -> Float[Array, "*batch"]:
    """How many dimensions of a spectrum have collapsed: the one definition that all of linsim uses.

        #{k : s_k < threshold max_j s_j};   all of them if the largest is zero

    Source: this project, docs/theory.md, "Measures".

    Args:
        spectrum: Non-negative values in any order, shape (..., k): the singular values of weights,
            or the eigenvalues of a covariance.
        threshold: The fraction of the largest value below which a value counts as collapsed. A
            fraction of 0.01 of singular values corresponds to one of 0.0001 of the eigenvalues of
            a covariance, which scale as their squares.
        unit: A size to compare with instead of the largest value.

    Returns:
        The counts, whole numbers in floating point, shape (...); nan for a spectrum that holds a
        value that is not a number.

    Example:
        >>> import jax.numpy as jnp
        >>> int(collapsed_dimensions(jnp.array([1.0, 0.5, 0.001, 0.0])))
        2
        >>> int(collapsed_dimensions(jnp.array([1.0, 0.5, 0.001, 0.0]), 0.1, unit=10.0))
        3
    """
    xp = namespace(spectrum)
    largest = spectrum.max(axis=-1, keepdims=True)  # nan if any value is
    vanished = ~(spectrum >= threshold * (largest if unit is None else unit)) | (largest <= 0)
    counts = xp.where(xp.isnan(largest[..., 0]), xp.nan, vanished.sum(axis=-1))
    return xp.asarray(counts, dtype=spectrum.dtype)


KINDS = ("none", "dimensional", "complete")
COMPLETE = 0.01  # of the initial total variance
DIMENSIONAL = 1e-4  # of the largest variance: 1 % in standard deviation


def kinds_found(indices: np.ndarray) -> str:
    """The kinds of collapse that occur among several runs, in words.

    Source: this project, docs/theory.md, "Measures".

    Args:
        indices: One index into `KINDS` for each run, any shape.

    Returns:
        The names of the kinds that occur, in alphabetical order and joined by "or".

    Example:
        >>> import numpy as np
        >>> kinds_found(np.array([1, 2, 2])), kinds_found(np.array([0, 0]))
        ('complete or dimensional', 'none')
    """
    return " or ".join(sorted({KINDS[int(index)] for index in np.ravel(indices)}))


def collapse_kind(
    spectrum: np.ndarray,
    initial_variance: float,
    *,
    complete: float = COMPLETE,
    dimensional: float = DIMENSIONAL,
) -> Literal["none", "dimensional", "complete"]:
    """Which kind of collapse an embedding covariance shows.

        complete:      sum_k lambda_k < complete * (the same sum before training)
        dimensional:   otherwise, if any lambda_k < dimensional * max_j lambda_j
        none:          otherwise

    Source: this project, docs/theory.md, "Measures"; the kinds are those of the paper, section 3,
    Fig. 1.

    Args:
        spectrum: The eigenvalues lambda_k of the embedding covariance, shape (k,).
        initial_variance: Their sum before training, above zero.
        complete: The fraction of the initial variance below which the collapse is complete.
        dimensional: The fraction of the largest eigenvalue below which a dimension has collapsed.
            The default is 1 % in standard deviation.

    Returns:
        One of `KINDS`.

    Raises:
        ValueError: If a value is not finite, or the initial variance is not above zero.

    Example:
        >>> import numpy as np
        >>> spectra = ([1.0, 0.5], [1.0, 1e-9], [1e-9, 1e-9])
        >>> [collapse_kind(np.array(spectrum), initial_variance=1.0) for spectrum in spectra]
        ['none', 'dimensional', 'complete']
    """
    values = np.asarray(spectrum, dtype=float)
    if not (np.all(np.isfinite(values)) and np.isfinite(initial_variance) and initial_variance > 0):
        raise ValueError(
            "spectrum and initial variance must be finite and the latter above 0; "
            f"got {values}, {initial_variance}"
        )
    if values.sum() < complete * initial_variance:
        return "complete"
    return "dimensional" if np.any(values < dimensional * values.max()) else "none"
