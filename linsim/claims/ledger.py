"""What a claim is, what a check measures, and how evidence becomes a verdict. Imports no numerical
archive.
"""

import bisect
import importlib.util
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Verdict = Literal[
    "exact",
    "holds",
    "holds as corrected",
    "holds only under conditions",
    "transient",
    "within noise",
    "fails",
    "vacuous",
]
Section = Literal["3", "4", "5", "6", "new"]


class Assumption(NamedTuple):
    """Something that a statement presupposes, as measured during the run."""

    what: str
    value: float
    allowed: str
    met: bool


class Evidence(NamedTuple):
    """What one seed's run of a check measured; every residual is held against the claim's one
    tolerance.

    residual: of the statement as it is held here; printed: as the paper prints it (None: the same);
    outside: where its condition is not met (None: unconditional); later: late in training (None:
    not about time); undecided: whether the residual is too close to the tolerance to tell.
    """

    residual: float
    printed: float | None = None
    outside: float | None = None
    later: float | None = None
    undecided: bool = False
    assumptions: tuple[Assumption, ...] = ()

    @property
    def counts(self) -> bool:
        """Whether every assumption was met, so that this evidence says something about the
        statement.
        """
        return all(assumption.met for assumption in self.assumptions)


RESIDUALS = ("residual", "printed", "outside", "later")  # of which evidence holds one or several


class Tolerance(NamedTuple):
    """The largest residual that a statement may have, and why; numerical: nothing but the
    arithmetic's own error.
    """

    value: float
    origin: str
    numerical: bool = False


def rounding(terms: int) -> Tolerance:
    """64 machine epsilons of float64 per summed term, relative to the largest terms that cancel."""
    return Tolerance(
        64 * sys.float_info.epsilon * terms,
        f"float64 rounding, 64 eps x {terms} summed terms",
        numerical=True,
    )


def solver(step_tolerance: float) -> Tolerance:
    """The error of an adaptive solver: its tolerance per step, over up to a thousand steps."""
    return Tolerance(
        1000 * step_tolerance,
        f"the flow solver's tolerance per step, {step_tolerance:g}, over 1,000 steps",
        numerical=True,
    )


def size(relative: float) -> str:
    """A relative size in words, such as 0.1 %."""
    return f"{100 * relative:.6g} %"


def equation(label: str) -> str:
    """Where a statement stands that is an equation of the docs."""
    return f"docs/theory.md, Eq. ({label})"


COUNT = Tolerance(0.5, "counts are whole numbers")

Check = Callable[[int, float], Evidence]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One statement and the check that can refute it.

    check(seed, wrong) measures one seed. With wrong = 0 it is about the statement; otherwise the
    same machinery runs on a wrong formula or a broken assumption, for which `rejected_as` must come
    out. `error` says what is wrong there, in words that may hold {} for its relative size; `by` is
    the smallest such size that the check is known to notice (None: the error has no size, and wrong
    is 1). `recorded` is the verdict that the check is known to give. `extra` is what it needs.
    """

    id: str
    section: Section
    where: str
    statement: str
    tolerance: Tolerance
    recorded: Verdict
    check: Check
    error: str
    by: float | None = None
    erratum: str = ""
    conditions: str = ""
    rejected_as: Verdict = "fails"
    slow: bool = False
    extra: str = ""

    @property
    def counter(self) -> str:
        """What the counter-check has wrong, with its size."""
        return self.error if self.by is None else self.error.format(size(self.by))

    @property
    def missing(self) -> str:
        """The package that the claim needs and that is not installed; empty if all is there."""
        package = EXTRAS.get(self.extra, "")
        return package if package and importlib.util.find_spec(package) is None else ""


EXTRAS = {"probe": "sklearn"}  # a package of each extra that claims may need
LEDGER: dict[str, Claim] = {}


def claim(id: str, section: Section, where: str, **fields: Any) -> Callable[[Check], Check]:
    """Enter a check into the ledger; its docstring is the statement.

    Args: as `Claim`; fields: all others of it. Raises: ValueError if the id is taken; TypeError for
    a field that is missing or unknown.
    """

    def enter(check: Check) -> Check:
        if id in LEDGER:
            raise ValueError(f"claim {id} is entered twice")
        statement = " ".join((check.__doc__ or "").split())
        LEDGER[id] = Claim(
            id=id, section=section, where=where, statement=statement, check=check, **fields
        )
        return check

    return enter


def verdict(tolerance: Tolerance, evidence: Sequence[Evidence]) -> Verdict:
    """The verdict that follows from all seeds' evidence; seeds in which an assumption was not met
    do not count.

    The worst seed decides: a statement holds if it does in every seed, and is refuted as printed,
    outside its conditions or late in training if it is so in every seed. A residual that is not a
    number exceeds every tolerance. Where every residual beyond it is too close to tell, that is the
    verdict.
    """
    counted = [each for each in evidence if each.counts]

    def refuted(name: str) -> bool:
        values = [value for each in counted if (value := getattr(each, name)) is not None]
        return len(values) > 0 and all(not value <= tolerance.value for value in values)

    if not counted:
        return "vacuous"
    beyond = [each for each in counted if not each.residual <= tolerance.value]
    if beyond:
        return "within noise" if all(each.undecided for each in beyond) else "fails"
    if refuted("printed"):
        return "holds as corrected"
    if refuted("outside"):
        return "holds only under conditions"
    if refuted("later"):
        return "transient"
    return "exact" if tolerance.numerical else "holds"


class Outcome(NamedTuple):
    """A claim that was checked: all seeds' evidence of the statement and of its counter-check."""

    claim: Claim
    evidence: tuple[Evidence, ...]
    counter: tuple[Evidence, ...]

    @property
    def found(self) -> Verdict:
        """The verdict on the statement."""
        return verdict(self.claim.tolerance, self.evidence)

    @property
    def undefined(self) -> bool:
        """Whether a number that the verdict hangs on is none, in a seed that counts."""
        values = [
            value
            for each in (*self.evidence, *self.counter)
            if each.counts
            for value in (getattr(each, name) for name in RESIDUALS)
        ]
        return any(value is not None and math.isnan(value) for value in values)

    @property
    def broken(self) -> bool:
        """Whether the verdict means nothing: a number is undefined, or the check could not tell the
        wrong formula apart in a seed that counts.
        """
        return self.undefined or not rejected(self.claim, self.counter)

    @property
    def as_recorded(self) -> bool:
        """Whether the verdict is the recorded one, from a check that works."""
        return self.found == self.claim.recorded and not self.broken

    @property
    def worst(self) -> float:
        """The largest residual of the seeds that count (nan without any)."""
        return _largest(self.evidence)

    @property
    def least_wrong(self) -> float:
        """The smallest residual of the counter-check."""
        return min((each.residual for each in self.counter if each.counts), default=math.nan)


def _largest(evidence: Sequence[Evidence]) -> float:
    values = [each.residual for each in evidence if each.counts]
    return math.nan if not values or any(map(math.isnan, values)) else max(values)


def rejected(claim: Claim, counter: Sequence[Evidence]) -> bool:
    """Whether a claim's counter-check was rejected in every seed that counts, of which there must
    be one.
    """
    vacuous = claim.rejected_as == "vacuous"
    verdicts = [verdict(claim.tolerance, [each]) for each in counter if vacuous or each.counts]
    return len(verdicts) > 0 and all(found == claim.rejected_as for found in verdicts)


def examine(claim: Claim, seeds: int, first: int = 0) -> Outcome:
    """Run a claim's check and its counter-check on so many seeds, from the first on."""
    each = range(first, first + seeds)
    measured = (
        tuple(claim.check(seed, wrong) for seed in each) for wrong in (0.0, claim.by or 1.0)
    )
    return Outcome(claim, *measured)


SIZES = (*(float(f"{digit}e{power}") for power in range(-6, 0) for digit in (1, 2, 5)), 1.0)


def smallest_error(claim: Claim, seeds: int, first: int = 0) -> float:
    """A claim's power: the smallest of SIZES by which its formula can be wrong, and be rejected in
    all of so many seeds. Larger errors are taken to be rejected, too.

    Returns: a relative size; nan if the error has no size, or if none of SIZES is rejected.
    """
    if claim.by is None:
        return math.nan
    each = range(first, first + seeds)
    found = bisect.bisect_left(
        SIZES, True, key=lambda size: rejected(claim, [claim.check(seed, size) for seed in each])
    )
    return SIZES[found] if found < len(SIZES) else math.nan
