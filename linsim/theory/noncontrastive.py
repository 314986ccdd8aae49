"""Linear models without negatives, with and without a predictor (this project,
docs/theory.md, "Without negatives").

Two views of a sample are x1, x2 = clean + independent noise. Sigma (`mean_cov`) is the covariance
of a sample's mean over augmentations, which is that of the clean data, and Sigma_a (`aug_cov`) that
of the noise in one view. W (n, d) embeds, Wp (n, n) predicts, and the loss is the mean over samples
of |Wp W x1 - sg(W x2)|^2 / 2, where sg stops the gradient.

The rates are those of gradient flow on the expected loss; time is learning rate times steps on that
mean. Everything is dimensionless.
"""

import jax.numpy as jnp
import jax.scipy.linalg
from jaxtyping import Float

from linsim.arrays import Array, jitted

Weights = Float[Array, "n d"]
Predictor = Float[Array, "n n"]
Square = Float[Array, "d d"]
Real = float | Float[Array, "..."]


@jitted
def alignment_only(start: Weights, noise_cov: Square, time: Real) -> Weights:
    """The weights in time when the views of a sample attract each other and nothing repels.

        dW/dt = -W Sigma_n,   hence   W(t) = W(0) e^{-Sigma_n t}

    for the loss E|z - z'|^2 / 2. The embedding collapses completely if Sigma_n has full rank;
    directions without augmentation stay as they are.

    Source: this project, docs/theory.md, Eq. (alone). Mean over samples.

    Args:
        start: Weights W(0), shape (n, d).
        noise_cov: Covariance Sigma_n of x' - x, shape (d, d); 2 Sigma_a for two noisy views.
        time: The time t.

    Returns:
        The weights W(t), shape (n, d).

    Example:
        Only the augmented direction, here the second, collapses:

        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> weights = alignment_only(jnp.eye(2), jnp.diag(jnp.array([0.0, 1.0])), 10.0)
        >>> np.asarray(jnp.diag(weights)).round(4).tolist()
        [1.0, 0.0]
    """
    return start @ jax.scipy.linalg.expm(-noise_cov * time)


@jitted
def predictor_rates(
    w: Weights, wp: Predictor, mean_cov: Square, aug_cov: Square, *, ratio: Real, weight_decay: Real
) -> tuple[Weights, Predictor]:
    """The velocities of encoder and predictor, with stop-gradient on the target.

        E = W Sigma - Wp W (Sigma + Sigma_a)
        dW/dt = Wp^T E - eta W,   dWp/dt = rho E W^T - eta Wp

    Source: Tian, Chen, Ganguli 2021 (arXiv 2102.06810), Eq. 2 and 3; docs/theory.md, Eq.
    (predictor). Mean over samples.

    Args:
        w: Weights W of the encoder, shape (n, d).
        wp: Weights Wp of the predictor, shape (n, n).
        mean_cov: Covariance Sigma of the clean data, shape (d, d).
        aug_cov: Covariance Sigma_a of the noise in one view, shape (d, d).
        ratio: The learning rate rho > 0 of the predictor in units of the encoder's.
        weight_decay: The weight decay eta >= 0 of both.

    Returns:
        The pair (dW/dt, dWp/dt), of shapes (n, d) and (n, n).

    Example:
        Encoder and predictor are at rest at the strength that `predictor_fixed_point` gives:

        >>> import jax.numpy as jnp
        >>> eye = jnp.eye(2)
        >>> p = predictor_fixed_point(1.0, 0.5, 0.1) * eye
        >>> rates = predictor_rates(p, p, eye, 0.5 * eye, ratio=1.0, weight_decay=0.1)
        >>> bool(jnp.allclose(jnp.stack(rates), 0.0, atol=1e-9))
        True
    """
    error = w @ mean_cov - wp @ w @ (mean_cov + aug_cov)
    return wp.T @ error - weight_decay * w, ratio * error @ w.T - weight_decay * wp


@jitted
def joint_rates(
    w: Weights, wp: Predictor, mean_cov: Square, aug_cov: Square, *, ratio: Real, weight_decay: Real
) -> tuple[Weights, Predictor]:
    """The velocities of encoder and predictor without stop-gradient.

        dW/dt = Wp^T E - eta W + Wp W Sigma - W (Sigma + Sigma_a)
        dWp/dt = rho E W^T - eta Wp

    with E of `predictor_rates`. The two new terms are the descent along the gradient of the target
    W x2. This model collapses completely.

    Source: Tian, Chen, Ganguli 2021 (arXiv 2102.06810), Theorem 1. Mean over samples.

    Args:
        w: Weights W of the encoder, shape (n, d).
        wp: Weights Wp of the predictor, shape (n, n).
        mean_cov: Covariance Sigma of the clean data, shape (d, d).
        aug_cov: Covariance Sigma_a of the noise in one view, shape (d, d).
        ratio: The learning rate rho > 0 of the predictor in units of the encoder's.
        weight_decay: The weight decay eta >= 0 of both.

    Returns:
        The pair (dW/dt, dWp/dt), of shapes (n, d) and (n, n).

    Example:
        At the point where the model with stop-gradient is at rest, this one shrinks:

        >>> import jax.numpy as jnp
        >>> eye = jnp.eye(2)
        >>> p = predictor_fixed_point(1.0, 0.5, 0.1) * eye
        >>> rate, _ = joint_rates(p, p, eye, 0.5 * eye, ratio=1.0, weight_decay=0.1)
        >>> bool(jnp.all(jnp.diag(rate) < 0))
        True
    """
    w_rate, wp_rate = predictor_rates(
        w, wp, mean_cov, aug_cov, ratio=ratio, weight_decay=weight_decay
    )
    return w_rate + wp @ w @ mean_cov - w @ (mean_cov + aug_cov), wp_rate


@jitted
def no_predictor_rate(w: Weights, aug_cov: Square, weight_decay: Real) -> Weights:
    """The velocity of the encoder with stop-gradient but without predictor (Wp = I).

        dW/dt = -W (Sigma_a + eta I)

    The embedding collapses completely if Sigma_a has full rank or there is weight decay.

    Source: Tian, Chen, Ganguli 2021 (arXiv 2102.06810), Theorem 1. Mean over samples.

    Args:
        w: Weights W of the encoder, shape (n, d).
        aug_cov: Covariance Sigma_a of the noise in one view, shape (d, d).
        weight_decay: The weight decay eta >= 0.

    Returns:
        dW/dt, shape (n, d).

    Example:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> rate = no_predictor_rate(jnp.eye(2), jnp.diag(jnp.array([0.5, 1.0])), 0.1)
        >>> np.asarray(jnp.diag(rate)).round(6).tolist()
        [-0.6, -1.1]
    """
    return -w @ aug_cov - weight_decay * w


@jitted
def conserved(w: Weights, wp: Predictor, ratio: Real) -> Predictor:
    """The imbalance of encoder and predictor, which changes by weight decay alone.

        C = W W^T - Wp^T Wp / rho,   C(t) = e^(-2 eta t) C(0)   exactly under `predictor_rates`

    Source: Tian, Chen, Ganguli 2021 (arXiv 2102.06810), Theorem 2; docs/theory.md, Eq.
    (predictor-balance).

    Args:
        w: Weights W of the encoder, shape (n, d).
        wp: Weights Wp of the predictor, shape (n, n).
        ratio: The learning rate rho > 0 of the predictor in units of the encoder's.

    Returns:
        C, symmetric, shape (n, n).

    Example:
        The velocity of C is -2 eta C:

        >>> import jax
        >>> import jax.numpy as jnp
        >>> w, wp = jnp.array([[1.0, 0.2], [0.0, 0.5]]), jnp.array([[0.7, 0.1], [0.3, 0.4]])
        >>> rates = predictor_rates(w, wp, jnp.eye(2), jnp.eye(2), ratio=2.0, weight_decay=0.1)
        >>> value, velocity = jax.jvp(lambda w, wp: conserved(w, wp, 2.0), (w, wp), rates)
        >>> bool(jnp.allclose(velocity, -2 * 0.1 * value))
        True
    """
    return w @ w.T - wp.T @ wp / ratio


@jitted
def predictor_fixed_point(
    variance: Real, noise_variance: Real, weight_decay: Real
) -> Float[Array, "..."]:
    """The stable singular value that encoder and predictor share in one mode.

        p = (sigma + sqrt(sigma^2 - 4 eta (sigma + a))) / (2 (sigma + a))

    It is the larger root of p^2 (sigma + a) - p sigma + eta = 0, where encoder and predictor are at
    rest with p = w: a balanced start, or any start once the imbalance C of `conserved` has decayed,
    for equal learning rates. The mode collapses if sigma^2 < 4 eta (sigma + a), and otherwise if
    it starts below the smaller root.

    Source: this project, docs/theory.md, Eq. (predictor-fixed-point). Mean over samples.

    Args:
        variance: The variance sigma > 0 of the clean data in the mode.
        noise_variance: The variance a >= 0 of the noise in one view in the mode.
        weight_decay: The weight decay eta >= 0.

    Returns:
        The larger root, in the broadcast shape of the arguments, or 0 if no root is real and the
        mode collapses from every start.

    Example:
        Strong noise in a direction makes it collapse, although there is a predictor:

        >>> [round(float(predictor_fixed_point(1.0, a, 0.1)), 4) for a in (0.5, 1.0, 2.0)]
        [0.5442, 0.3618, 0.0]
    """
    total = jnp.asarray(variance) + noise_variance
    root = jnp.asarray(variance) ** 2 - 4 * weight_decay * total
    return jnp.where(root >= 0, (variance + jnp.sqrt(jnp.maximum(root, 0.0))) / (2 * total), 0.0)
