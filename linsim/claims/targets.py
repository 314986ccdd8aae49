"""Claims L13-L15 and L18: targets and predictors that are not trained by the loss: BYOL's moving
average and IsoLoss (docs/losses.md).
"""

import jax
import jax.numpy as jnp
import numpy as np

from linsim.claims.ledger import COUNT, Evidence, Tolerance, claim, equation, rounding, solver
from linsim.claims.setups import FLOW, below, error, trained_spectrum
from linsim.theory import isoloss, moving_average, noncontrastive
from linsim.training import dynamics
from linsim.training.objective_run import ObjectiveRun
from linsim.training.targets import MovingAverage


@jax.jit
def change_of_imbalance(w, wp, target, mean_cov, aug_cov, decay):
    """The velocity of the imbalance of encoder and predictor, and the imbalance."""
    of = {"target_rate": 0.3, "ratio": 2.0, "weight_decay": decay}
    rates = moving_average.rates(w, wp, target, mean_cov, aug_cov, **of)
    value, velocity = jax.jvp(
        lambda w, wp: noncontrastive.conserved(w, wp, 2.0), (w, wp), tuple(rates[:2])
    )
    return velocity, value


@claim(
    "L13",
    "new",
    "Tian et al. 2021, Theorem 2",
    tolerance=rounding(64),
    recorded="exact",
    error="η {} too large",
    by=1e-6,
)
def balance_under_any_target(seed: int, wrong: float) -> Evidence:
    """Encoder and predictor become balanced under a moving average as under the stop-gradient:
    W Wᵀ - Wpᵀ Wp / ρ decays as e^{-2ηt} whatever the target is.
    """
    keys = jax.random.split(jax.random.key(seed), 5)
    w, wp, target, clean, noise = (jax.random.normal(key, (4, 4)) for key in keys)
    covs = clean @ clean.T, noise @ noise.T
    velocity, value = change_of_imbalance(w, wp, target, *covs, 0.1)
    terms = float(np.linalg.norm(w) ** 2 * np.linalg.norm(covs[0] + covs[1]))
    return Evidence(error(velocity, -0.2 * (1 + wrong) * value, terms))


@jax.jit
def rates_of_approach(variance, noise_variance, target_rate, decay, end):
    """Eigenvalues of the field of encoder, predictor and target in one mode about where it is at
    rest, with a predictor and without.
    """
    one = jnp.ones((1, 1))

    def field(state):
        w, wp, target = (value * one for value in state)
        of = {"target_rate": target_rate, "ratio": 1.0, "weight_decay": decay}
        rates = moving_average.rates(w, wp, target, variance * one, noise_variance * one, **of)
        return jnp.concatenate([rate[0] for rate in rates])

    def alone(state):
        w, target = state
        towards = variance * target - (variance + noise_variance + decay) * w
        return jnp.stack([towards, target_rate * (w - target)])

    return (
        jnp.linalg.eigvals(jax.jacfwd(field)(jnp.full(3, end))),
        jnp.linalg.eigvals(jax.jacfwd(alone)(jnp.zeros(2))),
    )


@claim(
    "L14",
    "new",
    equation("closing-rate"),
    tolerance=Tolerance(1e-9, "float64 rounding of eigenvalues, 1e6 eps and more", numerical=True),
    recorded="exact",
    error="β {} too large",
    by=1e-6,
)
def rates_under_a_moving_average(seed: int, wrong: float) -> Evidence:
    """A balanced mode closes in on its end at [β + 2q - ((β + 2q)² - 4β(q - η))^{1/2}]/2 under a
    target that follows at the rate β, and without a predictor vanishes at [β + s - ((β + s)² - 4β(a
    + η))^{1/2}]/2.
    """
    rng = np.random.default_rng(seed)
    noise, beta, decay = 0.2 + rng.random(), 0.05 + rng.random(), 0.05 * rng.random()
    end = float(noncontrastive.predictor_fixed_point(1.0, noise, decay))
    found = rates_of_approach(1.0, noise, beta, decay, end)
    stated = (
        moving_average.closing_rate(1.0, noise, beta * (1 + wrong), decay),
        moving_average.decay_without_predictor(1.0, noise, beta * (1 + wrong), decay),
    )
    off = [
        float(np.abs(np.asarray(values) + float(rate)).min() / float(rate))
        for values, rate in zip(found, stated, strict=True)
    ]
    return Evidence(max(off))


@claim(
    "L15",
    "new",
    "Grill et al. 2020",
    tolerance=COUNT,
    recorded="holds only under conditions",
    error="no predictor",
    conditions="it is the predictor that does it: without a predictor the moving average only "
    "delays the collapse of all modes, and with one the same modes vanish without a moving average",
)
def a_moving_average_changes_no_outcome(seed: int, wrong: float) -> Evidence:
    """A predictor together with a moving average as target avoids collapse: with weight decay the
    embedding loses the modes that it loses under the stop-gradient alone, from starts on either
    side of the separatrix, and no others.
    """
    decay, variances, counts = 0.1, np.array([0.25, 2.0]), (2, 2)
    ends = [noncontrastive.predictor_fixed_point(1.0, a, decay) for a in variances]
    lower = decay / (1.25 * float(ends[0]))  # the product of both roots is decay / variance

    def lost(start: float, predictor: bool) -> int:
        run = ObjectiveRun(
            objective=MovingAverage(decay=0.99, predictor=predictor),
            noise=float(variances[1]) ** 0.5,
            base_noise=float(variances[0]) ** 0.5,
            init_scale=start,
            weight_decay=decay,
            learning_rate=0.05,
            dim=sum(counts),
            noisy_dims=counts[1],
            batch_size=128,
            record_at=(0, 1, 4000),
        )
        values = np.asarray(trained_spectrum(run, seed, 11))
        return int(np.sum(values < 1e-3))

    above_root, below_root = 1.5 * lower, lower / 1.5
    stated = (2, 4)  # the noisy modes have no root; the clean ones by their start
    found = [lost(start, not wrong) for start in (above_root, below_root)]
    off = max(abs(a - b) for a, b in zip(found, stated, strict=True))
    return Evidence(
        off,
        outside=lost(above_root, False) - 2,
        assumptions=(below("root of the noisy modes", ends[1], 1e-9),),
    )


@jax.jit
def directed_flow(start, anchor, cross, times, isotropic):
    """Strengths v = w sqrt(s) of aligned modes under DirectPred or IsoLoss, whose predictor is the
    root of the present second moment.
    """

    def rate(w):
        p = isoloss.root(w @ jnp.diag(anchor) @ w.T)
        error = p @ w @ jnp.diag(anchor) - w @ jnp.diag(cross)
        return -jnp.where(isotropic, error, p.T @ error)

    w = dynamics.integrate(rate, jnp.diag(start / jnp.sqrt(anchor)), times, tolerance=FLOW)
    return jnp.diagonal(w, axis1=1, axis2=2) * jnp.sqrt(anchor)


@claim(
    "L18",
    "new",
    "Halvagal et al. 2023",
    tolerance=solver(FLOW),
    recorded="holds only under conditions",
    error="k {} too large",
    by=1e-6,
    conditions="where the covariance k of the views is the same in all modes: the rate is k",
)
def isoloss_modes_are_logistic(seed: int, wrong: float) -> Evidence:
    """Under IsoLoss all modes converge at the same rate, whatever their noise: each predictor value
    is logistic, dv/dt = v(k - vs), and the share of its end does not depend on s.
    """
    rng = np.random.default_rng(seed)
    variances, times = 1 + 3 * rng.random(3), np.array([0.0, 1.0, 3.0, 6.0])
    start = 0.1 / variances

    def shares(covariances) -> np.ndarray:
        v = directed_flow(start, variances, covariances, times, True)
        return np.asarray(v) * variances / covariances

    equal, unequal = shares(np.ones(3)), shares(np.array([1.0, 0.8, 0.6]))
    stated = isoloss.predictor_value(times[:, None], start, variances, 1.0 + wrong)
    off = max(error(equal, stated * variances), float(np.ptp(equal, axis=1).max()))
    return Evidence(off, outside=float(np.ptp(unequal, axis=1).max()))
