"""What the runs of one linear layer say about theory: in each setting that it agrees, that it
disagrees, or that they cannot tell, with the reason.

Two things are compared: the strengths of both blocks, where the table shows them, in per cent and
in standard errors; and the counts of collapsed dimensions with the distribution that theory expects
of them.
"""

from typing import Literal, NamedTuple

import numpy as np
import scipy
import xarray as xr

from linsim.studies.words import count_range, number

SHOWN_FROM = 1.0  # the first record that is compared is at this time or later
LEFT_OUT = 0.02  # relative, of second orders and the data set, wherever these are not larger
BEYOND = 0.25  # the same, from which a theory of first order says nothing
WEAK = 1e-3  # of weaker blocks that is meant of ln m
MISTAKE = 0.01  # the probability that a table of a right theory says that it disagrees
RARE = 0.01  # the same for the counts: of their appearing in any of so many runs
VAGUE = 0.1  # relative deviation from which chance must be excluded by more seeds
MANY_ERRORS = 6.0  # standard errors that so few seeds cannot exclude
MOVED = 0.5  # change of ln m since the start from which a block tells anything

Outcome = Literal["agrees", "disagrees", "cannot tell"]


class Judgement(NamedTuple):
    """An outcome, and what to say about it; nothing of an agreement."""

    outcome: Outcome
    reason: str = ""


class Compared(NamedTuple):
    """The mean strength of a block at one time beside theory's.

    error: standard error of the mean, nan if unknown; limit: how many of them a right theory may be
    off; left_out: size of what theory leaves out of ln m at this learning rate and data set; start:
    its first value.
    """

    block: str
    time: float
    measured: float
    theory: float
    error: float
    limit: float
    left_out: float
    start: float

    @property
    def off(self) -> float:
        """Measured less theory, relative; nan for a theory of zero."""
        return (self.measured - self.theory) / self.theory if self.theory > 0 else np.nan

    @property
    def errors(self) -> float:
        """Measured less theory, in standard errors; nan if these are unknown."""
        return (self.measured - self.theory) / self.error if self.error > 0 else np.nan

    @property
    def unit(self) -> float:
        """Of deviations of ln m: 1, or of a weak block, of which ln m is meant, ln m itself."""
        return abs(float(np.log(self.theory))) if 0 < self.theory < WEAK else 1.0

    def within(self, allowed: float) -> bool:
        """Whether the deviation is within a relative one, of ln m if the block is weak."""
        if not (self.theory > 0 and self.measured > 0):
            return max(self.theory, self.measured) < WEAK**4
        if self.theory < WEAK:
            return bool(abs(np.log(self.measured / self.theory)) <= allowed * self.unit)
        return bool(abs(self.off) <= allowed)

    def moved(self) -> bool:
        """Whether theory has the block change enough for the comparison to mean something."""
        return bool(self.theory < WEAK or abs(np.log(self.theory / self.start)) > MOVED)

    def told(self) -> str:
        """The deviation in words."""
        errors = (
            f" and {in_errors(self.errors)} standard errors" if np.isfinite(self.errors) else ""
        )
        return (
            f"{self.block} strength at t = {self.time:.3g} off by {100 * self.off:+.2g} %{errors}"
        )


def in_errors(errors: float) -> str:
    """A number of standard errors, with one decimal where that says anything."""
    return f"{errors:+.1f}" if abs(errors) < 1000 else f"{errors:+.0e}"


def at_batch_size(dataset: xr.Dataset) -> bool:
    """Whether runs are compared with the theory of their batch size, or with infinite batches."""
    return bool(np.isfinite(dataset["theory_block_strength"]).any())


def predicted_strength(one: xr.Dataset) -> xr.DataArray:
    """Strengths of the blocks at this batch size, or in infinite batches where that is all that is
    known.
    """
    if at_batch_size(one):
        return one["theory_block_strength"]
    return infinite_strength(one)


def infinite_strength(dataset: xr.Dataset) -> xr.DataArray:
    """Strengths of the blocks in infinite batches, median over seeds where each has its own."""
    limit = dataset["population_block_strength"]
    return limit.median("seed") if "seed" in limit.dims else limit


def shown_records(dataset: xr.Dataset) -> list[int]:
    """Records that are compared: the first from SHOWN_FROM on, the geometric middle, the last."""
    time = dataset["time"].values
    first = min(int(np.searchsorted(time, SHOWN_FROM)), len(time) - 1)
    middle = int(np.searchsorted(time, np.sqrt(time[first] * time[-1])))
    return sorted({first, middle, len(time) - 1})


def comparisons(one: xr.Dataset, settings: int = 1) -> list[Compared]:
    """All that is compared of one setting. Args: its runs; how many settings there are in all,
    since the worst of many is further off.
    """
    filled = one["block_strength"].notnull().any(("time", "seed")).values
    present = [block for block in range(len(filled)) if filled[block]]
    records = shown_records(one)
    mistake = MISTAKE / 2 / (settings * len(present) * len(records))
    return [_compared(one, block, record, mistake) for block in present for record in records]


def _compared(one: xr.Dataset, block: int, record: int, mistake: float) -> Compared:
    """The standard error is the one that theory expects, or where it has none that of the seeds:
    their relative spread at all records together, or at this one if that is larger.
    """
    of_block = one.isel(block=block)
    at = of_block.isel(time=record)
    values, theory = at["block_strength"].values, float(predicted_strength(at))
    spread, limit = float(at["theory_level"]), -scipy.special.ndtri(mistake)
    if np.isnan(spread) and len(values) > 1:
        records = shown_records(one)
        spread = _spread_of_seeds(of_block["block_strength"].isel(time=records), at["time"].item())
        limit = -scipy.special.stdtrit((len(values) - 1) * len(records), mistake)
    return Compared(
        block=str(at["block"].item()),
        time=float(at["time"]),
        measured=float(np.mean(values)),
        theory=theory,
        error=theory * spread / np.sqrt(len(values)),
        limit=float(limit),
        left_out=float(at["theory_left_out"]),
        start=float(predicted_strength(of_block)[0]),
    )


def _spread_of_seeds(strength: xr.DataArray, time: float) -> float:
    """Relative standard deviation between seeds: of all times together, or of one if larger."""
    relative = (strength / strength.mean("seed")).var("seed", ddof=1)
    return float(np.sqrt(max(float(relative.mean()), float(relative.sel(time=time)))))


def judge(one: xr.Dataset, counts: xr.DataArray, settings: int) -> Judgement:
    """The judgement of one setting. Args: its runs; measured counts of collapsed dimensions; how
    many settings there are in all.
    """
    every = comparisons(one, settings)
    left_out = max(each.left_out for each in every)  # one block or time drives the others
    found = [_strength(each, left_out) for each in every]
    if all(judgement.outcome != "cannot tell" for judgement in found):  # counts depend on these
        found.append(_counts(one, counts, RARE / settings, left_out))
    unclear = [judgement.reason for judgement in found if judgement.outcome == "cannot tell"]
    wrong = [judgement.reason for judgement in found if judgement.outcome == "disagrees"]
    if wrong:
        return Judgement("disagrees", "; ".join(wrong))
    if unclear:
        return Judgement("cannot tell", "; ".join(unclear))
    if not any(each.moved() for each in every):
        return Judgement("cannot tell", "the strengths have hardly moved yet: more --steps")
    return Judgement("agrees")


def _strength(each: Compared, left_out: float) -> Judgement:
    if each.within(LEFT_OUT):
        return Judgement("agrees")
    if np.isnan(each.errors):
        return Judgement("cannot tell", f"{each.told()}, of which one run has no error: --seeds")
    if abs(each.errors) <= each.limit:
        if each.within(VAGUE) or each.limit < MANY_ERRORS:
            return Judgement("agrees")
        return Judgement("cannot tell", f"{each.told()}, which may be chance: more --seeds")
    if each.within(left_out / each.unit) or left_out / each.unit > BEYOND:
        return _too_coarse(each.told(), left_out)
    return Judgement("disagrees", each.told())


def _too_coarse(told: str, left_out: float) -> Judgement:
    """The judgement of a deviation as large as what theory leaves out."""
    return Judgement(
        "cannot tell",
        f"{told}, where theory leaves out terms of {100 * left_out:.2g} %: "
        "a lower --learning-rate, if from a data set --batches fresh, of several layers a larger "
        "--init-scale",
    )


def _counts(one: xr.Dataset, counts: xr.DataArray, rare: float, left_out: float) -> Judgement:
    """Whether each count is one that so many runs show with a probability of `rare` or more."""
    share = one["collapsed_probability"].values
    seen = 1 - (1 - share[counts.values.astype(int)]) ** counts.size  # in any of the runs
    if np.all(seen >= rare):
        return Judgement("agrees")
    measured = f"{count_range(counts)} collapsed dimensions where theory has {expected(one)}"
    if left_out > BEYOND:
        return _too_coarse(measured, left_out)
    return Judgement("disagrees", measured)


def expected(one: xr.Dataset) -> str:
    """The counts of collapsed dimensions that theory expects, with their shares of all runs."""
    share = one["collapsed_probability"].values
    if np.isnan(share).any():
        return number(float(one["predicted_collapsed"]))
    likely = np.flatnonzero(share >= 0.005)
    if len(likely) == 1:
        return str(likely[0])
    return ", ".join(f"{count} ({100 * share[count]:.0f} %)" for count in likely)
