"""Peak memory of a sweep and of one ten times as large, at the same chunk size: `python
benchmarks/sweep_memory.py`, for one process and for two.

Each sweep is a command of its own, `experiments/phase_diagram.py`; the figures are the largest
resident sets of the process that was started, which merges, and of those that train in its stead.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import psutil

ROOT = Path(__file__).parents[1]
FLAGS = [
    "--models",
    "one-view",
    "--grid",
    "16",
    "8",
    "--steps",
    "100",
    "--one-layer-time",
    "10",
    "--chunk-size",
    "16",
]
LOOK = 0.02  # seconds


class Peaks(NamedTuple):
    """Largest resident sets, in MiB: of the command, and of the largest process that it started."""

    command: float
    started: float


def peaks(seeds: int, processes: int) -> Peaks:
    """Those of a sweep of 128 x `seeds` runs."""
    with tempfile.TemporaryDirectory() as folder:
        script = str(ROOT / "experiments" / "phase_diagram.py")
        flags = ["--num-processes", str(processes), "--seeds", str(seeds), "--out", folder]
        command = psutil.Popen([sys.executable, script, *FLAGS, *flags], stdout=subprocess.DEVNULL)
        own, started = 0, 0
        while command.poll() is None:
            try:
                own = max(own, command.memory_info().rss)
                others = [each.memory_info().rss for each in command.children(recursive=True)]
            except psutil.NoSuchProcess:  # ended while it was looked at
                continue
            started = max([started, *others])
            time.sleep(LOOK)
    if command.returncode != 0:
        raise RuntimeError(f"the sweep of {seeds} seeds ended with status {command.returncode}")
    return Peaks(own / 2**20, started / 2**20)


def main() -> None:
    """Print all peaks and their ratios."""
    peaks(1, 1)  # compiles what all will find
    for processes in (1, 2):
        small, large = peaks(8, processes), peaks(80, processes)
        for name, few, many in zip(Peaks._fields, small, large, strict=True):
            if few:
                told = f"1,024 runs {few:.0f} MiB, 10,240 runs {many:.0f} MiB"
                print(f"{processes} processes, {name}: {told}, ratio {many / few:.3f}", flush=True)


if __name__ == "__main__":
    main()
