"""The ledger as a page of the docs: its tables, and what is kept of measured evidence for it.

Imports no numerical library. `docs/ledger.py` makes the page and its pictures with this.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from linsim.claims.ledger import RESIDUALS, Assumption, Claim, Evidence, Outcome

HEADER = (
    "| claim | statement | verdict | measured, of tolerance and where that comes from | rejects |",
    "|---|---|---|---|---|",
)
EQUATION = re.compile(r"docs/theory\.md, Eq\. \(([\w-]+)\)")


def markdown(outcomes: Sequence[Outcome]) -> str:
    """A table of claims in Markdown, with the worst seed of each and of its counter-check."""
    return "\n".join([*HEADER, *map(row, outcomes)]) + "\n"


def row(outcome: Outcome) -> str:
    """A claim's row in it."""
    claim = outcome.claim
    why = "; ".join(part for part in (claim.erratum, claim.conditions) if part)
    cells = (
        f"**{claim.id}** " + EQUATION.sub(r"[theory](theory.md), {eq}`\1`", plain(claim.where)),
        plain(claim.statement),
        f"**{outcome.found}**" + (f": {plain(why)}" if why else ""),
        f"{outcome.worst:.2g} of {claim.tolerance.value:.3g}: {plain(claim.tolerance.origin)}",
        f"{plain(claim.counter)}: {outcome.least_wrong:.2g}",
    )
    return "| " + " | ".join(cells) + " |"


def plain(text: str) -> str:
    """Text as Markdown shows it as it is."""
    return re.sub(r"([|_*])", r"\\\1", text)


def kept(record: Mapping[str, Any]) -> dict[str, Any]:
    """What the page needs of what `linsim verify --json` writes, in the same form: each seed's
    residuals with three digits, the assumptions that were not met, and what measured them.
    """
    versions = {name: record["versions"][name] for name in ("linsim", "jax")}
    claims = [
        {
            "id": claim["id"],
            "versions": versions,
            "seeds": list(map(_kept, claim["seeds"])),
            "counter_check": {"seeds": list(map(_kept, claim["counter_check"]["seeds"]))},
        }
        for claim in record["claims"]
    ]
    return {"claims": claims}


def _kept(seed: Mapping[str, Any]) -> dict[str, Any]:
    unmet = [each for each in seed.get("assumptions", ()) if not each["met"]]
    rounded = {
        name: value if isinstance(value, str) else float(f"{value:.3g}")
        for name in RESIDUALS
        if (value := seed.get(name)) is not None
    }
    rest = {"undecided": seed.get("undecided", False), "assumptions": unmet}
    return rounded | {name: value for name, value in rest.items() if value}


def restored(record: Mapping[str, Any], claims: Sequence[Claim]) -> list[Outcome]:
    """The outcomes of these claims from what `linsim verify --json` wrote, or `kept` kept of it.
    Raises: KeyError for a claim that was not measured.
    """
    known = {claim["id"]: claim for claim in record["claims"]}
    return [
        Outcome(
            claim,
            tuple(map(_evidence, known[claim.id]["seeds"])),
            tuple(map(_evidence, known[claim.id]["counter_check"]["seeds"])),
        )
        for claim in claims
    ]


def _evidence(seed: Mapping[str, Any]) -> Evidence:
    numbers = {name: float(value) for name in RESIDUALS if (value := seed.get(name)) is not None}
    assumptions = [
        Assumption(each["what"], float(each["value"]), each["allowed"], each["met"])
        for each in seed.get("assumptions", ())
    ]
    return Evidence(
        **numbers, undecided=seed.get("undecided", False), assumptions=tuple(assumptions)
    )
