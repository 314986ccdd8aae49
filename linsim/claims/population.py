"""Claims P01-P13: infinitely many samples (not in the paper; docs/theory.md, Population limit)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from linsim.arrays import Array
from linsim.claims.ledger import COUNT, Assumption, Evidence, Tolerance, claim, equation, rounding
from linsim.claims.setups import (
    FLOW,
    above,
    below,
    error,
    mean_contrast,
    population_flow,
    rotation,
)
from linsim.theory import population
from linsim.training import data, dynamics, models

DIM = 4
SETTLED = Tolerance(
    1e-7,
    "the flow solver's tolerance per step, 1e-10, over the slowest rate of return",
    numerical=True,
)
VANISHED = 1e-6  # a mode's m, from 1 or so, that can only go on falling


@functools.cache
def random_covariances(seed: int):
    """Weights and two covariances that do not commute, the noise's of full rank."""
    keys = jax.random.split(jax.random.key(seed), 2)
    root, noise_root = jax.random.normal(keys[0], (2, DIM, DIM))
    w = 0.6 * jax.random.normal(keys[1], (DIM, DIM))
    return w, root @ root.T / DIM + 0.2 * jnp.eye(DIM), noise_root @ noise_root.T / DIM


def settle(seed: int, variances, noise_variances, time: float):
    """Strengths m at the end of the population flow of modes in random directions, in the order
    given.
    """
    frame = rotation(seed, DIM)
    covariances = (
        frame * values @ frame.T for values in map(jnp.asarray, (variances, noise_variances))
    )
    (w,) = population_flow((jnp.eye(DIM),), *covariances, np.array([0.0, 0.5 * time, time]))
    return jnp.sum((w[-1] @ frame) ** 2, axis=0)


@claim(
    "P01",
    "new",
    equation("population"),
    tolerance=rounding(DIM**2),
    recorded="exact",
    error="Σn {} too large",
    by=1e-6,
)
def population_contrast_is_the_gradient(seed: int, wrong: float) -> Evidence:
    """(R + I)RΣ - Σn, R = (I + ΣS)⁻¹, is X of the loss ½tr(SΣn) - ½log det(I + ΣS) - ½tr(ΣSR), S =
    WᵀW.
    """
    w, cov, noise = random_covariances(seed)
    x = population.contrast_matrix(w, cov, (1 + wrong) * noise)
    return Evidence(error(-w @ x, gradient_of_loss(w, cov, noise)))


gradient_of_loss = jax.jit(jax.grad(population.loss))
gradient_of_dot_loss = jax.jit(jax.grad(population.loss_dot))
SIZES, DRAWS = (16, 45, 128), 400_000


@functools.cache
def batch_means(seed: int):
    """Covariances of the data and of the augmentation, and X/N at W = 0.7 I for each of SIZES."""
    deviations = 0.5 + jnp.sqrt(jax.random.uniform(jax.random.key(seed), (2,)))
    factors = jnp.diag(deviations), jnp.sqrt(0.5) * jnp.eye(2)
    w = 0.7 * jnp.eye(2)
    means = [mean_contrast(size, DRAWS, "one", None, w, *factors, seed) for size in SIZES]
    return *(factor.T @ factor for factor in factors), means


@claim(
    "P02",
    "new",
    equation("population"),
    tolerance=Tolerance(
        0.2, "next order in 1/N at N = 16, and sampling: 400,000 samples for each N"
    ),
    recorded="holds",
    error="Σn {} too small in the limit",
    by=0.05,
)
def finite_batches_approach_the_population(seed: int, wrong: float) -> Evidence:
    """X/N of a batch deviates from its limit by order 1/N: the slope of the error against N, both
    in logarithms, is -1.
    """
    cov, noise, means = batch_means(seed)
    limit = population.contrast_matrix(0.7 * jnp.eye(2), cov, (1 - wrong) * noise)
    errors = [error(mean, limit) for mean in means]
    slope = np.polyfit(np.log(SIZES), np.log(errors), 1)[0]
    return Evidence(
        abs(float(slope) + 1), assumptions=(below("relative error at N = 128", errors[-1], 0.1),)
    )


@claim(
    "P03",
    "new",
    equation("threshold"),
    tolerance=COUNT,
    recorded="holds",
    error="the threshold {} too high",
    by=0.01,
)
def threshold(seed: int, wrong: float) -> Evidence:
    """A mode of variance a under augmentation of variance c vanishes if and only if c ≥ 2a."""
    variances = 0.5 + jax.random.uniform(jax.random.key(seed), (DIM,))
    ratios = jnp.array([1.0, 1.99, 2.01, 3.0])
    m = settle(seed, variances, ratios * variances, 2000.0)
    limit = (1 + wrong) * population.collapse_threshold(variances)
    return Evidence(int(jnp.sum((m < VANISHED) != (ratios * variances >= limit))))


@claim(
    "P04",
    "new",
    equation("fixed-point"),
    tolerance=SETTLED,
    recorded="exact",
    error="c {} too large",
    by=1e-6,
)
def fixed_point(seed: int, wrong: float) -> Evidence:
    """Below the threshold a mode settles at m* = (1/u - 1)/a, u = (-1 + √(1 + 4c/a))/2."""
    a, ratios = (
        0.5 + jax.random.uniform(jax.random.key(seed), (DIM,)),
        jnp.array([0.1, 0.5, 1.0, 1.8]),
    )
    stated = population.fixed_point(a, (1 + wrong) * ratios * a)
    return Evidence(error(settle(seed, a, ratios * a, 500.0), stated))


@claim(
    "P05",
    "new",
    equation("threshold"),
    tolerance=SETTLED,
    recorded="exact",
    error="the anchor's noise variance {} too large",
    by=1e-5,
)
def two_noisy_views_never_collapse(seed: int, wrong: float) -> Evidence:
    """With two views of noise s each a = 1 + s² and c = 2s² < 2a: m* > 0 for every s."""
    s = jnp.array([0.5, 1.0, 2.0, 5.0]) * (1 + 0.1 * jax.random.uniform(jax.random.key(seed)))
    moments = data.moments(jnp.eye(DIM), jnp.diag(s**2), "two")
    a, c = jnp.diag(moments.anchor), jnp.diag(moments.step)
    m = settle(seed, a, c, 500.0)
    stated = population.fixed_point(a + wrong * s**2, c)
    return Evidence(error(m, stated), assumptions=(above("weakest m", m.min(), VANISHED),))


@functools.cache
def beyond_the_threshold(seed: int):
    """Two covariances whose largest generalised eigenvalue is 2.05, oblique to the data's axes, and
    the population flow's end.
    """
    w, frame, values = (
        random_covariances(seed)[0],
        rotation(seed, DIM),
        jax.random.uniform(jax.random.key(seed), (2, DIM)),
    )
    oblique = frame @ jnp.kron(jnp.array([[1, 1], [1, -1]]), jnp.array([[1, 1], [1, -1]])) / 2
    cov = frame * (0.5 + values[0]) @ frame.T
    noise = oblique * (jnp.array([1.0, 0.2, 0.2, 0.2]) + 0.1 * values[1]) @ oblique.T
    noise = noise * 2.05 / float(np.linalg.eigvals(np.linalg.solve(cov, noise)).real.max())
    return cov, noise, population_flow((w,), cov, noise, np.array([0.0, 1000.0, 3000.0]))[0][-1]


def not_commuting(cov, noise) -> Assumption:
    """The assumption that two covariances do not commute."""
    return above("|ΣΣn - ΣnΣ| over |ΣΣn|", error(cov @ noise, noise @ cov), 0.01)


@claim(
    "P06",
    "new",
    equation("generalised"),
    tolerance=COUNT,
    recorded="holds",
    error="the threshold {} too high",
    by=0.05,
)
def generalised_eigenvalues(seed: int, wrong: float) -> Evidence:
    """Commuting or not, the collapsed dimensions are the generalised eigenvalues of (Σn, Σ) that
    are ≥ 2.
    """
    cov, noise, trained = beyond_the_threshold(seed)
    stated = population.collapsed_dimensions(cov, noise / (1 + wrong))
    vanished = int(np.sum(np.linalg.svd(trained, compute_uv=False) ** 2 < VANISHED))
    return Evidence(abs(vanished - stated), assumptions=(not_commuting(cov, noise),))


@claim(
    "P07",
    "new",
    equation("population-dot"),
    tolerance=rounding(DIM**2),
    recorded="exact",
    error="τ {} too large",
    by=1e-6,
)
def dot_contrast_is_the_gradient(seed: int, wrong: float) -> Evidence:
    """(K + Kᵀ)/τ - (ΣMΣ' + Σ'MΣ)/τ² is X of the loss -tr(MK)/τ + tr(MΣMΣ')/(2τ²), M = WᵀW."""
    w, cov, noise = random_covariances(seed)
    moments = cov + noise, cov + 2 * noise, cov
    x = population.contrast_matrix_dot(w, *moments, 0.3 * (1 + wrong))
    return Evidence(error(-w @ x, gradient_of_dot_loss(w, *moments, 0.3)))


@jax.jit
def dot_flow(w, cov, noise, temperature, decay, times):
    """Population flow of the dot loss with two noisy views and weight decay: W at `times`."""
    views = cov + noise

    def field(w):
        return w @ population.contrast_matrix_dot(w, views, views, cov, temperature) - decay * w

    return dynamics.integrate(field, w, times, tolerance=FLOW)


def dot_modes(seed: int):
    """Clean variances k and noise variances of four modes, and the axes along which they lie."""
    k, noise = (
        jnp.array([1.0, 0.8, 0.4, 0.3]),
        jnp.array([0.2, 2.0, 0.1, 1.0]) * (1 + jax.random.uniform(jax.random.key(seed))),
    )
    return k, noise, rotation(seed, DIM)


@claim(
    "P08",
    "new",
    equation("logistic"),
    tolerance=SETTLED,
    recorded="exact",
    error="time {} too late",
    by=1e-6,
)
def dot_mode_is_logistic(seed: int, wrong: float) -> Evidence:
    """Dot loss: m(t) = m*/(1 + (m*/m0 - 1) e^{-4kt/τ}) with m* = τk/(aa'): no threshold."""
    k, noise, axes = dot_modes(seed)
    m0, tau, times = 1e-3, 0.1, np.linspace(0.0, 1.0, 5)
    w = dot_flow(
        np.sqrt(m0) * jnp.eye(DIM), axes * k @ axes.T, axes * noise @ axes.T, tau, 0.0, times
    )
    m = jnp.sum((w @ axes) ** 2, axis=1)
    settled = population.fixed_point_dot(k + noise, k + noise, k, tau)
    stated = [population.mode_strength_dot((1 + wrong) * t, m0, settled, k, tau) for t in times]
    return Evidence(error(m, jnp.stack(stated)))


@claim(
    "P09",
    "new",
    equation("decay"),
    tolerance=SETTLED,
    recorded="exact",
    error="γ {} too large",
    by=1e-6,
)
def weight_decay_restores_a_threshold(seed: int, wrong: float) -> Evidence:
    """Dot loss with weight decay γ: m* = (τk - γτ²/2)/(aa'), and a mode vanishes if k ≤ γτ/2."""
    k, noise, axes = dot_modes(seed)
    tau, gamma = 0.1, 12.0
    w = dot_flow(
        0.3 * jnp.eye(DIM),
        axes * k @ axes.T,
        axes * noise @ axes.T,
        tau,
        gamma,
        np.linspace(0.0, 20.0, 5),
    )
    stated = population.fixed_point_dot(k + noise, k + noise, k, tau, (1 + wrong) * gamma)
    return Evidence(
        error(jnp.sum((w[-1] @ axes) ** 2, axis=0), stated),
        assumptions=(above("modes beyond the threshold", jnp.sum(k <= gamma * tau / 2), 1),),
    )


@claim(
    "P10",
    "new",
    equation("fixed-point"),
    tolerance=Tolerance(0.0025, "the next order, (c/a)² at c = 0.05 and a ≥ 1"),
    recorded="holds",
    error="c {} too large",
    by=0.005,
)
def isotropic_noise_is_whitened(seed: int, wrong: float) -> Evidence:
    """Under weak isotropic augmentation every mode settles at m ≈ 1/c, whatever the data's
    spectrum.
    """
    variances = jnp.array([1.0, 2.0, 5.0, 10.0]) * (
        1 + 0.5 * jax.random.uniform(jax.random.key(seed))
    )
    m = settle(seed, variances, jnp.full(DIM, 0.05), 1000.0)
    return Evidence(float(jnp.abs(m * 0.05 * (1 + wrong) - 1).max()))


@claim(
    "P11",
    "new",
    equation("escape"),
    tolerance=Tolerance(
        0.005, "a lag of order 1/λ(0), where growth slows, against escape times above 100"
    ),
    recorded="holds",
    error="escape times {} too late",
    by=0.02,
)
def escape_times(seed: int, wrong: float) -> Evidence:
    """A mode of L ≥ 2 balanced layers escapes from w0 at t = w0^{-(2 - 2/L)}/((2L - 2)λ(0))."""
    w0 = 1e-3 * (1 + float(jax.random.uniform(jax.random.key(seed))))
    errors = []
    for depth in (2, 3, 4):
        stated = (1 + wrong) * float(population.escape_time(w0, depth, 2.0))
        times = stated * np.linspace(0.8, 1.2, 401)
        w = population.balanced_flow(np.array([w0]), times, depth, 1.0, 0.0)[:, 0]
        errors.append(abs(np.interp(0.0, np.log(w), times) / stated - 1))
    return Evidence(float(max(errors)))


VARIANCES = 1.3, 0.3  # of isotropic data and noise
ISOTROPIC = tuple(value * np.eye(DIM) for value in VARIANCES)


def product_rates(params: models.Params, rates: models.Params) -> tuple[Array, Array]:
    """Rates of the product's singular values, from those of the layers, and the values, largest
    first.
    """
    changes = [
        models.product((*params[:k], rate, *params[k + 1 :])) for k, rate in enumerate(rates)
    ]
    total = jnp.sum(jnp.stack(changes), axis=0)
    u, w, vt = jnp.linalg.svd(models.product(params))
    return jnp.einsum("nk,nd,kd->k", u, total, vt), w


@claim(
    "P12",
    "new",
    equation("depth"),
    tolerance=rounding(DIM**2),
    recorded="exact",
    error="w {} too large",
    by=1e-6,
)
def balanced_depth(seed: int, wrong: float) -> Evidence:
    """L balanced layers: dw/dt = L w^{3 - 2/L} λ(w²) for each singular value w of the product."""
    values = jnp.array([0.9, 0.7, 0.5, 0.3]) * (1 + 0.1 * jax.random.uniform(jax.random.key(seed)))
    errors = []
    for depth in (2, 3, 4):
        params = models.balanced(jax.random.key(seed), (DIM,) * (depth + 1), values)
        exact, w = product_rates(params, population.layer_rates(params, *ISOTROPIC))
        errors.append(error(population.balanced_rate((1 + wrong) * w, depth, *VARIANCES), exact))
    return Evidence(max(errors))


@claim(
    "P13",
    "new",
    equation("imbalanced"),
    tolerance=rounding(DIM**2),
    recorded="exact",
    error="κ {} too large",
    by=1e-6,
)
def imbalance_removes_the_slow_modes(seed: int, wrong: float) -> Evidence:
    """Two layers with C = κI: dw/dt = w √(κ² + 4w²) λ(w²), so that small modes grow exponentially
    at |κ|λ(0).
    """
    values = jnp.array([0.5, 0.3, 0.1, 1e-3])
    kappa = 0.5 + float(jax.random.uniform(jax.random.key(seed)))
    errors = []
    for signed in (kappa, -kappa):
        params = models.imbalanced(jax.random.key(seed), (DIM, DIM, DIM), values, signed)
        exact, w = product_rates(params, population.layer_rates(params, *ISOTROPIC))
        errors.append(error(population.imbalanced_rate(w, (1 + wrong) * signed, *VARIANCES), exact))
    return Evidence(max(errors))
