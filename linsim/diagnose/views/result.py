"""One result of `linsim.diagnose.views`: all values by direction, the verdict and its reasons."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from linsim.config import BadInput
from linsim.diagnose.reading.arrays import is_real, to_numpy
from linsim.diagnose.views import directions as generalised
from linsim.diagnose.views import measured, strengths
from linsim.diagnose.views import moments as estimate
from linsim.diagnose.views.settings import Settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from linsim.diagnose.views.trained import Trained

ROWS_PER_DIRECTION = 4
DIFFERENT = 4.0  # standard errors from which on the views are not draws of one augmentation
INTERVAL = 2.5, 97.5  # percentiles
OUTCOMES = ("lost", "too close to tell", "kept")
Spectrum = Float[np.ndarray, "k"]
Interval = Float[np.ndarray, "2 k"]


@dataclass(frozen=True)
class Views:
    """What theory says of k directions, largest ratio of noise to data variance first.

    settings; rows N and dimensions d; anchors that were taken ("first" or "both"); asymmetry: of
    the two views, in standard errors; moments and moment_errors: the estimated (d, d) matrices and
    the standard error of each entry; directions: vectors (d, k), ratios on all rows, covariances;
    unseen_ratios (k,) and unseen_interval (2, k): on rows that a direction was not found from;
    own: ratios of the pairs as they are, at the predicted map; decided (2, k):
    the interval that the outcome rests on; settled: strengths and loss where training ends;
    strength_interval (2, k); trained: what training gave, if it was asked for.
    """

    settings: Settings
    rows: int
    dimensions: int
    anchors: str
    asymmetry: float
    moments: estimate.Moments
    moment_errors: estimate.Moments
    directions: generalised.Directions
    unseen_ratios: Spectrum
    unseen_interval: Interval
    own: measured.Own
    settled: strengths.Settled
    strength_interval: Interval
    trained: "Trained | None" = None

    @classmethod
    def of(cls, x: Any, y: Any, settings: Settings) -> "Views":
        """The result for pairs of views. Raises: BadInput."""
        first, other, settings = _pairs(x, y, settings)
        asymmetry = estimate.asymmetry(first, other)
        anchors = settings.anchors
        if anchors == "auto":
            anchors = "both" if asymmetry < DIFFERENT else "first"
        taken = estimate.roles(first, other, anchors)
        found = estimate.moments(taken)
        frame = generalised.leading(found.data, settings.components)
        at = generalised.directions(found, frame)
        if not len(at.ratios):
            raise BadInput("the views are constant, and need directions in which they vary")
        settled = strengths.settled(at.ratios, at.covariances, settings.batch_size)
        rng = np.random.default_rng(settings.seed)
        unseen = generalised.unseen(taken, frame, len(at.ratios), settings.bootstrap, rng)
        own = measured.own_ratios(taken, at.vectors, settled.strengths, settings.batch_size, rng)
        return cls(
            settings,
            *first.shape,
            anchors,
            asymmetry,
            found,
            estimate.standard_errors(taken, found),
            at,
            unseen.ratios,
            _interval(unseen.samples),
            own,
            settled,
            _interval(settled.law.strengths(unseen.samples, unseen.covariances)),
            _trained(taken, at, settings) if settings.train else None,
        )

    @property
    def ratios(self) -> Spectrum:
        """Generalised eigenvalues r of (Sigma_n, Sigma) on all rows, (k,)."""
        return self.directions.ratios

    @property
    def strengths(self) -> Spectrum:
        """Settled strengths m: what embeddings keep of a direction of variance 1, (k,)."""
        return self.settled.strengths

    @property
    def decided(self) -> Interval:
        """The interval of each ratio that the outcome rests on: that of unseen rows, and the same
        times what the pairs' own ratio is of the Gaussian one, with two standard errors of its
        logarithm.
        """
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            factor = np.where(np.isfinite(self.ratios), self.own.ratios / self.ratios, 1.0)
            error = np.exp(2 * self.own.errors / self.own.ratios)
        known = np.isfinite(factor) & np.isfinite(error) & (factor > 0)
        low, high = (np.where(known, factor * error**sign, 1.0) for sign in (-1, 1))
        below, above = self.unseen_interval
        return np.stack([below * np.minimum(low, 1.0), above * np.maximum(high, 1.0)])

    @property
    def outcomes(self) -> np.ndarray:
        """ "lost", "kept" or "too close to tell" for every direction, (k,)."""
        low, high = self.decided
        named = np.where(low >= strengths.THRESHOLD, OUTCOMES[0], OUTCOMES[1])
        return np.where(high < strengths.THRESHOLD, OUTCOMES[2], named)

    @property
    def counts(self) -> dict[str, int]:
        """How many directions have each outcome."""
        return {name: int(np.sum(self.outcomes == name)) for name in OUTCOMES}

    @property
    def verdict(self) -> str:
        """One sentence."""
        lost, close, kept = self.counts.values()
        slow = self.settled.loss < strengths.CONDENSED and bool(np.any(self.ratios < 2))
        return (
            f"of {len(self.ratios)} directions {lost} would be lost under this augmentation, "
            f"{kept} kept, {close} too close to tell"
            + (", but training would hardly get there" if slow else "")
        )

    @property
    def reasons(self) -> tuple[str, ...]:
        """What the verdict rests on, and what limits it; sentences."""
        from linsim.diagnose.views.table import reasons

        return reasons(self)

    @property
    def patterns(self) -> Float[np.ndarray, "d k"]:
        """Sigma v: how the data look along each direction, and the augmentation alike (it is
        Sigma_n v / r).
        """
        bare = ~np.isfinite(self.ratios)
        seen = self.moments.data @ self.directions.vectors
        seen[:, bare] = self.moments.noise @ self.directions.vectors[:, bare]
        return seen

    def table(self) -> str:
        """The values as text, the verdict last."""
        from linsim.diagnose.views.table import table

        return table(self)

    def figure(self) -> "Figure":
        """Ratios with intervals and threshold, settled strengths, and directions as images."""
        from linsim.diagnose.views.figure import drawn

        return drawn(self)

    @property
    def columns(self) -> dict[str, list[Any]]:
        """The values by name, each with one entry for each direction, as plain numbers and texts;
        what is not finite is None or "inf".
        """
        values = {
            "ratio": self.ratios,
            "unseen_ratio": self.unseen_ratios,
            "unseen_low": self.unseen_interval[0],
            "unseen_high": self.unseen_interval[1],
            "own_ratio": self.own.ratios,
            "own_error": self.own.errors,
            "strength": self.strengths,
            "strength_low": self.strength_interval[0],
            "strength_high": self.strength_interval[1],
        }
        if self.trained is not None:
            values |= {"trained": self.trained.strengths, "trained_error": self.trained.errors}
        plain = {name: [_plain(v) for v in column] for name, column in values.items()}
        return {"outcome": self.outcomes.tolist(), **plain}

    def to_csv(self) -> str:
        """A line for each direction; what is not defined is left empty."""
        from linsim.studies.tabular import csv_of

        columns = self.columns
        rows = zip(*columns.values(), strict=True)
        return csv_of([dict(zip(columns, row, strict=True)) for row in rows])

    def to_dict(self) -> dict[str, Any]:
        """`columns`, and what they rest on, as plain numbers, lists and texts."""
        return {
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "rows": self.rows,
            "dimensions": self.dimensions,
            "anchors": self.anchors,
            "batch_size": self.settings.batch_size,
            "settled_loss": self.settled.loss,
            "threshold": strengths.THRESHOLD,
            **self.columns,
        }


def _plain(value: float) -> float | str | None:
    if np.isnan(value):
        return None
    return float(value) if np.isfinite(value) else "inf"


def _interval(samples: Float[np.ndarray, "B k"]) -> Interval:
    """Percentiles that pass over infinite values as ordered ones."""
    return np.percentile(samples, INTERVAL, axis=0, method="closest_observation")


def _trained(taken, at: generalised.Directions, settings: Settings) -> "Trained":
    from linsim.diagnose.views import trained

    found = trained.Coordinates.of(taken, at.vectors, at.ratios)
    return trained.trained(found, batch_size=settings.batch_size, seeds=settings.train)


def _pairs(x: Any, y: Any, settings: Settings):
    """Both views as (N, d) float64, and settings that know the images' shape. Raises: BadInput."""
    first, other = (_array(value, name) for value, name in ((x, "x"), (y, "y")))
    if first.shape != other.shape:
        raise BadInput(
            f"views of shapes {first.shape} and {other.shape} are not allowed: row i of both must "
            "be two views of one sample"
        )
    if first.ndim > 2 and not settings.image_shape and first.ndim < 5:
        settings = replace(settings, image_shape=first.shape[1:])
    first, other = (value.reshape(len(value), -1) for value in (first, other))
    rows, width = first.shape
    if settings.image_shape and int(np.prod(settings.image_shape)) != width:
        given = " ".join(map(str, settings.image_shape))
        raise BadInput(
            f"--image-shape {given} is not allowed: it must have the {width} values of a row"
        )
    looked_at = min(settings.components or width, width)
    if rows < ROWS_PER_DIRECTION * looked_at:
        raise BadInput(
            f"{rows} pairs are too few for {looked_at} directions: it must be at least "
            f"{ROWS_PER_DIRECTION} pairs for each, or fewer directions (--components)"
        )
    if settings.batch_size > rows:
        raise BadInput(
            f"--batch-size {settings.batch_size} is not allowed: it must be at most the number of "
            f"pairs, {rows}"
        )
    return first, other, settings


def _array(value: Any, name: str) -> np.ndarray:
    array = to_numpy(value)
    if array.ndim < 2 or not is_real(array.dtype):
        raise BadInput(
            f"{name} of shape {array.shape} and type {array.dtype} is not allowed: it must be an "
            "array of real numbers, one row a sample"
        )
    array = array.astype(np.float64)
    bad: Int[np.ndarray, "n axes"] = np.argwhere(~np.isfinite(array))
    if len(bad):
        raise BadInput(
            f"{name} holds {array[tuple(bad[0])]} at {tuple(map(int, bad[0]))}, and all values "
            "must be finite"
        )
    return array
