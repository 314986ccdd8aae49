"""The floor: the work that no implementation of the step can avoid, each part alone and at the best
rate found.

A step on N samples in d dimensions needs N^2 exponentials, the Gram product (N x d by d x N) and
the product of the exponentials with the data (N x N by N x d). The maximum, the sums and all
smaller products are left out. XLA's exponentials are fastest with their shifts and the excluded
diagonal in one loop, as here; alone they take half as long again.
"""

import math
import statistics
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

LOTS = (1, 4, 8, 16)  # runs side by side that are tried
REPEATS = 200  # of a part in one timing


class Candidate(NamedTuple):
    """One way to do one part of the work: a function that does it for `amount` run-steps."""

    part: str
    way: str
    function: Callable[[], object]
    amount: int


def candidates(count: int, dim: int) -> list[Candidate]:
    """All that are tried for batches of `count` samples in `dim` dimensions, in float32."""
    found = []
    for lot in LOTS:
        rng = np.random.default_rng(lot)
        x = rng.standard_normal((lot, count, dim), np.float32)
        square = -rng.random((lot, count, count), np.float32)
        ways = {"XLA": _in_xla(x, square)} | (
            {"torch": _in_torch(x, square)} if find_spec("torch") else {}
        )
        for way, parts in ways.items():
            found += [
                Candidate(part, f"{way}, {lot} at a time", each, lot * REPEATS)
                for part, each in parts.items()
            ]
    return found


def best(tried: list[Candidate], seconds: list[list[float]]) -> dict[str, dict[str, Any]]:
    """The fastest way for each part, and its median seconds per run-step. Args: candidates; the
    seconds of each one's calls.
    """
    found: dict[str, dict[str, Any]] = {}
    for candidate, times in zip(tried, seconds, strict=True):
        each = statistics.median(times) / candidate.amount
        if each < found.get(candidate.part, {"seconds": math.inf})["seconds"]:
            found[candidate.part] = {"way": candidate.way, "seconds": each}
    return found


def _in_xla(x: np.ndarray, square: np.ndarray) -> dict[str, Callable[[], object]]:
    """Each part REPEATS times inside one compiled loop; every result feeds the next, so that none
    is skipped.
    """
    dim = x.shape[-1]

    def repeated(step, *start):
        program = jax.jit(
            lambda *carry: jax.lax.fori_loop(0, REPEATS, lambda _, c: step(*c), carry)
        )
        held = tuple(map(jnp.asarray, start))
        return lambda: jax.block_until_ready(program(*held))

    def shifted(square, shift):
        exponents = square - shift[:, :, None] - shift[:, None, :]
        return jnp.where(jnp.eye(square.shape[-1], dtype=bool), 0.0, jnp.exp(exponents)), shift

    def gram(x, square):
        return x, jnp.einsum("bik,bjk->bij", x, x + 0 * square[:, :, :dim], precision="highest")

    def product(square, x):
        return square, 1e-3 * (square @ x)

    return {
        "exponentials": repeated(shifted, square, 2 + 0 * x[:, :, 0]),
        "Gram product": repeated(gram, x, square),
        "product with the data": repeated(product, square, x),
    }


def _in_torch(x: np.ndarray, square: np.ndarray) -> dict[str, Callable[[], object]]:
    import torch  # pyright: ignore[reportMissingImports]

    rows, matrix = torch.from_numpy(x), torch.from_numpy(square)
    wide, tall = torch.empty_like(matrix), torch.empty_like(rows)

    def repeated(step):
        def run():
            for _ in range(REPEATS):
                step()

        return run

    return {
        "exponentials": repeated(lambda: torch.exp(matrix, out=wide)),
        "Gram product": repeated(lambda: torch.bmm(rows, rows.transpose(1, 2), out=wide)),
        "product with the data": repeated(lambda: torch.bmm(matrix, rows, out=tall)),
    }
