"""Spectral measures of collapse, one definition each, for weights, representations and embeddings.

A spectrum is the list of the singular values of a weight matrix, or of the eigenvalues of a
covariance. Covariances are centred and divided by N, and entropies use the natural logarithm. Every
measure takes one matrix or one spectrum; use `jax.vmap` over several.

Arrays of NumPy are measured in NumPy, in float64 if they are that, whatever JAX is set to; arrays
of JAX in JAX. Whole numbers and half precision are raised to float32 or more. A value that is not a
number makes every measure nan.

    matrices     singular values, eigenvalues, covariances
    ranks        how many dimensions a spectrum uses, by every name the field has for it
    collapse     collapsed dimensions, and the kind of collapse
    views        alignment, uniformity, cosines, LiDAR: measures of embeddings as points
    sampling     what spectra of a given number of isotropic samples look like
"""

from linsim.spectra.collapse import (
    COMPLETE,
    DIMENSIONAL,
    KINDS,
    collapse_kind,
    collapsed_dimensions,
    kinds_found,
)
from linsim.spectra.matrices import (
    alignment_matrix,
    covariance,
    covariance_spectrum,
    eigenvalues,
    numerical_rank,
    singular_values,
)
from linsim.spectra.ranks import (
    PowerLaw,
    alpha_req,
    components,
    effective_rank,
    participation_ratio,
    power_law,
    rankme,
    stable_rank,
)
from linsim.spectra.sampling import isotropic_spectrum, largest_certain, smallest_certain
from linsim.spectra.views import (
    alignment,
    lidar,
    mean_cosine,
    normalised_deviation,
    uniformity,
)

__all__ = [
    "COMPLETE",
    "DIMENSIONAL",
    "KINDS",
    "PowerLaw",
    "alignment",
    "alignment_matrix",
    "alpha_req",
    "collapse_kind",
    "collapsed_dimensions",
    "components",
    "covariance",
    "covariance_spectrum",
    "effective_rank",
    "eigenvalues",
    "isotropic_spectrum",
    "kinds_found",
    "largest_certain",
    "lidar",
    "mean_cosine",
    "normalised_deviation",
    "numerical_rank",
    "participation_ratio",
    "power_law",
    "rankme",
    "singular_values",
    "smallest_certain",
    "stable_rank",
    "uniformity",
]
