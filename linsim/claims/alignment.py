"""Claims A01-A06: what is exactly true about the alignment of two layers (not in the paper;
docs/theory.md, "Two layers"). A01-A05 need a gradient of the product and no more; A06 is about
InfoNCE's.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from linsim import spectra
from linsim.arrays import Array
from linsim.claims.layers import FLOW_TIMES, GRADED, SMALL, aligned, descent, flow
from linsim.claims.ledger import Evidence, claim, equation, rounding, solver
from linsim.claims.population import SETTLED
from linsim.claims.setups import (
    DIM,
    FLOW,
    above,
    alignment_matrix,
    batch_flow,
    below,
    case,
    error,
    layers,
    population_flow,
    rotation,
)
from linsim.theory import alignment, population
from linsim.training import models


@claim(
    "A01",
    "new",
    equation("identity"),
    tolerance=solver(FLOW),
    recorded="exact",
    error="C {} too large",
    by=1e-6,
)
def alignment_identity(seed: int, wrong: float) -> Evidence:
    """Along gradient flow of any loss of the product A_jk (σ1_k² - σ2_j²) = v2_jᵀ C u1_k, C = W1
    W1ᵀ - W2ᵀ W2 at t = 0.
    """
    conserved = (1 + wrong) * alignment.imbalance(*layers(seed))
    residuals = [
        alignment.identity_residual(w1, w2, conserved)
        for w1, w2 in zip(*flow(seed).weights, strict=True)
    ]
    return Evidence(float(max(residuals)))


@claim(
    "A02",
    "new",
    equation("bound"),
    tolerance=solver(FLOW),
    recorded="exact",
    error="C {} too small",
    by=1e-5,
)
def alignment_bound(seed: int, wrong: float) -> Evidence:
    """Along gradient flow of any loss of the product |A_kk| ≥ √(1 - |C|₂²/δ_k²), δ_k = min_{j≠k}
    |σ1_k² - σ2_j²|: a mode aligns when its gap outgrows C.
    """
    conserved = (1 - wrong) * alignment.imbalance(*tilted(seed))
    short, highest = 0.0, 0.0
    for w1, w2 in zip(*tilted_flow(seed), strict=True):
        bound = alignment.alignment_bound(w1, w2, conserved)
        short = max(
            short,
            float(jnp.max(bound - jnp.abs(jnp.diag(alignment_matrix(w1, w2))))),
        )
        highest = max(highest, float(bound.max()))
    return Evidence(short, assumptions=(above("largest bound on the way", highest, 0.5),))


def tilted(seed: int) -> models.Params:
    """Layers of equal singular values whose two strongest modes are turned against each other: the
    bound is attained.
    """
    values, frame = (
        jnp.array([1.5, 1.2, 0.8, 0.5, 0.2]),
        models.random_frame(jax.random.key(seed), DIM, DIM),
    )
    angle = 0.3 + 0.1 * jax.random.uniform(jax.random.key(seed))
    turn = (
        jnp.eye(DIM)
        .at[:2, :2]
        .set(jnp.array([[jnp.cos(angle), -jnp.sin(angle)], [jnp.sin(angle), jnp.cos(angle)]]))
    )
    return frame * values, values[:, None] * (frame @ turn).T


@functools.cache
def tilted_flow(seed: int) -> tuple[Float[Array, "T _out _in"], ...]:
    """Gradient flow from `tilted` on the batch of a seed."""
    return batch_flow(tilted(seed), *case(seed)[1:], FLOW_TIMES).weights


@claim(
    "A03",
    "new",
    equation("imbalance"),
    tolerance=rounding(200 * DIM),
    recorded="exact",
    error="the drift {} too large",
    by=1e-6,
)
def identity_under_descent(seed: int, wrong: float) -> Evidence:
    """Along gradient descent on any loss of the product the identity holds with C + Σ η² (W2ᵀ G Gᵀ
    W2 - W1 Gᵀ G W1ᵀ) in place of C.
    """
    steps = descent(layers(seed), *case(seed)[1:])
    w1, w2 = (w[-1] for w in steps.weights)
    drift = (1 + wrong) * steps.tally[-1]
    conserved = alignment.imbalance(*layers(seed)) + drift
    return Evidence(float(alignment.identity_residual(w1, w2, conserved)))


@claim(
    "A04",
    "new",
    equation("bound"),
    tolerance=rounding(DIM**2),
    recorded="exact",
    error="C {} too large",
    by=1e-6,
)
def bound_is_sharp(seed: int, wrong: float) -> Evidence:
    """The bound cannot be improved: two neighbouring modes of equal layers, turned against each
    other, attain it.
    """
    w1, w2 = tilted(seed)
    bound = alignment.alignment_bound(w1, w2, (1 + wrong) * alignment.imbalance(w1, w2))
    attained = jnp.abs(jnp.diag(spectra.alignment_matrix(w1, w2)))
    return Evidence(float(jnp.min(jnp.abs(bound[:2] - attained[:2]))))


GROUP = 3  # of DIM modes


@functools.cache
def degenerate(seed: int):
    """C, and layers in the population flow of isotropic data, from a start with a nearly degenerate
    group of strong modes.

    Inside the group the two layers have different bases; its span in the second layer is turned
    towards a weak mode.
    """
    values, frame = (
        jnp.array([1.5, 1.499, 1.498, 0.03, 0.02]),
        models.random_frame(jax.random.key(seed), DIM, DIM),
    )
    turn = (
        jnp.eye(DIM)
        .at[2:4, 2:4]
        .set(jnp.array([[jnp.cos(0.3), -jnp.sin(0.3)], [jnp.sin(0.3), jnp.cos(0.3)]]))
    )
    inside = jnp.eye(DIM).at[:GROUP, :GROUP].set(rotation(seed, GROUP))
    start = frame * values, values[:, None] * (frame @ turn @ inside).T
    flow = population_flow(start, jnp.eye(DIM), 0.1 * jnp.eye(DIM), np.array([0.0, 1.0, 20.0]))
    return alignment.imbalance(*start), flow


@claim(
    "A05",
    "new",
    equation("bound"),
    tolerance=solver(FLOW),
    recorded="exact",
    error="|C| {} too small",
    by=0.01,
)
def degenerate_modes_align_as_a_subspace(seed: int, wrong: float) -> Evidence:
    """A group of strong modes spans the same subspace in both layers up to arcsin(|C|₂/δ), δ the
    gap in σ² to the other modes.
    """
    conserved, flow = degenerate(seed)
    norm = (1 - wrong) * float(jnp.linalg.norm(conserved, 2))
    excess, ratio = [], 0.0
    for w1, w2 in zip(*flow, strict=True):
        s1, s2 = (np.linalg.svd(w, compute_uv=False) ** 2 for w in (w1, w2))
        ratio = norm / min(s1[GROUP - 1] - s2[GROUP], s2[GROUP - 1] - s1[GROUP])
        a = np.asarray(spectra.alignment_matrix(w1, w2))
        excess.append(np.sin(np.radians(alignment.group_angle(a, range(GROUP)))) - ratio)
    return Evidence(
        float(max(*excess, 0.0)),
        assumptions=(below("|C| over the gap at the end", ratio, 1.0),),
    )


@claim(
    "A06",
    "new",
    equation("foretold"),
    tolerance=SETTLED,
    recorded="exact",
    error="c {} too large",
    by=1e-6,
)
def alignment_is_known_before_training(seed: int, wrong: float) -> Evidence:
    """InfoNCE on infinite batches ends with |A_kk| ≥ √(1 - |C|₂²/δ_k²), δ_k = min_{j≠k} |s_k - s_j|
    - |C|₂, s_k = √(m*_k + |C|₂²/4), which the noise and the start tell before training.
    """
    params, conserved = aligned(seed, SMALL).params, aligned(seed, SMALL).conserved
    variances = (1 + wrong) * jnp.diag(GRADED)
    settled = jnp.sort(population.fixed_point(1.0, variances))[::-1]
    product = jnp.linalg.svd(models.product(params), compute_uv=False) ** 2
    norm = jnp.linalg.norm(conserved, 2)
    s = jnp.sqrt(settled + norm**2 / 4)
    apart = jnp.abs(s[:, None] - s) + jnp.diag(jnp.full(DIM, jnp.inf))
    bound = jnp.sqrt(1 - (norm / (apart.min(axis=1) - norm)) ** 2)
    short = jnp.max(bound - jnp.abs(jnp.diag(spectra.alignment_matrix(*params))))
    return Evidence(
        max(error(product, settled), float(short), 0.0),
        assumptions=(above("smallest bound on |A_kk|", bound.min(), 0.9),),
    )
