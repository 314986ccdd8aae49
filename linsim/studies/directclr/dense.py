"""DirectCLR and the projector, taken apart on small images (paper, section 6, Tables 1 and 2, Figures 7, 9, 10, 12, App. F).

One run trains a residual encoder r = h + f(h) with one projector, then measures what its representation holds.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from jaxtyping import Float, Int, PRNGKeyArray

from linsim import augment, data, dynamics, images, losses, models, probe, projectors, spectra, sweep, train
from linsim.arrays import Array
from linsim.config import at
from linsim.results import labelled
from linsim.runs import Observables
from linsim.settings import LINEAR_BLOCK, ProjectorConfig
from linsim.sweep import Columns, Engine, Finish

FEATURES = ("r", "r[:d0]", "r[d0:]", "h")
PLACES = ("behind the last block", "representation")
DROPPED = ("features_h", "features_r", "order")  # once the probes have seen them
MOMENTUM = 0.9
WARM_UP = 0.1  # of the steps


class Split:
    """One seed's division of the images: the first `train` of `order` are for training."""

    def __init__(self, config: Any, labels: np.ndarray) -> None:
        self.labels, self.train = labels, int(config.train_share * len(labels))

    def order(self, key: PRNGKeyArray) -> Int[Array, "N"]:
        """`stratified_order` of the images. Args: a run's key."""
        return stratified_order(key, self.labels)


def stratified_order(key: PRNGKeyArray, labels: np.ndarray) -> Int[Array, "N"]:
    """All image numbers in a random order of which every head holds each class in its share. Args: a run's key; labels (N,)."""
    jitter = jax.random.uniform(jax.random.fold_in(key, 0), (len(labels),))
    by_class = jnp.lexsort((jitter, labels))
    counts = np.bincount(labels)
    starts = np.cumsum(counts) - counts
    label = np.sort(labels)
    quantile = (np.arange(len(label)) - starts[label] + jitter) / counts[label]
    return by_class[jnp.argsort(quantile)]


def optimizer(config: Any, decayed: Any = True) -> optax.GradientTransformation:
    """SGD with momentum or LARS, weight decay, linear warm-up and cosine to zero.

    Args: config; decayed: which parameters decay (LARS: and are scaled), a tree of booleans like theirs (default: all).
    """
    warm_up = max(int(WARM_UP * config.steps), 1)
    rate = optax.warmup_cosine_decay_schedule(0.0, config.learning_rate, warm_up, max(config.steps, warm_up + 1))
    if config.optimizer == "lars":
        return optax.lars(rate, config.weight_decay, decayed, trust_ratio_mask=decayed, momentum=MOMENTUM)
    decay = optax.add_decayed_weights(config.weight_decay, None if decayed is True else decayed)
    return optax.chain(decay, optax.sgd(rate, momentum=MOMENTUM))


def activations(config: Any) -> tuple[models.Activation, ...]:
    """Of the stem and of each block."""
    last: models.Activation = "linear" if config.projectors.endswith(LINEAR_BLOCK) else "relu"
    return ("relu",) * config.blocks + (last,)


def projector(config: Any, key: PRNGKeyArray) -> projectors.Projector:
    """The projector of a configuration with one setup."""
    return projectors.named(config.projectors.removesuffix(LINEAR_BLOCK), key, config.width, config.d0)


def flat(config: Any) -> Float[Array, "N d"]:
    """All images of a configuration as rows of pixels, less the mean over all pixels."""
    pixels = images.load(config.data, config.image_size).pixels
    return jnp.asarray(pixels - pixels.mean(), dtype=float).reshape(len(pixels), -1)


def view_batches(config: Any, rows: Int[Array, "n"]) -> Callable[[PRNGKeyArray], Float[Array, "M d"]]:
    """key -> two views of a random batch, one below the other, as `flat`. Args: config; rows: the images to draw from."""
    held = jnp.asarray(images.load(config.data, config.image_size).pixels, dtype=float)
    strength = augment.Strength(config.noise * held.std(), config.shift, config.crop, config.flip)

    def views(key):
        key_rows, *key_views = jax.random.split(key, 3)
        batch = held[rows[data.stratified_rows(key_rows, config.batch_size, len(rows))]]
        seen = jnp.concatenate([augment.view(k, batch, strength) for k in key_views]) - held.mean()
        return seen.reshape(len(seen), -1)

    return views


def loss(project: Callable, temperature: float) -> Callable[[Any, Float[Array, "M width"], PRNGKeyArray], Float[Array, ""]]:
    """NT-Xent of projected representations: (projector's parameters, r of both views, one below the other, key) -> mean."""

    def value(trained, r, key):
        z, z_pos = jnp.split(project(trained, r, key), 2)
        return losses.ntxent(z, z_pos, temperature)

    return value


def gradient_spectra(loss_at: Callable, block: Callable, h: Float[Array, "M width"]) -> Float[Array, "2 modes"]:
    """Singular values of the batch gradient dL/dh behind the last block, and of dL/dr at the representation.

    Source: paper, Fig. 10. Args: loss_at r -> L; block h -> r; h of both views. Returns: (2, min(M, width)), as PLACES.
    """
    r, pull_back = jax.vjp(block, h)
    here = jax.grad(loss_at)(r)
    (behind,) = pull_back(here)
    return jax.vmap(spectra.singular_values)(jnp.stack([behind, here]))


def observe(h: Float[Array, "N width"], r: Float[Array, "N width"]) -> Observables:
    """Spectra and ranks of the representations of all images, not augmented; and the representations themselves."""
    return {
        "features_h": h,
        "features_r": r,
        "representation_spectrum": spectra.covariance_spectrum(r),
        "representation_rankme": spectra.rankme(r),
        "representation_rank": spectra.effective_rank(spectra.singular_values(r - jnp.mean(r, axis=0))),
    }


def simulate(config: Any, steps: np.ndarray) -> Callable[..., Observables]:
    """One run (key, **point) of a configuration with one setup -> observables; traceable, d0 too if the setup allows it."""
    x, kinds = flat(config), activations(config)
    split = Split(config, images.load(config.data, config.image_size).labels)

    def run(key: PRNGKeyArray, **point: Float[Array, ""]) -> Observables:
        key_init, key_projector, key_steps, key_observe = (jax.random.fold_in(key, number) for number in range(1, 5))
        made = projector(at(config, **point), key_projector)
        start = models.residual(key_init, x.shape[1], config.width, config.blocks), made.params
        order = split.order(key)
        views, contrast = view_batches(config, order[: split.train]), loss(made.apply, config.temperature)

        def objective(params, batch, step_key):
            encoder, trained = params
            return contrast(trained, models.residual_encoder(encoder, batch, kinds)[1], step_key)

        def gradient(params, step_key):
            value, towards = jax.value_and_grad(objective)(params, views(step_key), step_key)
            return towards, value, None

        def gradient_spectrum(params):
            encoder, trained = params
            h, _ = models.residual_encoder(encoder, views(key_observe), kinds)
            last = partial(models.residual_block, encoder.blocks[-1], kind=kinds[-1])
            return gradient_spectra(lambda r: contrast(trained, r, key_observe), last, h)

        recorded, values, _ = dynamics.descend(start, gradient, optimizer(config), steps, key_steps)
        end = jax.tree.map(lambda leaf: leaf[-1], recorded)
        h, r = models.residual_encoder(end[0], x, kinds)
        values = values.at[-1].add(jnp.where(jnp.all(jnp.isfinite(r)), 0.0, jnp.nan))  # unit rows hide what has diverged
        return observe(h, r) | {"gradient_spectrum": gradient_spectrum(end), "loss": values, "order": order}

    return run


def finish(config: Any, features: tuple[str, ...]) -> Finish:
    """Probes of each run's representation, in place of the representation. Args: config; which of FEATURES to probe."""
    labels = images.load(config.data, config.image_size).labels
    count = Split(config, labels).train

    def probes(values: Columns, measured: Mapping[str, Array]) -> dict[str, Any]:
        found = []
        for h, r, order in zip(*(np.asarray(measured[name]) for name in DROPPED), strict=True):
            parts = {"r": r, "r[:d0]": r[:, : config.d0], "r[d0:]": r[:, config.d0 :], "h": h}
            train, test = order[:count], order[count:]
            found.append([probe.accuracies(parts[name], labels, train, test, config.few, config.seed) for name in features])
        kept = {name: array for name, array in measured.items() if name not in DROPPED}
        return kept | {"probe_accuracy": np.array(found)}

    return probes


def runs(config: ProjectorConfig, where: Engine) -> xr.Dataset | None:
    """All runs: Dataset over (projector, seed, ..), and over (d0, seed, ..) as sweep_<name>; None if chunks are missing."""
    axes = {"projectors": config.projectors}
    main = train.grid(simulate, config, axes, where, finish=lambda point, *_: finish(point, FEATURES))
    swept = _d0_sweep(config, where) if config.d0_sweep else xr.Dataset()
    if main is None or swept is None:
        return None
    named = {str(name): f"sweep_{name}" for name in swept if name not in ("step", "time")}
    coords = {"place": list(PLACES), "feature": list(FEATURES), "labels": ["all", *map(str, config.few)]}
    return main.rename(projectors="projector").merge(swept.rename(named), combine_attrs="override").assign_coords(coords)


def _d0_sweep(config: ProjectorConfig, where: Engine) -> xr.Dataset | None:
    """DirectCLR over d0 in one compiled program, as its equal, the low-rank diagonal projector; r alone is probed."""
    steps = dynamics.record_steps(config.steps)
    swept = where.run(
        simulate(at(config, projectors="low-rank-diagonal"), steps),
        {"d0": tuple(map(float, config.d0_sweep))},
        seed=config.seed,
        seeds=config.seeds,
        finish=finish(config, FEATURES[:1]),
        label="d0",
        turn=len(config.projectors),
    )
    if swept is None:
        return None
    kept = swept[["probe_accuracy", "representation_rankme"]].isel(feature=0)
    return kept.assign_coords(d0=list(config.d0_sweep))


def compare(dataset: xr.Dataset, config: ProjectorConfig) -> xr.Dataset:
    """`dataset` with the collapsed dimensions of each representation, and the probe on raw pixels of each seed's split."""
    held = images.load(config.data, config.image_size)
    split = Split(config, held.labels)
    pixels = held.pixels.reshape(len(held.labels), -1)
    orders = [np.asarray(split.order(key)) for key in sweep.run_keys(config.seed, config.seeds)]
    raw = [
        probe.accuracies(pixels, held.labels, order[: split.train], order[split.train :], config.few, config.seed)
        for order in orders
    ]
    added = {
        "collapsed": collapsed(dataset, config.collapse_threshold),
        "raw_accuracy": (("seed", "labels"), np.array(raw)),
    }
    return dataset.merge(labelled(added, {}), combine_attrs="override")


def collapsed(dataset: xr.Dataset, threshold: float) -> tuple[tuple[str, str], xr.DataArray]:
    """Collapsed dimensions of each representation: standard deviations below `threshold` times the largest; with their names."""
    spectrum = dataset["representation_spectrum"]
    count = (spectrum < threshold**2 * spectrum.max("mode")).sum("mode")
    return ("projector", "seed"), count.transpose("projector", "seed")
