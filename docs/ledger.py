"""Make the ledger's page from measured evidence:

    linsim verify --all --json FILE && python docs/ledger.py FILE

puts its tables into docs/ledger.md and its pictures beside it, and keeps of the evidence what they
show in docs/ledger.json. FILE may be about some claims only (`linsim verify C13 --json FILE`), and
without one the page is made from what is kept.
"""

import json
import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from linsim.claims import page
from linsim.claims.catalogue import FAMILIES, claims
from linsim.claims.ledger import RESIDUALS, Evidence, Outcome
from linsim.studies import style

DOCS = Path(__file__).parent
KEPT = DOCS / "ledger.json"
BEGIN, END = "<!-- ledger -->\n", "<!-- /ledger -->"
LOW, HIGH = 1e-6, 1e13  # of residuals in units of the tolerance
ROW = 0.155  # inches
AS_STATED: dict[str, Any] = style.MEASURED | {"marker": "o", "color": style.CLEAN, "markersize": 3}
WRONG: dict[str, Any] = style.HOLLOW | {"marker": "D", "color": style.NOISY, "markersize": 3}
REFUTED: dict[str, Any] = {
    "linestyle": "",
    "marker": "x",
    "color": style.INK,
    "markersize": 3.5,
    "markeredgewidth": 0.8,
}
MARGIN: dict[str, Any] = {"color": "0.8", "linewidth": 1.5, "solid_capstyle": "butt", "zorder": 1}


def outcomes() -> dict[str, list[Outcome]]:
    """Every claim's outcome from what is kept, by the letter of its family. Raises: SystemExit if
    there are claims without.
    """
    record = json.loads(KEPT.read_text())
    missing = {claim.id for claim in claims()} - {claim["id"] for claim in record["claims"]}
    if missing:
        ids = " ".join(sorted(missing))
        raise SystemExit(
            f"no evidence is kept of {ids}: linsim verify {ids} --json FILE && python "
            "docs/ledger.py FILE (--all for trained claims)"
        )
    found = page.restored(record, claims())
    return {letter: [each for each in found if each.claim.id[0] == letter] for letter in FAMILIES}


def text(families: dict[str, list[Outcome]]) -> str:
    """The generated part of the page: for each family its picture and its table."""
    sections = [
        f"## {letter}: {about}\n\n![Residuals of the claims {letter} against their tolerances]"
        f"(_static/ledger_{letter}.svg)\n\n{page.markdown(families[letter])}"
        for letter, about in FAMILIES.items()
    ]
    return "\n".join(sections)


def picture(family: Sequence[Outcome]) -> Figure:
    """The residuals of some claims: below, what has no tolerance to be measured in."""
    relative = [each for each in family if each.claim.tolerance.value > 0]
    absolute = [each for each in family if each.claim.tolerance.value == 0]
    heights = [len(relative), *([len(absolute)] if absolute else [])]
    with style.look():
        drawn = style.figure(style.PAGE, ROW * sum(heights) + 0.75 + 0.4 * (len(heights) - 1))
        axes = drawn.subplots(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
        in_tolerances(axes[0], relative)
        if absolute:
            in_own_units(axes[1], absolute)
        handles = [
            style.named(AS_STATED, "the statement as it is held, each seed"),
            style.named(WRONG, "with the error that must be rejected"),
            style.named(REFUTED, "as printed, outside its conditions, or later"),
            style.named(style.THRESHOLD, "tolerance"),
        ]
        style.key(drawn, handles)
    return drawn


def in_tolerances(axis: Axes, family: Sequence[Outcome]) -> None:
    """One line per claim: what each seed measured, divided by the claim's tolerance."""
    units = [each.claim.tolerance.value for each in family]
    rows(axis, family, units, (1.3 * LOW, HIGH / 1.3))
    style.decades(axis, "x", LOW, HIGH)
    axis.axvline(1.0, **style.THRESHOLD)
    axis.set_xlabel("residual / tolerance: a statement holds below 1, and is refuted above")


def in_own_units(axis: Axes, family: Sequence[Outcome]) -> None:
    """The same where the tolerance is zero: how far an interval falls short of it."""
    rows(axis, family, [1.0] * len(family), (-math.inf, math.inf))
    axis.axvline(0.0, **style.THRESHOLD)
    axis.set_xscale("symlog", linthresh=0.01)
    axis.margins(x=0.04)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_xlabel("how far an interval falls short of zero, in RankMe (C22) or accuracy")


def rows(
    axis: Axes, family: Sequence[Outcome], units: Sequence[float], ends: tuple[float, float]
) -> None:
    """The marks of each claim in units of its own, the first claim on top, between these ends."""
    for height, (outcome, unit) in enumerate(zip(family, units, strict=True)):
        margin = np.clip([outcome.worst / unit, outcome.least_wrong / unit], *ends)
        axis.plot(margin, [height] * 2, **MARGIN)
        for look, values in (
            (WRONG, [each.residual for each in outcome.counter if each.counts]),
            (REFUTED, refuted(outcome.evidence)),
            (AS_STATED, [each.residual for each in outcome.evidence if each.counts]),
        ):
            marks(axis, height, np.array(values) / unit, ends, look)
    names = [f"{each.claim.id}  {place(each.claim.where)}" for each in family]
    axis.set_yticks(range(len(family)), names)
    axis.tick_params(axis="y", length=0)
    axis.set_ylim(len(family) - 0.4, -0.6)


def marks(
    axis: Axes, height: int, values: np.ndarray, ends: tuple[float, float], look: dict[str, Any]
) -> None:
    """Values in one line, with an arrowhead at the end for those that lie beyond it."""
    low, high = ends
    for within, marker in (
        ((values >= low) & (values <= high), look["marker"]),
        (values < low, "<"),
        (values > high, ">"),
    ):
        found = np.clip(values[within], low, high)
        shown: dict[str, Any] = look | {"marker": marker}
        axis.plot(found, np.full(len(found), height), **shown)


def place(where: str) -> str:
    """Where a statement stands, in few words."""
    equation = page.EQUATION.fullmatch(where)
    return f"({equation[1]})" if equation else re.sub(r"(\d{4}),.*", r"\1", where)


def refuted(evidence: Sequence[Evidence]) -> list[float]:
    """The residuals of what the statement is not."""
    found = [getattr(each, name) for each in evidence for name in RESIDUALS[1:]]
    return [value for value in found if value is not None]


def keep(record: dict[str, Any]) -> None:
    """Keep what the page shows of new evidence, beside that of all other claims."""
    old = json.loads(KEPT.read_text())["claims"] if KEPT.exists() else []
    new = page.kept(record)["claims"]
    known = {claim["id"]: claim for claim in (*old, *new)}
    lines = ",\n".join(json.dumps(known[claim.id]) for claim in claims() if claim.id in known)
    KEPT.write_text(f'{{"claims": [\n{lines}\n]}}\n')


def main() -> None:
    """Command line."""
    if len(sys.argv) > 1:
        keep(json.loads(Path(sys.argv[1]).read_text()))
    families = outcomes()
    written = (DOCS / "ledger.md").read_text()
    before, after = written.partition(BEGIN)[0], written.partition(END)[2]
    (DOCS / "ledger.md").write_text(before + BEGIN + text(families) + END + after)
    for letter, family in families.items():
        path = DOCS / "_static" / f"ledger_{letter}.svg"
        path.write_bytes(style.rendered(picture(family), "svg"))


if __name__ == "__main__":
    main()
