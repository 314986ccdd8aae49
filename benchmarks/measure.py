"""The workloads R1 to R6: who takes part, for how long, and whether the results agree. All times in
seconds.
"""

import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks import floor, in_linsim, in_numpy, workloads

ROOT = Path(__file__).parents[1]
DIM = 16
TORCH = importlib.util.find_spec("torch") is not None


class Sizes(NamedTuple):
    """Of R1 to R3: runs, steps, samples; of R4: two batches; of R5: a command's runs, steps and
    flags; of R6: runs, time.
    """

    runs: int
    steps: int
    count: int  # pyright: ignore[reportIncompatibleMethodOverride]
    medium: int
    large: int
    command_runs: int
    command_steps: int
    command: tuple[str, ...]
    flow_runs: int
    flow_time: float
    tolerance: float


FULL = Sizes(64, 200, 128, 8192, 65536, 3, 10_000, ("--noise", "2.0"), 8, 100.0, 1e-8)
TINY = Sizes(
    2, 5, 16, 32, 64, 1, 20, ("--noise", "2.0", "--steps", "20", "--seeds", "1"), 1, 1.0, 1e-8
)

Functions = Mapping[Any, Callable[[], Any]]
Measured = dict[str, Any]


def in_torch() -> ModuleType:
    """The workloads in PyTorch, on one thread, where it is installed."""
    import torch  # pyright: ignore[reportMissingImports]

    from benchmarks import in_torch as workloads_in_torch

    torch.set_num_threads(1)
    return workloads_in_torch


def take_turns(
    functions: Functions, repetitions: int
) -> tuple[dict[Any, list[float]], dict[Any, Any]]:
    """Seconds of each call, after one that is not counted, and what each function returned last."""
    seconds: dict[Any, list[float]] = {name: [] for name in functions}
    returned = {name: function() for name, function in functions.items()}
    for _ in range(repetitions):
        for name, function in functions.items():
            start = time.perf_counter()
            returned[name] = function()
            seconds[name].append(time.perf_counter() - start)
    return seconds, returned


def summary(times: list[float]) -> dict[str, float]:
    """Median and range."""
    return {"median": statistics.median(times), "min": min(times), "max": max(times)}


def compared(
    seconds: dict[Any, list[float]], returned: dict[Any, Any], *, same_batches: bool = True
) -> Measured:
    """The implementations' times, and how far their results lie from NumPy's: relative Frobenius
    norm, or of |W|^2 only.
    """
    results = {name: np.asarray(returned[name], np.float64) for name in seconds}
    if not same_batches:
        results = {name: np.mean(value**2) for name, value in results.items()}
    expected = results["NumPy"]
    apart = {
        name: float(np.linalg.norm(value - expected) / np.linalg.norm(expected))
        for name, value in results.items()
    }
    return {"seconds": {name: summary(times) for name, times in seconds.items()}, "apart": apart}


def _implementations(sizes: Sizes, **kind: Any) -> dict[Any, Callable[[], Any]]:
    work = workloads.descent(sizes.runs, sizes.steps, sizes.count, DIM, **kind)
    functions = {"linsim": in_linsim.descent(work), "NumPy": lambda: in_numpy.descend(work)}
    if TORCH:
        functions |= {
            "eager PyTorch": lambda: in_torch().eager(work),
            "torch.func": lambda: in_torch().together(work),
        }
    return functions


def r1(sizes: Sizes, repetitions: int) -> Measured:
    """Many runs on a fixed batch each, one layer; and the floor, timed in between."""
    tried = floor.candidates(sizes.count, DIM)
    parts = {number: candidate.function for number, candidate in enumerate(tried)}
    seconds, returned = take_turns(_implementations(sizes) | parts, repetitions)
    best = floor.best(tried, [seconds.pop(number) for number in parts])
    total = sizes.runs * sizes.steps * sum(part["seconds"] for part in best.values())
    return compared(seconds, returned) | {"floor": {"parts": best, "seconds": total}}


def r2(sizes: Sizes, repetitions: int) -> Measured:
    """As R1, with a fresh batch in every step."""
    return compared(
        *take_turns(_implementations(sizes, fresh=True), repetitions), same_batches=False
    )


def r3(sizes: Sizes, repetitions: int) -> Measured:
    """As R1, with two layers."""
    return compared(*take_turns(_implementations(sizes, depth=2), repetitions))


def r4(sizes: Sizes, repetitions: int) -> Measured:
    """One gradient of a medium batch, and of a large one, of which only linsim does not keep all
    pairs.
    """
    medium, large = (workloads.batch(count, DIM) for count in (sizes.medium, sizes.large))
    functions = {
        "linsim": in_linsim.one_gradient(*medium),
        "NumPy": lambda: -medium[0] @ in_numpy.contrast(*medium),
    }
    if TORCH:
        functions["eager PyTorch"] = lambda: in_torch().one_gradient(*medium)
    at_large, _ = take_turns({"linsim": in_linsim.one_gradient(*large)}, repetitions)
    words = [sys.executable, "-m", "benchmarks.peak", str(sizes.large), str(DIM)]
    peak = int(subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    return compared(*take_turns(functions, repetitions)) | {
        "large": summary(at_large["linsim"]),
        "peak_bytes": peak,
    }


def r5(sizes: Sizes, repetitions: int) -> Measured:
    """A whole command with an empty and with a full compilation cache, beside PyTorch's steps of
    its runs alone.
    """
    words = [sys.executable, str(ROOT / "experiments" / "strong_aug.py"), *sizes.command]

    def command(cache: str) -> None:
        with tempfile.TemporaryDirectory() as out:
            environment = os.environ | {"XDG_CACHE_HOME": cache, "PYTHONPATH": str(ROOT)}
            subprocess.run([*words, "--out", out], env=environment, capture_output=True, check=True)

    def cold() -> None:
        with tempfile.TemporaryDirectory() as cache:
            command(cache)

    with tempfile.TemporaryDirectory() as cache:
        work = workloads.descent(
            sizes.command_runs, sizes.command_steps, sizes.count, DIM, fresh=True
        )
        functions: dict[str, Callable[[], Any]] = {
            "linsim, cold": cold,
            "linsim, warm": lambda: command(cache),
        }
        if TORCH:
            functions["eager PyTorch, the steps alone"] = lambda: in_torch().eager(work)
        seconds, _ = take_turns(functions, repetitions)
    return {"seconds": {name: summary(times) for name, times in seconds.items()}}


def r6(sizes: Sizes, repetitions: int) -> Measured:
    """Gradient flow in float64 on a fixed batch each."""
    work = workloads.descent(sizes.flow_runs, 1, sizes.count, DIM, dtype=np.float64)
    to = sizes.flow_time, sizes.tolerance
    with jax.enable_x64(True):
        functions = {"linsim": in_linsim.flow(work, *to), "NumPy": lambda: in_numpy.flow(work, *to)}
        if TORCH:
            functions["eager PyTorch"] = lambda: in_torch().flow(work, *to)
        return compared(*take_turns(functions, repetitions))
