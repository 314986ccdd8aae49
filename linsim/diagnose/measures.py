"""From moments to spectra and the measures of collapse, each of them one of `linsim.spectra`."""

import dataclasses
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linsim import spectra
from linsim.diagnose.moments import Moments
from linsim.spectra.ranks import rankme_of

Values = dict[str, float]


class Label(NamedTuple):
    """How a measure is named in tables, and the number of digits of a count."""

    text: str
    digits: str = ".4g"


LABELS = {
    "rankme": Label("RankMe (uncentred)"),
    "effective_rank": Label("effective rank (centred singular values)"),
    "participation_ratio": Label("participation ratio (covariance)"),
    "stable_rank": Label("stable rank (centred)"),
    "alpha_req": Label("alpha-ReQ (covariance)"),
    "deviation_ratio": Label("largest / smallest standard deviation"),
    "variance_share": Label("variance / mean squared norm"),
    "rankme_centred": Label("RankMe, centred"),
    "rankme_eigenvalues": Label("RankMe of covariance eigenvalues"),
    "numerical_rank": Label("directions above rounding (centred)", ".0f"),
    "components_90": Label("components for 90 % of the variance", ".0f"),
    "components_95": Label("components for 95 % of the variance", ".0f"),
    "components_99": Label("components for 99 % of the variance", ".0f"),
    "mean_cosine": Label("mean cosine between samples"),
    "normalised_deviation": Label("deviation of unit vectors (1: even)"),
    "uniformity": Label("uniformity (unit vectors, t = 2)"),
    "alignment": Label("alignment of pairs (unit vectors)"),
    "lidar": Label("LiDAR of pairs"),
}
NO_ISOTROPIC = ("variance_share", "mean_cosine", "alignment", "lidar", "uniformity")


@dataclasses.dataclass(frozen=True)
class Spectra:
    """Singular values of embeddings, and what rounding can have made of them."""

    count: int
    width: int
    centred: Float[np.ndarray, "p"]
    """Of the centred matrix, largest first, min(N - 1, d) of them, in units of 2^exponent."""
    uncentred: Float[np.ndarray, "q"]
    """Of the matrix itself, min(N, d) of them."""
    cut: float
    """Centred singular values at most this are rounding."""
    exponent: int

    @property
    def real(self) -> Float[np.ndarray, "p"]:
        """Centred singular values, those that are rounding set to zero."""
        return np.where(self.centred > self.cut, self.centred, 0.0)

    @property
    def eigenvalues(self) -> Float[np.ndarray, "p"]:
        """Of the covariance (divided by N) in units of 4^exponent."""
        return self.real**2 / self.count

    @property
    def deviations(self) -> Float[np.ndarray, "p"]:
        """Standard deviations along the principal axes, in the units of the embeddings."""
        return np.ldexp(self.real / np.sqrt(self.count), self.exponent)


def spectra_of(moments: Moments) -> Spectra:
    """The singular values of all samples, centred and not, from one factor.

    Rounding is max(N, d) eps s_1 + 2 eps sqrt(N) |mean| of the computation, and what the type of
    the values rounds away: entries that err by a unit roundoff u of their size make singular values
    of at most about u rms(z) (sqrt(N) + sqrt(d)).
    """
    moments.flush()
    count, width = moments.count, moments.width
    offset = np.sqrt(count) * moments.mean
    centred = np.linalg.svd(moments.factor, compute_uv=False)[: min(count - 1, width)]
    whole = np.linalg.svd(np.vstack([moments.factor, offset]), compute_uv=False)
    whole = whole[: min(count, width)]
    rms = np.sqrt(np.sum(whole**2) / (count * width))
    largest = float(centred[0]) if len(centred) else 0.0
    computed = np.finfo(float).eps * (max(count, width) * largest + 2 * np.linalg.norm(offset))
    stored = moments.roundoff * rms * (np.sqrt(count) + np.sqrt(width))
    return Spectra(
        count, width, centred, whole, max(float(computed), float(stored)), moments.exponent or 0
    )


def of_spectra(found: Spectra) -> tuple[Values, spectra.PowerLaw | None]:
    """The measures that spectra decide; nan where there is no variance to measure.

    Returns: values by name, and the fit behind alpha-ReQ.
    """
    real, eigenvalues = found.real, found.eigenvalues
    values = dict.fromkeys(LABELS, np.nan)
    if found.uncentred[0] > 0:
        values["rankme"] = float(rankme_of(found.uncentred))
        values["variance_share"] = float(np.sum(real**2) / np.sum(found.uncentred**2))
    values["numerical_rank"] = float(np.count_nonzero(real))
    if not real.any():
        return values, None
    fit = spectra.power_law(eigenvalues, cut=0.0)
    smallest = real[real > 0][-1]
    values |= {
        "effective_rank": float(spectra.effective_rank(real)),
        "participation_ratio": float(spectra.participation_ratio(eigenvalues)),
        "stable_rank": float(np.sum((real / real[0]) ** 2)),
        "alpha_req": float(fit.exponent),
        "deviation_ratio": float(real[0] / smallest),
        "rankme_centred": float(rankme_of(found.centred)),
        "rankme_eigenvalues": float(rankme_of(found.centred, squared=True)),
    } | {
        f"components_{share}": float(spectra.components(eigenvalues, share / 100))
        for share in (90, 95, 99)
    }
    return values, fit


def of_units(moments: Moments) -> Values:
    """Mean cosine and deviation of the unit-normalised embeddings, from running sums."""
    count = moments.count
    total, squares = moments.unit_sum, moments.unit_square
    variance = squares / count - (total / count) ** 2
    variance = np.where(variance > 8 * np.finfo(float).eps * squares / count, variance, 0.0)
    return {
        "mean_cosine": float((total @ total - squares.sum()) / (count * (count - 1.0))),
        "normalised_deviation": float(np.mean(np.sqrt(variance)) * np.sqrt(moments.width)),
    }


def isotropic(count: int, width: int) -> Values:
    """What the measures of N samples of isotropic data are, by the law of Marchenko and Pastur."""
    known = count - 1  # the mean takes one
    values = np.sqrt(spectra.isotropic_spectrum(known, width) * known)
    found = Spectra(count, width, values, values, 0.0, 0)
    told = of_spectra(found)[0]
    return {name: np.nan if name in NO_ISOTROPIC else value for name, value in told.items()} | {
        "normalised_deviation": 1.0
    }
