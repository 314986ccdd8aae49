"""What the guided pages compute live: two layers in time, and what DirectCLR trains."""

from functools import cache, partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import linsim
from linsim import spectra
from linsim.images import residual
from linsim.images.projectors import LowRankDiagonal
from linsim.images.run import contrast, gradient_spectra
from linsim.training import data, recording
from linsim.training.names import Activation, NoiseShape
from linsim.training.starts import Gaussian

WIDTH = 8  # of the two layers
STEPS = 2000
RATE = 0.04
NOISE: dict[NoiseShape, float] = {"graded": 1.3, "block": 1.0}
GROWN = 0.1  # part of the largest singular value of the product from which a mode has grown

DIM, REPRESENTATION, SAMPLES = 16, 16, 64  # of the encoder, and of its batch
TEMPERATURE, DIRECT_RATE, DIRECT_STEPS = 0.2, 0.1, 200
Block = Literal["none", "linear", "relu"]


class TwoLayers(NamedTuple):
    """Two layers at T records: times (T,); the alignment matrix A (T, k, k); singular values of the
    product, by modes of the second layer (T, k); the bound on |A_kk| (T, k), 0 where it says
    nothing; the size |C| of the imbalance (T,).
    """

    times: np.ndarray
    alignment: np.ndarray
    strength: np.ndarray
    bound: np.ndarray
    imbalance: np.ndarray

    def grown(self, record: int) -> int:
        """How many modes have grown by then."""
        strength = self.strength[record]
        return int(np.sum(strength > GROWN * strength.max()))


@cache
def two_layers(size: float, noise_shape: NoiseShape) -> TwoLayers:
    """Train W2 W1 from random matrices of this size (root mean square of W x relative to x).

    Args: size; noise_shape: "graded", different in every coordinate, or "block", the same in all.
    """
    recorded = tuple(recording.record_steps(STEPS).tolist())
    run = linsim.Run(
        noise=NOISE[noise_shape],
        init_scale=size,
        learning_rate=RATE,
        start=Gaussian(),
        dim=WIDTH,
        hidden=(WIDTH,),
        noisy_dims=WIDTH,
        noise_shape=noise_shape,
        record_at=recorded,
    )
    found = {name: np.asarray(value) for name, value in _simulated(run).items()}
    return TwoLayers(
        np.asarray(run.times),
        found["alignment"],
        found["w1_singular_values"] * found["w2_singular_values"],
        np.nan_to_num(found["alignment_bound"]),
        found["imbalance_norm"],
    )


@jax.jit
def _simulated(run: linsim.Run) -> dict[str, Any]:
    return linsim.simulate(run, jax.random.key(0))


class Direct(NamedTuple):
    """What DirectCLR does to an encoder: singular values of the gradient at r and in front of the
    last block, largest first, (k,); how far each coordinate of r has moved in training, root mean
    square over the batch, (k,).
    """

    at_r: np.ndarray
    before: np.ndarray
    moved: np.ndarray

    def ranks(self) -> tuple[int, int]:
        """The ranks of both gradients."""
        here, before = spectra.numerical_rank(np.stack([self.at_r, self.before]))
        return int(here), int(before)


@cache
def direct(d0: int, block: Block) -> Direct:
    """Train an encoder by InfoNCE on r[:, :d0] alone, on one batch of Gaussian views.

    Args: d0; block: the last one, r = h + f(h) with f linear or with ReLU, or "none", r = h.
    """
    kinds: tuple[Activation, ...] = ("relu", "linear" if block == "linear" else "relu")
    kinds = kinds[:1] if block == "none" else kinds
    at_r, before, moved = _direct(float(d0), kinds)
    return Direct(*(np.asarray(each) for each in (at_r, before, moved)))


@partial(jax.jit, static_argnames="kinds")
def _direct(d0: Any, kinds: tuple[Activation, ...]) -> tuple[Any, Any, Any]:
    key_start, key_data = jax.random.split(jax.random.key(0))
    start = residual.residual(key_start, DIM, REPRESENTATION, len(kinds) - 1)
    x = jnp.concatenate(_views(key_data))
    projector = LowRankDiagonal(d0=d0).made(key_start, REPRESENTATION)
    loss = contrast(projector.apply, TEMPERATURE)

    def represented(params: residual.Residual) -> Any:
        return residual.residual_encoder(params, x, kinds)

    def step(params: residual.Residual, _: None) -> tuple[residual.Residual, None]:
        towards = jax.grad(lambda p: loss((), represented(p)[1], None))(params)
        return jax.tree.map(lambda w, g: w - DIRECT_RATE * g, params, towards), None

    h, r = represented(start)
    last = partial(_last, start, kinds)
    before, at_r = gradient_spectra(lambda r: loss((), r, None), last, h)
    end, _ = jax.lax.scan(step, start, None, DIRECT_STEPS)
    moved = jnp.sqrt(jnp.mean((represented(end)[1] - r) ** 2, axis=0))
    return at_r, before, moved


def _last(params: residual.Residual, kinds: tuple[Activation, ...], h: Any) -> Any:
    if len(kinds) == 1:
        return h
    return residual.residual_block(params.blocks[-1], h, kinds[-1])


def _views(key: Any) -> tuple[Any, Any]:
    """Two views of a batch, with noise of half the data's standard deviation in each."""
    key_clean, key_noise = jax.random.split(key)
    unit = jnp.eye(DIM)
    clean = data.gaussian(key_clean, SAMPLES, unit)
    return data.view_pair(key_noise, clean, 0.5 * unit, "two")
