"""Matrix factorisation: the spectral contrastive loss and linear Barlow Twins in closed form, for
any data with given second moments (HaoChen et al. 2021; Simon et al. 2023).

    l(W) = -2 tr(M K) + tr(M A M A'),   M = W^T W

A and A' are the second moments of the two views and K = E[x x'^T] is that between them. The
spectral contrastive loss has this mean on batches of any size. Linear Barlow Twins has it, plus the
number of outputs, with the symmetric part of K for A and A' too, on infinitely many samples. The
dot-product InfoNCE loss at temperature tau has it at W / sqrt(tau), halved, for infinitely many
Gaussian samples. Everything is dimensionless; time is learning rate times steps on the mean loss.
"""

import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Float

from linsim.arrays import Array, jitted
from linsim.theory import population

Weights = Float[Array, "n d"]
Square = Float[Array, "d d"]
Scalar = Float[Array, ""]
Real = float | Float[Array, "..."]


@jitted
def loss(w: Weights, anchor_cov: Square, positive_cov: Square, cross_cov: Square) -> Scalar:
    """The loss l(W) of the head of this module.

        l(W) = -2 tr(M K) + tr(M A M A'),   M = W^T W

    Source: HaoChen et al. 2021 (arXiv 2106.04156), section 3, for a linear model;
    docs/theory.md, Eq. (factorisation). Mean over pairs.

    Args:
        w: Weights W of the linear model, shape (n, d).
        anchor_cov: Second moments A of the anchor view, shape (d, d).
        positive_cov: Second moments A' of the other view, shape (d, d).
        cross_cov: Second moments K between the two views, shape (d, d).

    Returns:
        The loss, a scalar; zero for W = 0.

    Example:
        For one clean mode of variance 1 it is -2m + m^2:

        >>> import jax.numpy as jnp
        >>> one = jnp.ones((1, 1))
        >>> [float(loss(w * one, one, one, one)) for w in (0.0, 1.0, 2.0)]
        [0.0, -1.0, 8.0]
    """
    return 2 * population.loss_dot(w, anchor_cov, positive_cov, cross_cov, 1.0)


@jitted
def contrast_matrix(
    w: Weights, anchor_cov: Square, positive_cov: Square, cross_cov: Square
) -> Square:
    """The contrast matrix X of the loss, whose gradient flow is dW/dt = W X.

        X = 2 (K + K^T) - 2 (A M A' + A' M A)

    Source: this project, docs/theory.md, Eq. (factorisation). Mean over pairs.

    Args:
        w: Weights W of the linear model, shape (n, d).
        anchor_cov: Second moments A of the anchor view, shape (d, d).
        positive_cov: Second moments A' of the other view, shape (d, d).
        cross_cov: Second moments K between the two views, shape (d, d).

    Returns:
        X, symmetric, shape (d, d).

    Example:
        >>> import jax.numpy as jnp
        >>> one = jnp.ones((1, 1))
        >>> [float(contrast_matrix(w * one, one, one, one)[0, 0]) for w in (0.0, 1.0)]
        [4.0, 0.0]
    """
    return 2 * population.contrast_matrix_dot(w, anchor_cov, positive_cov, cross_cov, 1.0)


@jitted
def fixed_point(
    anchor_variance: Real, positive_variance: Real, cross: Real, weight_decay: Real = 0.0
) -> Float[Array, "..."]:
    """The strength at which one mode settles.

        m* = (k - gamma/4) / (a a');   0 if k <= gamma/4

    where weight decay adds gamma |W|^2 / 2 to the loss. For linear Barlow Twins a = a' = k.

    Source: this project, docs/theory.md, Eq. (factorisation-mode). Mean over pairs.

    Args:
        anchor_variance: The second moment a > 0 of the anchor view in the mode.
        positive_variance: The second moment a' > 0 of the other view in the mode.
        cross: The second moment k = E[x x'] between the views in the mode.
        weight_decay: The coefficient gamma >= 0.

    Returns:
        The strength m*, in the broadcast shape of the arguments.

    Example:
        Noise in the views weakens a mode, and only weight decay makes it vanish:

        >>> [float(fixed_point(a, a, 1.0)) for a in (1.0, 2.0)]
        [1.0, 0.25]
        >>> float(fixed_point(2.0, 2.0, 1.0, weight_decay=4.0))
        0.0
    """
    return population.fixed_point_dot(
        anchor_variance, positive_variance, cross, 1.0, 0.5 * jnp.asarray(weight_decay)
    )


@jitted
def mode_strength(
    time: Real,
    start: Real,
    anchor_variance: Real,
    positive_variance: Real,
    cross: Real,
    weight_decay: Real = 0.0,
) -> Float[Array, "..."]:
    """The strength of one mode in time under gradient flow, for k and weight decay of any size.

        dm/dt = 2 r m - 8 a a' m^2,   r = 4k - gamma
        m(t) = m0 e^{2rt} / (1 + 8 a a' m0 (e^{2rt} - 1) / (2r))

    For r > 0 it is a logistic curve to `fixed_point`; for r < 0 the mode vanishes.

    Source: this project, docs/theory.md, Eq. (factorisation-mode); Simon et al. 2023 (arXiv
    2303.15438), section 4, is the case a = a' = k and gamma = 0, in terms of sqrt(m).

    Args:
        time: The time t >= 0: learning rate times steps.
        start: The strength m0 >= 0 at t = 0.
        anchor_variance: The second moment a > 0 of the anchor view in the mode.
        positive_variance: The second moment a' > 0 of the other view in the mode.
        cross: The second moment k = E[x x'] between the views, of any sign.
        weight_decay: The coefficient gamma >= 0.

    Returns:
        The strength m(t), in the broadcast shape of the arguments.

    Example:
        >>> [round(float(mode_strength(t, 0.01, 1.0, 1.0, 1.0)), 4) for t in (0.0, 0.5, 3.0)]
        [0.01, 0.3555, 1.0]
    """
    rate = 2 * (4 * jnp.asarray(cross) - weight_decay)
    gone = jnp.exp(-jnp.abs(rate) * time)
    grown = jnp.where(rate >= 0, gone, 1.0)  # both sides divided by e^{2rt} where that is large
    safe = jnp.where(rate == 0, 1.0, rate)
    gain = jnp.where(rate == 0, time, jnp.sign(rate) * (1 - gone) / safe)
    decayed = jnp.where(rate >= 0, 1.0, gone)
    return decayed * start / (grown + 8 * anchor_variance * positive_variance * start * gain)


def escape_time(start: Real, anchor_variance: Real, positive_variance: Real, cross: Real) -> Real:
    """The time at which a mode has reached half of its strength.

        t = log(m*/m0 - 1) / (8 k),   m* = k/(a a')

    Source: this project, docs/theory.md, Eq. (factorisation-mode). Simon et al. 2023 (arXiv
    2303.15438), section 4, leave out the -1, which is exact for m0 -> 0.

    Args:
        start: The strength m0 at t = 0, below m*/2.
        anchor_variance: The second moment a > 0 of the anchor view in the mode.
        positive_variance: The second moment a' > 0 of the other view in the mode.
        cross: The second moment k > 0 between the views in the mode.

    Returns:
        The time, in the broadcast shape of the arguments.

    Example:
        Modes are learned one after another, the one that the views share most first:

        >>> [round(float(escape_time(1e-6, 1.0, 1.0, k)), 2) for k in (1.0, 0.5, 0.25)]
        [1.73, 3.28, 6.21]
    """
    settled = jnp.asarray(cross) / (jnp.asarray(anchor_variance) * positive_variance)
    return jnp.log(settled / start - 1) / (8 * jnp.asarray(cross))


@jitted
def flow(start: Weights, time: Real, variance: Real, cross_cov: Square) -> Square:
    """M = W^T W in time from any start, where the views' second moments are A = A' = a I.

        dM/dt = 4 (K M + M K) - 8 a^2 M^2
        M(t) = e^{4Kt} W0^T [I + 8 a^2 W0 Phi(t) W0^T]^{-1} W0 e^{4Kt},
        Phi(t) = integral_0^t e^{8Ks} ds

    K need be neither definite nor aligned with the start. This is the matrix Riccati equation
    of linear networks that learn whitened data. Digits are lost as 8 (k_max - k_min) t grows beyond
    20, k the eigenvalues of K.

    Source: this project, docs/theory.md, "Matrix factorisation". Mean over pairs.

    Args:
        start: Weights W0, shape (n, d).
        time: The time t >= 0.
        variance: The second moment a > 0 of either view, the same in all directions.
        cross_cov: The symmetric second moments K between the views, shape (d, d).

    Returns:
        M(t), shape (d, d).

    Example:
        Of two outputs and three directions, the two that the views share most remain:

        >>> import jax.numpy as jnp
        >>> start = 0.1 * jnp.array([[1.0, 0.4, -0.3], [0.2, 1.0, 0.9]])
        >>> end = flow(start, 3.0, 1.0, jnp.diag(jnp.array([0.5, 1.0, -0.2])))
        >>> np.abs(np.asarray(end)).round(2).tolist()
        [[0.5, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    """
    values, vectors = jnp.linalg.eigh(cross_cov)
    w0, rate = start @ vectors, 8 * values
    # all of it in units of e^{top}, so that nothing overflows
    top = jnp.maximum(jnp.max(rate), 0.0) * time
    safe = jnp.where(rate == 0, 1.0, rate)
    gain = jnp.where(
        rate == 0, time * jnp.exp(-top), (jnp.exp(rate * time - top) - jnp.exp(-top)) / safe
    )
    grown = w0 * jnp.exp(0.5 * (rate * time - top))
    held = jnp.exp(-top) * jnp.eye(len(w0), dtype=w0.dtype)
    inner = held + 8 * variance**2 * (w0 * gain) @ w0.T
    m = grown.T @ jnp.linalg.solve(inner, grown)
    return vectors @ m @ vectors.T


def batch_loss(
    w: Weights, anchor_cov: Square, positive_cov: Square, cross_cov: Square, batch_size: int
) -> Scalar:
    """What batches of N Gaussian samples add to the mean of linear Barlow Twins.

        1/(2N) [tr(MA) tr(MA') + tr(MK)^2 + tr(MAMA') + tr(MKMK)]

    the variances of the entries of C, summed (Isserlis). It is a price on variance: strong modes
    press on all others, so that noisy ones, whose A is large, vanish in small batches. The spectral
    contrastive loss, which leaves out the pairs of a sample with itself, has no such term.

    Source: this project, docs/theory.md, Eq. (factorisation-noise).

    Args:
        w: Weights W of the linear model, shape (n, d).
        anchor_cov: Covariance A of the anchor view, shape (d, d).
        positive_cov: Covariance A' of the other view, shape (d, d).
        cross_cov: Symmetric covariance K between the views, shape (d, d).
        batch_size: The number N of samples in a batch.

    Returns:
        The addition, a scalar.

    Example:
        >>> import jax.numpy as jnp
        >>> one = jnp.ones((1, 1))
        >>> [round(float(batch_loss(one, one, one, one, N)), 4) for N in (16, 128)]
        [0.125, 0.0156]
    """
    c, c_pos, k = (w @ cov @ w.T for cov in (anchor_cov, positive_cov, cross_cov))
    apart = jnp.trace(c) * jnp.trace(c_pos) + jnp.trace(k) ** 2
    return (apart + jnp.sum(c * c_pos) + jnp.sum(k * k)) / (2 * batch_size)


def batch_contrast(
    w: Weights, anchor_cov: Square, positive_cov: Square, cross_cov: Square, batch_size: int
) -> Square:
    """What batches of N Gaussian samples add to the contrast matrix of linear Barlow Twins.

        -(1/N) [A tr(MA') + A' tr(MA) + 2 K tr(MK) + A M A' + A' M A + 2 K M K]

    Source: this project, docs/theory.md, Eq. (factorisation-noise).

    Args:
        w: Weights W of the linear model, shape (n, d).
        anchor_cov: Covariance A of the anchor view, shape (d, d).
        positive_cov: Covariance A' of the other view, shape (d, d).
        cross_cov: Symmetric covariance K between the views, shape (d, d).
        batch_size: The number N of samples in a batch.

    Returns:
        The addition to X, symmetric, shape (d, d).

    Example:
        Minus W times it is the gradient of `batch_loss`:

        >>> import jax
        >>> import jax.numpy as jnp
        >>> w, noisy = jnp.array([[0.5, 0.2], [0.0, 0.3]]), jnp.diag(jnp.array([1.5, 3.0]))
        >>> gradient = jax.grad(batch_loss)(w, noisy, noisy, jnp.eye(2), 8)
        >>> bool(jnp.allclose(-w @ batch_contrast(w, noisy, noisy, jnp.eye(2), 8), gradient))
        True
    """
    m = w.T @ w
    push = anchor_cov @ m @ positive_cov
    traces = (
        anchor_cov * jnp.sum(m * positive_cov)
        + positive_cov * jnp.sum(m * anchor_cov)
        + 2 * cross_cov * jnp.sum(m * cross_cov)
    )
    return -(traces + push + push.T + 2 * cross_cov @ m @ cross_cov) / batch_size


def batch_fixed_point(
    anchor_variance: Float[Array, "G"],
    positive_variance: Float[Array, "G"],
    cross: Float[Array, "G"],
    counts: tuple[int, ...],
    batch_size: int,
) -> Float[Array, "G"]:
    """The strengths at which groups of equal modes settle under linear Barlow Twins in batches of
    N Gaussian samples.

        min over m >= 0 of sum_k (k^2 m^2 - 2 k m) + `batch_loss`,   a quadratic program

    A mode vanishes if 4 k N <= a T' + a' T + 2 k T_k, with T, T' and T_k the sums of a m, a' m and
    k m over the modes that do not.

    Source: this project, docs/theory.md, Eq. (factorisation-noise).

    Args:
        anchor_variance: The variance a > 0 of the anchor view in each group, shape (G,).
        positive_variance: The variance a' > 0 of the other view, shape (G,).
        cross: The covariance k of the views, shape (G,).
        counts: How many modes each group has.
        batch_size: The number N of samples in a batch.

    Returns:
        The strengths m, shape (G,); 0 where a mode vanishes.

    Example:
        Strong noise on half of sixteen modes, in batches of 128 and of 32:

        >>> a, k = np.array([1.25, 10.0]), np.ones(2)
        >>> [batch_fixed_point(a, a, k, (8, 8), N).round(3).tolist() for N in (128, 32)]
        [[0.863, 0.14], [0.735, 0.0]]
    """
    n, a, b, k = (
        np.asarray(v, dtype=float) for v in (counts, anchor_variance, positive_variance, cross)
    )
    pairs = np.outer(n * a, n * b)
    sampled = pairs + pairs.T + 2 * np.outer(n * k, n * k) + 2 * np.diag(n * (a * b + k**2))
    root = np.linalg.cholesky(2 * np.diag(n * k**2) + sampled / (2 * batch_size))
    return scipy.optimize.nnls(root.T, np.linalg.solve(root, 2 * n * k))[0]


def optimum(outputs: int, anchor_cov: Square, cross_cov: Square) -> tuple[Square, Scalar]:
    """The global minimum of the loss for A = A', whatever commutes.

        M* = A^{-1/2} [G]_n A^{-1/2},   G = A^{-1/2} (K + K^T)/2 A^{-1/2},   l(M*) = -sum_k g_k^2

    where [G]_n keeps the n largest positive eigenvalues g_k.

    Source: HaoChen et al. 2021 (arXiv 2106.04156), section 3 (by Eckart and
    Young), for a linear model. Mean over pairs.

    Args:
        outputs: The number n of outputs.
        anchor_cov: Second moments A of either view, positive definite, shape (d, d).
        cross_cov: Second moments K between the views, shape (d, d).

    Returns:
        The pair (M*, l(M*)), M* of shape (d, d).

    Example:
        With one output, the direction of the largest correlation, not of the largest covariance:

        >>> import jax.numpy as jnp
        >>> m, least = optimum(1, jnp.diag(jnp.array([4.0, 1.0])), jnp.diag(jnp.array([2.0, 0.8])))
        >>> np.asarray(jnp.diag(m)).round(6).tolist(), round(float(least), 6)
        ([0.0, 0.8], -0.64)
    """
    scales, axes = jnp.linalg.eigh(anchor_cov)
    root = (axes / jnp.sqrt(scales)) @ axes.T
    g, vectors = jnp.linalg.eigh(0.5 * root @ (cross_cov + cross_cov.T) @ root)
    kept = jnp.where(jnp.arange(len(g)) >= len(g) - outputs, jnp.maximum(g, 0.0), 0.0)
    out = root @ vectors
    return (out * kept) @ out.T, -jnp.sum(kept**2)


def collapsed_dimensions(cross_cov: Square) -> int:
    """How many dimensions vanish with as many outputs as inputs: those that the views do not share.

        the number of eigenvalues of (K + K^T)/2 that are not positive

    It depends on K alone, whatever A and A' are.

    Source: this project, docs/theory.md, "Matrix factorisation" (Sylvester's law of inertia).

    Args:
        cross_cov: Second moments K between the views, shape (d, d).

    Returns:
        The count.

    Example:
        >>> collapsed_dimensions(np.diag([1.0, 1e-3, 0.0, -1.0]))
        2
    """
    values = np.linalg.eigvalsh(0.5 * np.asarray(cross_cov + cross_cov.T))
    rounding = len(values) * np.finfo(values.dtype).eps * np.abs(values).max(initial=0)
    return int(np.sum(values <= rounding))
