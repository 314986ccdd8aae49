"""Do two adjacent layers align? The weights' own answer, group by group of their modes.

Only directions that exist are compared: modes whose singular values lie together in both layers
have no basis of their own, so that their spans are compared, by principal angles; modes without a
singular value have no direction, and are not counted. Of layers whose modes all lie together, such
as multiples of orthogonal matrices, nothing can be said, and that is said. All factorisations are
thin: the hidden space is never filled up with directions that no layer has.
"""

import dataclasses
import itertools
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from linsim.config import BadInput
from linsim.diagnose.moments import unit_roundoff
from linsim.diagnose.reading import load, matrices
from linsim.diagnose.reading.arrays import to_numpy
from linsim.studies.two_layers.modes import ALIGNED_COSINE

GAP = 0.01  # modes are told apart if their singular values differ by more in both layers
First = Float[np.ndarray, "h d"]
Second = Float[np.ndarray, "n h"]


@dataclasses.dataclass(frozen=True)
class Group:
    """Modes that lie together in both layers, and how their spans lie to one another."""

    first: int
    """The first mode, from 0."""
    last: int
    cosine: float
    """Of the largest principal angle between the spans; of a single mode |A_kk|. nan where the
    modes fill the hidden space, and have no direction."""
    bound: float
    """What the imbalance alone guarantees of it; 0 if nothing."""

    @property
    def modes(self) -> int:
        """How many modes it has."""
        return self.last - self.first + 1


@dataclasses.dataclass(frozen=True)
class LayersReport:
    """How two adjacent layers lie to one another; made by `linsim.diagnose.weights`."""

    first: Float[np.ndarray, "k"]
    """Singular values of W1, those that are rounding set to zero."""
    second: Float[np.ndarray, "m"]
    """Singular values of W2."""
    shapes: tuple[tuple[int, int], tuple[int, int]]
    imbalance: float
    """|C|_2, the spectral norm of C = W1 W1^T - W2^T W2."""
    groups: tuple[Group, ...]
    overlap: Float[np.ndarray, "r r"]
    """|A| = |V2^T U1| of the r modes that both layers have."""

    @property
    def values(self) -> dict[str, float]:
        """The counts and the imbalance by name."""
        judged = [group for group in self.groups if not np.isnan(group.cosine)]
        return {
            "imbalance": self.imbalance,
            "modes": float(sum(group.modes for group in self.groups)),
            "judged_modes": float(sum(group.modes for group in judged)),
            "aligned_modes": float(
                sum(group.modes for group in judged if group.cosine >= ALIGNED_COSINE)
            ),
            "promised_modes": float(sum(group.modes for group in judged if group.bound > 0)),
        }

    @property
    def verdict(self) -> str:
        """The answer in words."""
        told = {name: int(value) for name, value in self.values.items() if name != "imbalance"}
        if not told["modes"]:
            return "nothing to judge: a layer is zero"
        if not told["judged_modes"]:
            return (
                "nothing to judge: all singular values are equal, and the modes have no directions "
                "of their own"
            )
        return (
            f"{told['aligned_modes']} of {told['judged_modes']} modes aligned (cosine >= "
            f"{ALIGNED_COSINE:g}); the bound is above 0 for {told['promised_modes']}"
        )

    def table(self) -> str:
        """The groups of modes as a table that ends with the verdict."""
        from linsim.diagnose import table

        return table.layers(self)

    def figure(self) -> Figure:
        """Singular values of both layers, and |A|."""
        from linsim.diagnose import figure

        return figure.layers(self)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values that JSON can hold."""
        return {
            "shapes": [list(shape) for shape in self.shapes],
            "singular_values": [self.first.tolist(), self.second.tolist()],
            "values": self.values,
            "groups": [
                dataclasses.asdict(group)
                | {"cosine": None if np.isnan(group.cosine) else group.cosine}
                for group in self.groups
            ],
            "verdict": self.verdict,
        }


def weights(w1: Any, w2: Any, *, gap: float = GAP) -> LayersReport:
    """Judge whether two adjacent layers, W2 W1 x, have aligned.

    Args:
        w1: Weights of the first layer, shape (h, d), or a convolution (h, in, height, width): an
            array of NumPy, JAX or PyTorch.
        w2: Weights of the second layer, shape (n, h), or (n, h, height, width).
        gap: Modes are told apart if their singular values differ by more than this fraction in
            both layers.

    Returns:
        The report.

    Raises:
        ValueError: For arrays that are not two adjacent layers of finite numbers.

    Example:
        The second layer reads what the first writes:

        >>> import numpy as np
        >>> w1 = np.diag([3.0, 2.0, 1.0])
        >>> print(weights(w1, 2 * w1).verdict)
        3 of 3 modes aligned (cosine >= 0.98); the bound is above 0 for 0
        >>> weights(np.eye(3), 2 * np.eye(3)).verdict.split(":")[0]
        'nothing to judge'
    """
    if not 0 <= gap < 1:
        raise BadInput(f"gap {gap} is not allowed: it must be a number from 0 to 1")
    first, second = load.adjacent(
        *(
            matrices.kernel(to_numpy(w), name, hidden=hidden, transpose=False)
            for hidden, (w, name) in enumerate(((w1, "w1"), (w2, "w2")))
        )
    )
    return of_matrices(first, second, gap)


def of_matrices(w1: First, w2: Second, gap: float = GAP) -> LayersReport:
    """The report on two adjacent layers of any real type. Args: W1; W2; gap as in `weights`."""
    roundoff = max(unit_roundoff(w1.dtype), unit_roundoff(w2.dtype))
    w1, w2 = w1.astype(np.float64), w2.astype(np.float64)
    scale = max(np.abs(w1).max(), np.abs(w2).max(), np.finfo(float).tiny)
    exponent = int(np.frexp(scale)[1])
    w1, w2 = np.ldexp(w1, -exponent), np.ldexp(w2, -exponent)
    u1, s1, _ = np.linalg.svd(w1, full_matrices=False)
    _, s2, v2t = np.linalg.svd(w2, full_matrices=False)
    ranks = _rank(s1, w1.shape, roundoff), _rank(s2, w2.shape, roundoff)
    count = min(ranks)
    size = imbalance_norm(w1, w2)
    # squares of singular values that each of the two factorisations rounds
    rounding = 16 * max(*w1.shape, *w2.shape) * np.finfo(float).eps * max(s1[0], s2[0]) ** 2
    groups = tuple(
        _group(u1, s1, v2t, s2, span, size + rounding)
        for span in together(s1[:count], s2[:count], gap)
    )
    return LayersReport(
        np.ldexp(np.where(np.arange(len(s1)) < ranks[0], s1, 0.0), exponent),
        np.ldexp(np.where(np.arange(len(s2)) < ranks[1], s2, 0.0), exponent),
        (w1.shape, w2.shape),
        float(np.ldexp(size, 2 * exponent)),
        groups,
        np.abs(v2t[:count] @ u1[:, :count]),
    )


def together(
    first: Float[np.ndarray, "k"], second: Float[np.ndarray, "k"], gap: float
) -> list[range]:
    """The modes in groups: a group ends where both layers' singular values fall by more than the
    fraction `gap`. Args: singular values of both, largest first; gap. Returns: ranges of indices.
    """
    if not len(first):
        return []
    falls = [values[1:] < (1 - gap) * values[:-1] for values in (first, second)]
    cuts = 1 + np.flatnonzero(falls[0] & falls[1])
    return [range(a, b) for a, b in itertools.pairwise([0, *cuts.tolist(), len(first)])]


def imbalance_norm(w1: First, w2: Second) -> float:
    """The spectral norm of C = W1 W1^T - W2^T W2 from thin factors.

    With [W1, W2^T] = Q R, C = Q R diag(1, -1) R^T Q^T has the eigenvalues of R diag(1, -1) R^T.
    """
    both = np.concatenate([w1, w2.T], axis=1)
    if both.shape[1] < both.shape[0]:
        both = np.asarray(np.linalg.qr(both, mode="r"))
    signs = np.where(np.arange(both.shape[1]) < w1.shape[1], 1.0, -1.0)
    return float(np.abs(np.linalg.eigvalsh((both * signs) @ both.T)).max())


def _rank(values: Float[np.ndarray, "k"], shape: tuple[int, ...], roundoff: float) -> int:
    """How many singular values neither the computation nor the type of the weights rounds to."""
    size = float(np.linalg.norm(values)) / np.sqrt(max(1, np.prod(shape)))
    stored = roundoff * size * (np.sqrt(shape[0]) + np.sqrt(shape[1]))
    computed = max(shape) * np.finfo(float).eps * values[0]
    return int(np.sum(values > max(stored, computed)))


def _group(
    u1: np.ndarray, s1: np.ndarray, v2t: np.ndarray, s2: np.ndarray, span: range, size: float
) -> Group:
    """One group of modes. Args: thin factors; indices; |C|_2 with the rounding of its parts."""
    chosen = slice(span.start, span.stop)
    if len(span) == len(u1):  # the whole hidden space
        return Group(span.start, span.stop - 1, np.nan, 0.0)
    cosine = float(np.linalg.svd(v2t[chosen] @ u1[:, chosen], compute_uv=False)[-1])
    inside, outside = s1[chosen] ** 2, np.delete(s2, np.arange(len(s2))[chosen]) ** 2
    if len(s2) < len(u1):  # directions that the second layer does not read
        outside = np.append(outside, 0.0)
    distance = float(np.maximum(inside[-1] - outside, outside - inside[0]).min())
    bound = float(np.sqrt(1 - (size / distance) ** 2)) if distance > size else 0.0
    slack = 8 * len(u1) * np.finfo(float).eps  # rounding of the cosine
    return Group(span.start, span.stop - 1, min(cosine, 1.0), max(0.0, bound - slack))
