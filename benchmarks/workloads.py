"""What is timed, and from where: plain NumPy arrays that every implementation starts from.

All train the distance loss (mean over anchors) by plain gradient descent on batches of
additive-noise view pairs.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

RATE = 0.1
NOISE = 0.5  # of the last half of the coordinates, one view


class Descent(NamedTuple):
    """Many runs side by side. layers: (runs, d, d) each; x, x_pos (runs, N, d); fresh: new samples
    in every step instead.
    """

    layers: tuple[np.ndarray, ...]
    x: np.ndarray
    x_pos: np.ndarray
    steps: int
    fresh: bool = False


def descent(
    runs: int,
    steps: int,
    count: int,
    dim: int,
    *,
    depth: int = 1,
    fresh: bool = False,
    dtype: DTypeLike = np.float32,
) -> Descent:
    """Orthogonal layers of scale 0.3 (two: their square root), standard normal data."""
    rng = np.random.default_rng(0)
    scale = 0.3 ** (1 / depth)
    layers = tuple(
        scale * np.linalg.qr(rng.standard_normal((runs, dim, dim)))[0] for _ in range(depth)
    )
    x = rng.standard_normal((runs, count, dim))
    x_pos = x + NOISE * rng.standard_normal(x.shape) * (np.arange(dim) >= dim // 2)
    return Descent(
        tuple(w.astype(dtype) for w in layers), x.astype(dtype), x_pos.astype(dtype), steps, fresh
    )


def batch(count: int, dim: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One layer's weights and one batch of view pairs."""
    work = descent(1, 1, count, dim)
    return work.layers[0][0], work.x[0], work.x_pos[0]


def product(layers) -> np.ndarray:
    """The product W_L .. W_1 of every run."""
    out = layers[0]
    for layer in layers[1:]:
        out = layer @ out
    return np.asarray(out)
