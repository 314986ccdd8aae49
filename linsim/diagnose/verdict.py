"""Is it collapse? A verdict that knows how few the samples are, and says why.

A direction has collapsed if its standard deviation is below 1 % of the largest (`DIMENSIONAL` of
the variance). Samples see the true spectrum blurred: of N samples in n dimensions the k-th sample
eigenvalue is the k-th true one times something between the extreme eigenvalues of isotropic samples
(Ostrowski's theorem). With q_m the bound below which the smallest eigenvalue of N isotropic samples
in m dimensions does not fall, and Q that above which the largest in n does not rise (each with a
risk of RISK), the m-th sample eigenvalue l_m can be

    certain    l_m < 1e-4 (q_m / Q) l_1        no data of m directions that have not collapsed,
                                               whatever their spectrum, would show this
    apparent   l_m < min(1e-4, q_m / Q) l_1    no isotropic samples in m directions would
    small      l_m < 1e-4 l_1                  below the threshold

Complete collapse is a variance below 1 % of the mean squared norm (`COMPLETE`), and less by q_1, so
that two samples that happen to lie close are none.

"Dimensional collapse" is said where some are certain, with the apparent number. What is only
apparent or small is undecided, for want of samples.
"""

import dataclasses
from typing import Literal

import numpy as np
from jaxtyping import Float

from linsim.diagnose.structure import Structure
from linsim.spectra import COMPLETE, DIMENSIONAL, largest_certain, smallest_certain

RISK = 0.005
COUNTED = "a dimension counts as collapsed below 1 % of the largest standard deviation"
Kind = Literal["none", "dimensional", "complete", "undecided"]


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What embeddings show."""

    kind: Kind
    sentence: str
    """The answer in words."""
    reasons: tuple[str, ...] = ()
    collapsed: int | None = None
    """The number of collapsed directions; None where it cannot be told."""
    certain: int = 0
    """At least so many have collapsed."""
    judged: int = 0
    """Of so many: the dimensions, less those that structure explains."""
    structure: tuple[str, ...] = ()

    @property
    def collapse(self) -> bool:
        """Whether it is a collapse, of either kind."""
        return self.kind in ("dimensional", "complete")

    def __str__(self) -> str:
        return self.sentence


def judge(
    eigenvalues: Float[np.ndarray, "p"],
    *,
    count: int,
    width: int,
    share: float,
    distinct: int | None,
    structure: Structure,
) -> Verdict:
    """The verdict on embeddings.

    Args: eigenvalues of the covariance, largest first, min(N - 1, d) of them, rounding set to zero;
    count N; width d; share: variance / mean squared norm; distinct: how many rows differ, None for
    many; structure.
    """
    if not share >= COMPLETE * smallest_certain(count - 1, 1, RISK):  # nan if all rows are zero
        near = "the rows are one vector to within 1 % of its square"
        why, named = "all rows are equal", ()
        if np.any(eigenvalues > 0):
            why, named = near, structure.named
        said = f"complete collapse ({why})"
        return Verdict("complete", said, named, width, width, width, named)
    judged = width - structure.directions
    certain, apparent, small = _counts(eigenvalues, count, judged)
    what = f"{judged} dimensions" + (" that structure leaves" if structure.directions else "")
    reasons = _reasons(count, width, distinct, structure)
    kind: Kind = "undecided"
    if certain:
        kind, said = "dimensional", f"dimensional collapse, {apparent} of {what}"
        if certain < apparent:
            reasons.insert(0, f"{certain} of the {apparent} for certain")
        if apparent == 1:
            reasons.insert(0, "LayerNorm with a learned scale loses one direction, too")
    elif apparent:
        said = f"too few samples to judge, though {apparent} of {what} look collapsed"
        reasons.insert(0, f"{count} samples of data that falls off evenly could show as much")
    elif small:
        said = f"too few samples to judge, {count} in {what}"
        reasons.insert(0, "isotropic samples of this number could show the same")
    else:
        kind, said = "none", "no collapse" + (f" in the {what}" if structure.directions else "")
    number = None if kind == "undecided" else apparent
    return Verdict(kind, said, tuple(reasons), number, certain, judged, structure.named)


def _counts(eigenvalues: Float[np.ndarray, "p"], count: int, judged: int) -> tuple[int, int, int]:
    """How many directions are certain, apparent and small."""
    ratio = eigenvalues[:judged] / eigenvalues[0]
    m = np.arange(1, len(ratio) + 1)
    blur = smallest_certain(count - 1, m, RISK) / largest_certain(count - 1, judged, RISK)
    below = (DIMENSIONAL * blur, np.minimum(DIMENSIONAL, blur), np.full(len(m), DIMENSIONAL))
    certain, apparent, small = (
        judged - (int(np.argmax(ratio < limit)) if (ratio < limit).any() else judged)
        for limit in below
    )
    return certain, apparent, max(small, judged - len(ratio))


def _reasons(count: int, width: int, distinct: int | None, structure: Structure) -> list[str]:
    reasons = [f"{each}: not counted as collapse" for each in structure.named]
    if distinct is not None and distinct < count:
        reasons.append(f"the {count} rows take {distinct} different values")
    if count - 1 < width:
        reasons.append(
            f"{count} samples span at most {count - 1} dimensions: the other "
            f"{width - count + 1} are not judged one by one"
        )
    return reasons
