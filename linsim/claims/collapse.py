"""Claims C21 and N01-N05: models without negatives (paper, section 3 and Figure 1; docs/theory.md,
"Without negatives").
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from linsim import spectra
from linsim.claims.ledger import COUNT, Evidence, Tolerance, claim, equation, rounding, solver
from linsim.claims.setups import FLOW, above, case, error
from linsim.studies.collapse_kinds import ObjectiveName
from linsim.studies.collapse_kinds.runs import DECAYING, OBJECTIVES
from linsim.theory import noncontrastive
from linsim.training import contrast, data, dynamics, models
from linsim.training.objective_run import ObjectiveRun

DECAY = 0.1  # weight decay of the objectives that have one
RATE, STEPS, DIM = 0.05, 1600, 4
# Deviations of the two views' noise, coordinate by coordinate.
UNEVEN, IN_TWO, WEAK, STRONG = (
    (0.5, 0.5, 2.5, 2.5),
    (0.0, 0.0, 2.5, 2.5),
    (0.5,) * DIM,
    (2.5,) * DIM,
)


@functools.partial(jax.jit, static_argnums=0)
def spectra_of(objective: ObjectiveName, seed, noise_factor):
    """Embedding covariance's eigenvalues before and after training with two noisy views."""
    sample = data.source(
        jax.random.key(0), "fresh", jnp.eye(DIM), noise_factor, views="two", batch_size=64
    )
    decay = DECAY if objective == "predictor" else 0.0

    def gradient(params, key):
        value, towards = OBJECTIVES[objective].gradient(params, *sample(key))
        return towards, value, None

    key = jax.random.fold_in(jax.random.key(4), seed)
    start = models.orthogonal(key, (DIM, DIM), 1.0)[0], jnp.eye(DIM)
    optimizer = optax.chain(optax.add_decayed_weights(decay), optax.sgd(RATE))
    (w, _), _, _ = dynamics.descend(start, gradient, optimizer, (0, 1, STEPS), key)
    return jax.vmap(spectra.singular_values)(w) ** 2


def kind(objective: ObjectiveName, seed: int, noise: tuple[float, ...]) -> str:
    """The kind of collapse that training ends in."""
    spectrum = np.asarray(spectra_of(objective, seed, np.diag(noise)))
    return spectra.collapse_kind(spectrum[-1], spectrum[0].sum())


def expected(objective: ObjectiveName, noise: tuple[float, ...]) -> str:
    """The kind that follows from each direction's noise: without negatives what is augmented
    vanishes, with a predictor what is augmented beyond N03's threshold.
    """
    variances = np.square(noise)
    settled = noncontrastive.predictor_fixed_point(1.0, variances, DECAY)
    kept = np.sum(settled > 0 if objective == "predictor" else variances == 0)
    return {0: "complete", DIM: "none"}.get(int(kept), "dimensional")


@claim(
    "C21",
    "3",
    "Fig. 1",
    tolerance=COUNT,
    recorded="holds only under conditions",
    error="InfoNCE with two noisy views for the loss without negatives",
    conditions="it is the augmentation that decides, direction by direction: without negatives "
    "what is not augmented stays; with a predictor what is augmented by less than σ²/(4η) - σ "
    "stays, so that the same augmentation of all directions collapses none or all",
)
def collapse_without_negatives(seed: int, wrong: float) -> Evidence:
    """Without negatives the embedding collapses completely; with a predictor and stop-gradient it
    collapses dimensionally.
    """
    without: ObjectiveName = "infonce-two-views" if wrong else "alignment-only"
    trained = {
        "alignment-only": {noise: kind(without, seed, noise) for noise in (UNEVEN, IN_TWO)},
        "predictor": {noise: kind("predictor", seed, noise) for noise in (UNEVEN, WEAK, STRONG)},
    }
    misses = sum(
        found != expected(objective, noise)  # type: ignore[arg-type]
        for objective, kinds in trained.items()
        for noise, found in kinds.items()
    )
    as_printed = [
        trained["alignment-only"][IN_TWO] == "complete",
        trained["predictor"][WEAK] == "dimensional",
        trained["predictor"][STRONG] == "dimensional",
    ]
    return Evidence(misses, outside=float(not any(as_printed)))


@jax.jit
def alignment_flow(w, x, x_pos):
    """Gradient flow of the alignment-only loss on one batch, at times 0, 1 and 3."""
    drive = lambda w: contrast.alignment_only(w, x, x_pos)  # noqa: E731
    return dynamics.gradient_flow((w,), drive, jnp.array([0.0, 1.0, 3.0]), tolerance=FLOW).weights[
        0
    ]


@claim(
    "N01",
    "new",
    equation("alone"),
    tolerance=solver(FLOW),
    recorded="exact",
    error="x' - x {} too large",
    by=1e-6,
)
def alignment_only_is_a_matrix_exponential(seed: int, wrong: float) -> Evidence:
    """Without negatives W(t) = W(0) e^{-Σn t}, Σn the batch's second moment of x' - x: here Theorem
    1 is exact in training.
    """
    w, x, x_pos = case(seed)
    step = (1 + wrong) * (x_pos - x)
    stated = [noncontrastive.alignment_only(w, step.T @ step / len(x), t) for t in (0.0, 1.0, 3.0)]
    return Evidence(error(jnp.stack(stated), alignment_flow(w, x, x_pos)))


def covariances(seed: int):
    """Random covariances of the views' mean and of the augmentation, both of full rank, and random
    layers.
    """
    key = jax.random.key(seed)
    keys = jax.random.split(key, 4)
    mean, aug = (
        jnp.eye(3) * base + (m @ m.T) / 6
        for base, m in zip((0.5, 0.2), jax.random.normal(keys[0], (2, 3, 3)), strict=True)
    )
    return mean, aug, jax.random.normal(keys[1], (3, 3)), jax.random.normal(keys[2], (3, 3))


@functools.partial(jax.jit, static_argnums=0)
def solved(rates: Any, w, wp, mean, aug, weight_decay, ratio, time):
    """The flow of a model with predictor at a given time."""
    field = lambda y: rates(*y, mean, aug, ratio=ratio, weight_decay=weight_decay)  # noqa: E731
    path = dynamics.integrate(field, (w, wp), jnp.array([0.0, 1.0]) * time, tolerance=FLOW)
    return tuple(leaf[-1] for leaf in path)


@claim(
    "N02",
    "new",
    "Tian et al. 2021, Theorem 2",
    tolerance=solver(FLOW),
    recorded="exact",
    error="η {} too large",
    by=1e-6,
)
def conserved_relation(seed: int, wrong: float) -> Evidence:
    """With predictor (learning-rate ratio ρ), stop-gradient and weight decay η: W Wᵀ - Wpᵀ Wp / ρ =
    e^{-2ηt} C.
    """
    mean, aug, w, wp = covariances(seed)
    eta, ratio, time = 0.1, 3.0, 3.0
    w_end, wp_end = solved(noncontrastive.predictor_rates, w, wp, mean, aug, eta, ratio, time)
    expected = np.exp(-2 * (1 + wrong) * eta * time) * noncontrastive.conserved(w, wp, ratio)
    return Evidence(error(noncontrastive.conserved(w_end, wp_end, ratio), expected))


@claim(
    "N03",
    "new",
    equation("predictor-fixed-point"),
    tolerance=Tolerance(
        1e-6,
        "what is left of the slowest decay at t = 300, from the flow's tolerance of 1e-10",
        numerical=True,
    ),
    recorded="exact",
    error="η {} too large",
    by=1e-5,
)
def predictor_fixed_point(seed: int, wrong: float) -> Evidence:
    """From a balanced start a mode settles at p = w = (σ + √(σ² - 4η(σ + a)))/(2(σ + a)), and
    collapses if σ² < 4η(σ + a) or if it starts below the lower root.
    """
    noise = jnp.array([0.25, 0.8, 6.25]) * (
        1 + 0.1 * jax.random.uniform(jax.random.key(seed), (3,))
    )
    eta = 0.1 * (1 + wrong)
    fixed = noncontrastive.predictor_fixed_point(1.0, noise, eta)
    lower = eta / ((1 + noise) * jnp.where(fixed > 0, fixed, 1.0))  # the roots' product
    residuals = []
    for factor, end in ((10.0, fixed), (1.02, fixed), (0.98, 0.0 * fixed)):
        start = jnp.diag(jnp.where(fixed > 0, factor * lower, 1.0))
        layers = solved(
            noncontrastive.predictor_rates,
            start,
            start,
            jnp.eye(3),
            jnp.diag(noise),
            0.1,
            1.0,
            500.0,
        )
        residuals += [float(jnp.abs(jnp.diag(layer) - end).max()) for layer in layers]
    return Evidence(
        max(residuals),
        assumptions=(
            above("weakest settled mode", fixed[1], 0.1),
            above("4η(σ + a)/σ² of the strongest noise", 0.4 * (1 + noise[2]), 1),
        ),
    )


def without_predictor(w, wp, mean, aug, *, ratio, weight_decay):
    """`noncontrastive.no_predictor_rate` with the arguments of the other flows; the predictor
    stays.
    """
    return noncontrastive.no_predictor_rate(w, aug, weight_decay), jnp.zeros_like(wp)


@claim(
    "N04",
    "new",
    "Tian et al. 2021, Theorem 1",
    tolerance=Tolerance(
        0.01, "collapse is complete below 1 % of the initial variance (spectra.collapse_kind)"
    ),
    recorded="holds",
    error="predictor and stop-gradient kept",
)
def predictor_and_stop_gradient_are_needed(seed: int, wrong: float) -> Evidence:
    """Removing the predictor or the stop-gradient collapses the embedding completely."""
    mean, aug, w, _ = covariances(seed)
    flows = (
        (noncontrastive.predictor_rates,)
        if wrong
        else (noncontrastive.joint_rates, without_predictor)
    )
    wp, eta = jnp.eye(3), 0.02
    ends = [solved(rates, w, wp, mean, aug, eta, 1.0, 100.0)[0] for rates in flows]
    left = [float(jnp.trace(end @ mean @ end.T) / jnp.trace(w @ mean @ w.T)) for end in ends]
    return Evidence(
        max(left),
        assumptions=(above("smallest eigenvalue of Σa", jnp.linalg.eigvalsh(aug)[0], 0.0),),
    )


def theory_rates(objective: ObjectiveName, params, aug, eta):
    """dW/dt and dWp/dt for isotropic data, from `noncontrastive`; a predictor that is not there
    stays.
    """
    w, wp = params
    if objective == "alignment-only":
        return -2 * w @ aug, jnp.zeros_like(wp)
    rates = {
        "predictor": noncontrastive.predictor_rates,
        "no-stop-gradient": noncontrastive.joint_rates,
        "no-predictor": without_predictor,
    }
    return rates[objective](w, wp, jnp.eye(len(aug)), aug, ratio=1.0, weight_decay=eta)


@functools.partial(jax.jit, static_argnums=0)
def loss_gradient(objective: ObjectiveName, params, x, x_pos):
    """Gradient of the mean loss of an objective."""
    return jax.grad(OBJECTIVES[objective].loss)(params, x, x_pos)


@claim(
    "N05",
    "new",
    "Tian et al. 2021, Eq. 2, 3",
    tolerance=rounding(512),
    recorded="exact",
    error="η {} too large",
    by=1e-6,
)
def flows_are_gradients_of_the_losses(seed: int, wrong: float) -> Evidence:
    """Each model's flow is minus the expected gradient of its loss, with and without predictor and
    stop-gradient, less ηW.
    """
    signs = (
        np.array(np.meshgrid(*[[-1.0, 1.0]] * 9, indexing="ij")).reshape(9, -1).T
    )  # second moments exactly the population's
    params, residual = covariances(seed)[2:], 0.0
    objectives: tuple[ObjectiveName, ...] = (
        "alignment-only",
        "predictor",
        "no-stop-gradient",
        "no-predictor",
    )
    for objective in objectives:
        eta = DECAY if objective in DECAYING else 0.0
        run = ObjectiveRun(objective=OBJECTIVES[objective], dim=3, noisy_dims=1)
        deviations = np.asarray(run.noise_deviations())
        noise = signs[:, 3:].reshape(-1, 2, 3) * deviations
        x, x_pos = (jnp.asarray(signs[:, :3] + noise[:, view]) for view in (0, 1))
        towards = loss_gradient(objective, params, x, x_pos)
        rates = theory_rates(objective, params, jnp.diag(deviations**2), eta)
        decay = (1 + wrong) * eta
        trained_layers = 1 if objective in ("no-predictor", "alignment-only") else 2
        for gradient, layer, rate in list(zip(towards, params, rates, strict=True))[
            :trained_layers
        ]:
            residual = max(residual, error(-gradient - decay * layer, rate))
    return Evidence(residual)
