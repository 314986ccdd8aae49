"""Training a residual encoder of dense layers on small images, one compiled run (section 6).

run = DenseRun(projector=Subvector(d0=32), source=folders.source("digits"))
measured = simulate(run, jax.random.key(0))
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, PRNGKeyArray

from linsim.arrays import Array
from linsim.images import augment, folders, residual
from linsim.images.augment import Strength
from linsim.images.folders import Images
from linsim.images.run import (
    ImageRun,
    Observables,
    contrast,
    gradient_spectra,
    observe,
    optimizer,
    stratified_order,
)
from linsim.training import data, dynamics, recording
from linsim.training.names import Activation
from linsim.training.records import record, static


@record
class DenseRun(ImageRun):
    """A run of a residual encoder of dense layers.

    views: strength of the augmentation, whose noise is in units of the pixels' standard deviation;
    width of the representation; how many residual blocks; the share of each class that encoder and
    probes are trained on, while the rest is for testing.
    """

    views: Strength = Strength()
    width: int = static(128)
    blocks: int = static(3)
    train_share: float = static(2 / 3)

    @property
    def activations(self) -> tuple[Activation, ...]:
        """Those of the stem and of each block."""
        return ("relu",) * self.blocks + ("linear" if self.linear_block else "relu",)

    def images(self) -> Images:
        """The images that the run is about."""
        return folders.load(self.source.name, self.source.size, self.source.part)

    def train_count(self) -> int:
        """How many images it trains on: the first so many of its `stratified_order`."""
        return int(self.train_share * len(self.images().labels))


def simulate(run: DenseRun, key: PRNGKeyArray) -> Observables:
    """Train a run and observe it.

    Args: run; key of its split of the images, its initial weights and its batches. Traceable, so
    that it can be compiled, and mapped over runs that share their static part.
    Returns: `observe` of all images, the spectra of a batch gradient, the loss at the records,
    and `order`: the image numbers of which the first `train_count` were trained on.
    """
    key_init, key_projector, key_steps, key_observe = (
        jax.random.fold_in(key, number) for number in range(1, 5)
    )
    images, kinds = run.images(), run.activations
    x = flat(images)
    projector = run.projector.made(key_projector, run.width)
    start = residual.residual(key_init, x.shape[1], run.width, run.blocks), projector.params
    order = stratified_order(key, images.labels)
    views = view_batches(run, images, order[: run.train_count()])
    loss = contrast(projector.apply, run.temperature)

    def objective(params: Any, batch: Any, step_key: PRNGKeyArray) -> Float[Array, ""]:
        encoder, trained = params
        return loss(trained, residual.residual_encoder(encoder, batch, kinds)[1], step_key)

    def gradient(params: Any, step_key: PRNGKeyArray) -> tuple[Any, Any, None]:
        value, towards = jax.value_and_grad(objective)(params, views(step_key), step_key)
        return towards, value, None

    def gradient_spectrum(params: Any) -> Float[Array, "2 modes"]:
        encoder, trained = params
        h, _ = residual.residual_encoder(encoder, views(key_observe), kinds)
        last = partial(residual.residual_block, encoder.blocks[-1], kind=kinds[-1])
        return gradient_spectra(lambda r: loss(trained, r, key_observe), last, h)

    steps = recording.record_steps(run.steps)
    recorded, values, _ = dynamics.descend(start, gradient, optimizer(run), steps, key_steps)
    end = jax.tree.map(lambda leaf: leaf[-1], recorded)
    h, r = residual.residual_encoder(end[0], x, kinds)
    hidden = jnp.where(jnp.all(jnp.isfinite(r)), 0.0, jnp.nan)  # unit rows hide divergence
    measured = {"gradient_spectrum": gradient_spectrum(end), "loss": values.at[-1].add(hidden)}
    return observe(h, r) | measured | {"order": order}


def flat(images: Images) -> Float[Array, "N d"]:
    """All images as rows of pixels, less the mean over all pixels."""
    pixels = images.pixels - images.pixels.mean()
    return jnp.asarray(pixels, dtype=float).reshape(len(pixels), -1)


def view_batches(
    run: DenseRun, images: Images, rows: Int[Array, "n"]
) -> Callable[[PRNGKeyArray], Float[Array, "M d"]]:
    """Where a run's batches come from: key -> two views of a random batch, one below the other.

    Args: run; images; rows: the numbers of those to draw from. The views are rows as in `flat`.
    """
    held = jnp.asarray(np.asarray(images.pixels), dtype=float)
    strength = replace(run.views, noise=run.views.noise * held.std())

    def views(key: PRNGKeyArray) -> Float[Array, "M d"]:
        key_rows, *key_views = jax.random.split(key, 3)
        batch = held[rows[data.stratified_rows(key_rows, run.batch_size, len(rows))]]
        seen = [augment.view(k, batch, strength) for k in key_views]
        both = jnp.concatenate(seen) - held.mean()
        return both.reshape(len(both), -1)

    return views
