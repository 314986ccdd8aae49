"""Linear BYOL: the target is a moving average Wa of the encoder W, which it follows at the rate
beta = (1 - decay)/(learning rate).

Two views of a sample are clean + independent noise, of variance sigma and a along a mode. In a
balanced mode, with strength w of encoder and predictor alike and u of the target,

    dw/dt = w (sigma u - (sigma + a) w^2) - eta w,    du/dt = beta (w - u).

Whatever beta is, the points of rest are those of the stop-gradient alone (u = w there), as are
their stability and the imbalance of encoder and predictor. The system is cooperative (each strength
grows with the other), so that from u(0) = w(0) both move one way only: a mode vanishes from exactly
the same starts. The moving average decides when modes are learned, not which.

Time is learning rate times steps on the mean of half the squared error.
"""

import jax.numpy as jnp
from jaxtyping import Float

from linsim.arrays import Array, jitted
from linsim.theory import noncontrastive
from linsim.theory.noncontrastive import Predictor, Real, Square, Weights


def rates(
    w: Weights,
    wp: Predictor,
    target: Weights,
    mean_cov: Square,
    aug_cov: Square,
    *,
    target_rate: Real,
    ratio: Real,
    weight_decay: Real,
) -> tuple[Weights, Predictor, Weights]:
    """The velocities of encoder, predictor and target.

        E = Wa Sigma - Wp W (Sigma + Sigma_a)
        dW/dt = Wp^T E - eta W,   dWp/dt = rho E W^T - eta Wp,   dWa/dt = beta (W - Wa)

    With Wa = W it is `noncontrastive.predictor_rates`.

    Source: Tian, Chen, Ganguli 2021 (arXiv 2102.06810), Eq. 2 to 4. Mean over samples.

    Args:
        w: Weights W of the encoder, shape (n, d).
        wp: Weights Wp of the predictor, shape (n, n).
        target: Weights Wa of the target, shape (n, d).
        mean_cov: Covariance Sigma of the clean data, shape (d, d).
        aug_cov: Covariance Sigma_a of the noise in one view, shape (d, d).
        target_rate: The rate beta >= 0 of the target.
        ratio: The learning rate rho > 0 of the predictor in units of the encoder's.
        weight_decay: The weight decay eta >= 0 of encoder and predictor.

    Returns:
        The three velocities, of shapes (n, d), (n, n) and (n, d).

    Example:
        All are at rest where they are with stop-gradient alone:

        >>> eye = jnp.eye(2)
        >>> p = noncontrastive.predictor_fixed_point(1.0, 0.5, 0.1) * eye
        >>> settings = {"target_rate": 0.3, "ratio": 1.0, "weight_decay": 0.1}
        >>> found = rates(p, p, p, eye, 0.5 * eye, **settings)
        >>> bool(jnp.allclose(jnp.stack(found), 0.0, atol=1e-7))
        True
    """
    error = target @ mean_cov - wp @ w @ (mean_cov + aug_cov)
    return (
        wp.T @ error - weight_decay * w,
        ratio * error @ w.T - weight_decay * wp,
        target_rate * (w - target),
    )


@jitted
def closing_rate(
    variance: Real, noise_variance: Real, target_rate: Real, weight_decay: Real = 0.0
) -> Float[Array, "..."]:
    """How fast a balanced mode closes in on where it settles, in the end.

        r = [beta + 2q - sqrt((beta + 2q)^2 - 4 beta (q - eta))] / 2,   q = p^2 (sigma + a)

    with p of `noncontrastive.predictor_fixed_point`. A fast target (beta -> infinity) leaves
    r = q - eta, which is sigma^2/(sigma + a) without weight decay: noisy modes are slow. Under a
    slow one and without weight decay r = beta/2 in every mode: all are equally slow.

    Source: this project, docs/theory.md, "A moving average as target".

    Args:
        variance: The variance sigma > 0 of the clean data in the mode.
        noise_variance: The variance a >= 0 of the noise in one view in the mode.
        target_rate: The rate beta > 0 of the target.
        weight_decay: The weight decay eta >= 0.

    Returns:
        The rate r, in the broadcast shape of the arguments; nan where the mode vanishes.

    Example:
        >>> noise = jnp.array([0.25, 4.0])
        >>> [[round(float(r), 3) for r in closing_rate(1.0, noise, beta)] for beta in (1e5, 0.01)]
        [[0.8, 0.2], [0.005, 0.005]]
    """
    p = noncontrastive.predictor_fixed_point(variance, noise_variance, weight_decay)
    q = p**2 * (jnp.asarray(variance) + noise_variance)
    trace, product = target_rate + 2 * q, target_rate * (q - weight_decay)
    rate = 2 * product / (trace + jnp.sqrt(trace**2 - 4 * product))
    return jnp.where(p > 0, rate, jnp.nan)


def under_a_slow_target(
    time: Real, start: Real, regression: Real, target_rate: Real
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """A balanced mode in time where the target is slow, without weight decay.

        u(t) = [sqrt(rho) + (sqrt(u0) - sqrt(rho)) e^{-beta t/2}]^2,   w(t) = sqrt(rho u(t))

    rho = sigma/(sigma + a). The encoder follows the target at once. It is the limit of small beta,
    at fixed beta t.

    Source: this project, docs/theory.md, "A moving average as target".

    Args:
        time: The time t.
        start: The initial strength u0 > 0 of the target.
        regression: The regression coefficient rho of the mode.
        target_rate: The rate beta > 0 of the target.

    Returns:
        The strengths (w, u), in the broadcast shape of the arguments.

    Example:
        >>> w, u = under_a_slow_target(jnp.array([0.0, 1e9]), 0.04, 0.25, 0.01)
        >>> [round(float(each), 3) for each in (*w, *u)]
        [0.1, 0.25, 0.04, 0.25]
    """
    end = jnp.sqrt(jnp.asarray(regression))
    root = end + (jnp.sqrt(jnp.asarray(start)) - end) * jnp.exp(-0.5 * target_rate * time)
    return end * root, root**2


def decay_without_predictor(
    variance: Real, noise_variance: Real, target_rate: Real, weight_decay: Real = 0.0
) -> Float[Array, "..."]:
    """How fast a mode vanishes in the end where the target is merely approached, not predicted.

        dw/dt = sigma u - (sigma + a + eta) w,   du/dt = beta (w - u):
        r = [beta + s - sqrt((beta + s)^2 - 4 beta (a + eta))] / 2,   s = sigma + a + eta

    It is positive for every beta > 0, if there is noise or weight decay: a moving average delays
    the collapse, and does not prevent it. A fast target leaves a + eta, a slow one
    beta (a + eta)/s.

    Source: this project, docs/theory.md, "A moving average as target".

    Args:
        variance: The variance sigma > 0 of the clean data in the mode.
        noise_variance: The variance a >= 0 of the noise in one view in the mode.
        target_rate: The rate beta > 0 of the target.
        weight_decay: The weight decay eta >= 0.

    Returns:
        The rate r >= 0, in the broadcast shape of the arguments.

    Example:
        >>> [round(float(decay_without_predictor(1.0, 0.5, beta)), 4) for beta in (1e6, 0.01)]
        [0.5, 0.0033]
    """
    lost = jnp.asarray(noise_variance) + weight_decay
    trace = target_rate + variance + lost
    return 2 * target_rate * lost / (trace + jnp.sqrt(trace**2 - 4 * target_rate * lost))
