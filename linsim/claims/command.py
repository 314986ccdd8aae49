"""`linsim verify`: run the ledger's checks and compare their verdicts with the recorded ones.

Imports no numerical library until the command line has been read.
"""

import dataclasses
import functools
import importlib.metadata
import json
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro

from linsim.claims.ledger import (
    RESIDUALS,
    Claim,
    Evidence,
    Outcome,
    Section,
    examine,
    size,
    smallest_error,
)
from linsim.config import BadInput, Checked, Count, Several, parsed, require
from linsim.sweeps.runtime import configure_jax, try_to_write
from linsim.sweeps.settings import Seed


@dataclasses.dataclass(kw_only=True)
class VerifySettings(Checked):
    """Check each statement of the theory, and that a wrong formula would have been noticed."""

    ids: Annotated[
        tuple[str, ...], tyro.conf.Positional, Several(may_be_empty=True, may_repeat=True)
    ] = ()
    """Claims to check, such as C13 P04 (default: all that are quick)."""
    section: Section | None = None
    """Only claims about this section of the paper (3, 4, 5, 6), or what is not in it (new)."""
    seeds: Count = 3
    """Independent runs of every check; the worst decides."""
    seed: Seed = 0
    """The first of their seeds, to try others than those that the verdicts were recorded with."""
    power: bool = False
    """Also look for the smallest error that each check notices in all of these seeds."""
    all: bool = False
    """Also the claims that need minutes of training."""
    json: Path | None = None
    """Write everything measured to this file."""


def main(argv: Sequence[str]) -> None:
    """Check and print a table; ends the program with code 0 if all is as recorded, else 1. Raises:
    BadInput, CannotWrite.
    """
    config = parsed(VerifySettings, list(argv), prog="linsim verify")
    check_flags(config)
    configure_jax()
    asked = chosen(config)
    claims = [claim for claim in asked if not claim.missing]
    outcomes = of_each(examine, claims, config)
    print(table(outcomes))
    if config.power:
        print("", power(claims, config), sep="\n")
    for claim in asked:
        if claim.missing:
            print(
                f"{claim.id} skipped: it needs {claim.missing}, pip install 'linsim[{claim.extra}]'"
            )
    save(outcomes, config)
    raise SystemExit(0 if all(outcome.as_recorded for outcome in outcomes) else 1)


def check_flags(config: VerifySettings) -> None:
    """Check what can be checked without the claims. Raises: BadInput."""
    if config.json is not None:
        require(
            not config.json.is_dir() and _writable(config.json.absolute().parent),
            "json",
            config.json,
            "a file in a folder that can be written",
        )


def _writable(folder: Path) -> bool:
    try:
        try_to_write(folder)
    except OSError:
        return False
    return True


def chosen(config: VerifySettings) -> list[Claim]:
    """The claims that a command line asks for. Raises: BadInput."""
    from linsim.claims.catalogue import claims

    known = {claim.id: claim for claim in claims()}
    names = list(dict.fromkeys(name.upper() for name in config.ids)) or list(known)
    for name in names:
        if name not in known:
            raise BadInput(f"claim {name} is not known: it must be one of {', '.join(known)}")
        if config.ids and known[name].slow and not config.all:
            raise BadInput(
                f"claim {name} is not allowed without --all: it needs minutes of training"
            )
    asked = [known[name] for name in names if config.all or not known[name].slow]
    found = [claim for claim in asked if config.section in (None, claim.section)]
    require(
        len(found) > 0,
        "section",
        config.section,
        f"one that holds any of the claims {', '.join(names)}",
    )
    return found


Found = TypeVar("Found")
Work = Callable[[Claim, int, int], Found]


def of_each(work: Work[Found], claims: Sequence[Claim], config: VerifySettings) -> list[Found]:
    """What some work on each claim finds, in order; shows its progress.

    Quick claims are shared by as many processes as there are cores, those of one module together
    since they share programs and simulations, the largest modules first; those that train, which
    use all cores themselves, follow one after the other.
    """
    from linsim.studies.side_by_side import as_they_end
    from linsim.sweeps.progress import progress

    modules: dict[str, list[str]] = {}
    for claim in claims:
        if not claim.slow:
            modules.setdefault(claim.check.__module__, []).append(claim.id)
    together = sorted(modules.values(), key=len, reverse=True)
    of_some = functools.partial(in_float64, work, seeds=config.seeds, first=config.seed)
    found: dict[str, Found] = {}
    with progress(len(claims), "claims", what="checking ") as bar:
        for place, values in as_they_end(of_some, [{"names": names} for names in together]):
            found |= dict(zip(together[place], values, strict=True))
            bar.update(len(values))
        for claim in (claim for claim in claims if claim.slow):
            bar.set_postfix_str(claim.id)
            found[claim.id] = of_some(names=[claim.id])[0]
            bar.update()
    return [found[claim.id] for claim in claims]


def in_float64(work: Work[Found], names: Sequence[str], seeds: int, first: int) -> list[Found]:
    """The work on the claims of these ids, in whichever process this is: its module starts JAX."""
    configure_jax()
    import jax

    from linsim.claims.catalogue import LEDGER

    with jax.enable_x64(True):
        return [work(LEDGER[name], seeds, first) for name in names]


COLUMNS = ("id", "where", "verdict", "residual", "tolerance", "counter-check")


def table(outcomes: Sequence[Outcome]) -> str:
    """One line per claim, and a last line, or several, on whether all verdicts are as recorded."""
    return "\n".join([*aligned([COLUMNS, *map(row, outcomes)]), "", *changes(outcomes)])


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines whose columns begin below one another."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in rows
    ]


def power(claims: Sequence[Claim], config: VerifySettings) -> str:
    """A table of the smallest error that each claim's check notices, and of the recorded one."""
    header = ("id", "smallest error noticed", "recorded", f"what is wrong ({config.seeds} seeds)")
    rows: list[tuple[str, ...]] = [header]
    for claim, found in zip(claims, of_each(smallest_error, claims, config), strict=True):
        sizes = ("-", "-") if claim.by is None else (size(found), size(claim.by))
        rows.append((claim.id, *sizes, claim.error.format("by so much")))
    return "\n".join(aligned(rows))


def row(outcome: Outcome) -> tuple[str, ...]:
    """One claim's cells, in the order of COLUMNS."""
    claim = outcome.claim
    noticed = "broken" if outcome.broken else f"rejected at {outcome.least_wrong:.1e}"
    return (
        claim.id,
        claim.where.replace("docs/theory.md", "docs"),
        outcome.found,
        f"{outcome.worst:.1e}",
        f"{claim.tolerance.value:.1e}",
        noticed,
    )


def changes(outcomes: Sequence[Outcome]) -> list[str]:
    """What is not as recorded, old and new, one line each; then how many are."""
    lines = []
    for outcome in outcomes:
        claim = outcome.claim
        if outcome.found != claim.recorded:
            lines.append(
                f"{claim.id} changed: recorded {claim.recorded!r}, found {outcome.found!r}"
            )
        if outcome.broken:
            why = "a number is" if outcome.undefined else "its counter-check was"
            how = "undefined" if outcome.undefined else "not told apart"
            lines.append(f"{claim.id} is broken: {why} {how}, so its verdict means nothing")
    right = sum(outcome.as_recorded for outcome in outcomes)
    return [*lines, f"verdict: {right} of {len(outcomes)} claims as recorded"]


def record(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Everything measured, as plain JSON values."""
    versions = {
        name: importlib.metadata.version(name)
        for name in ("linsim", "jax", "jaxlib", "diffrax", "optax", "numpy")
    }
    return {
        "versions": versions,
        "python": sys.version.split()[0],
        "claims": [entry(outcome) for outcome in outcomes],
    }


def entry(outcome: Outcome) -> dict[str, Any]:
    """One claim's entry of the JSON file."""
    claim = outcome.claim
    described = {
        name: getattr(claim, name)
        for name in ("id", "section", "where", "statement", "erratum", "conditions", "slow")
    }
    measured = {
        "recorded": claim.recorded,
        "found": outcome.found,
        "as_recorded": outcome.as_recorded,
    }
    counter = {
        "broken": outcome.broken,
        "wrong": claim.counter,
        "rejected_as": claim.rejected_as,
        "seeds": [plain(each) for each in outcome.counter],
    }
    seeds = {"seeds": [plain(each) for each in outcome.evidence], "counter_check": counter}
    return described | {"tolerance": claim.tolerance._asdict()} | measured | seeds


def plain(evidence: Evidence) -> dict[str, Any]:
    """One seed's evidence as JSON values; numbers that JSON does not know become words."""

    def number(value: float | None) -> float | str | None:
        return value if value is None or math.isfinite(value) else str(float(value))

    residuals = {name: number(getattr(evidence, name)) for name in RESIDUALS}
    assumptions = [each._asdict() | {"value": number(each.value)} for each in evidence.assumptions]
    return residuals | {"undecided": evidence.undecided, "assumptions": assumptions}


def save(outcomes: Sequence[Outcome], config: VerifySettings) -> None:
    """Write the file that was asked for, whole or not at all. Raises: CannotWrite."""
    from linsim.sweeps import results

    if config.json is not None:
        content = json.dumps(record(outcomes), indent=1, ensure_ascii=False, allow_nan=False)
        results.write(content.encode(), config.json)
        print(f"saved {config.json}", file=sys.stderr)
