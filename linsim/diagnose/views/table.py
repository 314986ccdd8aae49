"""What `linsim diagnose views` tells: the table, and the reasons behind its verdict."""

from typing import TYPE_CHECKING

import numpy as np

from linsim.diagnose.views import moments
from linsim.diagnose.views.strengths import CLEAN, CONDENSED, THRESHOLD

if TYPE_CHECKING:
    from linsim.diagnose.views.result import Views

SHOWN = 24
DIFFERENT = 4.0
FEW = 10  # pairs for each direction
COUPLED = 0.1  # share of variance, beyond chance
NOTICED = 0.05  # relative change of a ratio that is told


def table(found: "Views") -> str:
    """The values by direction, what they rest on, and the verdict."""
    count = len(found.ratios)
    shown = np.unique(np.linspace(0, count - 1, min(count, SHOWN)).round().astype(int))
    errors = moments.relative_errors(found.moments, found.moment_errors)
    lines = [
        f"{found.rows} pairs in {found.dimensions} dimensions, batches of "
        f"{found.settings.batch_size}; anchors and negatives: {_ANCHORS[found.anchors]}",
        "standard errors of the second moments, of all entries together: "
        + ", ".join(f"{_MOMENTS[name]} {100 * value:.1f} %" for name, value in errors.items()),
        "",
        _heading(found),
        *(_row(found, int(k)) for k in shown),
    ]
    if count > SHOWN:
        lines.append(f"({SHOWN} of {count} directions, evenly spaced)")
    if found.trained is not None:
        lines += ["", against_training(found)]
    lines += ["", *(f"- {reason}" for reason in reasons(found))]
    return "\n".join([*lines, "", f"verdict: {found.verdict}"])


_ANCHORS = {"first": "the first view", "both": "both views in turn"}
_MOMENTS = {"data": "anchors", "noise": "augmentation", "cross": "between the two"}


def _heading(found: "Views") -> str:
    titles = f"{'':>4} {'ratio':>9} {'unseen rows':>21} {'own':>9} {'strength':>9} {'interval':>19}"
    trained = f" {'trained':>9}" if found.trained is not None else ""
    return f"{titles}{trained}  outcome"


def _row(found: "Views", k: int) -> str:
    low, high = found.unseen_interval[:, k]
    weak, strong = found.strength_interval[:, k]
    said = (
        f"{k + 1:>4} {found.ratios[k]:>9.4g} {f'[{low:.4g}, {high:.4g}]':>21} "
        f"{found.own.ratios[k]:>9.4g} {found.strengths[k]:>9.3g} "
        f"{f'[{weak:.3g}, {strong:.3g}]':>19}"
    )
    trained = f" {found.trained.strengths[k]:>9.3g}" if found.trained is not None else ""
    return f"{said}{trained}  {found.outcomes[k]}"


def against_training(found: "Views") -> str:
    """How the trained maps compare: dimensions, outcomes, and strengths of the kept directions."""
    if found.trained is None:
        raise ValueError("no map was trained")
    from linsim.diagnose.views.trained import LEAST

    gone, outcomes = found.trained.strengths < LEAST, found.outcomes
    theory, own = (ratios >= THRESHOLD for ratios in (found.ratios, found.own.ratios))
    wrong = np.sum(gone & (outcomes == "kept")) + np.sum(~gone & (outcomes == "lost"))
    compared = ~theory & np.isfinite(found.strengths)
    off = found.trained.strengths[compared] / found.strengths[compared] - 1
    return (
        f"maps trained on just these pairs keep {found.trained.dimensions:g} dimensions "
        f"(eigenvalues of S from {LEAST:g} on); ratios of all rows say {np.sum(~theory)}, own "
        f"ratios {np.sum(~own)}; {wrong} directions have another outcome than the verdict says; "
        f"strengths differ from theory by {100 * np.median(off):+.1f} % in the median"
    )


def reasons(found: "Views") -> tuple[str, ...]:
    """What the verdict rests on and what limits it."""
    said = [
        f"a direction is lost if its ratio of noise to data variance is {THRESHOLD:g} or more; "
        "intervals (95 %, each by itself) are of rows that the direction was not found from, and "
        "widened by what the pairs' own ratio differs from the Gaussian one"
    ]
    said += [text for text in (check(found) for check in _CHECKS) if text]
    return tuple(said)


def _symmetric(found: "Views") -> str:
    if found.anchors == "both" and found.asymmetry < DIFFERENT:
        return (
            "the views look like two draws of one augmentation: then no ratio exceeds 2, and those "
            "of directions in which the views share nothing are 2 exactly, so that they cannot be "
            "told from lost ones, and keep next to nothing"
        )
    differ = f"the views differ, by {found.asymmetry:.0f} standard errors in a mean or variance"
    if found.anchors == "first":
        return (
            f"{differ}: exchanging X and Y may change the verdict"
            if found.asymmetry > DIFFERENT
            else ""
        )
    return f"{differ}: theory for anchors from both is not made for that"


def _few(found: "Views") -> str:
    per_direction = found.rows / len(found.ratios)
    if per_direction >= FEW:
        return ""
    return (
        f"there are {per_direction:.1f} pairs for each direction: ratios on all rows are more "
        "spread than they truly are, and strengths with them"
    )


def _not_gaussian(found: "Views") -> str:
    usual = np.isfinite(found.ratios) & np.isfinite(found.own.ratios) & (found.ratios > CLEAN)
    if not usual.any():
        return ""
    off = found.own.ratios[usual] / found.ratios[usual] - 1
    if np.median(np.abs(off)) < NOTICED:
        return ""
    return (
        "the pairs are not Gaussian: at the predicted map their own ratios are "
        f"{100 * np.median(off):+.0f} % off in the median (where pairs are hard to tell, the "
        f"augmentation has {np.median(found.own.hard_noise[usual]):.2f} times its variance and "
        f"negatives {np.median(found.own.hard_negatives[usual]):.2f} times theirs); strengths will "
        "be off as well (--train measures it)"
    )


def _coupled(found: "Views") -> str:
    by_chance = len(found.ratios) / found.rows
    if found.directions.coupling < COUPLED + by_chance:
        return ""
    return (
        f"anchors of other directions explain {100 * found.directions.coupling:.0f} % of the "
        "augmentation's variance in a direction, which strengths leave out"
    )


def _condensed(found: "Views") -> str:
    if found.settled.loss >= CONDENSED:
        return ""
    return (
        f"the loss where training ends is {found.settled.loss:.1g} per anchor: the pairs are told "
        "apart long before, and then hardly anything moves; lost directions are still there, and "
        "strengths below what is said here"
    )


_CHECKS = (_symmetric, _few, _not_gaussian, _coupled, _condensed)
