"""Claims S03-S16: what P03-P16 say of infinitely many samples, seen in samples.

Each is the twin of the claim of the same number, whose check solves the theory's own equations.
Here nothing but random batches is used: their mean contrast matrix, at N and at 2N so that the
deviation of order 1/N drops out, or whole trainings.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from linsim import spectra
from linsim.arrays import Array
from linsim.claims.augmentation import SMALL_VARIANCE
from linsim.claims.condensed import by_views
from linsim.claims.ledger import COUNT, Evidence, Tolerance, claim, equation
from linsim.claims.population import DIM, VARIANCES, not_commuting, product_rates
from linsim.claims.setups import above, mean_contrast, rotation, train
from linsim.theory import late_time, population
from linsim.training import data, models

SIZE, DRAWS = 64, 130_000
SAMPLED = Tolerance(0.05, f"4 standard errors of {DRAWS:,} samples, and what is of order 1/N²")
SAMPLED_DOT = Tolerance(0.08, f"5 standard errors of {DRAWS:,} samples, and what is of order 1/N²")
UNIT = np.ones(DIM)


def limit(
    w: Float[Array, "n d"],
    variances: Float[Array, "d"],
    noise: Float[Array, "d"],
    seed: int,
    *,
    views: data.Views = "one",
    temperature: float | None = None,
) -> Float[np.ndarray, "d d"]:
    """Mean X/N of batches of independent coordinates without its part of order 1/N, 2 X_2N - X_N.

    Args: weights; variances of the data and of the noise; seed; views; temperature (dot loss).
    """
    clean, noisy = (jnp.diag(jnp.sqrt(each)) for each in (variances, noise))
    small, large = (
        mean_contrast(n, DRAWS, views, temperature, w, clean, noisy, seed) for n in (SIZE, 2 * SIZE)
    )
    return np.asarray(2 * large - small)


def pulls(m: Any, variances: Any, noise: Any, seed: int, **options: Any) -> np.ndarray:
    """The diagonal of `limit` for modes of strengths m along the coordinates."""
    w = jnp.diag(jnp.sqrt(jnp.asarray(m)))
    return np.diag(limit(w, jnp.asarray(variances), jnp.asarray(noise), seed, **options))


def pull_alone(m: float, variance: float, noise: float, seed: int, **options: Any) -> float:
    """The same for one mode, beside one of no strength."""
    return float(pulls(np.array([m, 0.0]), [variance, 1.0], [noise, 0.0], seed, **options)[0])


def uniform(seed: int, count: int = DIM) -> jax.Array:
    """Random numbers between 0 and 1."""
    return jax.random.uniform(jax.random.key(seed), (count,))


@claim(
    "S03",
    "new",
    equation("threshold"),
    tolerance=Tolerance(0.06, f"4 standard errors of {DRAWS:,} samples of a mode with c = 3a"),
    recorded="holds",
    error="the threshold {} too high",
    by=0.1,
)
def growth_of_weak_modes(seed: int, wrong: float) -> Evidence:
    """P03 in samples: a weak mode grows at the rate 2a - c, and so from c = 2a on not at all."""
    variances, ratios = 0.5 + uniform(seed), jnp.array([1.0, 1.9, 2.1, 3.0])
    measured = pulls(1e-6 * UNIT, variances, ratios * variances, seed)
    stated = population.collapse_threshold(variances) * (1 + wrong) - ratios * variances
    return Evidence(float(jnp.abs((measured - stated) / (2 * variances)).max()))


@claim(
    "S04",
    "new",
    equation("fixed-point"),
    tolerance=SAMPLED,
    recorded="holds",
    error="c {} too large",
    by=0.1,
)
def no_pull_at_the_fixed_point(seed: int, wrong: float) -> Evidence:
    """P04 in samples: at m* the mean contrast matrix pulls at no mode."""
    variances, ratios = 0.5 + uniform(seed), jnp.array([0.5, 0.8, 1.2, 1.8])
    noise = ratios * variances
    m = population.fixed_point(variances, (1 + wrong) * noise)
    return Evidence(float(np.abs(pulls(m, variances, noise, seed) / noise).max()))


@claim(
    "S05",
    "new",
    equation("threshold"),
    tolerance=SAMPLED,
    recorded="holds",
    error="the anchor's noise variance {} too large",
    by=0.2,
)
def two_noisy_views_settle(seed: int, wrong: float) -> Evidence:
    """P05 in samples: two noisy views of any noise s pull at no mode at m* > 0 of a = 1 + s² and
    c = 2s².
    """
    noise = jnp.array([0.3, 1.0, 2.0, 4.0]) * (1 + 0.1 * uniform(seed))
    m = population.fixed_point(1 + (1 + wrong) * noise, 2 * noise)
    measured = pulls(m, UNIT, noise, seed, views="two")
    return Evidence(
        float(np.abs(measured / (2 * noise)).max()),
        assumptions=(above("weakest m*", m.min(), 0.01),),
    )


AROUND_TWO = (2.15, 2.15, 1.85, 1.85)
TRAINED = (0, 1500)


@functools.cache
def oblique(seed: int):
    """Covariances of data and noise that do not commute, whose generalised eigenvalues are
    AROUND_TWO, and the weights after training on batches.
    """
    key, axes = jax.random.key(seed), rotation(seed, DIM)
    root = axes * jnp.sqrt(0.5 + uniform(seed)) @ axes.T
    turn = models.random_frame(jax.random.fold_in(key, 1), DIM, DIM)
    noise = root @ (turn * jnp.array(AROUND_TWO) @ turn.T) @ root
    start = models.orthogonal(key, (DIM, DIM), 0.5)
    run = train(
        start,
        data.factor(noise),
        seed,
        0.2,
        views="one",
        batch_size=128,
        steps=TRAINED,
        data_factor=root,
    )
    return root @ root, noise, run.weights[0][-1]


@claim(
    "S06",
    "new",
    equation("generalised"),
    tolerance=COUNT,
    recorded="holds",
    error="the threshold {} too high",
    by=0.1,
)
def trained_collapsed_dimensions(seed: int, wrong: float) -> Evidence:
    """P06 in samples: training on batches collapses as many dimensions as generalised eigenvalues
    of (Σn, Σ) are ≥ 2.
    """
    cov, noise, w = oblique(seed)
    variances = np.linalg.svd(w, compute_uv=False) ** 2
    collapsed = int(spectra.collapsed_dimensions(variances, SMALL_VARIANCE))
    stated = population.collapsed_dimensions(cov, noise / (1 + wrong))
    return Evidence(abs(collapsed - stated), assumptions=(not_commuting(cov, noise),))


TAU = 0.5


@claim(
    "S08",
    "new",
    equation("logistic"),
    tolerance=SAMPLED_DOT,
    recorded="holds",
    error="m* {} too large",
    by=0.2,
)
def dot_pull_falls_linearly(seed: int, wrong: float) -> Evidence:
    """P08 in samples: the dot loss pulls at a mode with 2k(1 - m/m*)/τ: logistic growth."""
    k, noise = (0.5 + uniform(seed, 2)).tolist()
    settled = population.fixed_point_dot(k + noise, k + noise, k, TAU)
    errors = []
    for share in (0.1, 0.5, 1.0):
        m = float(share * settled)
        measured = pull_alone(m, k, noise, seed, views="two", temperature=TAU)
        errors.append(abs(measured * TAU / (2 * k) - (1 - share / (1 + wrong))))
    return Evidence(max(errors))


@claim(
    "S09",
    "new",
    equation("decay"),
    tolerance=SAMPLED_DOT,
    recorded="holds",
    error="γ {} too large",
    by=0.2,
)
def dot_pull_balances_weight_decay(seed: int, wrong: float) -> Evidence:
    """P09 in samples: at m* = (τk - γτ²/2)/(aa') the dot loss pulls with γ."""
    k, noise = (0.5 + uniform(seed, 2)).tolist()
    decay = 1.5 * k / TAU  # three quarters of the pull at the start
    settled = population.fixed_point_dot(k + noise, k + noise, k, TAU, (1 + wrong) * decay)
    measured = pull_alone(float(settled), k, noise, seed, views="two", temperature=TAU)
    return Evidence(abs(measured / decay - 1))


@claim(
    "S10",
    "new",
    equation("fixed-point"),
    tolerance=SAMPLED,
    recorded="holds",
    error="c {} too large",
    by=0.1,
)
def no_pull_at_the_inverse_noise(seed: int, wrong: float) -> Evidence:
    """P10 in samples: under weak augmentation of variance c no mode of m = 1/c is pulled at,
    whatever its variance.
    """
    errors = []
    for variance in (1.5, 3.0):
        a, c = variance * (1 + 0.5 * float(uniform(seed, 1)[0])), 0.15
        errors.append(abs(pull_alone(1 / ((1 + wrong) * c), a, c, seed) / c))
    return Evidence(max(errors))


ESCAPE_RATE = 0.1


@functools.cache
def escape(seed: int, depth: int, w0: float, stated: float) -> float:
    """When a mode of clean data, trained on batches in so many layers, reaches 1."""
    steps = tuple(np.unique(np.linspace(0, 1.3 * stated / ESCAPE_RATE, 400).astype(int)).tolist())
    values = jnp.array([w0 ** (1 / depth)])
    start = models.balanced(jax.random.key(seed), (1,) * (depth + 1), values)
    run = train(
        start, jnp.zeros((1, 1)), seed, ESCAPE_RATE, views="one", batch_size=SIZE, steps=steps
    )
    w = np.abs(np.asarray(jax.vmap(models.product)(run.weights))[:, 0, 0])
    return float(np.interp(0.0, np.log(w), ESCAPE_RATE * np.array(steps)))


@claim(
    "S11",
    "new",
    equation("escape"),
    tolerance=Tolerance(
        0.05, "a lag of order 1/λ(0), where growth slows, at escape times above 40"
    ),
    recorded="holds",
    error="escape times {} too late",
    by=0.1,
)
def trained_escape_times(seed: int, wrong: float) -> Evidence:
    """P11 in samples: trained on batches, a mode of L layers escapes at w0^{-(2 - 2/L)}/((2L -
    2)λ(0)).
    """
    errors = []
    for depth, w0 in ((2, 0.005), (3, 0.01), (4, 0.015)):
        stated = float(population.escape_time(w0, depth, 2 * (1 - 1 / SIZE)))
        errors.append(abs(escape(seed, depth, w0, stated) / ((1 + wrong) * stated) - 1))
    return Evidence(max(errors))


def sampled_rates(params: models.Params, seed: int) -> tuple[Array, Array]:
    """`product_rates` of layers that follow the mean contrast matrix of isotropic batches."""
    w = models.product(params)
    variances, noise = (value * UNIT for value in VARIANCES)
    towards = models.layer_gradients(params, w @ limit(w, variances, noise, seed))
    return product_rates(params, towards)


@claim(
    "S12",
    "new",
    equation("depth"),
    tolerance=SAMPLED,
    recorded="holds",
    error="w {} too large",
    by=0.1,
)
def rates_of_balanced_layers(seed: int, wrong: float) -> Evidence:
    """P12 in samples: L balanced layers' product follows dw/dt = L w^{3 - 2/L} λ(w²)."""
    values = jnp.array([0.9, 0.7, 0.5, 0.3]) * (1 + 0.1 * uniform(seed, 1))
    errors = []
    for depth in (2, 3):
        params = models.balanced(jax.random.key(seed), (DIM,) * (depth + 1), values)
        measured, w = sampled_rates(params, seed)
        stated = population.balanced_rate((1 + wrong) * w, depth, *VARIANCES)
        errors.append(float(jnp.abs(measured / stated - 1).max()))
    return Evidence(max(errors))


@claim(
    "S13",
    "new",
    equation("imbalanced"),
    tolerance=SAMPLED,
    recorded="holds",
    error="κ {} too large",
    by=0.1,
)
def rates_of_imbalanced_layers(seed: int, wrong: float) -> Evidence:
    """P13 in samples: two layers with C = κI follow dw/dt = w √(κ² + 4w²) λ(w²)."""
    values, kappa = jnp.array([0.5, 0.3, 0.1, 1e-3]), 0.5 + float(uniform(seed, 1)[0])
    params = models.imbalanced(jax.random.key(seed), (DIM, DIM, DIM), values, kappa)
    measured, w = sampled_rates(params, seed)
    stated = population.imbalanced_rate(w, (1 + wrong) * kappa, *VARIANCES)
    return Evidence(float(jnp.abs(measured / stated - 1).max()))


CLEAN_MODES, NOISY_MODES, PAIRS = 32, 4, 400_000


def pair_pull(seed: int, m: float, a: float, c: float, rho: float) -> float:
    """The pull at noisy modes of strength m beside many grown clean ones, from random pairs.

        E[F(Δ² - n²)] / E[F Δ²],  F = E_s[1/(e^{-s} + e^{-η})],  η = -m/2 Σ (Δ² - n²)

    s has the Gamma distribution of shape p = d_s/2, and F is the Fermi-Dirac integral F_p(η)/Γ(p).
    """
    rng = np.random.default_rng(seed)
    n = rng.normal(size=(PAIRS, NOISY_MODES)) * np.sqrt(c)
    apart = rho / c * n + rng.normal(size=n.shape) * np.sqrt(2 * a - rho**2 / c)
    eta = -m / 2 * np.sum(apart**2 - n**2, axis=1)
    weights = 1 / (np.exp(-rng.gamma(CLEAN_MODES / 2, size=PAIRS)) + np.exp(-eta))
    return float(weights @ np.sum(apart**2 - n**2, axis=1) / (weights @ np.sum(apart**2, axis=1)))


@claim(
    "S15",
    "new",
    equation("settled"),
    tolerance=Tolerance(0.02, f"4 standard errors of {PAIRS:,} pairs"),
    recorded="holds",
    error="c {} too large",
    by=0.05,
)
def no_pull_under_many_clean_modes(seed: int, wrong: float) -> Evidence:
    """P15 in samples: beside many clean modes that have grown, random pairs of views pull at no
    noisy mode of m = u/(2v).
    """
    noise = 0.8 + 0.4 * float(uniform(seed, 1)[0])
    errors = []
    for a, c, rho in by_views(noise):
        m = late_time.settled(
            a,
            (1 + wrong) * c,
            rho,
            clean_modes=CLEAN_MODES,
            noisy_modes=NOISY_MODES,
            order="leading",
        )
        errors.append(abs(pair_pull(seed, m, a, c, rho)))
    return Evidence(max(errors))


GROWN = np.array([300.0, 1200.0])


@claim(
    "S16",
    "new",
    equation("growth"),
    tolerance=Tolerance(0.05, f"4 standard errors of {4 * DRAWS:,} samples"),
    recorded="holds",
    error="the exponent {} too large",
    by=0.1,
)
def pull_at_grown_modes(seed: int, wrong: float) -> Evidence:
    """P16 in samples: the pull at d_s grown clean modes falls as m^{-(d_s + 2)/2}, so that they
    grow as t^{2/(d_s + 2)}.
    """
    root = jnp.diag(jnp.sqrt(jnp.array([0.0, 0.0, 1.0, 1.0])))
    measured = []
    for m in GROWN:
        w = jnp.diag(jnp.sqrt(jnp.array([m, m, 0.3, 0.3])))
        pull = mean_contrast(SIZE, 4 * DRAWS, "one", None, w, jnp.eye(DIM), root, seed)
        measured.append(float(pull[0, 0] + pull[1, 1]))
    exponent = -np.log(GROWN[1] / GROWN[0]) / np.log(measured[1] / measured[0])
    stated = late_time.growth_exponent(2) * (1 + wrong)
    return Evidence(abs(float(exponent) / stated - 1))
