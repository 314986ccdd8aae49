"""How a network's initial layers are drawn: one record per kind of start, its numbers free to vary between runs."""

from typing import Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from linsim.training import models
from linsim.training.models import Params
from linsim.training.names import OneLayerStart, TwoLayerStart
from linsim.training.records import Real, record


@runtime_checkable
class Start(Protocol):
    """Initial layers of given widths, drawn with a key."""

    def draw(self, key: PRNGKeyArray, widths: tuple[int, ...], scale: Real) -> Params:
        """Args: key; widths (d, h, .., n); scale of each layer. Returns: (W_1 (h, d), .., W_L)."""
        ...


@record
class Orthogonal:
    """Random orthogonal layers: every singular value is the scale."""

    def draw(self, key: PRNGKeyArray, widths: tuple[int, ...], scale: Real) -> Params:
        """See `models.orthogonal`."""
        return models.orthogonal(key, widths, scale)


@record
class Gaussian:
    """Independent Gaussian entries of variance scale^2 / fan_in."""

    def draw(self, key: PRNGKeyArray, widths: tuple[int, ...], scale: Real) -> Params:
        """See `models.gaussian`."""
        return models.gaussian(key, widths, scale)


@record
class Uniform:
    """Independent uniform entries of variance scale^2 / fan_in; scale 1/sqrt(3) is torch.nn.Linear's default."""

    def draw(self, key: PRNGKeyArray, widths: tuple[int, ...], scale: Real) -> Params:
        """See `models.uniform`."""
        return models.uniform(key, widths, scale)


@record
class Spectral:
    """Singular values scale e^(-decay k), k = 0, 1, .., between each layer's own random factors: the paper's start."""

    decay: Real = 0.35

    def draw(self, key: PRNGKeyArray, widths: tuple[int, ...], scale: Real) -> Params:
        """See `models.spectral`."""
        return models.spectral(key, widths, _values(widths, scale, self.decay))


@record
class Balanced:
    """The same singular values with aligned layers: W_l W_l^T = W_(l+1)^T W_(l+1)."""

    decay: Real = 0.35

    def draw(self, key: PRNGKeyArray, widths: tuple[int, ...], scale: Real) -> Params:
        """See `models.balanced`."""
        return models.balanced(key, widths, _values(widths, scale, self.decay))


@record
class Imbalanced:
    """Two aligned layers whose product has the singular values (scale e^(-decay k))^2, with C = kappa I."""

    decay: Real = 0.35
    kappa: Real = 0.0

    def draw(self, key: PRNGKeyArray, widths: tuple[int, ...], scale: Real) -> Params:
        """See `models.imbalanced`. Raises: ValueError unless there are two layers."""
        if len(widths) != 3:
            raise ValueError(f"an imbalanced start has two layers; got widths {widths}")
        first, hidden, last = widths
        values = _values(widths, scale, self.decay) ** 2
        return models.imbalanced(key, (first, hidden, last), values, self.kappa)


def _values(widths: tuple[int, ...], scale: Real, decay: Real):
    return scale * jnp.exp(-decay * jnp.arange(min(widths)))


def one_layer(name: OneLayerStart) -> Start:
    """The start of one layer called `name`."""
    kinds: dict[OneLayerStart, Start] = {"orthogonal": Orthogonal(), "gaussian": Gaussian(), "uniform": Uniform()}
    return kinds[name]


def two_layers(name: TwoLayerStart, decay: Real, kappa: Real) -> Start:
    """The start of two layers called `name`, with its decay rate and imbalance."""
    kinds: dict[TwoLayerStart, Start] = {
        "spectral": Spectral(decay=decay),
        "balanced": Imbalanced(decay=decay, kappa=kappa),
        "gaussian": Gaussian(),
    }
    return kinds[name]
