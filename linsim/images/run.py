"""What training an encoder of images consists of, whatever the encoder (paper, section 6).

The record that its runs share, the order in which a run takes the images, the loss, the
optimiser, and what is measured of the representation r = h + f(h), where h is what enters the last
block f. `linsim.images.dense` and `linsim.images.convolutional` add an encoder each.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float, Int, PRNGKeyArray

from linsim import losses, spectra
from linsim.arrays import Array
from linsim.images import projectors
from linsim.images.folders import Source
from linsim.images.names import LINEAR_BLOCK, EncoderOptimizer, Setup
from linsim.training.records import Real, record, static

MOMENTUM = 0.9
WARM_UP = 0.1  # of the steps

Embed = Callable[[Any, Float[Array, "M width"], PRNGKeyArray | None], Float[Array, "M k"]]
Contrast = Callable[[Any, Float[Array, "M width"], PRNGKeyArray | None], Float[Array, ""]]
Representation = Float[Array, "M width"]
Observables = dict[str, Array]


@record
class ImageRun:
    """How an encoder is trained behind a projector; the encoder and its views are the subclass's.

    Numbers that may vary inside one compiled program: temperature of the loss (NT-Xent), the
    largest learning rate on the MEAN loss, weight decay, and those of the projector. Static: the
    optimiser, how many steps, how many images to a batch, whether the last block of the encoder
    is linear, and where the images come from.
    """

    projector: projectors.Kind = projectors.Nothing()
    temperature: Real = 0.2
    learning_rate: Real = 0.1
    weight_decay: Real = 1e-4
    optimizer: EncoderOptimizer = static("sgd")
    steps: int = static(2000)
    batch_size: int = static(128)
    linear_block: bool = static(False)
    source: Source = static(Source())


R = TypeVar("R", bound=ImageRun)


def with_setup(run: R, setup: Setup, d0: int) -> R:
    """A run with another projector and last block.

    Args: run; setup; d0, of projectors that have one.
    """
    kind = projectors.named(setup.removesuffix(LINEAR_BLOCK), d0)
    return dataclasses.replace(run, projector=kind, linear_block=setup.endswith(LINEAR_BLOCK))


def stratified_order(key: PRNGKeyArray, labels: Int[np.ndarray, "N"]) -> Int[Array, "N"]:
    """All image numbers in a random order of which every head holds each class in its share.

    Args: key of a run; labels (N,), each class at least once. Returns: (N,).
    """
    jitter = jax.random.uniform(jax.random.fold_in(key, 0), (len(labels),))
    by_class = jnp.lexsort((jitter, labels))
    counts = np.bincount(labels)
    starts = np.cumsum(counts) - counts
    label = np.sort(labels)
    quantile = (np.arange(len(label)) - starts[label] + jitter) / counts[label]
    return by_class[jnp.argsort(quantile)]


def optimizer(run: ImageRun, decayed: Any = True) -> optax.GradientTransformation:
    """SGD with momentum or LARS, weight decay, and a linear warm-up that a cosine to zero follows.

    Args: run; decayed: which parameters decay (and, with LARS, are scaled), as a tree of booleans
    like theirs (default: all).
    """
    warm_up = max(int(WARM_UP * run.steps), 1)
    learning_rate: Any = run.learning_rate  # both may be traced, which optax takes, too
    weight_decay: Any = run.weight_decay
    rising = optax.linear_schedule(0.0, learning_rate, warm_up)
    falling = optax.cosine_decay_schedule(learning_rate, max(run.steps - warm_up, 1))
    rate = optax.join_schedules([rising, falling], [warm_up])
    if run.optimizer == "lars":
        return optax.lars(rate, weight_decay, decayed, trust_ratio_mask=decayed, momentum=MOMENTUM)
    decay = optax.add_decayed_weights(weight_decay, None if decayed is True else decayed)
    return optax.chain(decay, optax.sgd(rate, momentum=MOMENTUM))


def contrast(embed: Embed, temperature: Real) -> Contrast:
    """The loss of representations: NT-Xent (mean over anchors) of what a projector makes of them.

    Args: embed, the `apply` of a projector; temperature.
    Returns: (the projector's parameters, r of both views, one below the other, key) -> loss.
    """

    def value(params: Any, r: Representation, key: PRNGKeyArray | None) -> Float[Array, ""]:
        z, z_pos = jnp.split(embed(params, r, key), 2)
        return losses.ntxent(z, z_pos, temperature)

    return value


def gradient_spectra(
    loss_at: Callable[[Representation], Float[Array, ""]],
    block: Callable[[Representation], Representation],
    h: Representation,
) -> Float[Array, "2 modes"]:
    """Singular values of the batch gradient dL/dh behind the last block, and of dL/dr at r.

    Source: paper, Fig. 10. Args: loss_at r -> L; block h -> r; h of both views, (M, width).
    Returns: (2, min(M, width)), in the order of `names.PLACES`.
    """
    r, pull_back = jax.vjp(block, h)
    here = jax.grad(loss_at)(r)
    (behind,) = pull_back(here)
    return jax.vmap(spectra.singular_values)(jnp.stack([behind, here]))


def observe(h: Representation, r: Representation) -> Observables:
    """Spectra and ranks of the representation, and what probes need: h and r themselves.

    Args: h and r (M, width) of images that are not augmented.
    """
    return {
        "features_h": h,
        "features_r": r,
        "representation_spectrum": spectra.covariance_spectrum(r),
        "representation_rankme": spectra.rankme(r),
        "representation_rank": spectra.effective_rank(
            spectra.singular_values(r - jnp.mean(r, axis=0))
        ),
    }
