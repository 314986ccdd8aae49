"""Projectors between representation r and loss, as values: what is trained, and how it acts (paper, section 6, Tables 1 and 2).

InfoNCE sees z = projector(r). DirectCLR is one of them: no projector, but only the first d0 coordinates of r.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Float, PRNGKeyArray

from linsim import models
from linsim.arrays import Array
from linsim.settings import LINEAR_BLOCK, Setup

Representation = Float[Array, "N width"]
Embedding = Float[Array, "N k"]


class Projector(NamedTuple):
    """z = apply(params, r, key): params are trained (an empty tuple: nothing is), the key is new in every step."""

    params: Any
    apply: Callable[[Any, Representation, PRNGKeyArray], Embedding]


def none() -> Projector:
    """z = r. Source: paper, Tables 1 and 2, "no projector"."""
    return fixed(lambda r: r)


def fixed(function: Callable[[Representation], Embedding]) -> Projector:
    """z = function(r), nothing trained."""
    return Projector((), lambda _, r, __: function(r))


def subvector(d0: int) -> Projector:
    """z = r[:, :d0]: DirectCLR. Source: paper, section 6.2. Args: d0 coordinates."""
    return fixed(lambda r: r[:, :d0])


def low_rank_diagonal(width: int, d0: int | float | Float[Array, ""]) -> Projector:
    """z = diag(1..1, 0..0) r with d0 ones: the same loss and gradients as `subvector(d0)`, and d0 may be traced.

    Source: paper, Table 2. Args: width of r; d0. With d0 = 0 the encoder gets no gradient, with d0 = width it is `none`.
    """
    return fixed(lambda r: r * (jnp.arange(width) < d0))


def low_rank(key: PRNGKeyArray, width: int, d0: int) -> Projector:
    """z = P r, P (d0, width) fixed, with random orthonormal rows. Source: paper, Table 2. Args: key; width; d0."""
    rows = models.random_frame(key, width, d0).T
    return fixed(lambda r: r @ rows.T)


def orthogonal(key: PRNGKeyArray, width: int) -> Projector:
    """z = Q r, Q fixed and random orthogonal: no inner product and no gradient at r changes. Source: paper, Table 2."""
    return low_rank(key, width, width)


def trainable_orthogonal(key: PRNGKeyArray, width: int) -> Projector:
    """z = exp(B - B^T) r, B trained: orthogonal at every step, so that neither r nor its gradient ever sees it.

    Source: paper, Proposition 1's setting (an orthogonal projector has no effect). Args: key; width.
    """

    def apply(params, r, _):
        (b,) = params
        return r @ jax.scipy.linalg.expm(b - b.T).T

    return Projector(models.gaussian(key, (width, width), 1.0), apply)


def linear(key: PRNGKeyArray, width: int) -> Projector:
    """z = P r, P (width, width) trained. Source: paper, Tables 1 and 2. Args: key; width."""
    return Projector(models.gaussian(key, (width, width), 1.0), lambda p, r, _: r @ p[0].T)


def diagonal(width: int) -> Projector:
    """z = diag(p) r, p (width,) trained from ones. Source: paper, Table 2. Args: width."""
    return Projector((jnp.ones(width),), lambda p, r, _: r * p[0])


def nonlinear(key: PRNGKeyArray, width: int) -> Projector:
    """z = W2 relu(W1 r), both (width, width) and trained: SimCLR's projector. Source: paper, Table 1. Args: key; width."""
    return Projector(models.gaussian(key, (width,) * 3, math.sqrt(2)), lambda p, r, _: models.relu_network(p, r))


def random_subset(width: int, d0: int) -> Projector:
    """z = d0 coordinates of r, drawn anew in every step. Source: paper, Appendix F. Args: width; d0."""
    return Projector((), lambda _, r, key: r[:, jax.random.permutation(key, width)[:d0]])


NAMES = tuple(name for name in get_args(Setup) if not name.endswith(LINEAR_BLOCK))


def named(name: str, key: PRNGKeyArray, width: int, d0: int) -> Projector:
    """The projector called `name`, one of NAMES. Args: key of its random numbers; width of r; d0. Raises: ValueError."""
    makers: dict[str, Callable[[], Projector]] = {
        "none": none,
        "orthogonal": lambda: orthogonal(key, width),
        "trainable-orthogonal": lambda: trainable_orthogonal(key, width),
        "linear": lambda: linear(key, width),
        "diagonal": lambda: diagonal(width),
        "low-rank": lambda: low_rank(key, width, d0),
        "low-rank-diagonal": lambda: low_rank_diagonal(width, d0),
        "nonlinear": lambda: nonlinear(key, width),
        "directclr": lambda: subvector(d0),
        "random-subset": lambda: random_subset(width, d0),
    }
    if name not in makers:
        raise ValueError(f"projector {name!r} is unknown; choose one of {', '.join(NAMES)}")
    return makers[name]()
