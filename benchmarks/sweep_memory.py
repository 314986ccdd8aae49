"""Peak memory of a sweep and of one ten times as large, at the same chunk size: `python
benchmarks/sweep_memory.py`.

Each sweep runs in a process of its own through `experiments/phase_diagram.py`; the figure is that
process's largest resident set.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

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
    "--num-processes",
    "1",
]


def peak(seeds: int) -> float:
    """Largest resident set, in MiB, of a sweep of 128 x `seeds` runs."""
    with tempfile.TemporaryDirectory() as folder:
        words = [
            sys.executable,
            str(ROOT / "experiments" / "phase_diagram.py"),
            *FLAGS,
            "--seeds",
            str(seeds),
            "--out",
            folder,
        ]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise RuntimeError(f"the sweep of {seeds} seeds ended with status {status}")
    return usage.ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)


def main() -> None:
    """Print both peaks and their ratio."""
    peak(1)  # compiles what both will find
    small, large = peak(8), peak(80)
    sizes = f"1,024 runs {small:.0f} MiB, 10,240 runs {large:.0f} MiB"
    print(f"{sizes}, ratio {large / small:.3f} (chunks of 16 runs)")


if __name__ == "__main__":
    main()
