"""All claims, in the order of their table in the docs. Importing this imports JAX."""

from linsim.claims import (  # noqa: F401
    alignment,
    augmentation,
    batches,
    budgets,
    collapse,
    condensed,
    directclr,
    distillation,
    factorisation,
    gradients,
    layers,
    losses,
    networks,
    population,
    prediction,
    samples,
    steps,
    targets,
)
from linsim.claims.ledger import LEDGER, Claim

FAMILIES = {
    "C": "What the paper says",
    "P": "Infinite batches, and the condensed regime",
    "S": "The same in samples, where nothing of the theory's own equations is used",
    "B": "Any batch size",
    "A": "Alignment of two layers",
    "N": "Without negatives",
    "L": "Other losses",
    "D": "DirectCLR",
}
"""The letter with which the claims of a family begin, and what they are about, in order."""


def claims() -> tuple[Claim, ...]:
    """Every claim, by family and number."""
    order = {letter: number for number, letter in enumerate(FAMILIES)}
    return tuple(sorted(LEDGER.values(), key=lambda claim: (order[claim.id[0]], claim.id)))
