"""Embeddings in, a report out: values, verdict with reasons, table, picture, dictionary."""

import dataclasses
import math
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from linsim import spectra
from linsim.config import BadInput
from linsim.diagnose import measures, moments, structure
from linsim.diagnose.moments import Moments
from linsim.diagnose.reading import matrices
from linsim.diagnose.reading.arrays import to_numpy
from linsim.diagnose.verdict import Verdict, judge
from linsim.spectra import PowerLaw
from linsim.spectra.views import unit_rows

MOST_POINTS = 2048  # samples whose distances are taken for uniformity,
MOST_WORK = 2**30  # and fewer of many dimensions: their number squared times those
Pair = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class ClassReport:
    """What the embeddings of one class show."""

    label: str
    count: int
    effective_rank: float
    """Of the centred singular values; nan if all are equal."""
    verdict: Verdict


@dataclasses.dataclass(frozen=True)
class Report:
    """What embeddings show; made by `linsim.diagnose.embeddings` and `linsim.diagnose.Monitor`."""

    name: str
    count: int
    width: int
    dtype: str
    values: dict[str, float]
    """The measures by name (`measures.LABELS` has them in words); nan where one is not defined."""
    isotropic: dict[str, float]
    """What as many isotropic samples would show."""
    fit: PowerLaw | None
    """The fit behind alpha-ReQ."""
    deviations: Float[np.ndarray, "p"]
    """Standard deviations along the principal axes, in the units of the embeddings."""
    verdict: Verdict
    classes: tuple[ClassReport, ...] = ()
    taken: tuple[str, ...] = ()
    """What was taken for what in the file."""

    def table(self) -> str:
        """All values as a table that ends with the verdict."""
        from linsim.diagnose import table

        return table.embeddings(self)

    def figure(self) -> Figure:
        """The spectrum, beside what as many isotropic samples would show."""
        from linsim.diagnose import figure

        return figure.embeddings(self)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values that JSON can hold; what is not defined is None."""
        fit = self.fit
        return {
            "name": self.name,
            "samples": self.count,
            "dimensions": self.width,
            "dtype": self.dtype,
            "taken": list(self.taken),
            "values": _plain(self.values),
            "isotropic": _plain(self.isotropic),
            "alpha_req_fit": None
            if fit is None
            else _plain({"first": 1, "last": fit.last, "r_squared": fit.r_squared}),
            "standard_deviations": self.deviations.tolist(),
            "verdict": dataclasses.asdict(self.verdict),
            "classes": [
                dataclasses.asdict(each) | {"effective_rank": _finite(each.effective_rank)}
                for each in self.classes
            ],
        }


def embeddings(
    z: Any,
    positives: Any = None,
    labels: Any = None,
    *,
    name: str = "embeddings",
    taken: tuple[str, ...] = (),
) -> Report:
    """Measure embeddings, and judge whether they have collapsed.

    Everything is computed in float64 from one thin factorisation of the centred embeddings, which
    may lie in a memory-mapped file; singular values are right to max(N, d) eps s_1.

    Args:
        z: Embeddings, one sample to a row, shape (N, d): an array of NumPy, JAX or PyTorch.
        positives: The other view of each sample, shape (N, d), for alignment and LiDAR.
        labels: The class of each sample, (N,), to judge each class on its own.
        name: How the report calls them.
        taken: What was taken for what when they were read.

    Returns:
        The report.

    Raises:
        ValueError: For an array that is not a matrix of two or more rows of finite numbers, or
            views or labels of another number.

    Example:
        >>> import numpy as np
        >>> z = np.random.default_rng(0).standard_normal((200, 8)) * [1, 1, 1, 1, 1, 1, 1e-5, 0]
        >>> report = embeddings(z)
        >>> report.verdict.kind, report.verdict.collapsed, report.verdict.judged
        ('dimensional', 1, 7)
        >>> report.verdict.structure
        ('1 constant column',)
        >>> round(report.values["effective_rank"], 1)
        6.0
    """
    array = matrices.enough(matrices.checked(to_numpy(z), name), name)
    found = moments.of(array)
    extra = {"uniformity": _uniformity(array)}
    if positives is not None:
        extra |= _of_pairs(array, positives)
    classes = () if labels is None else _classes(array, np.ravel(to_numpy(labels)))
    return of_moments(
        found, name=name, dtype=str(array.dtype), extra=extra, classes=classes, taken=taken
    )


def of_moments(
    found: Moments,
    *,
    name: str,
    dtype: str,
    extra: dict[str, float] | None = None,
    classes: tuple[ClassReport, ...] = (),
    taken: tuple[str, ...] = (),
) -> Report:
    """A report of running moments. Args: moments of two samples or more; name; dtype of the
    samples; extra: measures that need more than moments; classes; taken.
    """
    values = measures.spectra_of(found)
    told, fit = measures.of_spectra(values)
    told |= measures.of_units(found) | (extra or {})
    return Report(
        name,
        found.count,
        found.width,
        dtype,
        told,
        measures.isotropic(found.count, found.width),
        fit,
        values.deviations,
        _verdict(found, values, told["variance_share"]),
        classes,
        taken,
    )


def _verdict(found: Moments, values: measures.Spectra, share: float) -> Verdict:
    return judge(
        values.eigenvalues,
        count=found.count,
        width=found.width,
        share=share,
        distinct=found.distinct(),
        structure=structure.find(found),
    )


def _uniformity(array: np.ndarray) -> float:
    """Of the unit vectors of all samples, or of as many, spread evenly over the rows, as are
    allowed.
    """
    allowed = min(MOST_POINTS, max(2, math.isqrt(MOST_WORK // array.shape[1])))
    some = np.linspace(0, len(array) - 1, min(len(array), allowed)).astype(int)
    return float(spectra.uniformity(unit_rows(np.asarray(array[some], np.float64))))


def _of_pairs(array: np.ndarray, positives: Any) -> dict[str, float]:
    other = matrices.checked(to_numpy(positives), "positives")
    if other.shape != array.shape:
        raise BadInput(
            f"positives of shape {other.shape} are not allowed: they must be the other views of "
            f"the embeddings, of shape {array.shape}"
        )
    views = [np.asarray(each, np.float64) for each in (array, other)]
    return {
        "alignment": float(spectra.alignment(unit_rows(views[0]), unit_rows(views[1]))),
        "lidar": float(spectra.lidar(np.stack(views, axis=1))),
    }


def _classes(array: np.ndarray, labels: np.ndarray) -> tuple[ClassReport, ...]:
    if len(labels) != len(array):
        raise BadInput(
            f"{len(labels)} labels are not allowed: there must be one for each of the "
            f"{len(array)} samples"
        )
    names, numbers = np.unique(labels, return_inverse=True)
    return tuple(
        _of_class(str(name), array[np.flatnonzero(numbers == k)]) for k, name in enumerate(names)
    )


def _of_class(label: str, rows: np.ndarray) -> ClassReport:
    if len(rows) < 2:
        return ClassReport(label, 1, np.nan, Verdict("undecided", "one sample"))
    found = moments.of(rows)
    values = measures.spectra_of(found)
    told, _ = measures.of_spectra(values)
    verdict = _verdict(found, values, told["variance_share"])
    return ClassReport(label, len(rows), told["effective_rank"], verdict)


def _plain(values: dict[str, Any]) -> dict[str, float | None]:
    return {name: _finite(value) for name, value in values.items()}


def _finite(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
