"""All that embeddings are reduced to: running moments that take batches and can be merged.

The centred second moment is kept as a triangular factor R with R^T R = sum_i (z_i - mean)(z_i -
mean)^T, never as that sum itself: singular values of R are those of the centred embeddings to
max(N, d) eps s_1, where the sum's eigenvalues would lose everything below sqrt(eps) s_1. Batches
are collected until there are about 2 d rows of them, and then taken into R by one thin QR
factorisation; two sets of samples are merged by one more (Chan, Golub and LeVeque 1983, with
factors in place of sums). Memory is O(d^2) whatever the number of samples, and of N < d samples
O(N d). Nothing is squared before it is scaled.
"""

import dataclasses
import hashlib
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

Rows = Float[np.ndarray, "b d"]
BUFFER = 2**20  # values that are collected at least before they are factorised
DISTINCT = 1024  # different rows that are counted, or twice the dimensions if that is more


@dataclasses.dataclass
class Moments:
    """Running moments of rows of d numbers; see the module."""

    width: int
    count: int = 0
    exponent: int | None = None
    """Everything below is in units of 2^exponent, so that squares neither overflow nor vanish."""
    roundoff: float = 0.0
    """Unit roundoff of the type in which values came, the largest if there were several."""
    mean: np.ndarray = dataclasses.field(init=False)
    factor: np.ndarray = dataclasses.field(init=False)
    low: np.ndarray = dataclasses.field(init=False)
    high: np.ndarray = dataclasses.field(init=False)
    unit_sum: np.ndarray = dataclasses.field(init=False)
    unit_square: np.ndarray = dataclasses.field(init=False)
    norms: tuple[float, float] = (np.inf, 0.0)
    """The smallest and the largest norm of a row."""
    hashes: set[bytes] = dataclasses.field(default_factory=set)
    _waiting: list[np.ndarray] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        self.mean, self.unit_sum, self.unit_square = np.zeros((3, self.width))
        self.low, self.high = np.full(self.width, np.inf), np.full(self.width, -np.inf)
        self.factor = np.zeros((0, self.width))

    def update(self, rows: np.ndarray) -> None:
        """Take a batch of real, finite rows of any type, shape (b, d)."""
        if not len(rows):
            return
        self.roundoff = max(self.roundoff, unit_roundoff(rows.dtype))
        rows = np.asarray(rows, np.float64)
        self._scale_like(rows)
        self._tell_apart(rows)
        rows = np.ldexp(rows, -(self.exponent or 0))
        self._note(rows)
        self._waiting.append(rows)
        if sum(map(len, self._waiting)) >= max(2 * self.width, BUFFER // self.width):
            self.flush()

    @property
    def taken(self) -> int:
        """How many samples have been taken, those that wait among them."""
        return self.count + sum(map(len, self._waiting))

    def require(self, width: int) -> None:
        """Raises: ValueError for samples of another number of dimensions."""
        if width != self.width:
            raise ValueError(f"samples of {width} and of {self.width} dimensions do not add")

    def flush(self) -> None:
        """Take the rows that wait into the factor."""
        if self._waiting:
            rows, self._waiting = np.concatenate(self._waiting), []
            mean = rows.mean(axis=0)
            self._combine(len(rows), mean, rows - mean)

    def merge(self, other: "Moments") -> None:
        """Take the samples of another process. Raises: ValueError for another width."""
        self.require(other.width)
        self.flush()
        other.flush()
        if not other.count:
            return
        if self.exponent is None:
            self.exponent = other.exponent
        shift = (other.exponent or 0) - (self.exponent or 0)
        self._combine(other.count, np.ldexp(other.mean, shift), np.ldexp(other.factor, shift))
        self.roundoff = max(self.roundoff, other.roundoff)
        self.low = np.minimum(self.low, np.ldexp(other.low, shift))
        self.high = np.maximum(self.high, np.ldexp(other.high, shift))
        self.unit_sum = self.unit_sum + other.unit_sum
        self.unit_square = self.unit_square + other.unit_square
        smallest, largest = (float(np.ldexp(norm, shift)) for norm in other.norms)
        self.norms = min(self.norms[0], smallest), max(self.norms[1], largest)
        self.hashes |= other.hashes

    def distinct(self) -> int | None:
        """How many different rows there are; None if more than are counted."""
        return len(self.hashes) if len(self.hashes) < self._most() else None

    def _scale_like(self, rows: Rows) -> None:
        """Choose the units by the first rows that are not all zero."""
        largest = float(np.max(np.abs(rows)))
        if self.exponent is None and largest > 0:
            self.exponent = int(np.frexp(largest)[1])

    def _note(self, rows: Rows) -> None:
        """What is read off each row and column."""
        self.low = np.minimum(self.low, rows.min(axis=0))
        self.high = np.maximum(self.high, rows.max(axis=0))
        norm = np.sqrt(np.einsum("ij,ij->i", rows, rows))
        self.norms = min(self.norms[0], float(norm.min())), max(self.norms[1], float(norm.max()))
        units = rows / np.where(norm > 0, norm, 1.0)[:, None]
        self.unit_sum = self.unit_sum + units.sum(axis=0)
        self.unit_square = self.unit_square + np.einsum("ij,ij->j", units, units)

    def _most(self) -> int:
        return max(DISTINCT, 2 * self.width)

    def _tell_apart(self, rows: Rows) -> None:
        """Count different rows until there are many."""
        for row in rows:
            if len(self.hashes) >= self._most():
                return
            self.hashes.add(_digest(row + 0.0))  # -0 is 0

    def _combine(self, count: int, mean: Float[np.ndarray, "d"], factor: Rows) -> None:
        """Merge with samples of this number, mean and (any) factor."""
        total = self.count + count
        step = mean - self.mean
        between = np.sqrt(self.count * (count / total)) * step
        parts = [self.factor, factor] + ([between[None]] if self.count else [])
        stacked = np.concatenate(parts) if self.count else factor
        if len(stacked) > self.width:
            stacked = np.asarray(np.linalg.qr(stacked, mode="r"))
        self.factor, self.mean, self.count = stacked, self.mean + step * (count / total), total


def _digest(row: Float[np.ndarray, "d"]) -> bytes:
    """The same for the same row in every process."""
    return hashlib.blake2b(row.tobytes(), digest_size=8).digest()


def unit_roundoff(dtype: np.dtype) -> float:
    """Half the gap between 1 and the next number of a type; that of float64 for whole numbers."""
    import ml_dtypes

    kind = np.dtype(dtype)
    if kind.kind in "iub":
        kind = np.dtype(np.float64)
    return float(ml_dtypes.finfo(kind).eps) / 2


def blocks(array: np.ndarray) -> Iterator[np.ndarray]:
    """The rows of an array that may lie in a file, as many at a time as make BUFFER values."""
    step = max(1, BUFFER // array.shape[1])
    for start in range(0, len(array), step):
        yield np.asarray(array[start : start + step])


def of(array: np.ndarray) -> Moments:
    """The moments of all rows of an array, which is read once and may lie in a file."""
    found = Moments(array.shape[1])
    for rows in blocks(array):
        found.update(rows)
    found.flush()
    return found
