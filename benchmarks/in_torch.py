"""The workloads in PyTorch: an eager loop with autograd and an optimizer, as the paper's released
toy has it; torch.func.
"""

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from scipy.integrate import solve_ivp

from benchmarks.workloads import NOISE, RATE, Descent


def loss(layers: tuple[torch.Tensor, ...], x: torch.Tensor, x_pos: torch.Tensor) -> torch.Tensor:
    """Distance InfoNCE, mean over anchors, as cross-entropy of the scores; the positive's stands on
    the diagonal.
    """
    z, z_pos = x, x_pos
    for w in layers:
        z, z_pos = z @ w.T, z_pos @ w.T
    half = 0.5 * (z * z).sum(1)
    scores = z @ z.T - half[:, None] - half[None, :]
    positive = -0.5 * ((z - z_pos) ** 2).sum(1)
    scores = torch.where(torch.eye(len(x), dtype=torch.bool), positive[:, None], scores)
    return torch.nn.functional.cross_entropy(scores, torch.arange(len(x)))


def eager(work: Descent) -> np.ndarray:
    """Final products of all runs, one run after another, each by backward() and SGD."""
    torch.manual_seed(1)
    found = []
    for number in range(len(work.x)):
        layers = tuple(torch.tensor(w[number], requires_grad=True) for w in work.layers)
        x, x_pos = torch.from_numpy(work.x[number]), torch.from_numpy(work.x_pos[number])
        optimizer = torch.optim.SGD(layers, lr=RATE)
        for _ in range(work.steps):
            if work.fresh:
                x, x_pos = _fresh(x)
            optimizer.zero_grad()
            loss(layers, x, x_pos).backward()
            optimizer.step()
        found.append(_product(layers))
    return torch.stack(found).detach().numpy()


def together(work: Descent) -> np.ndarray:
    """The same with all runs side by side: vmap(grad) and a hand-written update."""
    torch.manual_seed(1)
    layers = tuple(torch.tensor(w) for w in work.layers)
    x, x_pos = torch.from_numpy(work.x), torch.from_numpy(work.x_pos)
    gradient = torch.func.vmap(torch.func.grad(loss))
    for _ in range(work.steps):
        if work.fresh:
            x, x_pos = _fresh(x)
        layers = tuple(
            w - RATE * g for w, g in zip(layers, gradient(layers, x, x_pos), strict=True)
        )
    return _product(layers).numpy()


def one_gradient(w: np.ndarray, x: np.ndarray, x_pos: np.ndarray) -> np.ndarray:
    """dL/dW of one batch."""
    weights = torch.tensor(w, requires_grad=True)
    loss((weights,), torch.from_numpy(x), torch.from_numpy(x_pos)).backward()
    assert weights.grad is not None
    return weights.grad.numpy()


def flow(work: Descent, time: float, tolerance: float) -> np.ndarray:
    """Gradient flow of each run to `time`: autograd inside SciPy's DOP853."""
    found = []
    for w, x, x_pos in zip(work.layers[0], work.x, work.x_pos, strict=True):

        def velocity(_, flat, x=x, x_pos=x_pos):
            return -one_gradient(flat.reshape(x.shape[1], -1), x, x_pos).ravel()

        solved = solve_ivp(
            velocity, (0, time), w.ravel(), "DOP853", rtol=tolerance, atol=tolerance, t_eval=[time]
        )
        found.append(solved.y[:, -1].reshape(w.shape))
    return np.stack(found)


def _fresh(like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn_like(like)
    half = x.shape[-1] // 2
    return x, torch.cat(
        [x[..., :half], x[..., half:] + NOISE * torch.randn_like(x[..., half:])], dim=-1
    )


def _product(layers: tuple[torch.Tensor, ...]) -> torch.Tensor:
    out = layers[0]
    for layer in layers[1:]:
        out = layer @ out
    return out
