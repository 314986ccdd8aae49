"""Projectors between the representation r and the loss (paper, section 6, Tables 1 and 2).

InfoNCE sees z = projector(r). DirectCLR is one of them: nothing is trained between r and the loss,
which sees only the first d0 coordinates of r.

A kind of projector is a record, so that it is a part of the record of a run; `made` draws its
random numbers and gives what is trained, and how it acts:

    projector = Subvector(d0=4).made(jax.random.key(0), width=16)
    z = projector.apply(projector.params, r, key)
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Float, PRNGKeyArray

from linsim.arrays import Array
from linsim.images.names import LINEAR_BLOCK, Setup
from linsim.training import models
from linsim.training.records import Real, record, static

Representation = Float[Array, "N width"]
Embedding = Float[Array, "N k"]


class Projector(NamedTuple):
    """A projector whose random numbers are drawn: z = apply(params, r, key).

    params are trained (an empty tuple: nothing is); the key is a new one in every step.
    """

    params: Any
    apply: Callable[[Any, Representation, PRNGKeyArray | None], Embedding]


class Kind(ABC):
    """A kind of projector."""

    @abstractmethod
    def made(self, key: PRNGKeyArray, width: int) -> Projector:
        """The projector of a representation of this width; its random numbers come from the key."""


def fixed(function: Callable[[Representation], Embedding]) -> Projector:
    """z = function(r), nothing trained."""
    return Projector((), lambda _, r, __: function(r))


@record
class Nothing(Kind):
    """z = r. Source: paper, Tables 1 and 2, "no projector"."""

    def made(self, key: PRNGKeyArray, width: int) -> Projector:
        """See `Kind`."""
        return fixed(lambda r: r)


@record
class Subvector(Kind):
    """z = r[:, :d0]: DirectCLR. Source: paper, section 6.2."""

    d0: int = static()

    def made(self, key: PRNGKeyArray, width: int) -> Projector:
        """See `Kind`."""
        return fixed(lambda r: r[:, : self.d0])


@record
class LowRankDiagonal(Kind):
    """z = diag(1, .., 1, 0, .., 0) r with d0 ones; d0 may vary inside one compiled program.

    The loss and its gradients are those of `Subvector(d0)`. With d0 = 0 the encoder gets no
    gradient, with d0 = width this is `Nothing`.
    Source: paper, Table 2.
    """

    d0: Real

    def made(self, key: PRNGKeyArray, width: int) -> Projector:
        """See `Kind`."""
        return fixed(lambda r: r * (jnp.arange(width) < self.d0))


@record
class LowRank(Kind):
    """z = P r, where P (d0, width) is fixed and has random orthonormal rows.

    Source: paper, Table 2.
    """

    d0: int = static()

    def made(self, key: PRNGKeyArray, width: int) -> Projector:
        """See `Kind`."""
        rows = models.random_frame(key, width, self.d0).T
        return fixed(lambda r: r @ rows.T)


@record
class Orthogonal(Kind):
    """z = Q r, where Q is fixed, random and orthogonal. Source: paper, Table 2.

    It changes no inner product, and therefore no gradient at r.
    """

    def made(self, key: PRNGKeyArray, width: int) -> Projector:
        """See `Kind`."""
        return LowRank(d0=width).made(key, width)


@record
class TrainableOrthogonal(Kind):
    """z = exp(B - B^T) r, where B is trained: orthogonal at every step.

    Neither r nor its gradient ever sees it. Source: paper, the setting of Proposition 1 (an
    orthogonal projector has no effect).
    """

    def made(self, key: PRNGKeyArray, width: int) -> Projector:
        """See `Kind`."""

        def apply(params: Any, r: Representation, _: PRNGKeyArray | None) -> Embedding:
            (b,) = params
            return r @ jax.scipy.linalg.expm(b - b.T).T

        return Projector(models.gaussian(key, (width, width), 1.0), apply)


@record
class Linear(Kind):
    """z = P r, where P (width, width) is trained. Source: paper, Tables 1 and 2."""

    def made(self, key: PRNGKeyArray, width: int) -> Projector:
        """See `Kind`."""
        params = models.gaussian(key, (width, width), 1.0)
        return Projector(params, lambda p, r, _: r @ p[0].T)


@record
class Diagonal(Kind):
    """z = diag(p) r, where p (width,) is trained from ones. Source: paper, Table 2."""

    def made(self, key: PRNGKeyArray, width: int) -> Projector:
        """See `Kind`."""
        return Projector((jnp.ones(width),), lambda p, r, _: r * p[0])


@record
class Nonlinear(Kind):
    """z = W2 relu(W1 r), both (width, width) and trained: SimCLR's. Source: paper, Table 1."""

    def made(self, key: PRNGKeyArray, width: int) -> Projector:
        """See `Kind`."""
        params = models.gaussian(key, (width,) * 3, math.sqrt(2))
        return Projector(params, lambda p, r, _: models.relu_network(p, r))


@record
class RandomSubset(Kind):
    """z = d0 coordinates of r, which are drawn anew in every step. Source: paper, Appendix F."""

    d0: int = static()

    def made(self, key: PRNGKeyArray, width: int) -> Projector:
        """See `Kind`."""

        def apply(_: Any, r: Representation, key: PRNGKeyArray | None) -> Embedding:
            return r[:, jax.random.permutation(_of_step(key), width)[: self.d0]]

        return Projector((), apply)


@record
class Shuffled(Kind):
    """z = r, with the second view's rows dealt out among the images anew in every step.

    Not in the paper: a control that has nothing to learn from, as no row knows its positive.
    """

    def made(self, key: PRNGKeyArray, width: int) -> Projector:
        """See `Kind`."""

        def apply(_: Any, r: Representation, key: PRNGKeyArray | None) -> Embedding:
            first, second = jnp.split(r, 2)
            return jnp.concatenate([first, jax.random.permutation(_of_step(key), second)])

        return Projector((), apply)


def _of_step(key: PRNGKeyArray | None) -> PRNGKeyArray:
    """The key of a step. Raises: ValueError if there is none."""
    if key is None:
        raise ValueError("a projector that draws anew needs a key in every step")
    return key


NAMES = tuple(name for name in get_args(Setup) if not name.endswith(LINEAR_BLOCK))


def named(name: str, d0: int) -> Kind:
    """The kind of projector called `name`.

    Args: name, one of NAMES; d0, of those that see d0 coordinates. Raises: ValueError.
    """
    kinds: dict[str, Kind] = {
        "none": Nothing(),
        "orthogonal": Orthogonal(),
        "trainable-orthogonal": TrainableOrthogonal(),
        "linear": Linear(),
        "diagonal": Diagonal(),
        "low-rank": LowRank(d0=d0),
        "low-rank-diagonal": LowRankDiagonal(d0=float(d0)),
        "nonlinear": Nonlinear(),
        "directclr": Subvector(d0=d0),
        "random-subset": RandomSubset(d0=d0),
        "shuffled": Shuffled(),
    }
    if name not in kinds:
        raise ValueError(f"projector {name!r} is unknown; choose one of {', '.join(NAMES)}")
    return kinds[name]
