"""The workloads in plain NumPy: the closed-form gradient, one run after another; flow by SciPy."""

import numpy as np
from scipy.integrate import solve_ivp

from benchmarks.workloads import NOISE, RATE, Descent, product


def contrast(w: np.ndarray, x: np.ndarray, x_pos: np.ndarray) -> np.ndarray:
    """X/N of the distance loss: dL/dW = -W X/N for the mean loss (paper, Lemma 2)."""
    z, step = x @ w.T, x_pos - x
    half = 0.5 * np.sum(z * z, axis=1)
    scores = z @ z.T - half[:, None] - half[None, :]
    np.fill_diagonal(scores, -0.5 * np.sum((step @ w.T) ** 2, axis=1))
    alpha = np.exp(scores - scores.max(axis=1, keepdims=True))
    alpha /= alpha.sum(axis=1, keepdims=True)
    np.fill_diagonal(alpha, 0)
    row, column = alpha.sum(axis=1), alpha.sum(axis=0)
    q = x.T @ (alpha @ x)
    return ((x * (row + column)[:, None]).T @ x - q - q.T - (step * row[:, None]).T @ step) / len(x)


def layer_updates(layers: list[np.ndarray], x: np.ndarray, x_pos: np.ndarray) -> list[np.ndarray]:
    """Minus the gradient of each of one or two layers."""
    w = product(layers)
    towards = w @ contrast(w, x, x_pos)
    return [towards] if len(layers) == 1 else [layers[1].T @ towards, towards @ layers[0].T]


def descend(work: Descent) -> np.ndarray:
    """Final products of all runs, (runs, d, d)."""
    rng = np.random.default_rng(1)
    found = []
    for number, (x, x_pos) in enumerate(zip(work.x, work.x_pos, strict=True)):
        layers = [w[number] for w in work.layers]
        for _ in range(work.steps):
            if work.fresh:
                x, x_pos = _fresh(rng, x)
            layers = [
                w + x.dtype.type(RATE) * update
                for w, update in zip(layers, layer_updates(layers, x, x_pos), strict=True)
            ]
        found.append(product(layers))
    return np.stack(found)


def _fresh(rng: np.random.Generator, like: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x = rng.standard_normal(like.shape, like.dtype)
    x_pos = x.copy()
    x_pos[:, x.shape[1] // 2 :] += like.dtype.type(NOISE) * rng.standard_normal(
        (len(x), -(-x.shape[1] // 2)), like.dtype
    )
    return x, x_pos


def flow(work: Descent, time: float, tolerance: float) -> np.ndarray:
    """Gradient flow of each run to `time` by DOP853."""
    found = []
    for w, x, x_pos in zip(work.layers[0], work.x, work.x_pos, strict=True):

        def velocity(_, flat, x=x, x_pos=x_pos):
            w = flat.reshape(x.shape[1], -1)
            return (w @ contrast(w, x, x_pos)).ravel()

        solved = solve_ivp(
            velocity, (0, time), w.ravel(), "DOP853", rtol=tolerance, atol=tolerance, t_eval=[time]
        )
        found.append(solved.y[:, -1].reshape(w.shape))
    return np.stack(found)
