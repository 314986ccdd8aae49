"""Training a convolutional encoder r = pool(block(h)) under SimCLR's views behind a projector (paper, section 6).

Images are bytes on the device, and an argument of every compiled function. After every epoch the state is kept, so that a run
that is killed goes on from there, bit by bit as if it had not been: the key of a step is the run's folded with the step's number.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float, Int, PRNGKeyArray, UInt8

from linsim import augment, checkpoint, directclr, projectors, resnet
from linsim.arrays import Array
from linsim.settings import LINEAR_BLOCK

ONLINE_RATE = 1e-3  # of the detached probe's Adam
SETTLED = 1000  # images, on whose views the norms settle
INIT, PROJECTOR, STEPS, OBSERVE, SHUFFLE, SETTLE = range(1, 7)  # what a run's key is folded with; 0 draws its images

Bytes = UInt8[Array, "N H W C"]
Pixels = Float[Array, "N H W C"]


class Held(NamedTuple):
    """Images on the device: pixels (N, H, W, C) as bytes, labels (N,)."""

    pixels: Any
    labels: Any


class Run(NamedTuple):
    """What tells the runs of one setup apart: key; rows of the training images; d0 where it is swept, else None."""

    key: Any
    rows: Any
    d0: Any = None


class State(NamedTuple):
    """All that training changes: (encoder, projector's parameters), the online probe's (weights, offsets), the optimisers'."""

    params: tuple[resnet.Encoder, Any]
    optimizer: Any
    online: tuple[Any, Any]
    online_optimizer: Any


class Records(NamedTuple):
    """Of each epoch: mean loss, share of views that the online probe got right, seconds; nan before it is over."""

    loss: np.ndarray
    online_accuracy: np.ndarray
    seconds: np.ndarray

    def epochs(self) -> int:
        """How many are over."""
        return int(np.isfinite(self.seconds).sum())


def pixels_of(held: Bytes) -> Pixels:
    """Bytes as numbers from 0 to 1."""
    return held.astype(float) / 255


def centred(pixels: Pixels) -> Pixels:
    """What the encoder sees: values from 0 to 1 as -2 to 2, about standardised."""
    return 4 * pixels - 2


class Program:
    """The functions of one setup, each compiled once for all of its runs."""

    def __init__(self, config: Any, channels: int, classes: int) -> None:
        """Args: a ResnetConfig with one setup; channels of the images; how many classes they have."""
        self.config, self.channels, self.classes = config, channels, classes
        self.width, self.dtype = resnet.representation_width(config.width, config.blocks), resnet.compute_dtype()
        shapes = jax.eval_shape(self._params, Run(jax.random.key(0), None))
        decayed = jax.tree.map(lambda leaf: leaf.ndim > 1, shapes[0]), jax.tree.map(lambda leaf: True, shapes[1])
        self.optimizer, self.online_optimizer = directclr.optimizer(config, decayed), optax.adam(ONLINE_RATE)
        self.begin = jax.jit(self._begin)
        self.settle = jax.jit(self._settle)
        self.represent = jax.jit(self._represent)
        self.gradients = jax.jit(self._gradients)
        self._ordered, self._one_step, self._all_steps = jax.jit(self._order), jax.jit(self._step), jax.jit(self._steps)

    def steps_per_epoch(self, run: Run) -> int:
        """Whole batches among a run's images."""
        return len(run.rows) // self.config.batch_size

    def epoch(self, state: State, held: Held, run: Run, number: int) -> tuple[State, Float[Array, "2"]]:
        """Every image once in a random order: on accelerators one compiled loop, on the CPU one compiled call per step.

        XLA's CPU backend (jaxlib 0.10.2) runs convolutions inside a loop by plain nested loops, 30 times as slowly as outside.
        Args: state; training images; run; number of the epoch, the last of which may be a part of one.
        Returns: State, (mean loss, share of views that the online probe got right).
        """
        count = self.steps_per_epoch(run)
        first, last = number * count, min((number + 1) * count, self.config.steps)
        order, carry = self._ordered(run, number), (state, jnp.zeros(2))
        if jax.default_backend() == "cpu":
            for step in range(first, last):
                carry = self._one_step(carry, held, run, order, step, step - first)
        else:
            carry = self._all_steps(carry, held, run, order, first, last)
        state, sums = carry
        return state, sums / (last - first)

    def _params(self, run: Run) -> tuple[resnet.Encoder, Any]:
        config, key = self.config, jax.random.fold_in(run.key, INIT)
        kind = {"norm": config.norm, "linear": config.projectors.endswith(LINEAR_BLOCK)}
        return resnet.Encoder(key, self.channels, config.width, config.blocks, **kind), self._projector(run).params

    def _projector(self, run: Run) -> projectors.Projector:
        name, d0 = self.config.projectors.removesuffix(LINEAR_BLOCK), self.config.d0 if run.d0 is None else run.d0
        return projectors.named(name, jax.random.fold_in(run.key, PROJECTOR), self.width, d0)

    def _loss(self, run: Run) -> Callable:
        return directclr.loss(self._projector(run).apply, self.config.temperature)

    def _begin(self, run: Run) -> State:
        params: Any = self._params(run)
        online: Any = jnp.zeros((self.width, self.classes)), jnp.zeros(self.classes)
        return State(params, self.optimizer.init(params), online, self.online_optimizer.init(online))

    def _views(self, key: PRNGKeyArray, pixels: Bytes) -> Float[Array, "M H W C"]:
        """Two views of every image, one below the other, as the encoder sees them."""
        images, config = pixels_of(pixels), self.config
        return centred(
            jnp.concatenate([augment.simclr_view(k, images, config.crop, config.jitter) for k in jax.random.split(key)])
        )

    def _order(self, run: Run, epoch) -> Int[Array, "n"]:
        return jax.random.permutation(jax.random.fold_in(jax.random.fold_in(run.key, SHUFFLE), epoch), run.rows)

    def _step(self, carry, held: Held, run: Run, order, number, place):
        return self._learn(self._loss(run), carry, held, run, order, number, place)

    def _steps(self, carry, held: Held, run: Run, order, first, last):
        loss = self._loss(run)  # outside of the loop: a fixed random projector is made once
        return jax.lax.fori_loop(
            first, last, lambda step, carry: self._learn(loss, carry, held, run, order, step, step - first), carry
        )

    def _learn(self, loss: Callable, carry, held: Held, run: Run, order, number, place):
        """Step `number` of the run, on the batch at a place in the epoch's order."""
        (state, sums), config = carry, self.config
        key = jax.random.fold_in(jax.random.fold_in(run.key, STEPS), number)
        batch = jax.lax.dynamic_slice_in_dim(order, place * config.batch_size, config.batch_size)

        def objective(params, seen):
            _, r = params[0](seen, self.dtype)
            return loss(params[1], r, key), r

        seen = self._views(key, held.pixels[batch])
        (value, r), towards = jax.value_and_grad(objective, has_aux=True)(state.params, seen)
        updates, optimizer = self.optimizer.update(towards, state.optimizer, state.params)
        state = state._replace(params=optax.apply_updates(state.params, updates), optimizer=optimizer)
        if not config.online:
            return state, sums.at[0].add(value)
        state, right = learn_online(self.online_optimizer, state, r, jnp.tile(held.labels[batch], 2))
        return state, sums + jnp.stack([value, right])

    def _settle(self, encoder: resnet.Encoder, held: Held, run: Run) -> resnet.Encoder:
        """The encoder with its norms settled on two views each of SETTLED training images."""
        seen = self._views(jax.random.fold_in(run.key, SETTLE), held.pixels[run.rows[:SETTLED]])
        return encoder.settled(seen, self.dtype)

    def _represent(self, encoder: resnet.Encoder, pixels: Bytes) -> tuple[Array, Array]:
        """(h, pooled, and r) of images that are not augmented."""
        h, r = encoder(centred(pixels_of(pixels)), self.dtype)
        return encoder.pool(h), r

    def _gradients(self, state: State, held: Held, run: Run) -> Float[Array, "2 modes"]:
        """`directclr.gradient_spectra` of one augmented batch, in full precision.

        Behind the last block: the gradient for a shift of h that is common to all pixels of an image, (images, channels).
        """
        encoder, trained = state.params
        loss, rows = self._loss(run), run.rows[: self.config.batch_size]
        h, _ = encoder(self._views(jax.random.fold_in(run.key, OBSERVE), held.pixels[rows]))

        def block(shift):
            return encoder.represent(h + shift[:, None, None])

        with jax.default_matmul_precision("highest"):
            return directclr.gradient_spectra(lambda r: loss(trained, r, run.key), block, jnp.zeros((len(h), self.width)))


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


def train(program: Program, held: Held, run: Run, path: Path) -> Iterator[tuple[State, Records]]:
    """One run from where the checkpoint at `path` left it: yields at the start and after each epoch. Raises: CannotWrite."""
    epochs = -(-program.config.steps // program.steps_per_epoch(run))
    begun = program.begin(run), Records(*np.full((3, epochs), np.nan))
    state, records = checkpoint.load(begun, path) or begun
    yield state, records
    for epoch in range(records.epochs(), epochs):
        clock = time.perf_counter()
        state, means = program.epoch(state, held, run, epoch)
        loss, right = np.asarray(means)
        for column, value in zip(records, (loss, right, time.perf_counter() - clock), strict=True):
            column[epoch] = value
        checkpoint.save((state, records), path)
        yield state, records
