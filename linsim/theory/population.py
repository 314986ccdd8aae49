"""Training in the limit of infinitely many Gaussian samples (not in the paper; docs/theory.md, "Population limit").

With N -> infinity the positives' weight alpha_ii vanishes, every softmax average is a Gaussian integral, and the loss
becomes an explicit function of S = W^T W. Notation: Sigma (`data_cov`) is the covariance of the view that the negatives
come from, Sigma_n (`noise_cov`) that of x' - x; one mode has variance a, noise variance c and strength m = sigma^2.

Normalisation: MEAN over anchors; time = learning rate x steps on the mean loss. Everything is dimensionless.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
import scipy.integrate
from jaxtyping import Float

from linsim.arrays import Array

Weights = Float[Array, "n d"]
Square = Float[Array, "d d"]
Scalar = Float[Array, ""]
Real = float | Float[Array, "..."]


def _shrink(w: Weights, data_cov: Square) -> Square:
    """(I + Sigma S)^-1 = (I + Sigma W^T W)^-1."""
    return jnp.linalg.inv(jnp.eye(len(data_cov), dtype=data_cov.dtype) + data_cov @ w.T @ w)


def loss(w: Weights, data_cov: Square, noise_cov: Square) -> Scalar:
    """Population distance loss, up to the constant log N.

        l(W) = tr(S Sigma_n)/2 - log det(I + Sigma S)/2 - tr(Sigma S (I + Sigma S)^-1)/2

    Source: this project, docs/theory.md, "Population limit". Mean per anchor. Args: w (n, d); data_cov, noise_cov (d, d). Returns: scalar.
    """
    s = w.T @ w
    pulled = data_cov @ s
    _, log_det = jnp.linalg.slogdet(jnp.eye(len(data_cov), dtype=s.dtype) + pulled)
    return 0.5 * (jnp.trace(s @ noise_cov) - log_det - jnp.trace(pulled @ _shrink(w, data_cov)))


def contrast_matrix(w: Weights, data_cov: Square, noise_cov: Square) -> Square:
    """Limit of the contrast matrix per anchor, X/N; the gradient flow is dW/dt = W X/N.

        X/N -> P^-1 Sigma^-1 P^-1 + P^-1 - Sigma_n = (R + I) R Sigma - Sigma_n,
        P = Sigma^-1 + S,   R = (I + Sigma S)^-1

    Source: this project, docs/theory.md, "Population limit". The second form needs no inverse of Sigma.
    Args: w (n, d); data_cov, noise_cov (d, d). Returns: (d, d), symmetric.
    """
    r = _shrink(w, data_cov)
    pull = r @ data_cov
    return r @ pull + pull - noise_cov


def mode_rate(strength: Real, variance: Real, noise_variance: Real) -> Real:
    """Growth rate lambda(m) of one mode: dm/dt = 2 m lambda(m).

        lambda(m) = a (2 + a m) / (1 + a m)^2 - c

    Source: this project, docs/theory.md, "Population limit". Distance loss, mean per anchor.
    Args: strength m; variance a; noise_variance c. Returns: rate per unit time.
    """
    am = variance * strength
    return variance * (2 + am) / (1 + am) ** 2 - noise_variance


def growth_rate(variance: Real, noise_variance: Real) -> Real:
    """Growth rate of a vanishingly weak mode, lambda(0) = 2a - c. Source: this project, docs/theory.md, "Population limit"."""
    return mode_rate(0.0, variance, noise_variance)


def collapse_threshold(variance: Real) -> Real:
    """The noise variance c = 2a from which on a mode of variance a vanishes. Source: this project, docs/theory.md, "Population limit"."""
    return 2 * variance


def fixed_point(variance: Real, noise_variance: Real) -> Float[Array, "..."]:
    """Stable strength m* of one mode under the distance loss.

        m* = (1/u - 1)/a,  1/u = (1 + sqrt(1 + 4c/a)) a / 2c;   0 if c >= 2a (collapsed);   inf if c = 0 (grows for ever)

    Source: this project, docs/theory.md, "Population limit". m* does not depend on the normalisation of the loss.
    Args: variance a > 0; noise_variance c >= 0 (scalars or arrays). Returns: m*, their broadcast shape.
    """
    ratio = jnp.asarray(noise_variance) / variance
    strength = ((1 + jnp.sqrt(1 + 4 * ratio)) / (2 * ratio) - 1) / variance
    return jnp.where(ratio >= 2, 0.0, strength)


def collapsed_dimensions(data_cov: Square, noise_cov: Square) -> int:
    """How many directions vanish: generalised eigenvalues of (Sigma_n, Sigma) that are >= 2, commuting or not.

    Source: this project, docs/theory.md, "Population limit". Args: data_cov positive definite, noise_cov (d, d). Returns: count.
    Raises: ValueError if data_cov is not positive definite.
    """
    eigenvalues, vectors = np.linalg.eigh(np.asarray(data_cov, dtype=np.float64))
    if eigenvalues[0] <= 0:
        raise ValueError(
            f"data_cov must be positive definite; its smallest eigenvalue is {eigenvalues[0]:.3g}"
        )
    whiten = vectors / np.sqrt(eigenvalues)
    ratios = np.linalg.eigvalsh(whiten.T @ np.asarray(noise_cov, dtype=np.float64) @ whiten)
    rounding = 8 * len(ratios) * np.finfo(np.float64).eps * max(abs(ratios[-1]), 1.0)
    return int(np.sum(ratios >= 2 - rounding))


def loss_dot(
    w: Weights, anchor_cov: Square, positive_cov: Square, cross_cov: Square, temperature: Real
) -> Scalar:
    """Population dot loss, up to the constant log N.

        l(W) = -tr(M K)/tau + tr(M Sigma M Sigma')/(2 tau^2),   M = W^T W

    with Sigma, Sigma' the covariances of the two views and K = E[x x'^T] that between them (both noisy: Sigma = Sigma',
    K the clean covariance). Source: this project, docs/theory.md, "Population limit". Mean per anchor.
    Args: w (n, d); three covariances (d, d); tau. Returns: scalar.
    """
    m = w.T @ w
    attract = jnp.trace(m @ cross_cov) / temperature
    return -attract + jnp.trace(m @ anchor_cov @ m @ positive_cov) / (2 * temperature**2)


def contrast_matrix_dot(
    w: Weights, anchor_cov: Square, positive_cov: Square, cross_cov: Square, temperature: Real
) -> Square:
    """Limit of the contrast matrix of the dot loss: dW/dt = W X.

        X = (K + K^T)/tau - (Sigma M Sigma' + Sigma' M Sigma)/tau^2

    Source: this project, docs/theory.md, "Population limit". Mean per anchor. Arguments as `loss_dot`. Returns: (d, d), symmetric.
    """
    push = anchor_cov @ w.T @ w @ positive_cov
    return (cross_cov + cross_cov.T) / temperature - (push + push.T) / temperature**2


def fixed_point_dot(
    anchor_variance: Real,
    positive_variance: Real,
    cross: Real,
    temperature: Real,
    weight_decay: Real = 0.0,
) -> Float[Array, "..."]:
    """Stable strength m* of one mode under the dot loss with weight decay gamma |W|^2 / 2.

        m* = (tau k - gamma tau^2 / 2) / (a a');   0 if k <= gamma tau / 2, the only collapse threshold of this loss

    Source: this project, docs/theory.md, "Population limit". With two noisy views and no decay: tau a / (a + c)^2, c per view.
    Args: variances a, a' of the two views; cross = E[x x'] = k; tau; gamma. Returns: m*.
    """
    strength = temperature * (jnp.asarray(cross) - 0.5 * weight_decay * temperature)
    return jnp.maximum(strength, 0.0) / (anchor_variance * positive_variance)


def mode_strength_dot(
    time: Real, start: Real, settled: Real, cross: Real, temperature: Real
) -> Real:
    """Strength of one mode of the dot loss in time: the logistic curve.

        m(t) = m* / (1 + (m*/m0 - 1) e^{-4 k t / tau})

    Source: this project, docs/theory.md, "Population limit". Mean loss, no weight decay.
    Args: time t; start m0; settled m* (`fixed_point_dot`); cross k = E[x x']; tau. Returns: m(t).
    """
    return settled / (1 + (settled / start - 1) * jnp.exp(-4 * cross * time / temperature))


def escape_time(w0: Real, depth: int, growth_rate: Real) -> Real:
    """Time in which a balanced L-layer mode leaves a small start w0 (singular value of the product).

        L >= 2:  t = w0^-(2 - 2/L) / ((2L - 2) lambda(0));       L = 1:  t = log(1/w0) / lambda(0)

    From dw/dt = L w^(3 - 2/L) lambda(0), integrated from w0 to infinity (to 1 for L = 1).
    Source: this project, docs/theory.md, "Population limit". Mean loss. Args: w0 in (0, 1); depth L >= 1; growth_rate lambda(0) > 0.
    Returns: time. Raises: ValueError if depth < 1.
    """
    if depth < 1:
        raise ValueError(f"depth must be at least 1; got {depth}")
    if depth == 1:
        return -jnp.log(w0) / growth_rate
    return w0 ** -(2 - 2 / depth) / ((2 * depth - 2) * growth_rate)


def layer_rates(
    weights: tuple[Array, ...], data_cov: Square, noise_cov: Square
) -> tuple[Array, ...]:
    """Gradient flow of an L-layer linear network in the population limit, distance loss.

        dW_l/dt = (W_L ... W_{l+1})^T W X/N (W_{l-1} ... W_1)^T,   W = W_L ... W_1

    Source: paper, Lemma 3, with X/N of `contrast_matrix`. Mean loss. Args: (W_1, ..., W_L); covariances. Returns: rates.
    """
    below: list[Array] = [jnp.eye(weights[0].shape[1])]
    above: list[Array] = [jnp.eye(weights[-1].shape[0])]
    for layer in weights[:-1]:
        below.append(layer @ below[-1])
    for layer in weights[:0:-1]:
        above.append(above[-1] @ layer)
    total = weights[-1] @ below[-1]
    push = total @ contrast_matrix(total, data_cov, noise_cov)
    return tuple(
        top.T @ push @ bottom.T for top, bottom in zip(reversed(above), below, strict=True)
    )


def balanced_rate(w: Real, depth: int, variance: Real, noise_variance: Real) -> Real:
    """dw/dt = L w^(3 - 2/L) lambda(w^2) of the product's singular value w, balanced layers (C = 0).

    Source: this project, docs/theory.md, "Population limit". Distance loss, mean. Args: w; depth L; variance a; noise c. Returns: dw/dt.
    """
    return depth * w ** (3 - 2 / depth) * mode_rate(w**2, variance, noise_variance)


def balanced_flow(
    w0: np.ndarray,
    times: np.ndarray,
    depth: int,
    variance: np.ndarray | float,
    noise_variance: np.ndarray | float,
) -> np.ndarray:
    """Balanced modes that start at w0: `balanced_rate` integrated, d ln w/dt = L w^(2 - 2/L) lambda(w^2).

    Source: this project, docs/theory.md, "Population limit". Mean loss. SciPy's LSODA at a relative tolerance of 1e-10, all modes at once.
    Args: w0 > 0; times (T,), increasing, from 0 on; depth L; variance a; noise_variance c (arrays that broadcast with w0).
    Returns: w, (T, *their broadcast shape). Raises: ArithmeticError if the integration fails.
    """
    start, a, c = np.broadcast_arrays(np.asarray(w0, dtype=float), variance, noise_variance)

    def rate(_, log_w):
        w = np.exp(log_w).reshape(start.shape)
        return np.ravel(depth * w ** (2 - 2 / depth) * mode_rate(w**2, a, c))

    options: Any = {"lband": 0, "uband": 0}  # each mode's rate depends on itself alone
    span = (0.0, float(times[-1]))
    solution = scipy.integrate.solve_ivp(
        rate, span, np.log(start).ravel(), "LSODA", times, rtol=1e-10, atol=1e-10, **options
    )
    if not solution.success:
        raise ArithmeticError(f"the balanced flow could not be integrated: {solution.message}")
    return np.exp(solution.y.T).reshape(len(times), *start.shape)


def imbalanced_rate(w: Real, kappa: Real, variance: Real, noise_variance: Real) -> Real:
    """dw/dt = w sqrt(kappa^2 + 4 w^2) lambda(w^2) for two layers with C = kappa I (aligned for all times).

    Small modes grow exponentially at |kappa| lambda(0) instead of hyperbolically: imbalance removes the slow modes.
    Source: this project, docs/theory.md, "Population limit". Args: w; kappa; variance a; noise c. Returns: dw/dt.
    """
    return w * jnp.sqrt(kappa**2 + 4 * w**2) * mode_rate(w**2, variance, noise_variance)
