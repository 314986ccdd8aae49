"""Linear models without negatives: alignment only, and a linear predictor with stop-gradient (docs/theory.md, "Without negatives").

Two views x1, x2 = clean + independent noise; Sigma (`mean_cov`) is the covariance of their mean over augmentations, Sigma_a
(`aug_cov`) that of one view's noise. W (n, d) embeds, Wp (n, n) predicts. Loss: mean over samples of |Wp W x1 - sg(W x2)|^2 / 2.
Time = learning rate x steps on that mean. Everything is dimensionless.
"""

import jax.numpy as jnp
import jax.scipy.linalg
from jaxtyping import Float

from linsim.arrays import Array

Weights = Float[Array, "n d"]
Predictor = Float[Array, "n n"]
Square = Float[Array, "d d"]
Real = float | Float[Array, "..."]


def alignment_only(start: Weights, noise_cov: Square, time: Real) -> Weights:
    """Flow of the loss E|z - z'|^2 / 2:  dW/dt = -W Sigma_n,  W(t) = W(0) exp(-Sigma_n t).

    Complete collapse if Sigma_n, the covariance of x' - x, has full rank. Source: this project, docs/theory.md, "Without negatives".
    Args: W(0) (n, d); noise_cov (d, d); time. Returns: W(t).
    """
    return start @ jax.scipy.linalg.expm(-noise_cov * time)


def predictor_rates(
    w: Weights, wp: Predictor, mean_cov: Square, aug_cov: Square, *, ratio: Real, weight_decay: Real
) -> tuple[Weights, Predictor]:
    """Flow with predictor and stop-gradient.

        E = -Wp W (Sigma + Sigma_a) + W Sigma,   dW/dt = Wp^T E - eta W,   dWp/dt = ratio E W^T - eta Wp

    Source: Tian, Chen, Ganguli 2021 (arXiv 2102.06810), Eq. 2 and 3. Args: w (n, d); wp (n, n); covariances (d, d); ratio of
    the predictor's learning rate; weight_decay eta. Returns: (dW/dt, dWp/dt).
    """
    error = w @ mean_cov - wp @ w @ (mean_cov + aug_cov)
    return wp.T @ error - weight_decay * w, ratio * error @ w.T - weight_decay * wp


def joint_rates(
    w: Weights, wp: Predictor, mean_cov: Square, aug_cov: Square, *, ratio: Real, weight_decay: Real
) -> tuple[Weights, Predictor]:
    """`predictor_rates` without stop-gradient: the target's gradient, Wp W Sigma - W (Sigma + Sigma_a), joins dW/dt.

    Source: as `predictor_rates`, Theorem 1: it collapses completely. Args and returns as `predictor_rates`.
    """
    w_rate, wp_rate = predictor_rates(
        w, wp, mean_cov, aug_cov, ratio=ratio, weight_decay=weight_decay
    )
    return w_rate + wp @ w @ mean_cov - w @ (mean_cov + aug_cov), wp_rate


def no_predictor_rate(w: Weights, aug_cov: Square, weight_decay: Real) -> Weights:
    """Flow with stop-gradient and Wp = I: dW/dt = -W (Sigma_a + eta), complete collapse.

    Source: as `predictor_rates`, Theorem 1. Args: w (n, d); aug_cov (d, d); eta. Returns: dW/dt.
    """
    return -w @ aug_cov - weight_decay * w


def conserved(w: Weights, wp: Predictor, ratio: Real) -> Predictor:
    """C = W W^T - Wp^T Wp / ratio, which decays exactly as C(t) = e^(-2 eta t) C(0) under `predictor_rates`.

    Source: as `predictor_rates`, Theorem 2. Args: w (n, d); wp (n, n); ratio. Returns: (n, n), symmetric.
    """
    return w @ w.T - wp.T @ wp / ratio


def predictor_fixed_point(
    variance: Real, noise_variance: Real, weight_decay: Real
) -> Float[Array, "..."]:
    """Stable p = w of one mode (predictor and encoder alike) once C has decayed, ratio 1; 0 where only collapse is stable.

        p^2 (sigma + a) - p sigma + eta = 0,   p = (sigma + sqrt(sigma^2 - 4 eta (sigma + a))) / (2 (sigma + a))

    The mode collapses if sigma^2 < 4 eta (sigma + a), and otherwise if it starts below the other root.
    Source: this project, docs/theory.md, "Without negatives". Args: variance sigma, noise_variance a of one view, eta. Returns: p.
    """
    total = jnp.asarray(variance) + noise_variance
    root = jnp.asarray(variance) ** 2 - 4 * weight_decay * total
    return jnp.where(root >= 0, (variance + jnp.sqrt(jnp.maximum(root, 0.0))) / (2 * total), 0.0)
