"""Claims L01, L05 and L12: losses other than the paper's, their gradients on batches of any size
(docs/losses.md).
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from linsim import losses
from linsim.claims.ledger import Evidence, Tolerance, claim, equation, rounding
from linsim.claims.setups import case, error, remembered, two_noisy_views
from linsim.training import models
from linsim.training.data import Moments
from linsim.training.gaussianity import LeJEPA
from linsim.training.loss import LinearBarlowTwins, SpectralContrastive
from linsim.training.objectives import Objective, Plain
from linsim.training.redundancy import BarlowTwins, VICReg, Whitening

SAMPLING = Tolerance(0.05, "2 % of sampling error over 10,000 batches")


def public_loss(name: str, w, x, x_pos, key):
    """A loss of `linsim.losses` of a linear model."""
    z, z_pos = x @ w.T, x_pos @ w.T
    if name == "lejepa":
        return losses.lejepa(z, z_pos, LeJEPA().directions(len(w), key))
    return getattr(losses, name)(z, z_pos)


OBJECTIVES: dict[str, Objective] = {
    "spectral_contrastive": Plain(of=SpectralContrastive()),
    "linear_barlow_twins": Plain(of=LinearBarlowTwins()),
    "barlow_twins": BarlowTwins(),
    "vicreg": VICReg(),
    "lejepa": LeJEPA(),
}


@functools.partial(jax.jit, static_argnums=0)
def both_gradients(name: str, w, x, x_pos, key):
    """The closed-form gradient of a loss, and that of automatic differentiation."""
    stated = OBJECTIVES[name].gradient((w, jnp.eye(len(w))), x, x_pos, key)[1][0]
    return stated, jax.grad(public_loss, argnums=1)(name, w, x, x_pos, key)


@claim(
    "L01",
    "new",
    equation("contrast"),
    tolerance=rounding(256),
    recorded="exact",
    error="W {} too large in the closed form",
    by=1e-6,
)
def gradients_in_closed_form(seed: int, wrong: float) -> Evidence:
    """The closed-form gradients of the spectral contrastive loss, linear and published Barlow
    Twins, VICReg and LeJEPA are those of automatic differentiation.
    """
    (w, x, x_pos), key = case(seed), jax.random.key(seed)
    residuals = []
    for name in OBJECTIVES:
        exact = both_gradients(name, w, x, x_pos, key)[1]
        residuals.append(error(both_gradients(name, (1 + wrong) * w, x, x_pos, key)[0], exact))
    return Evidence(max(residuals) if not wrong else min(residuals))


@remembered
@functools.partial(jax.jit, static_argnums=(0, 1))
def mean_gradient(objective: Objective, size: int, w, deviations, seed):
    """Mean gradient over 10,000 batches with two noisy views of isotropic data."""

    def of_one(key):
        views = two_noisy_views(key, size, deviations)
        return objective.gradient((w, jnp.eye(len(w))), *views, jax.random.fold_in(key, 1))[1][0]

    keys = jax.random.split(jax.random.fold_in(jax.random.key(6), seed), 10_000)
    return jnp.mean(jax.lax.map(of_one, keys, batch_size=2000), axis=0)


@claim(
    "L05",
    "new",
    equation("factorisation-noise"),
    tolerance=SAMPLING,
    recorded="holds",
    error="1/N {} too large",
    by=0.1,
)
def batches_of_any_size(seed: int, wrong: float) -> Evidence:
    """The mean gradient over batches of N Gaussian samples: linear Barlow Twins', VICReg's and
    LeJEPA's depend on N as stated in closed form, the spectral contrastive loss's does not at all.
    """
    size, deviations = 6, jnp.array([0.3, 0.6, 1.2])
    w = 0.6 * models.random_frame(jax.random.key(seed), 3, 3)
    noisy = jnp.eye(3) + jnp.diag(deviations**2)
    moments = Moments(noisy, noisy, jnp.eye(3))
    off = []
    for name in ("spectral_contrastive", "linear_barlow_twins", "vicreg", "lejepa"):
        objective = LeJEPA(slices=8) if name == "lejepa" else OBJECTIVES[name]
        found = mean_gradient(objective, size, w, deviations, seed)
        rates = [objective.rates((w, jnp.eye(3)), moments, n)[0] for n in (size, 2 * size)]
        stated = rates[0] + 2 * wrong * (rates[0] - rates[1])  # all is linear in 1/N, or nearly
        off.append(error(-stated, found))
    return Evidence(max(off))


@jax.jit
def whitening_gradient(w, x, x_pos):
    """The gradient of the whitening loss by automatic differentiation, and of its distances."""
    whole = jax.grad(lambda w: losses.whitening(x @ w.T, x_pos @ w.T))(w)
    fixed = Whitening().gradient((w, jnp.eye(len(w))), x, x_pos)[1][0]
    return whole, fixed


@claim(
    "L12",
    "new",
    equation("whitening"),
    tolerance=rounding(4096),
    recorded="exact",
    error="one output less than inputs",
)
def whitening_has_nothing_to_learn(seed: int, wrong: float) -> Evidence:
    """The distance of whitened views has no gradient in a linear model with as many outputs as
    inputs, whatever the data.
    """
    w, x, x_pos = case(seed)
    shown = w[:-1] if wrong else w
    off = [
        float(np.linalg.norm(g) * np.linalg.norm(shown))
        for g in whitening_gradient(shown, x, x_pos)
    ]
    return Evidence(max(off) / np.linalg.cond(np.asarray(w)) ** 2)
