"""DirectCLR and the projector with a convolutional encoder on real images (paper, section 6, Tables 1 and 2, Figures 7-12).

One run trains a residual network r = pool(block(h)) under SimCLR's views with one projector, in epochs of one compiled call each;
its state is kept after every epoch, so that a run that is killed goes on from there, bit by bit as if it had not been. The images
are bytes on the device, and an argument of every compiled function.
"""

import datetime
import functools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from jaxtyping import Float, Int, PRNGKeyArray, UInt8
from tqdm import tqdm

from linsim import augment, checkpoint, directclr, images, probe, projectors, resnet, results, sweep
from linsim.arrays import Array
from linsim.config import at
from linsim.directclr import FEATURES, PLACES
from linsim.results import labelled
from linsim.runs import Observables
from linsim.settings import LINEAR_BLOCK, ResnetConfig
from linsim.sweep import Engine

ONLINE_RATE = 1e-3  # of the detached probe's Adam
AT_ONCE = 500  # images that are measured at a time
INIT, PROJECTOR, STEPS, OBSERVE, SHUFFLE = range(1, 6)  # what a run's key is folded with; 0 draws its images


class Held(NamedTuple):
    """Images on the device: pixels (N, H, W, C) as bytes, labels (N,)."""

    pixels: UInt8[Array, "N H W C"]
    labels: Int[Array, "N"]


class State(NamedTuple):
    """All that training changes: (encoder, projector's parameters) and (probe's weights, offsets), with their optimisers'."""

    params: tuple[resnet.Encoder, Any]
    optimizer: Any
    online: tuple[Array, Array]
    online_optimizer: Any


class Records(NamedTuple):
    """Of each epoch: mean loss, share of views that the online probe got right, seconds; nan before it is over."""

    loss: np.ndarray
    online_accuracy: np.ndarray
    seconds: np.ndarray

    def epochs(self) -> int:
        """How many are over."""
        return int(np.isfinite(self.seconds).sum())


class Program(NamedTuple):
    """The compiled functions of one setup, for all of its seeds and values of d0."""

    begin: Callable[..., State]
    """key, d0 -> State"""
    epoch: Callable[..., tuple[State, Array]]
    """State, Held, rows to train on, key, first and last step, d0 -> State, (mean loss, online accuracy)"""
    represent: Callable[..., tuple[Array, Array]]
    """encoder, pixels as bytes -> (h, pooled, and r) of images that are not augmented"""
    gradients: Callable[..., Array]
    """State, Held, rows, key, d0 -> `directclr.gradient_spectra` of one augmented batch"""


def pixels_of(held: UInt8[Array, "N H W C"]) -> Float[Array, "N H W C"]:
    """Bytes as numbers from 0 to 1."""
    return held.astype(float) / 255


def centred(pixels: Float[Array, "N H W C"]) -> Float[Array, "N H W C"]:
    """What the encoder sees: values from 0 to 1 as -2 to 2, about standardised."""
    return 4 * pixels - 2


def program(config: Any, shape: tuple[int, int, int], classes: int) -> Program:
    """The functions of a configuration with one setup. Args: config; shape (H, W, C) of an image; number of classes."""
    width, dtype = resnet.representation_width(config.width, config.blocks), resnet.compute_dtype()
    linear = config.projectors.endswith(LINEAR_BLOCK)

    def made(key: PRNGKeyArray, d0) -> projectors.Projector:
        name = config.projectors.removesuffix(LINEAR_BLOCK)
        return projectors.named(name, jax.random.fold_in(key, PROJECTOR), width, config.d0 if d0 is None else d0)

    def start(key: PRNGKeyArray, d0) -> tuple[resnet.Encoder, Any]:
        encoder = resnet.Encoder(jax.random.fold_in(key, INIT), shape[-1], config.width, config.blocks, linear=linear)
        return encoder, made(key, d0).params

    decayed = jax.tree.map(lambda leaf: leaf.ndim > 1, jax.eval_shape(functools.partial(start, d0=None), jax.random.key(0)))
    optimizer, online_optimizer = directclr.optimizer(config, decayed), optax.adam(ONLINE_RATE)

    def begin(key, d0=None):
        params = start(key, d0)
        online = jnp.zeros((width, classes)), jnp.zeros(classes)
        return State(params, optimizer.init(params), online, online_optimizer.init(online))

    def views(key, held):
        pixels = pixels_of(held)
        seen = [augment.simclr_view(k, pixels, config.crop, config.jitter) for k in jax.random.split(key)]
        return centred(jnp.concatenate(seen))

    def contrast(key, d0):
        return directclr.loss(made(key, d0).apply, config.temperature)

    def order(rows, key, epoch):
        return jax.random.permutation(jax.random.fold_in(jax.random.fold_in(key, SHUFFLE), epoch), rows)

    def step(carry, held, shuffled, key, number, place, d0):
        state, sums = carry
        step_key = jax.random.fold_in(jax.random.fold_in(key, STEPS), number)
        value = contrast(key, d0)

        def objective(params, seen):
            _, r = params[0](seen, dtype)
            return value(params[1], r, step_key), r

        batch = jax.lax.dynamic_slice_in_dim(shuffled, place * config.batch_size, config.batch_size)
        (loss, r), towards = jax.value_and_grad(objective, has_aux=True)(state.params, views(step_key, held.pixels[batch]))
        updates, optimizer_state = optimizer.update(towards, state.optimizer, state.params)
        state = state._replace(params=optax.apply_updates(state.params, updates), optimizer=optimizer_state)
        if not config.online:
            return state, sums.at[0].add(loss)
        state, right = learn_online(online_optimizer, state, r, jnp.tile(held.labels[batch], 2))
        return state, sums + jnp.stack([loss, right])

    def represent(encoder, pixels):
        h, r = encoder(centred(pixels_of(pixels)), dtype)
        return encoder.pool(h), r

    def gradients(state, held, rows, key, d0=None):
        encoder, trained = state.params
        value, seen = contrast(key, d0), views(jax.random.fold_in(key, OBSERVE), held.pixels[rows[: config.batch_size]])
        h, _ = encoder(seen, dtype)

        def shifted(shift):
            return encoder.represent(h + shift[:, None, None].astype(h.dtype))

        return directclr.gradient_spectra(lambda r: value(trained, r, key), shifted, jnp.zeros((len(h), width)))

    return Program(jax.jit(begin), _epoch(jax.jit(order), step, config.batch_size), jax.jit(represent), jax.jit(gradients))


def _epoch(order: Callable, step: Callable, batch_size: int) -> Callable[..., tuple[State, Array]]:
    """The steps of one epoch: on accelerators one compiled loop, on the CPU one compiled call each.

    XLA's CPU backend (jaxlib 0.10.2) runs convolutions inside a loop by a plain nest of loops, 30 times as slowly as outside.
    """
    in_a_loop, alone = jax.jit(_looped(step)), jax.jit(step)

    def epoch(state, held, rows, key, first, last, d0=None):
        shuffled = order(rows, key, first // (len(rows) // batch_size))
        carry = state, jnp.zeros(2)
        if jax.default_backend() == "cpu":
            for number in range(first, last):
                carry = alone(carry, held, shuffled, key, number, number - first, d0)
        else:
            carry = in_a_loop(carry, held, shuffled, key, first, last, d0)
        state, sums = carry
        return state, sums / (last - first)

    return epoch


def _looped(step: Callable) -> Callable:
    """`step` from the first to the last number, as one function."""

    def loop(carry, held, shuffled, key, first, last, d0):
        return jax.lax.fori_loop(first, last, lambda k, carry: step(carry, held, shuffled, key, k, k - first, d0), carry)

    return loop


def learn_online(
    optimizer: optax.GradientTransformation, state: State, r: Float[Array, "M width"], labels: Int[Array, "M"]
) -> tuple[State, Float[Array, ""]]:
    """One step of the online probe, softmax(r W + b) on the labels; no gradient reaches r. Returns: State, share it got right."""
    r = jax.lax.stop_gradient(r)

    def objective(online):
        logits = r @ online[0] + online[1]
        loss = jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))
        return loss, jnp.mean(jnp.argmax(logits, axis=1) == labels, dtype=r.dtype)

    towards, right = jax.grad(objective, has_aux=True)(state.online)
    updates, optimizer_state = optimizer.update(towards, state.online_optimizer, state.online)
    return state._replace(online=optax.apply_updates(state.online, updates), online_optimizer=optimizer_state), right


def observe(
    compiled: Program, state: State, train_held: Held, test_held: Held, rows: Int[Array, "n"], key: PRNGKeyArray, **point: Any
) -> Observables:
    """`directclr.observe` of all images, first the training rows, then the test images; the batch gradient's spectra."""
    pixels = jnp.concatenate([train_held.pixels[rows], test_held.pixels])
    some = [compiled.represent(state.params[0], pixels[start : start + AT_ONCE]) for start in range(0, len(pixels), AT_ONCE)]
    h, r = (jnp.concatenate(parts) for parts in zip(*some, strict=True))
    return directclr.observe(h, r) | {"gradient_spectrum": compiled.gradients(state, train_held, rows, key, **point)}


def train(
    config: Any, compiled: Program, held: Held, rows: Int[Array, "n"], key: PRNGKeyArray, path: Path, **point: Any
) -> Iterator[tuple[State, Records]]:
    """One run from wherever the checkpoint at `path` left it: yields after each epoch, and once at the start.

    The key of a step is the run's, folded with the step's number, and the order of an epoch's images follows from the epoch's:
    so nothing depends on where a run was interrupted. Args: config with one setup; its program; training images; the rows among
    them; the run's key; path of the checkpoint; point: d0, where it is swept. Raises: CannotWrite.
    """
    count = len(rows) // config.batch_size
    epochs = -(-config.steps // count)
    begun = compiled.begin(key, **point), Records(*np.full((3, epochs), np.nan))
    state, records = checkpoint.load(begun, path) or begun
    yield state, records
    for epoch in range(records.epochs(), epochs):
        clock = time.perf_counter()
        state, means = compiled.epoch(state, held, rows, key, epoch * count, min((epoch + 1) * count, config.steps), **point)
        loss, right = np.asarray(means)
        values = loss, right, time.perf_counter() - clock
        for column, value in zip(records, values, strict=True):
            column[epoch] = value
        checkpoint.save((state, records), path)
        yield state, records


def probes(config: Any, features: tuple[Array, Array], labels: np.ndarray, train_count: int) -> Observables:
    """Probes of r, its two parts and h: linear with all labels and few, and the vote of the nearest neighbours.

    Args: features (h, r) of training images, then test images; labels of all; how many are for training.
    Returns: probe_accuracy (feature, labels), knn_accuracy (feature,).
    """
    h, r = (np.asarray(each, dtype=np.float64) for each in features)
    parts = {"r": r, "r[:d0]": r[:, : config.d0], "r[d0:]": r[:, config.d0 :], "h": h}
    train_rows, test_rows = np.split(np.arange(len(labels)), [train_count])
    linear = [
        probe.accuracies(parts[name], labels, train_rows, test_rows, config.few, config.seed, probe.ridge) for name in FEATURES
    ]
    near = [probe.nearest(parts[name], labels, train_rows, test_rows) for name in FEATURES]
    return {"probe_accuracy": np.array(linear), "knn_accuracy": np.array(near)}


def solved(
    config: Any,
    compiled: Program,
    train_held: Held,
    test_held: Held,
    key: PRNGKeyArray,
    path: Path,
    tick: Callable[[int], Any],
    **point: Any,
) -> xr.Dataset:
    """One run from its start or its checkpoint to its probes. Args: as `train`; tick: is told of each epoch how many are done."""
    rows = drawn(config, key, train_held)
    state, records = _to_the_end(train(config, compiled, train_held, rows, key, path, **point), tick)
    seen = observe(compiled, state, train_held, test_held, rows, key, **point)
    measured = {name: np.asarray(leaf) for name, leaf in seen.items()}
    features = measured.pop("features_h"), measured.pop("features_r")
    if config.online:
        weights, offsets = state.online
        right = np.argmax(features[1][len(rows) :] @ weights + offsets, axis=1) == np.asarray(test_held.labels)
        measured["online_test_accuracy"] = np.mean(right)
    probed = np.concatenate([np.asarray(train_held.labels[rows]), np.asarray(test_held.labels)])
    measured |= probes(config, features, probed, len(rows))
    broken = 0.0 if np.isfinite(features[1]).all() else np.nan  # unit rows hide what has diverged
    for name in ("loss", "online_accuracy")[: 1 + config.online]:
        values = getattr(records, name)
        measured[name] = np.concatenate([values[:1], values]) + broken  # the first record repeats the second
    count = len(rows) // config.batch_size
    per_epoch = np.minimum(count, config.steps - count * np.arange(len(records.seconds))) * config.batch_size
    measured["images_per_second"] = np.median(per_epoch / records.seconds)
    step = np.minimum(count * np.arange(len(records.seconds) + 1), config.steps)
    return results.labelled_runs(measured, (), {"step": ("time", step), "time": step * config.learning_rate})


def _to_the_end(training: Iterator[tuple[State, Records]], tick: Callable[[int], Any]) -> tuple[State, Records]:
    reached = next(training)
    tick(reached[1].epochs())
    for reached in training:
        tick(reached[1].epochs())
    return reached


def held(config: ResnetConfig) -> tuple[Held, Held, int]:
    """Training and test images of a configuration on the device, and how many classes they have."""
    parts = images.split(Path(config.data), config.image_size)
    train_held, test_held = (Held(jnp.asarray(part.pixels), jnp.asarray(part.labels)) for part in parts)
    return train_held, test_held, len(parts[0].classes)


def runs(config: ResnetConfig, where: Engine) -> xr.Dataset | None:
    """All runs, one after another: Dataset over (projector, seed, ..), and over (d0, seed, ..) as sweep_<name>.

    None if chunks are missing. A process of several takes every so-manieth run. Shows how many images a second are trained on.
    """
    loaded = held(config)
    with _bar(config, where) as bar:
        setups = [_setup(at(config, projectors=name), where, loaded, bar, turn) for turn, name in enumerate(config.projectors)]
        sweep_config, turn = at(config, projectors="low-rank-diagonal"), len(setups)
        swept = [_setup(sweep_config, where, loaded, bar, turn + index, d0) for index, d0 in enumerate(config.d0_sweep)]
    if any(each is None for each in (*setups, *swept)):
        return None
    coords = {"place": list(PLACES), "feature": list(FEATURES), "labels": ["all", *map(str, config.few)]}
    dataset = xr.concat(setups, xr.IndexVariable("projector", list(config.projectors)), combine_attrs="override")
    if swept:
        kept = [each[["probe_accuracy", "representation_rankme"]].isel(feature=0) for each in swept]
        along = xr.concat(kept, xr.IndexVariable("d0", list(config.d0_sweep)), combine_attrs="override")
        dataset = dataset.merge(along.rename({str(name): f"sweep_{name}" for name in along.data_vars}), combine_attrs="override")
    return dataset.assign_coords(coords)


def _bar(config: ResnetConfig, where: Engine) -> tqdm:
    layout = "{l_bar}{bar}| {n_fmt}/{total_fmt} images [{elapsed}<{remaining}, {rate_noinv_fmt}]"
    total = config.runs() * config.steps * config.batch_size
    disable = True if where.share.index > 0 else None
    return tqdm(total=total, unit=" images", unit_scale=True, bar_format=layout, leave=False, disable=disable)


def _setup(
    config: Any, where: Engine, loaded: tuple[Held, Held, int], bar: tqdm, turn: int, d0: int | None = None
) -> xr.Dataset | None:
    """The runs of one setup, with d0 where it is swept, over the seeds; solves this process's; None if others' are missing."""
    train_held, test_held, classes = loaded
    label = f"runs-{config.projectors}" if d0 is None else f"d0-{d0}"
    point = {} if d0 is None else {"d0": jnp.asarray(d0)}
    group, keys = where.store.group(label), sweep.run_keys(config.seed, config.seeds)
    group.chunk_size(lambda: 1)
    compiled = _compiled(config, train_held.pixels.shape[1:], classes)
    images_in_run, done = config.steps * config.batch_size, group.held(config.seeds)
    bar.update(len(done) * images_in_run)
    for seed in range(config.seeds):
        if seed in done or (turn * config.seeds + seed) % where.share.count != where.share.index:
            continue
        started, path, shown = datetime.datetime.now(datetime.UTC), group.folder / f"{label}.{seed:06}.state", bar.n

        def tick(epochs: int, shown=shown) -> None:
            per_epoch = (config.train_images or len(train_held.labels)) // config.batch_size * config.batch_size
            bar.update(shown + min(epochs * per_epoch, images_in_run) - bar.n)

        dataset = solved(config, compiled, train_held, test_held, keys[seed], path, tick, **point)
        group.save(seed, config.seeds, dataset.assign_attrs(where.attributes(started)))
        path.unlink(missing_ok=True)
    written = group.written(config.seeds)
    parts = [group.load(written[seed]) if seed in written else None for seed in range(config.seeds)]
    if any(part is None for part in parts):
        return None
    return xr.concat(parts, xr.IndexVariable("seed", range(config.seeds)), combine_attrs="override")


@functools.lru_cache(maxsize=2)
def _compiled(config: Any, shape: tuple[int, int, int], classes: int) -> Program:
    """`program`, kept for the next values of d0."""
    return program(config, shape, classes)


def compare(dataset: xr.Dataset, config: ResnetConfig) -> xr.Dataset:
    """`dataset` with the collapsed dimensions of each representation, and the probe on each seed's untrained encoder."""
    train_held, test_held, classes = held(config)
    compiled = _compiled(at(config, projectors="none"), train_held.pixels.shape[1:], classes)
    raw = []
    for key in sweep.run_keys(config.seed, config.seeds):
        rows = drawn(config, key, train_held)
        measured = observe(compiled, compiled.begin(key), train_held, test_held, rows, key)
        r = np.asarray(measured["features_r"], dtype=np.float64)
        labels = np.concatenate([np.asarray(train_held.labels[rows]), np.asarray(test_held.labels)])
        parts = np.split(np.arange(len(labels)), [len(rows)])
        raw.append(probe.accuracies(r, labels, *parts, config.few, config.seed, probe.ridge))
    added = {
        "collapsed": directclr.collapsed(dataset, config.collapse_threshold),
        "untrained_accuracy": (("seed", "labels"), np.array(raw)),
    }
    return dataset.merge(labelled(added, {}), combine_attrs="override")


def drawn(config: Any, key: PRNGKeyArray, images_held: Held) -> Int[Array, "n"]:
    """The training images that a run uses: each class in its share."""
    order = directclr.stratified_order(key, np.asarray(images_held.labels))
    return order[: config.train_images or len(order)]
