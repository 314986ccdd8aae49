"""Claims L16, L17 and L21: what centring and sharpening do in a linear DINO (docs/losses.md)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from linsim.claims.ledger import Evidence, Tolerance, claim, equation
from linsim.claims.setups import (
    above,
    below,
    case,
    error,
    remembered,
    trained_spectrum,
    two_noisy_views,
)
from linsim.training import models, objective_run
from linsim.training.objective_run import ObjectiveRun
from linsim.training.targets import Distilled, SelfDistillation, Teacher


@jax.jit
def onset(w, x, x_pos, centre, temperatures):
    """The gradient of DINO at small weights, over their size."""
    teacher = Teacher(w, centre)
    of = Distilled(
        teacher=teacher, student_temperature=temperatures[0], teacher_temperature=temperatures[1]
    )
    return of.gradient((w, jnp.eye(len(w))), x, x_pos)[1][0]


@claim(
    "L16",
    "new",
    "Caron et al. 2021, sections 3.1 and 5.3",
    tolerance=Tolerance(1e-6, "second order of softmax at weights of 1e-8, and their rounding"),
    recorded="holds only under conditions",
    error="the teacher's temperature {} too large",
    by=1e-4,
    conditions="for data with a mean, of which it takes one mode away; a batch of mean zero has "
    "no centre, and which modes grow is decided by sharpening alone: those with k/s > τt/τ",
)
def centring_changes_the_onset(seed: int, wrong: float) -> Evidence:
    """Near uniform outputs a linear DINO follows dW/dt = H[W(K - μμᵀ)/τt - WA/τ]/(nτ) if outputs
    are centred, for data of any distribution: centring makes the mean vanish, which would grow
    first.
    """
    _, x, x_pos = case(seed)
    mean = 2.0 * jnp.ones(x.shape[1])
    outputs, tau, tau_t = 4, 1.0, 0.4
    w = 1e-8 * jax.random.normal(jax.random.key(seed), (outputs, x.shape[1]))
    w = w - jnp.mean(w, axis=0)

    def field(x, x_pos, centring):
        centre = jnp.mean(x_pos, axis=0) @ w.T if centring else jnp.zeros(outputs)
        return -onset(w, x, x_pos, centre, (tau, tau_t))

    def stated(x, x_pos, centring):
        anchor, cross = x.T @ x / len(x), x.T @ x_pos / len(x)
        means = jnp.outer(jnp.mean(x, axis=0), jnp.mean(x_pos, axis=0))
        taught = cross - centring * means
        return w @ (taught.T / (tau_t * (1 + wrong)) - anchor / tau) / (outputs * tau)

    shifted = x + mean, x_pos + mean
    direction = mean / jnp.linalg.norm(mean)
    grows = [
        float(jnp.sum((field(shifted[0], shifted[1], on) @ direction) * (w @ direction)))
        for on in (False, True)
    ]
    centred = x - jnp.mean(x, axis=0), x_pos - jnp.mean(x_pos, axis=0)
    same = error(field(centred[0], centred[1], True), field(centred[0], centred[1], False))
    off = max(error(stated(*shifted, on), field(*shifted, on)) for on in (True, False))
    return Evidence(
        off,
        outside=1.0 - same,
        assumptions=(
            above("growth along the mean, not centred", grows[0], 0.0),
            below("growth along the mean, centred", grows[1], 0.0),
        ),
    )


TEMPERATURE = 1.0  # of the student whose outputs are looked at


@remembered
@functools.partial(jax.jit, static_argnums=0)
def distilled(run: ObjectiveRun, mean, seed):
    """The spectrum at the end of a run on batches of Gaussian data with a mean along its first
    coordinate, and the largest share that an output has on average.
    """
    key, key_init, key_show = jax.random.split(jax.random.fold_in(jax.random.key(12), seed), 3)
    shift = mean * jnp.eye(run.dim)[0]

    def source(key, size=run.batch_size):
        x, x_pos = two_noisy_views(key, size, run.noise_deviations())
        return x + shift, x_pos + shift

    states, _ = objective_run.descend(run, run.start(key_init), source, key)
    w = models.product(jax.tree.map(lambda each: each[-1], states.layers))
    x, _ = source(key_show, 4096)
    shares = jax.nn.softmax(x @ w.T / TEMPERATURE, axis=1)
    return objective_run.spectrum(w[None])[0], jnp.max(jnp.mean(shares, axis=0))


@claim(
    "L17",
    "new",
    "Caron et al. 2021, sections 3.1 and 5.3",
    tolerance=Tolerance(0.5, "shares of the outputs: 1 is one output for all inputs, 1/n uniform"),
    recorded="holds only under conditions",
    error="not centred",
    conditions="together with sharpening: without it outputs become uniform; without centring one "
    "output wins only where the data have a mean",
)
def centring_and_sharpening(seed: int, wrong: float) -> Evidence:
    """Centring keeps a linear DINO from giving one output to all inputs, and sharpening from giving
    all outputs alike.
    """

    def run(centring: bool, teacher_temperature: float) -> ObjectiveRun:
        return ObjectiveRun(
            objective=SelfDistillation(
                decay=0.9,
                centring=centring,
                student_temperature=TEMPERATURE,
                teacher_temperature=teacher_temperature,
            ),
            noise=0.7,
            base_noise=0.7,
            init_scale=0.3,
            learning_rate=0.1,
            dim=4,
            noisy_dims=2,
            batch_size=64,
            record_at=(0, 1, 3000),
        )

    values, share = distilled(run(not wrong, 0.4), 3.0, seed)
    uniform, _ = distilled(run(True, 1.0), 3.0, seed)
    _, balanced = distilled(run(False, 0.4), 0.0, seed)
    learned = float(values[1])
    flat = float(uniform.sum() / (4 * 0.3**2))
    return Evidence(
        float(share),
        outside=1.0 - flat,
        assumptions=(
            above("strength of the second mode, sharpened", learned, 0.0),
            below("largest share without a mean and not centred", balanced, 0.5),
        ),
    )


@remembered
@jax.jit
def weak_copy(w, variances, weak, temperatures, seed):
    """Of a linear DINO whose teacher is its student: the rates of its columns, those of a weak mode
    that copies each, per strength, and the mean Jacobian of the student's shares times each column;
    over Gaussian samples. weak: the second moments (s, k) of the weak mode.
    """
    tau, sharp = temperatures
    rooted = jnp.sqrt(variances - 1)

    def of_some(key):
        x, x_pos = two_noisy_views(key, 20_000, rooted)
        q, p = jax.nn.softmax(x @ w.T / tau), jax.nn.softmax(x_pos @ w.T / sharp)

        def mean_jacobian(shares):
            return jnp.diag(jnp.mean(shares, axis=0)) - shares.T @ shares / len(shares)

        return -(q - p).T @ x / len(x), mean_jacobian(q), mean_jacobian(p)

    keys = jax.random.split(jax.random.fold_in(jax.random.key(15), seed), 50)
    rate, student, teacher = jax.tree.map(lambda v: v.mean(0), jax.lax.map(of_some, keys))
    s, k = weak
    copied = teacher @ w * k / sharp - student @ w * s / tau
    return rate / tau, copied / tau, student @ w


@claim(
    "L21",
    "new",
    equation("dino"),
    tolerance=Tolerance(0.02, "0.5 % of sampling error over 1,000,000 samples"),
    recorded="holds",
    error="the variance of the mode that is copied {} too large",
    by=0.02,
)
def dino_keeps_the_cleanest_modes(seed: int, wrong: float) -> Evidence:
    """A weak mode that a linear DINO maps as it maps a mode j of Gaussian data changes at k/k_j
    times the rate of that plus E[J] w_j (k s_j/k_j - s)/τ², J >= 0 the Jacobian of the student's
    shares: beside modes at rest it grows only if it is less noisy than they are.
    """
    variances = jnp.array([1.25, 1.25, 1.5])
    w = 0.5 * jax.random.normal(jax.random.key(seed), (5, 3))
    tau, weak = 0.5, jnp.array([1.8, 0.9])
    rate, copied, student = weak_copy(w, variances, weak, (tau, 0.2), seed)
    excess = weak[1] * variances * (1 + wrong) - weak[0]
    stated = weak[1] * rate + student * excess / tau**2
    run = ObjectiveRun(
        objective=SelfDistillation(decay=0.9),
        noise=0.6,
        init_scale=0.3,
        learning_rate=0.002,
        dim=8,
        noisy_dims=4,
        batch_size=256,
        record_at=(0, 1, 4000),
    )
    values = np.asarray(trained_spectrum(run, seed, 11))
    return Evidence(
        error(copied, stated),
        assumptions=(
            below("noisier over cleaner modes, trained", values[4:].sum() / values[:4].sum(), 0.5),
        ),
    )
