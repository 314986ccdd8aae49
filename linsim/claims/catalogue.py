"""All claims, in the order of their table in the docs. Importing this imports JAX."""

from linsim.claims import (  # noqa: F401
    alignment,
    augmentation,
    batches,
    collapse,
    directclr,
    gradients,
    layers,
    losses,
    networks,
    population,
    samples,
)
from linsim.claims.ledger import LEDGER, Claim

# the paper's statements, infinite batches, the same in samples, any batch size, alignment, no
# negatives, other losses, DirectCLR
FAMILIES = "CPSBANLD"


def claims() -> tuple[Claim, ...]:
    """Every claim, by family and number."""
    return tuple(sorted(LEDGER.values(), key=lambda claim: (FAMILIES.index(claim.id[0]), claim.id)))
