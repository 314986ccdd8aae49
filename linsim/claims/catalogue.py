"""All claims, in the order of the README's table. Importing this imports JAX."""

from linsim.claims import alignment, augmentation, collapse, gradients, layers, networks, population  # noqa: F401
from linsim.claims.ledger import LEDGER, Claim

FAMILIES = "CPAND"  # the paper's statements, population theory, alignment, no negatives, DirectCLR


def claims() -> tuple[Claim, ...]:
    """Every claim, by family and number."""
    return tuple(sorted(LEDGER.values(), key=lambda claim: (FAMILIES.index(claim.id[0]), claim.id)))
