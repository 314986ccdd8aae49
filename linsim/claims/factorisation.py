"""Claims L02-L04: losses that factorise a matrix, and learn its modes in steps (docs/theory.md,
"Matrix factorisation").
"""

import jax
import jax.numpy as jnp
import numpy as np

from linsim.claims.ledger import Evidence, Tolerance, claim, solver
from linsim.claims.setups import FLOW, above, error
from linsim.theory import spectral
from linsim.training import dynamics

DIM = 4


def random_moments(seed: int):
    """A positive definite second moment and one between the views, symmetric, indefinite."""
    rng = np.random.default_rng(seed)
    root, cross = rng.normal(size=(2, DIM, DIM))
    return jnp.asarray(root @ root.T / DIM + 0.5 * np.eye(DIM)), jnp.asarray(cross + cross.T) / 4


@jax.jit
def spectral_flow(w, anchor, cross, times):
    """Gradient flow of the spectral contrastive loss with views of equal second moments."""
    rate = lambda w: w @ spectral.contrast_matrix(w, anchor, anchor, cross)  # noqa: E731
    return dynamics.integrate(rate, w, times, tolerance=FLOW)


@claim(
    "L02",
    "new",
    "HaoChen et al. 2021, section 3",
    tolerance=Tolerance(1e-6, "what is left of the slowest decay at t = 2000", numerical=True),
    recorded="exact",
    error="A {} too large",
    by=1e-5,
)
def spectral_contrast_is_a_factorisation(seed: int, wrong: float) -> Evidence:
    """The spectral contrastive loss of a linear model ends in M = A^{-1/2} [G]_n A^{-1/2}, the n
    largest positive eigenvalues of G = A^{-1/2} K A^{-1/2}, for data of any distribution with these
    second moments.
    """
    anchor, cross = random_moments(seed)
    start = 0.3 * jax.random.normal(jax.random.key(seed), (2, DIM))
    w = spectral_flow(start, anchor, cross, jnp.array([0.0, 2000.0]))[-1]
    stated, _ = spectral.optimum(2, (1 + wrong) * anchor, cross)
    g = np.sort(np.linalg.eigvals(np.linalg.solve(anchor, cross)).real)[::-1]
    gap = min(g[0] - g[1], abs(g[1] - max(g[2], 0.0)), abs(g[1]))
    return Evidence(error(w.T @ w, stated), assumptions=(above("gap of G", gap, 0.02),))


@jax.jit
def stepwise_flow(start, gamma, times):
    """Linear Barlow Twins from an aligned start: the strengths of the modes in time."""
    g = jnp.diag(gamma)
    rate = lambda w: w @ spectral.contrast_matrix(w, g, g, g)  # noqa: E731
    w = dynamics.integrate(rate, jnp.diag(start), times, tolerance=FLOW)
    return jnp.diagonal(w, axis1=1, axis2=2) ** 2


GAMMA = np.array([1.0, 0.6, 0.3, -0.2])


@claim(
    "L03",
    "new",
    "Simon et al. 2023, section 4",
    tolerance=solver(FLOW),
    recorded="exact",
    error="γ {} too large",
    by=1e-6,
)
def modes_are_learned_in_steps(seed: int, wrong: float) -> Evidence:
    """Linear Barlow Twins from an aligned start: s(t) = e^{4γt} (s0^{-2} + (e^{8γt} - 1) γ)^{-1/2}
    in each mode, for either sign of γ.
    """
    start = 0.05 * (1 + jax.random.uniform(jax.random.key(seed), (DIM,)))
    times = jnp.array([0.0, 0.5, 1.5, 4.0])
    flow = stepwise_flow(start, jnp.asarray(GAMMA), times)
    gamma = (1 + wrong) * GAMMA
    stated = [spectral.mode_strength(t, start**2, gamma, gamma, gamma) for t in times]
    return Evidence(error(jnp.stack(stated), flow))


@claim(
    "L04",
    "new",
    "Simon et al. 2023, section 4",
    tolerance=Tolerance(1e-3, "the share of a mode's strength"),
    recorded="holds only under conditions",
    error="8γ {} too large",
    by=0.01,
    conditions="exactly it is log(1/(γ s0²) - 1)/(8γ): the -1 may be left out for a small start "
    "only",
)
def critical_times(seed: int, wrong: float) -> Evidence:
    """A mode of linear Barlow Twins reaches half of its strength at t = -log(γ s0²)/(8γ)."""
    gamma = jnp.asarray(GAMMA[:3] * (1 + 0.1 * np.random.default_rng(seed).random(3)))

    def off(start: float) -> float:
        """Distance of the shares from a half at the stated time, from γ s0² = start."""
        m0, time = start / gamma, -np.log(start) / (8 * gamma * (1 + wrong))
        share = spectral.mode_strength(time, m0, gamma, gamma, gamma) * gamma
        return float(jnp.abs(share - 0.5).max())

    return Evidence(off(1e-4), outside=off(0.1))
