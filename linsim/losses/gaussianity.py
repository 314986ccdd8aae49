"""Losses on the distribution of a batch: SIGReg, which asks that embeddings be standard normal, and
LeJEPA, which adds it to the distance of the views.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from linsim.arrays import Array
from linsim.losses.views import Embeddings, Real, Scalar, pair

LEJEPA_WEIGHT = 0.02  # of SIGReg, as released


class Nodes(NamedTuple):
    """Where characteristic functions are compared: points t (T,), their weights in the integral
    with the window e^{-t^2/2} (T,), and the normal distribution's own values e^{-t^2/2} (T,).
    """

    points: Float[Array, "T"]
    weights: Float[Array, "T"]
    normal: Float[Array, "T"]


def nodes(limit: float = 5.0, knots: int = 17) -> Nodes:
    """The trapezoid rule of SIGReg on [-limit, limit], folded to t >= 0 by symmetry.

        integral f(t) e^{-t^2/2} dt = sum_k weight_k f(t_k)   for even f

    Source: Balestriero and LeCun 2025 (arXiv 2511.08544), Algorithm 1, with its defaults.

    Args:
        limit: The end of the interval, above 0.
        knots: How many points the whole interval has, an odd number of at least 3.

    Returns:
        The nodes, (knots + 1)/2 of them.

    Raises:
        ValueError: If `knots` is even or below 3.

    Example:
        The rule integrates its window:

        >>> round(float(nodes().weights.sum() / np.sqrt(2 * np.pi)), 5)
        1.0
    """
    if knots < 3 or knots % 2 == 0:
        raise ValueError(f"knots must be an odd number of at least 3; got {knots}")
    points = np.linspace(0.0, limit, (knots + 1) // 2)
    spacing = np.full(len(points), 2 * points[1])
    spacing[[0, -1]] = points[1]
    normal = np.exp(-(points**2) / 2)
    return Nodes(points, spacing * normal, normal)


def sigreg(
    z: Embeddings, directions: Float[Array, "K n"], limit: float = 5.0, knots: int = 17
) -> Scalar:
    """SIGReg: how far the embeddings' projections are from standard normal, by their characteristic
    functions (Epps and Pulley).

        L = (N/K) sum_a integral |(1/N) sum_i e^{i t a . z_i} - e^{-t^2/2}|^2 e^{-t^2/2} dt

    The integral is the trapezoid rule `nodes`. The gradient vanishes where all embeddings are
    equal, as it does for every loss that is even in each of them.

    Source: Balestriero and LeCun 2025 (arXiv 2511.08544), Algorithm 1. MEAN over directions, N
    times the distance of the characteristic functions.

    Args:
        z: Embeddings, shape (N, n).
        directions: Unit vectors a, shape (K, n); drawn anew for every step in training.
        limit: The end of the integral.
        knots: The number of its points.

    Returns:
        The loss, a scalar >= 0.

    Example:
        Equal embeddings are far from normal, whichever way one looks at them:

        >>> import jax.numpy as jnp
        >>> round(float(sigreg(jnp.zeros((4, 2)), jnp.eye(2))), 4)
        1.6357
    """
    z, _ = pair(z, z)
    t, weights, normal = nodes(limit, knots)
    angles = t[:, None, None] * jnp.matmul(z, directions.T, precision="highest")
    real, imaginary = jnp.mean(jnp.cos(angles), axis=1), jnp.mean(jnp.sin(angles), axis=1)
    apart = (real - normal[:, None]) ** 2 + imaginary**2
    return len(z) * jnp.mean(weights @ apart)


def lejepa(
    z: Embeddings,
    z_pos: Embeddings,
    directions: Float[Array, "K n"],
    weight: Real = LEJEPA_WEIGHT,
    limit: float = 5.0,
    knots: int = 17,
) -> Scalar:
    """LeJEPA of two views: their distance from their mean, and SIGReg of each.

        L = (1 - lambda) sum_ij (z_ij - z'_ij)^2 / (4 N n) + lambda/2 [SIGReg(z) + SIGReg(z')]

    Source: Balestriero and LeCun 2025 (arXiv 2511.08544), Algorithm 2; lambda and the MEAN over
    views, samples and coordinates in the first term as in their minimal code.

    Args:
        z: Embeddings of the first view, shape (N, n).
        z_pos: Embeddings z' of the second view, shape (N, n).
        directions: Unit vectors for SIGReg, shape (K, n).
        weight: The weight lambda, between 0 and 1.
        limit: The end of SIGReg's integral.
        knots: The number of its points.

    Returns:
        The loss, a scalar >= 0.

    Example:
        >>> import jax.numpy as jnp
        >>> z = jnp.zeros((4, 2))
        >>> bool(jnp.isclose(lejepa(z, z, jnp.eye(2), 0.1), 0.1 * sigreg(z, jnp.eye(2))))
        True
    """
    z, z_pos = pair(z, z_pos)
    regular = sigreg(z, directions, limit, knots) + sigreg(z_pos, directions, limit, knots)
    return 0.25 * (1 - weight) * jnp.mean((z - z_pos) ** 2) + 0.5 * weight * regular
