"""Training at any batch size and any time: the exact mean dynamics (this project,
docs/theory.md, "Any batch size").

This theory is not in the paper. For a batch of N independent samples the distance loss per anchor
is a single integral. With log(1 + Y) = int_0^inf (1 - e^(-l Y)) e^(-l) dl/l, and since the N - 1
negatives of an anchor x are independent given x,

    l_N(W) = E_x int du/u [1 - phi(u; x)^(N - 1)] psi(u; x)
    phi(u; x) = E_y exp(-u e^(-|W(x - y)|^2 / 2)),    y an independent anchor
    psi(u; x) = E exp(-u e^(-|W(x' - x)|^2 / 2) | x)

Both averages are one-dimensional contour integrals (`linsim.theory.finite_distance`). The dot loss
has the same integral over its own scores (`linsim.theory.finite_dot`). The contrast matrix is
X_N = -2 dl_N/dS with S = W^T W. Gradient flow of one layer on fresh batches, in the limit of small
learning rates, is dW/dt = W X_N; for more layers Lemma 3 holds with it.

Its limits are the other theories of this package. For N = 2 the loss is that of single pairs,
E log(1 + e^eta); for N -> infinity it is log N plus that of `linsim.theory.population`; and once
alpha_ii -> 1 it is N - 1 times the pair loss, `linsim.theory.late_time`.

Notation: in one mode the anchors have variance a, the augmentation x' - x has variance c, and the
two have covariance rho (zero for one noisy view). m = sigma^2 is the strength of the mode, with
sigma its singular value. Given x, the augmentation has mean rho x / a and variance c - rho^2/a.

Normalisation: mean over anchors; time is learning rate times steps on that loss. NumPy float64.
"""

from collections.abc import Sequence

import numpy as np
import scipy

from linsim.theory import finite_distance, finite_dot
from linsim.theory.mellin import Values
from linsim.theory.modes import ANCHORS, COARSE, FINE, Modes, Prediction, Quadrature

NUDGE = 1e-4  # of time, for the derivative of a velocity along itself
TOLERANCE = 1e-5  # of flows: per step, in the logarithm of a strength or relative to a weight

__all__ = [
    "COARSE",
    "FINE",
    "Modes",
    "Prediction",
    "Quadrature",
    "contrast_matrix",
    "flow",
    "layer_flow",
    "loss",
    "predict",
    "predict_weights",
    "stiffness",
]


def predict(
    groups: Sequence[Modes],
    strengths: Values | Sequence[float],
    *,
    batch_size: int,
    temperature: float | None = None,
    quadrature: Quadrature = FINE,
) -> Prediction:
    """Loss, contrast matrix and alpha_ii of one linear map at given strengths of its modes.

        X_g = -(2 / k_g) dl_N/dm_g,   k_g modes in group g

    so that gradient flow is dm_g/dt = 2 m_g X_g.

    Source: this project, docs/theory.md, Eq. (finite). Mean over anchors.

    Args:
        groups: The G groups of modes.
        strengths: The strength m = sigma^2 >= 0 of each group, shape (G,).
        batch_size: The number N >= 2 of samples in a batch.
        temperature: The temperature tau > 0 of the dot loss; None for the distance loss.
        quadrature: How finely to average over a batch. `FINE` gives the contrast to 1e-6 (dot loss:
            1e-3), `COARSE`, meant for pictures, to 1e-3 (2e-2). Where groups are so many that
            anchors are drawn, 5e-3 and 2e-2 of the largest contrast.

    Returns:
        The prediction; its contrast has shape (G,).

    Raises:
        ValueError: If a batch has fewer than two samples, a strength is negative or not finite, or
            their number is not that of the groups.

    Example:
        Weak modes grow at the rate (2a - c) (1 - 1/N), for alpha_ii = 1/N:

        >>> groups = [Modes.of(1.0, 0.0, 0.0, 8), Modes.of(1.0, 0.5, 0.0, 8)]
        >>> point = predict(groups, [1e-9, 1e-9], batch_size=4)
        >>> [round(float(x), 6) for x in point.contrast], round(point.alpha_ii, 6)
        ([1.5, 1.125], 0.25)
    """
    m = _checked(groups, strengths, batch_size)
    if temperature is None:
        return finite_distance.of_groups(groups, m, batch_size, quadrature)
    return finite_dot.of_groups(groups, m, batch_size, temperature, quadrature)


def loss(
    groups: Sequence[Modes],
    strengths: Values | Sequence[float],
    *,
    batch_size: int,
    temperature: float | None = None,
) -> float:
    """The mean loss l_N of one linear map, see `predict`.

    Source: this project, docs/theory.md, Eq. (finite). Mean over anchors.

    Args:
        groups: The G groups of modes.
        strengths: The strength m = sigma^2 >= 0 of each group, shape (G,).
        batch_size: The number N >= 2 of samples in a batch.
        temperature: The temperature tau > 0 of the dot loss; None for the distance loss.

    Returns:
        The loss; log N for W = 0.

    Raises:
        ValueError: As `predict` does.

    Example:
        >>> clean = [Modes.of(1.0, 0.0, 0.0, 8)]
        >>> bool(abs(loss(clean, [0.0], batch_size=128) - np.log(128)) < 1e-8)
        True
        >>> loss(clean, [2.0], batch_size=128) < loss(clean, [1.0], batch_size=128)
        True
    """
    return predict(groups, strengths, batch_size=batch_size, temperature=temperature).loss


def stiffness(
    groups: Sequence[Modes],
    strengths: Values | Sequence[float],
    *,
    batch_size: int,
    temperature: float | None = None,
) -> Values:
    """The second derivative y_gh of the loss by an entry of S between two different modes.

        l(S + e (E_ab + E_ba)) = l(S) + e^2 y_gh / 2 + ...,   a in g, b in h

    so that the contrast matrix changes by -y_gh e in that entry. Within a group it is twice the
    difference l_11 - l_12 of second derivatives by the strengths of two of its modes.

    Source: this project, docs/theory.md, Eq. (spread). Mean over anchors.

    Args:
        groups: The G groups of modes.
        strengths: The strength m = sigma^2 >= 0 of each group, shape (G,).
        batch_size: The number N >= 2 of samples in a batch.
        temperature: The temperature tau > 0 of the dot loss; None for the distance loss.

    Returns:
        y, symmetric, shape (G, G).

    Raises:
        ValueError: As `predict` does.

    Example:
        Without noise and with equal variances X is a function of S, and y a divided difference:

        >>> groups, m = [Modes.of(1.0, 0.0, 0.0, 2), Modes.of(1.0, 0.0, 0.0, 3)], [1.0, 2.0]
        >>> x = predict(groups, m, batch_size=8).contrast
        >>> y = stiffness(groups, m, batch_size=8)[0, 1]
        >>> bool(np.isclose(y, (x[0] - x[1]) / (m[1] - m[0]), rtol=1e-5))
        True
    """
    m = _checked(groups, strengths, batch_size)
    if temperature is None:
        return finite_distance.stiffness_parts(groups, m, batch_size).sum(axis=0)
    return finite_dot.stiffness(groups, m, batch_size, temperature)


def flow(
    times: Values,
    start: Values | Sequence[float],
    groups: Sequence[Modes],
    *,
    batch_size: int,
    depth: int = 1,
    learning_rate: float = 0.0,
    tolerance: float = TOLERANCE,
    temperature: float | None = None,
    quadrature: Quadrature = FINE,
) -> Values:
    """The strengths of groups of modes in time, trained on fresh batches from a balanced start.

        d ln(m_g)/dt = 2 L r_g,   r_g = m_g^(1 - 1/L) X_g

    for the product of L balanced layers, m its squared singular values. With a learning rate eta
    this is the interpolated *map* of gradient descent, s <- s (1 + eta r) for the singular values
    s = m^(1/(2L)) of every layer, up to terms of order eta^2:

        d ln(m_g)/dt = f_g - (eta/2) sum_h (df_g / d ln m_h) f_h
        f_g = (2 L / eta) log(1 + eta r_g)

    Source: this project, docs/theory.md, Eq. (finite-flow) and (modified). Mean over anchors.

    Args:
        times: The times at which the strengths are wanted, increasing, shape (T,). The flow starts
            at times[0].
        start: The strength m > 0 of each group at the start, shape (G,).
        groups: The G groups of modes.
        batch_size: The number N >= 2 of samples in a batch.
        depth: The number of layers L >= 1.
        learning_rate: The rate eta >= 0 on the mean loss; zero is the limit of small rates.
        tolerance: The error per step of the integration, in the logarithm of a strength.
        temperature: The temperature tau > 0 of the dot loss; None for the distance loss.
        quadrature: As `predict` has it.

    Returns:
        The strengths m = sigma^2 of the product, shape (T, G).

    Raises:
        ValueError: As `predict` does, or if a strength is zero at the start.
        ArithmeticError: If the integration fails.

    Example:
        Eight clean and eight noisy modes in batches of 128. The noisy ones settle near 0.27 while
        the clean ones grow on:

        >>> groups = [Modes.of(1.0, 0.0, 0.0, 8), Modes.of(1.0, 1.0, 0.0, 8)]
        >>> path = flow(np.array([0.0, 16.0, 64.0]), [0.01, 0.01], groups, batch_size=128)
        >>> np.round(path, 3).tolist()
        [[0.01, 0.01], [2.906, 0.258], [4.22, 0.272]]
    """
    m = _checked(groups, start, batch_size)
    if np.any(m == 0):
        raise ValueError(f"a flow needs strengths > 0 at its start; got {start}")

    def field(log_m: Values) -> Values:
        m = np.exp(log_m)
        x = predict(
            groups, m, batch_size=batch_size, temperature=temperature, quadrature=quadrature
        ).contrast
        return 2 * depth * _per_step(m ** (1 - 1 / depth) * x, learning_rate)

    tolerances = tolerance, tolerance
    return np.exp(_integrated(field, np.log(m), times, learning_rate, tolerances, stiff=True))


def _per_step(rate: Values, learning_rate: float) -> Values:
    """log(1 + eta r)/eta, the rate of the logarithm that a factor 1 + eta r per step amounts to."""
    if learning_rate == 0:
        return rate
    return np.log1p(np.maximum(learning_rate * rate, -0.999)) / learning_rate


def _integrated(
    field,
    start: Values,
    times: Values,
    learning_rate: float,
    tolerances: tuple[float, float],
    *,
    stiff: bool,
) -> Values:
    """dy/dt = f - (eta/2) f' f, whose flow meets the map y <- y + eta f to second order in eta, at
    given times, (T, *start.shape). Args: tolerances: relative and absolute.
    """

    def velocity(_, y: Values) -> Values:
        f = field(y)
        half = 0.5 * learning_rate
        if half * np.abs(f).max() <= tolerances[1]:  # f' f is df/dt: left out, it changes y by less
            return f
        return f - (field(y + NUDGE * f) - f) * (half / NUDGE)

    times = np.asarray(times, dtype=float)
    solution = scipy.integrate.solve_ivp(
        velocity,
        (times[0], times[-1]),
        start,
        "LSODA" if stiff else "RK45",
        times,
        rtol=tolerances[0],
        atol=tolerances[1],
    )
    if not solution.success:
        raise ArithmeticError(f"the flow could not be integrated: {solution.message}")
    return solution.y.T


def predict_weights(
    w: Values,
    data_cov: Values,
    noise_cov: Values,
    covariance: Values | None = None,
    *,
    batch_size: int,
    anchors: int = ANCHORS,
    temperature: float | None = None,
) -> Prediction:
    """Loss, contrast matrix and alpha_ii of any linear map W; the covariances need not commute.

        X_N = -2 dl_N/dS,   S = W^T W

    The average over the anchor x is taken over quasi-random points in the eigenbasis of
    Sigma^(1/2) S Sigma^(1/2): 1024 give X_N to about 0.5 %. The derivatives are exact for these
    points and contain no derivative of an eigenvector: with one noisy view ln phi and ln psi are
    functions of eigenvalues alone, and with two, of S and x through inverse matrices.

    Source: this project, docs/theory.md, Eq. (finite) and (phi-psi). Mean over anchors.

    Args:
        w: Weights W of the linear model, shape (n, d).
        data_cov: Covariance Sigma of the anchor view, shape (d, d), positive definite.
        noise_cov: Covariance Sigma_n of the augmentation x' - x, shape (d, d).
        covariance: E[x (x' - x)^T], shape (d, d); None where the anchor view is clean.
        batch_size: The number N >= 2 of samples in a batch.
        anchors: The number of quasi-random anchors, a power of two.
        temperature: The temperature tau > 0 of the dot loss; None for the distance loss.

    Returns:
        The prediction; its contrast is the symmetric matrix X_N, shape (d, d).

    Raises:
        ValueError: If a batch has fewer than two samples or the weights are not finite.

    Example:
        For degenerate modes it is the multiple of the unit matrix that `predict` gives:

        >>> eye = np.eye(4)
        >>> x = predict_weights(eye, eye, 0.5 * eye, batch_size=8).contrast
        >>> group = predict([Modes.of(1.0, 0.5, 0.0, 4)], [1.0], batch_size=8).contrast
        >>> bool(np.allclose(x, group * eye, atol=0.01))
        True
    """
    if not np.all(np.isfinite(w)):
        raise ValueError("the weights must be finite")
    _check_batch_size(batch_size)
    setting = (w, data_cov, noise_cov, covariance, batch_size, anchors)
    if temperature is None:
        return finite_distance.of_weights(*setting)
    return finite_dot.of_weights(*setting, temperature)


def contrast_matrix(
    w: Values, data_cov: Values, noise_cov: Values, *, batch_size: int, anchors: int = ANCHORS
) -> Values:
    """The contrast matrix X_N of one linear map with one noisy view, see `predict_weights`.

    Source: this project, docs/theory.md, Eq. (finite). Mean over anchors.

    Args:
        w: Weights W of the linear model, shape (n, d).
        data_cov: Covariance Sigma of the data, shape (d, d), positive definite.
        noise_cov: Covariance Sigma_n of the augmentation, shape (d, d).
        batch_size: The number N >= 2 of samples in a batch.
        anchors: The number of quasi-random anchors, a power of two.

    Returns:
        X_N, symmetric, shape (d, d).

    Raises:
        ValueError: As `predict_weights` does.

    Example:
        For weak weights it is (2 Sigma - Sigma_n)(1 - 1/N):

        >>> sigma, noise = np.diag([1.0, 2.0]), np.array([[0.5, 0.2], [0.2, 1.0]])
        >>> x = contrast_matrix(1e-6 * np.eye(2), sigma, noise, batch_size=4)
        >>> bool(np.allclose(x, 0.75 * (2 * sigma - noise), atol=0.01))
        True
    """
    return predict_weights(w, data_cov, noise_cov, batch_size=batch_size, anchors=anchors).contrast


def layer_flow(
    times: Values,
    layers: Sequence[Values],
    data_cov: Values,
    noise_cov: Values,
    covariance: Values | None = None,
    *,
    batch_size: int,
    learning_rate: float = 0.0,
    anchors: int = ANCHORS,
    tolerance: float = TOLERANCE,
    stiff: bool = False,
    temperature: float | None = None,
) -> tuple[Values, ...]:
    """Linear layers in time, from any start, trained on fresh batches.

        dW_l/dt = (W_L .. W_(l+1))^T W X_N (W_(l-1) .. W_1)^T,   W = W_L .. W_1

    With a learning rate it is the interpolated map of gradient descent, as in `flow`.

    Source: paper, Lemma 3, for any number of layers; this project, docs/theory.md, Eq.
    (finite-flow). Mean over anchors.

    Args:
        times: The times at which the layers are wanted, increasing, shape (T,). The flow starts at
            times[0].
        layers: The layers (W_1, ..., W_L) at the start, first layer first.
        data_cov: Covariance Sigma of the anchor view, shape (d, d), positive definite.
        noise_cov: Covariance Sigma_n of the augmentation x' - x, shape (d, d).
        covariance: E[x (x' - x)^T], shape (d, d); None where the anchor view is clean.
        batch_size: The number N >= 2 of samples in a batch.
        learning_rate: The rate eta >= 0 on the mean loss; zero is the limit of small rates.
        anchors: The number of quasi-random anchors, a power of two.
        tolerance: The error per step of the integration, relative to each weight.
        stiff: Whether to integrate by an implicit method. That is faster for few weights where
            strong noise acts through grown layers, and slower where modes are degenerate, whose
            basis, and with it the error of the anchors, changes from point to point.
        temperature: The temperature tau > 0 of the dot loss; None for the distance loss.

    Returns:
        The layers at the times, each of shape (T, out, in).

    Raises:
        ValueError: As `predict_weights` does.
        ArithmeticError: If the integration fails.

    Example:
        Two balanced layers stay balanced:

        >>> eye = np.eye(3)
        >>> w1, w2 = layer_flow(
        ...     np.array([0.0, 3.0]), [0.3 * eye, 0.3 * eye], eye, 0.1 * eye, batch_size=16
        ... )
        >>> bool(np.allclose(w1[-1] @ w1[-1].T, w2[-1].T @ w2[-1], atol=1e-4))
        True
    """
    sizes = np.cumsum([0, *(layer.size for layer in layers)])

    def unpack(flat: Values) -> list[Values]:
        return [
            flat[..., a:b].reshape(*flat.shape[:-1], *layer.shape)
            for a, b, layer in zip(sizes[:-1], sizes[1:], layers, strict=True)
        ]

    def field(flat: Values) -> Values:
        weights = unpack(flat)
        total = _product_of(weights)
        x = predict_weights(
            total,
            data_cov,
            noise_cov,
            covariance,
            batch_size=batch_size,
            anchors=anchors,
            temperature=temperature,
        ).contrast
        return np.concatenate([rate.ravel() for rate in _layer_rates(weights, total @ x)])

    start = np.concatenate([np.asarray(layer, dtype=float).ravel() for layer in layers])
    tolerances = tolerance, 1e-3 * tolerance
    found = _integrated(field, start, times, learning_rate, tolerances, stiff=stiff)
    return tuple(unpack(found))


def _product_of(layers: Sequence[Values]) -> Values:
    total = layers[0]
    for layer in layers[1:]:
        total = layer @ total
    return total


def _layer_rates(layers: Sequence[Values], push: Values) -> list[Values]:
    """(W_L .. W_(l+1))^T push (W_(l-1) .. W_1)^T for every layer."""
    below: list[Values] = [np.eye(layers[0].shape[1])]
    for layer in layers[:-1]:
        below.append(layer @ below[-1])
    rates: list[Values] = []
    for layer, bottom in zip(reversed(layers), reversed(below), strict=True):
        rates.append(push @ bottom.T)
        push = layer.T @ push
    return rates[::-1]


def _checked(groups: Sequence[Modes], strengths, batch_size: int) -> Values:
    m = np.asarray(strengths, dtype=float)
    if m.shape != (len(groups),) or not np.all(np.isfinite(m)) or np.any(m < 0):
        raise ValueError(f"strengths must be {len(groups)} finite numbers >= 0; got {strengths}")
    _check_batch_size(batch_size)
    return m


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 2:
        raise ValueError(f"batch_size must be at least 2; got {batch_size}")
