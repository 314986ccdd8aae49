"""Training in the limit of infinitely many Gaussian samples (this project,
docs/theory.md, "Population limit").

This limit is not in the paper. As the batch grows, N -> infinity, the weight alpha_ii of each
positive in the softmax vanishes, every softmax average becomes a Gaussian integral, and the loss
becomes an explicit function of S = W^T W. It then tells which directions of the data survive
training and which vanish from the embedding.

Notation. Sigma (`data_cov`) is the covariance of the view that the negatives come from, Sigma_n
(`noise_cov`) that of the augmentation x' - x. A mode is a direction that both share as an
eigenvector: it has variance a, noise variance c and strength m = sigma^2, where sigma is the
singular value of W in that direction. lambda(m) is the growth rate of `mode_rate`.

Normalisation: the loss is the MEAN over anchors, and time is learning rate times steps on that
loss. Everything is dimensionless.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Float

from linsim.arrays import Array, jitted

Weights = Float[Array, "n d"]
Square = Float[Array, "d d"]
Scalar = Float[Array, ""]
Real = float | Float[Array, "..."]


def _shrink(w: Weights, data_cov: Square) -> Square:
    """(I + Sigma S)^-1 = (I + Sigma W^T W)^-1."""
    return jnp.linalg.inv(jnp.eye(len(data_cov), dtype=data_cov.dtype) + data_cov @ w.T @ w)


@jitted
def loss(w: Weights, data_cov: Square, noise_cov: Square) -> Scalar:
    """The distance loss per anchor for infinitely many Gaussian samples, less the constant log N.

        l(W) = tr(S Sigma_n)/2 - log det(I + Sigma S)/2 - tr(Sigma S (I + Sigma S)^-1)/2

    with S = W^T W. The first term is the cost of the augmentation; the other two reward spread.

    Source: this project, docs/theory.md, Eq. (population-loss). Mean over anchors.

    Args:
        w: Weights W of the linear model, shape (n, d).
        data_cov: Covariance Sigma of the view that the negatives come from, shape (d, d).
        noise_cov: Covariance Sigma_n of the augmentation x' - x, shape (d, d).

    Returns:
        The loss, a scalar; zero for W = 0.

    Example:
        Growing from zero lowers the loss under noise of variance 1, but not under noise of
        variance 3, which is beyond the threshold of `collapse_threshold`:

        >>> import jax.numpy as jnp
        >>> eye = jnp.eye(2)
        >>> [bool(loss(0.5 * eye, eye, noise * eye) < 0) for noise in (1.0, 3.0)]
        [True, False]
    """
    s = w.T @ w
    pulled = data_cov @ s
    _, log_det = jnp.linalg.slogdet(jnp.eye(len(data_cov), dtype=s.dtype) + pulled)
    return 0.5 * (jnp.trace(s @ noise_cov) - log_det - jnp.trace(pulled @ _shrink(w, data_cov)))


@jitted
def contrast_matrix(w: Weights, data_cov: Square, noise_cov: Square) -> Square:
    """The contrast matrix per anchor, X/N, of the distance loss for infinitely many samples.

        X/N -> P^-1 Sigma^-1 P^-1 + P^-1 - Sigma_n = (R + I) R Sigma - Sigma_n
        P = Sigma^-1 + S,   R = (I + Sigma S)^-1,   S = W^T W

    Gradient flow is dW/dt = W X/N. The second form is computed; it needs no inverse of Sigma.

    Source: this project, docs/theory.md, Eq. (population). Mean over anchors.

    Args:
        w: Weights W of the linear model, shape (n, d).
        data_cov: Covariance Sigma of the view that the negatives come from, shape (d, d).
        noise_cov: Covariance Sigma_n of the augmentation x' - x, shape (d, d).

    Returns:
        X/N, symmetric, shape (d, d).

    Example:
        Minus W X/N is the gradient of `loss`:

        >>> import jax
        >>> import jax.numpy as jnp
        >>> w = jnp.array([[0.5, 0.2], [0.0, 0.3]])
        >>> covariances = jnp.diag(jnp.array([1.0, 2.0])), jnp.array([[0.5, 0.1], [0.1, 1.0]])
        >>> gradient = jax.grad(loss)(w, *covariances)
        >>> bool(jnp.allclose(-w @ contrast_matrix(w, *covariances), gradient))
        True
    """
    r = _shrink(w, data_cov)
    pull = r @ data_cov
    return r @ pull + pull - noise_cov


def mode_rate(strength: Real, variance: Real, noise_variance: Real) -> Real:
    """The growth rate lambda(m) of one mode under the distance loss.

        lambda(m) = a (2 + a m) / (1 + a m)^2 - c

    In one layer the strength obeys dm/dt = 2 m lambda(m) and the singular value sqrt(m) grows at
    the rate lambda(m). The rate falls with m: a mode stops where it reaches zero, `fixed_point`.

    Source: this project, docs/theory.md, Eq. (mode). Mean over anchors.

    Args:
        strength: The strength m = sigma^2 >= 0 of the mode.
        variance: The variance a > 0 of the data in the mode.
        noise_variance: The variance c >= 0 of the augmentation x' - x in the mode.

    Returns:
        The rate per unit time, in the broadcast shape of the arguments.

    Example:
        >>> [mode_rate(m, 1.0, 1.0) for m in (0.0, 1.0)]
        [1.0, -0.25]
    """
    am = variance * strength
    return variance * (2 + am) / (1 + am) ** 2 - noise_variance


def growth_rate(variance: Real, noise_variance: Real) -> Real:
    """The growth rate of a mode that is still vanishingly weak, under the distance loss.

        lambda(0) = 2a - c

    Source: this project, docs/theory.md, Eq. (mode). Mean over anchors.

    Args:
        variance: The variance a > 0 of the data in the mode.
        noise_variance: The variance c >= 0 of the augmentation x' - x in the mode.

    Returns:
        The rate per unit time; the mode grows if it is positive and shrinks if it is negative.

    Example:
        >>> [growth_rate(1.0, noise) for noise in (0.5, 2.0, 3.0)]
        [1.5, 0.0, -1.0]
    """
    return mode_rate(0.0, variance, noise_variance)


def collapse_threshold(variance: Real) -> Real:
    """The noise variance from which on a mode vanishes under the distance loss.

        c = 2a

    Source: this project, docs/theory.md, Eq. (threshold).

    Args:
        variance: The variance a > 0 of the data in the mode.

    Returns:
        The noise variance c at the threshold; the mode vanishes for this and any larger c.

    Example:
        Two views of data of variance 1, each with noise of variance s^2, have a = 1 + s^2 and
        c = 2 s^2. That stays below the threshold for every s, so no mode vanishes:

        >>> [2 * s**2 < collapse_threshold(1 + s**2) for s in (0.5, 1.5, 10.0)]
        [True, True, True]
    """
    return 2 * variance


@jitted
def fixed_point(variance: Real, noise_variance: Real) -> Float[Array, "..."]:
    """The strength m* at which one mode settles under the distance loss.

        m* = (1/u - 1)/a,   1/u = (1 + sqrt(1 + 4c/a)) a / (2c)      for 0 < c < 2a
        m* = 0       if c >= 2a: the mode has collapsed
        m* = inf     if c = 0: the mode grows without bound

    Source: this project, docs/theory.md, Eq. (fixed-point). The same for the sum and the mean over
    anchors.

    Args:
        variance: The variance a > 0 of the data in the mode.
        noise_variance: The variance c >= 0 of the augmentation x' - x in the mode.

    Returns:
        The strength m* = sigma^2, in the broadcast shape of the arguments.

    Example:
        >>> round(float(fixed_point(1.0, 1.0)), 4)
        0.618
        >>> float(fixed_point(1.0, 2.0))  # at the threshold: collapse
        0.0
    """
    ratio = jnp.asarray(noise_variance) / variance
    strength = ((1 + jnp.sqrt(1 + 4 * ratio)) / (2 * ratio) - 1) / variance
    return jnp.where(ratio >= 2, 0.0, strength)


def collapsed_dimensions(data_cov: Square, noise_cov: Square) -> int:
    """How many dimensions vanish from the embedding under the distance loss.

    Their number is that of the generalised eigenvalues r of Sigma_n v = r Sigma v with r >= 2.
    The two covariances need not commute.

    Source: this project, docs/theory.md, Eq. (generalised).

    Args:
        data_cov: Covariance Sigma of the view that the negatives come from, shape (d, d),
            positive definite.
        noise_cov: Covariance Sigma_n of the augmentation x' - x, shape (d, d).

    Returns:
        The number of collapsed dimensions, 0 to d. An eigenvalue that misses 2 by rounding alone
        counts as collapsed.

    Raises:
        ValueError: If `data_cov` is not positive definite.

    Example:
        >>> import numpy as np
        >>> collapsed_dimensions(np.eye(3), np.diag([0.5, 2.0, 4.0]))
        2
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


@jitted
def loss_dot(
    w: Weights, anchor_cov: Square, positive_cov: Square, cross_cov: Square, temperature: Real
) -> Scalar:
    """The dot-product loss per anchor for infinitely many Gaussian samples, less log N.

        l(W) = -tr(M K)/tau + tr(M Sigma M Sigma')/(2 tau^2),   M = W^T W

    Sigma and Sigma' are the covariances of the two views and K = E[x x'^T] is that between them.
    If both views carry independent noise of the same covariance, then Sigma = Sigma', and K is
    the covariance of the clean data.

    Source: this project, docs/theory.md, Eq. (population-dot). Mean over anchors.

    Args:
        w: Weights W of the linear model, shape (n, d).
        anchor_cov: Covariance Sigma of the anchor view, shape (d, d).
        positive_cov: Covariance Sigma' of the view of positives and negatives, shape (d, d).
        cross_cov: Covariance K between the two views, shape (d, d).
        temperature: The temperature tau > 0.

    Returns:
        The loss, a scalar; zero for W = 0.

    Example:
        For one clean mode of variance 1 the loss is -m/tau + m^2 / (2 tau^2), smallest at m = tau:

        >>> import jax.numpy as jnp
        >>> one = jnp.ones((1, 1))
        >>> weights = [jnp.sqrt(m) * one for m in (0.05, 0.1, 0.15)]
        >>> [round(float(loss_dot(w, one, one, one, 0.1)), 3) for w in weights]
        [-0.375, -0.5, -0.375]
    """
    m = w.T @ w
    attract = jnp.trace(m @ cross_cov) / temperature
    return -attract + jnp.trace(m @ anchor_cov @ m @ positive_cov) / (2 * temperature**2)


@jitted
def contrast_matrix_dot(
    w: Weights, anchor_cov: Square, positive_cov: Square, cross_cov: Square, temperature: Real
) -> Square:
    """The contrast matrix X of the dot-product loss for infinitely many Gaussian samples.

        X = (K + K^T)/tau - (Sigma M Sigma' + Sigma' M Sigma)/tau^2,   M = W^T W

    Gradient flow is dW/dt = W X. Sigma, Sigma' and K are those of `loss_dot`.

    Source: this project, docs/theory.md, Eq. (population-dot). Mean over anchors.

    Args:
        w: Weights W of the linear model, shape (n, d).
        anchor_cov: Covariance Sigma of the anchor view, shape (d, d).
        positive_cov: Covariance Sigma' of the view of positives and negatives, shape (d, d).
        cross_cov: Covariance K between the two views, shape (d, d).
        temperature: The temperature tau > 0.

    Returns:
        X, symmetric, shape (d, d).

    Example:
        Minus W X is the gradient of `loss_dot`:

        >>> import jax
        >>> import jax.numpy as jnp
        >>> w = jnp.array([[0.5, 0.2], [0.0, 0.3]])
        >>> noisy, clean = jnp.diag(jnp.array([1.5, 3.0])), jnp.diag(jnp.array([1.0, 2.0]))
        >>> gradient = jax.grad(loss_dot)(w, noisy, noisy, clean, 0.5)
        >>> bool(jnp.allclose(-w @ contrast_matrix_dot(w, noisy, noisy, clean, 0.5), gradient))
        True
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
    """The strength m* at which one mode settles under the dot-product loss with weight decay.

        m* = (tau k - gamma tau^2 / 2) / (a a');   0 if k <= gamma tau / 2

    where weight decay adds gamma |W|^2 / 2 to the loss. Without weight decay no mode vanishes,
    however strong the noise: k = gamma tau / 2 is the only collapse threshold of this loss.

    Source: this project, docs/theory.md, Eq. (decay). Mean over anchors.

    Args:
        anchor_variance: The variance a > 0 of the anchor view in the mode.
        positive_variance: The variance a' > 0 of the other view in the mode.
        cross: The covariance k = E[x x'] between the views in the mode.
        temperature: The temperature tau > 0.
        weight_decay: The coefficient gamma >= 0.

    Returns:
        The strength m* = sigma^2, in the broadcast shape of the arguments.

    Example:
        Clean data of variance 1 and noise of variance 1 in each view: the mode shrinks to a
        quarter of its value without noise, and only weight decay makes it vanish:

        >>> [round(float(fixed_point_dot(a, a, 1.0, 0.1)), 4) for a in (1.0, 2.0)]
        [0.1, 0.025]
        >>> float(fixed_point_dot(2.0, 2.0, 1.0, 0.1, weight_decay=20.0))
        0.0
    """
    strength = temperature * (jnp.asarray(cross) - 0.5 * weight_decay * temperature)
    return jnp.maximum(strength, 0.0) / (anchor_variance * positive_variance)


def mode_strength_dot(
    time: Real, start: Real, settled: Real, cross: Real, temperature: Real
) -> Real:
    """The strength of one mode in time under the dot-product loss: a logistic curve.

        m(t) = m* / (1 + (m*/m0 - 1) e^{-4 k t / tau})

    for one layer under gradient flow, without weight decay.

    Source: this project, docs/theory.md, Eq. (logistic). Mean over anchors.

    Args:
        time: The time t >= 0: learning rate times steps.
        start: The strength m0 > 0 at t = 0.
        settled: The strength m* > 0 at which the mode settles, see `fixed_point_dot`.
        cross: The covariance k = E[x x'] between the views in the mode.
        temperature: The temperature tau > 0.

    Returns:
        The strength m(t) = sigma^2, in the broadcast shape of the arguments.

    Example:
        >>> [round(float(mode_strength_dot(t, 0.01, 0.1, 1.0, 0.1)), 4) for t in (0.0, 0.05, 1.0)]
        [0.01, 0.0451, 0.1]
    """
    return settled / (1 + (settled / start - 1) * jnp.exp(-4 * cross * time / temperature))


def escape_time(w0: Real, depth: int, growth_rate: Real) -> Real:
    """The time in which one mode of a balanced linear network leaves a small start.

        L >= 2:   t = w0^-(2 - 2/L) / ((2L - 2) lambda(0))
        L = 1:    t = log(1/w0) / lambda(0)

    This is dw/dt = L w^(3 - 2/L) lambda(0), for the singular value w of the product of the L
    layers, integrated from w0 to infinity (to 1 for L = 1). Balanced layers share their singular
    values and are aligned.

    Source: this project, docs/theory.md, Eq. (escape). Mean over anchors.

    Args:
        w0: The singular value of the product at the start, between 0 and 1.
        depth: The number of layers L >= 1.
        growth_rate: The rate lambda(0) = 2a - c of the function `growth_rate`, for the noise of
            this very mode.

    Returns:
        The escape time, in the broadcast shape of `w0` and `growth_rate`; inf for a mode that does
        not grow.

    Raises:
        ValueError: If `depth` is below 1.

    Example:
        A start of 0.01 delays the mode far more in two layers than in one, and in three layers
        still more:

        >>> [round(float(escape_time(0.01, depth, 1.0)), 1) for depth in (1, 2, 3)]
        [4.6, 50.0, 116.0]
    """
    if depth < 1:
        raise ValueError(f"depth must be at least 1; got {depth}")
    rate = jnp.maximum(growth_rate, 0.0)  # 1/0 is inf
    if depth == 1:
        return -jnp.log(w0) / rate
    return jnp.asarray(w0) ** -(2 - 2 / depth) / ((2 * depth - 2) * rate)


@jitted
def layer_rates(
    weights: tuple[Array, ...], data_cov: Square, noise_cov: Square
) -> tuple[Array, ...]:
    """The velocity of every layer of a linear network under gradient flow, distance loss.

        dW_l/dt = (W_L ... W_{l+1})^T W X/N (W_{l-1} ... W_1)^T,   W = W_L ... W_1

    with X/N of `contrast_matrix`, that is for infinitely many samples.

    Source: paper, Lemma 3, for any number of layers; docs/theory.md, Eq. (finite-flow). Mean
    over anchors.

    Args:
        weights: The layers (W_1, ..., W_L), first layer first; each accepts the output of the one
            before, and W_1 has d columns.
        data_cov: Covariance Sigma of the view that the negatives come from, shape (d, d).
        noise_cov: Covariance Sigma_n of the augmentation x' - x, shape (d, d).

    Returns:
        The rates (dW_1/dt, ..., dW_L/dt), in the shapes of the layers.

    Example:
        Two equal layers are balanced, and their product grows as `balanced_rate` says:

        >>> import jax.numpy as jnp
        >>> layer, eye = 0.5 * jnp.eye(2), jnp.eye(2)
        >>> rate1, rate2 = layer_rates((layer, layer), eye, 0.1 * eye)
        >>> product_rate = rate2 @ layer + layer @ rate1
        >>> bool(jnp.allclose(product_rate, balanced_rate(0.25, 2, 1.0, 0.1) * eye))
        True
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
    """The velocity of one singular value of the product of balanced layers, distance loss.

        dw/dt = L w^(3 - 2/L) lambda(w^2)

    with lambda of `mode_rate`. Balanced layers share their singular values and are aligned; for
    two layers this means W1 W1^T = W2^T W2.

    Source: this project, docs/theory.md, Eq. (depth). Mean over anchors.

    Args:
        w: The singular value of the product, w >= 0.
        depth: The number of layers L >= 1.
        variance: The variance a > 0 of the data in the mode.
        noise_variance: The variance c >= 0 of the augmentation x' - x in the mode.

    Returns:
        dw/dt, in the broadcast shape of the arguments.

    Example:
        A mode of size 0.1 grows five times more slowly in two layers than in one, because the
        ratio of the two rates is 2w:

        >>> [round(balanced_rate(0.1, depth, 1.0, 1.0), 4) for depth in (1, 2)]
        [0.097, 0.0194]
    """
    return depth * w ** (3 - 2 / depth) * mode_rate(w**2, variance, noise_variance)


def balanced_flow(
    w0: np.ndarray,
    times: np.ndarray,
    depth: int,
    variance: np.ndarray | float,
    noise_variance: np.ndarray | float,
) -> np.ndarray:
    """The singular values of the product of balanced layers in time, distance loss.

        d ln w/dt = L w^(2 - 2/L) lambda(w^2)

    This is `balanced_rate` integrated by SciPy's LSODA at a relative tolerance of 1e-10.

    Source: this project, docs/theory.md, Eq. (depth). Mean over anchors.

    Args:
        w0: The singular values at time 0, all positive, any shape.
        times: The times at which they are wanted, increasing and >= 0, shape (T,).
        depth: The number of layers L >= 1.
        variance: The variance a > 0 of the data, broadcasting with `w0`.
        noise_variance: The variance c >= 0 of the augmentation x' - x, broadcasting with `w0`.

    Returns:
        The singular values, shape (T, *S) with S the broadcast shape of the modes.

    Raises:
        ArithmeticError: If the integration fails.

    Example:
        Two modes that differ only in their start. In two layers the weaker one has hardly moved
        when the stronger one has settled at the square root of its `fixed_point`:

        >>> import numpy as np
        >>> w = balanced_flow(np.array([0.1, 0.01]), np.array([0.0, 30.0]), 2, 1.0, 1.0)
        >>> np.round(w, 3).tolist()
        [[0.1, 0.01], [0.786, 0.025]]
        >>> round(float(fixed_point(1.0, 1.0)) ** 0.5, 3)
        0.786
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
    """The velocity of one singular value of the product of two layers with imbalance kappa I.

        dw/dt = w sqrt(kappa^2 + 4 w^2) lambda(w^2)

    for W1 W1^T - W2^T W2 = kappa I, which keeps the layers aligned for all times; lambda is that
    of `mode_rate`. Small modes grow exponentially, at the rate |kappa| lambda(0), where those of
    balanced layers wait for an escape time of order 1/w: imbalance removes the slow modes.

    Source: this project, docs/theory.md, Eq. (imbalanced). Distance loss, mean over anchors.

    Args:
        w: The singular value of the product, w >= 0.
        kappa: The imbalance, of either sign.
        variance: The variance a > 0 of the data in the mode.
        noise_variance: The variance c >= 0 of the augmentation x' - x in the mode.

    Returns:
        dw/dt, in the broadcast shape of the arguments.

    Example:
        The relative growth rate of a weak mode tends to |kappa| (2a - c), here 0.5. Without
        imbalance it would be 2 w (2a - c), which vanishes with w:

        >>> round(float(imbalanced_rate(1e-4, 0.5, 1.0, 1.0)) / 1e-4, 4)
        0.5
        >>> round(float(imbalanced_rate(1e-4, 0.0, 1.0, 1.0)) / 1e-4, 4)
        0.0002
    """
    return w * jnp.sqrt(kappa**2 + 4 * w**2) * mode_rate(w**2, variance, noise_variance)
