"""Shared by all tests: the table of tolerances, relative comparison, random cases, commands."""

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import forked
import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

from linsim.sweeps import results

ROOT = Path(__file__).parents[1]

# Relative tolerance = factor x machine epsilon x problem size (number of summed terms).
FACTOR = {np.dtype("float64"): 64.0, np.dtype("float32"): 64.0}


def relative_error(actual, expected) -> float:
    """Frobenius norm of the difference over that of `expected` (absolute where that is zero)."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    scale = np.linalg.norm(expected)
    return float(np.linalg.norm(actual - expected) / (scale if scale > 0 else 1.0))


def tolerance(dtype, size: int = 1) -> float:
    return FACTOR[np.dtype(dtype)] * float(np.finfo(dtype).eps) * size


def assert_close(actual, expected, size: int = 1, rtol: float | None = None) -> None:
    limit = tolerance(np.asarray(expected).dtype, size) if rtol is None else rtol
    error = relative_error(actual, expected)
    assert error <= limit, f"relative error {error:.3g} exceeds {limit:.3g}"


def assert_not_close(actual, expected, by: float = 1e-3) -> None:
    error = relative_error(actual, expected)
    assert error > by, f"relative error {error:.3g}: the wrong formula was not told apart"


class Case(NamedTuple):
    """A random linear model and batch: w (n, d); x, x_pos (N, d)."""

    w: jax.Array
    x: jax.Array
    x_pos: jax.Array

    @property
    def z(self):
        return jnp.asarray(np.asarray(self.x) @ np.asarray(self.w).T)

    @property
    def z_pos(self):
        return jnp.asarray(np.asarray(self.x_pos) @ np.asarray(self.w).T)


def make_case(
    seed: int, count: int, dim: int, out: int, scale: float = 1.0, dtype=jnp.float64
) -> Case:
    rng = np.random.default_rng(seed)
    w = scale * rng.standard_normal((out, dim)) / np.sqrt(dim)
    x = rng.standard_normal((count, dim))
    x_pos = x + 0.7 * rng.standard_normal((count, dim))
    return Case(*(jnp.asarray(v, dtype) for v in (w, x, x_pos)))


def _shapes() -> list[tuple[int, int, int]]:
    """(N, d, n): the corners of the range and two random shapes inside it; few, as every shape is
    compiled.
    """
    inside = np.random.default_rng(0).integers([2, 1, 1], [65, 33, 33], size=(2, 3))
    corners = [(2, 1, 1), (64, 32, 32), (2, 32, 1), (64, 1, 32)]
    return [*corners, *((int(count), int(d), int(n)) for count, d, n in inside)]


@st.composite
def cases(draw) -> Case:
    """Random models and batches with N in 2..64, d and n in 1..32."""
    shape = draw(st.sampled_from(_shapes()))
    return make_case(
        draw(st.integers(0, 2**31 - 1)), *shape, scale=draw(st.sampled_from([0.3, 1.0, 3.0]))
    )


def command(name, *flags, timeout=300) -> subprocess.CompletedProcess[str]:
    """Run a study's script in its own process, as a user types it."""
    return forked.run([str(ROOT / "experiments" / f"{name}.py"), *map(str, flags)], ROOT, timeout)


def started(name, *flags) -> subprocess.Popen[str]:
    """A study's script that runs in its own process."""
    words = [sys.executable, str(ROOT / "experiments" / f"{name}.py"), *map(str, flags)]
    return subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )


def chunks(folder: Path) -> int:
    """How many files of runs `strong_aug` keeps in a folder."""
    return len(list((folder / "strong_aug.runs").glob("*.nc")))


def same_bytes(folder: Path, reference: Path) -> bool:
    """Whether two results of `strong_aug` hold the same variables, to the last bit."""
    first, second = (results.load(each / "strong_aug.nc") for each in (folder, reference))
    assert set(first.variables) == set(second.variables)
    return all(
        first[name].values.tobytes() == second[name].values.tobytes() for name in first.variables
    )


def console(*words, timeout=300, cwd=None) -> subprocess.CompletedProcess[str]:
    """Run the console command `linsim` in its own process."""
    return forked.run(["-m", "linsim", *map(str, words)], cwd or Path.cwd(), timeout)
