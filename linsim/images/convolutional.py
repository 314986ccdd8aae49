"""Training a convolutional encoder r = pool(block(h)) under SimCLR's views (paper, section 6).

Images are bytes on the device, and an argument of every compiled function. After every epoch the
state is kept, so that a run that is killed goes on from there, bit by bit as if it had not been:
the key of a step is the run's key folded with the number of the step.

    train_images, test_images = held(run)
    draw = drawn(run, key, train_images)
    for state, records in train(run, draw, train_images, path):
        print(records.loss)
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float, Int, PRNGKeyArray, UInt8

from linsim.arrays import Array
from linsim.images import augment, checkpoint, folders, projectors, resnet
from linsim.images.folders import Stored
from linsim.images.names import NormName
from linsim.images.run import (
    Contrast,
    ImageRun,
    Observables,
    contrast,
    gradient_spectra,
    optimizer,
    stratified_order,
)
from linsim.images.run import observe as observe_representation
from linsim.training.records import Real, record, static

ONLINE = optax.adam(1e-3)  # trains the detached probe
SETTLED = 1000  # images, on whose views the norms settle
AT_ONCE = 500  # images that are represented at a time
# What the key of a run is folded with; 0 draws its images.
INIT, PROJECTOR, STEPS, OBSERVE, SHUFFLE, SETTLE = range(1, 7)

Bytes = UInt8[Array, "N H W C"]
Pixels = Float[Array, "N H W C"]
Carry = tuple["State", Any]


@record
class ConvolutionalRun(ImageRun):
    """A run of a residual network of convolutions.

    Numbers that may vary inside one compiled program: the smallest share of the area that a crop
    keeps, and the strength of the colour jitter. Static: channels of the first stage, residual
    blocks of each stage, what normalises the channels, whether a probe is trained beside the
    encoder, and how many images to train on (None: all).
    """

    crop: Real = 0.2
    jitter: Real = 0.5
    width: int = static(64)
    blocks: tuple[int, ...] = static(resnet.RESNET18)
    norm: NormName = static("batch")
    online: bool = static(True)
    train_images: int | None = static(None)

    @property
    def representation_width(self) -> int:
        """How many coordinates h and r have."""
        return resnet.representation_width(self.width, self.blocks)


@record
class Held:
    """Images on the device: pixels (N, H, W, C) as bytes, labels (N,), and how many classes."""

    pixels: Any
    labels: Any
    classes: int = static(2)


class Draw(NamedTuple):
    """What chance gives to one run: its key, and the rows of the training images that it drew."""

    key: Any
    rows: Any


class State(NamedTuple):
    """All that training changes.

    params: the encoder, and what the projector trains; online: weights and offsets of the online
    probe; and the states of the optimisers of both.
    """

    params: Any
    optimizer: Any
    online: tuple[Any, Any]
    online_optimizer: Any


class Records(NamedTuple):
    """What is noted of each epoch; nan before it is over.

    Mean loss, the share of views that the online probe got right, and seconds.
    """

    loss: np.ndarray
    online_accuracy: np.ndarray
    seconds: np.ndarray

    def epochs(self) -> int:
        """How many are over."""
        return int(np.isfinite(self.seconds).sum())


def held(run: ConvolutionalRun) -> tuple[Held, Held]:
    """The training and the test images of a run, on the device. Raises: BadInput."""
    train, test = folders.split(Path(run.source.name), run.source.size)
    return _on_device(train), _on_device(test)


def _on_device(part: Stored) -> Held:
    pixels, labels = jnp.asarray(part.pixels), jnp.asarray(part.labels)
    return Held(pixels=pixels, labels=labels, classes=len(part.classes))


def drawn(run: ConvolutionalRun, key: PRNGKeyArray, images: Held) -> Draw:
    """The images that a run with this key trains on, each class in its share."""
    order = stratified_order(key, np.asarray(images.labels))
    return Draw(key, order[: run.train_images or len(order)])


def pixels_of(stored: Bytes) -> Pixels:
    """Bytes as numbers from 0 to 1."""
    return stored.astype(float) / 255


def centred(pixels: Pixels) -> Pixels:
    """What the encoder sees: values from 0 to 1 as -2 to 2, about standardised."""
    return 4 * pixels - 2


@jax.jit
def begin(run: ConvolutionalRun, draw: Draw, images: Held) -> State:
    """A run at step 0. Args: run; draw; training images, for their shape."""
    params = _params(run, draw, images)
    width = run.representation_width
    online = jnp.zeros((width, images.classes)), jnp.zeros(images.classes)
    return State(params, _optimizer(run, params).init(params), online, ONLINE.init(online))


def steps_per_epoch(run: ConvolutionalRun, draw: Draw) -> int:
    """How many whole batches there are among the images of a run."""
    return len(draw.rows) // run.batch_size


def epochs(run: ConvolutionalRun, draw: Draw) -> int:
    """How many epochs a run has, of which the last may be a part of one."""
    return -(-run.steps // steps_per_epoch(run, draw))


def epoch(
    run: ConvolutionalRun, draw: Draw, images: Held, state: State, number: int
) -> tuple[State, Float[Array, "2"]]:
    """Train on every image once, in a random order.

    On accelerators this is one compiled loop; on the CPU one compiled call per step, because XLA's
    CPU backend (jaxlib 0.10.2) runs convolutions inside a loop 30 times as slowly as outside.

    Args: run; draw; training images; state; number of the epoch.
    Returns: State, (mean loss, share of views that the online probe got right).
    """
    count = steps_per_epoch(run, draw)
    first, last = number * count, min((number + 1) * count, run.steps)
    order, carry = _ordered(draw, number), (state, jnp.zeros(2))
    if jax.default_backend() == "cpu":
        for step in range(first, last):
            carry = one_step(run, draw, images, carry, order, step, step - first)
    else:
        carry = _all_steps(run, draw, images, carry, order, first, last)
    state, sums = carry
    return state, sums / (last - first)


@jax.jit
def settle(
    run: ConvolutionalRun, draw: Draw, images: Held, encoder: resnet.Encoder
) -> resnet.Encoder:
    """The encoder with its norms settled on two views each of SETTLED training images."""
    stored = images.pixels[draw.rows[:SETTLED]]
    seen = _views(run, jax.random.fold_in(draw.key, SETTLE), stored)
    return encoder.settled(seen, resnet.compute_dtype())


@jax.jit
def represent(encoder: resnet.Encoder, stored: Bytes) -> tuple[Array, Array]:
    """h, pooled, and r of images that are not augmented, each (N, width)."""
    h, r = encoder(centred(pixels_of(stored)), resnet.compute_dtype())
    return encoder.pool(h), r


@jax.jit
def gradients(
    run: ConvolutionalRun, draw: Draw, images: Held, state: State
) -> Float[Array, "2 modes"]:
    """`gradient_spectra` of one augmented batch, in full precision.

    Behind the last block it is the gradient for a shift of h that is common to all pixels of a
    image, (images, channels).
    """
    encoder, trained = state.params
    loss, rows = _loss(run, draw), draw.rows[: run.batch_size]
    views = _views(run, jax.random.fold_in(draw.key, OBSERVE), images.pixels[rows])
    h, _ = encoder(views)

    def block(shift: Float[Array, "M width"]) -> Float[Array, "M width"]:
        return encoder.represent(h + shift[:, None, None])

    with jax.default_matmul_precision("highest"):
        unshifted = jnp.zeros((len(h), run.representation_width))
        return gradient_spectra(lambda r: loss(trained, r, draw.key), block, unshifted)


def observe(
    run: ConvolutionalRun, draw: Draw, images: Held, test: Held, state: State
) -> Observables:
    """What is measured of the representations of a run's training images, then of all test ones.

    `linsim.images.run.observe`, and the spectra of the gradient of a batch.
    """
    pixels = jnp.concatenate([images.pixels[draw.rows], test.pixels])
    encoder = settle(run, draw, images, state.params[0])
    starts = range(0, len(pixels), AT_ONCE)
    some = [represent(encoder, pixels[start : start + AT_ONCE]) for start in starts]
    h, r = (jnp.concatenate(parts) for parts in zip(*some, strict=True))
    gradient_spectrum = gradients(run, draw, images, state)
    measured = observe_representation(h, r) | {"gradient_spectrum": gradient_spectrum}
    return {name: np.asarray(leaf) for name, leaf in measured.items()}


def train(
    run: ConvolutionalRun, draw: Draw, images: Held, path: Path
) -> Iterator[tuple[State, Records]]:
    """Train a run from where the checkpoint at `path` left it.

    Yields: the state and the records, at the start and after each epoch. Raises: CannotWrite.
    """
    blank = Records(*np.full((3, epochs(run, draw)), np.nan))
    begun = begin(run, draw, images), blank
    state, records = checkpoint.load(begun, path) or begun
    yield state, records
    for number in range(records.epochs(), epochs(run, draw)):
        clock = time.perf_counter()
        state, means = epoch(run, draw, images, state, number)
        loss, right = np.asarray(means)
        noted = (loss, right, time.perf_counter() - clock)
        for column, value in zip(records, noted, strict=True):
            column[number] = value
        checkpoint.save((state, records), path)
        yield state, records


def learn_online(
    descent: optax.GradientTransformation,
    state: State,
    r: Float[Array, "M width"],
    labels: Int[Array, "M"],
) -> tuple[State, Float[Array, ""]]:
    """One step of the online probe, softmax(r W + b) on the labels; no gradient reaches r.

    Args: descent, its optimiser; state; r and labels of a batch.
    Returns: State, the share of the batch that the probe got right before the step.
    """
    r = jax.lax.stop_gradient(r)

    def objective(online: Any) -> tuple[Float[Array, ""], Float[Array, ""]]:
        logits = r @ online[0] + online[1]
        loss = jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))
        return loss, jnp.mean(jnp.argmax(logits, axis=1) == labels, dtype=r.dtype)

    towards, right = jax.grad(objective, has_aux=True)(state.online)
    updates, online_state = descent.update(towards, state.online_optimizer, state.online)
    online: Any = optax.apply_updates(state.online, updates)
    return state._replace(online=online, online_optimizer=online_state), right


@jax.jit
def one_step(
    run: ConvolutionalRun, draw: Draw, images: Held, carry: Carry, order: Any, step: Any, at: Any
) -> Carry:
    """One step of training.

    Args: run; draw; training images; state and sums so far; order of the epoch; number of the
    step in the run, and in the epoch. Returns: state and sums after it.
    """
    return _learn(run, draw, images, _loss(run, draw), carry, order, step, at)


@jax.jit
def _all_steps(
    run: ConvolutionalRun,
    draw: Draw,
    images: Held,
    carry: Carry,
    order: Any,
    first: Any,
    last: Any,
) -> Carry:
    loss = _loss(run, draw)  # outside of the loop: a fixed random projector is made once

    def body(step: Any, carry: Carry) -> Carry:
        return _learn(run, draw, images, loss, carry, order, step, step - first)

    return jax.lax.fori_loop(first, last, body, carry)


def _learn(
    run: ConvolutionalRun,
    draw: Draw,
    images: Held,
    loss: Contrast,
    carry: Carry,
    order: Any,
    step: Any,
    at: Any,
) -> Carry:
    """The step of `one_step`, with the loss of the run."""
    state, sums = carry
    key = jax.random.fold_in(jax.random.fold_in(draw.key, STEPS), step)
    batch = jax.lax.dynamic_slice_in_dim(order, at * run.batch_size, run.batch_size)

    def objective(params: Any, seen: Pixels) -> tuple[Float[Array, ""], Array]:
        _, r = params[0](seen, resnet.compute_dtype())
        return loss(params[1], r, key), r

    seen = _views(run, key, images.pixels[batch])
    (value, r), towards = jax.value_and_grad(objective, has_aux=True)(state.params, seen)
    descent = _optimizer(run, state.params)
    updates, optimizer_state = descent.update(towards, state.optimizer, state.params)
    params = optax.apply_updates(state.params, updates)
    state = state._replace(params=params, optimizer=optimizer_state)
    if not run.online:
        return state, sums.at[0].add(value)
    state, right = learn_online(ONLINE, state, r, jnp.tile(images.labels[batch], 2))
    return state, sums + jnp.stack([value, right])


@jax.jit
def _ordered(draw: Draw, number: Any) -> Int[Array, "n"]:
    """The rows of a run in the order of an epoch."""
    key = jax.random.fold_in(jax.random.fold_in(draw.key, SHUFFLE), number)
    return jax.random.permutation(key, draw.rows)


def _params(run: ConvolutionalRun, draw: Draw, images: Held) -> Any:
    """The encoder, and what the projector trains, at step 0."""
    key, channels = jax.random.fold_in(draw.key, INIT), images.pixels.shape[-1]
    kind: Any = {"norm": run.norm, "linear": run.linear_block}
    encoder = resnet.Encoder(key, channels, run.width, run.blocks, **kind)
    return encoder, _projector(run, draw).params


def _projector(run: ConvolutionalRun, draw: Draw) -> projectors.Projector:
    key = jax.random.fold_in(draw.key, PROJECTOR)
    return run.projector.made(key, run.representation_width)


def _loss(run: ConvolutionalRun, draw: Draw) -> Contrast:
    return contrast(_projector(run, draw).apply, run.temperature)


def _optimizer(run: ConvolutionalRun, params: Any) -> optax.GradientTransformation:
    """The optimiser of a run; the scales and shifts of norms do not decay."""
    encoder, trained = params
    decayed = (
        jax.tree.map(lambda leaf: leaf.ndim > 1, encoder),
        jax.tree.map(lambda _: True, trained),
    )
    return optimizer(run, decayed)


def _views(run: ConvolutionalRun, key: PRNGKeyArray, stored: Bytes) -> Float[Array, "M H W C"]:
    """Two views of every image, one below the other, as the encoder sees them."""
    pixels = pixels_of(stored)
    keys = jax.random.split(key)
    return centred(
        jnp.concatenate([augment.simclr_view(k, pixels, run.crop, run.jitter) for k in keys])
    )
