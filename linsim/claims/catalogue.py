"""All claims, in the order of their table in the docs. Importing this imports JAX."""

from linsim.claims import (  # noqa: F401
    alignment,
    augmentation,
    collapse,
    directclr,
    gradients,
    layers,
    networks,
    population,
)
from linsim.claims.ledger import LEDGER, Claim

FAMILIES = "CPAND"  # the paper's statements, population theory, alignment, no negatives, DirectCLR


def claims() -> tuple[Claim, ...]:
    """Every claim, by family and number."""
    return tuple(sorted(LEDGER.values(), key=lambda claim: (FAMILIES.index(claim.id[0]), claim.id)))
