"""How long commands take beside another commit's, cold and warm: `python benchmarks/commands.py
COMMIT [COMMAND ..]`, where a command is one of the names in the table (default: all).

Both commits run each command in turn, in the same environment: once cold, without any program that
was kept, then several times warm, with all of them but without a result. Every process of a command
counts in its CPU time. Prints seconds and their ratios.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
COMMANDS = {
    "strong_aug --noise 2.0": ("experiments/strong_aug.py", "--noise", "2.0"),
    "strong_aug": ("experiments/strong_aug.py",),
    "alignment": ("experiments/alignment.py",),
    "singular_values": ("experiments/singular_values.py",),
    "depth": ("experiments/depth.py",),
    "verify": ("-m", "linsim", "verify"),
}
WARM = 3


class Taken(NamedTuple):
    """Seconds of one command: on the clock, and of all its processes' CPU."""

    wall: float
    cpu: float


def once(checkout: Path, words: tuple[str, ...], cache: Path) -> Taken:
    """One command of a checkout, with programs kept in `cache`."""
    environment = os.environ | {"PYTHONPATH": str(checkout), "XDG_CACHE_HOME": str(cache)}
    with tempfile.TemporaryDirectory() as folder:
        before, start = _cpu(), time.perf_counter()
        subprocess.run(
            [sys.executable, *(str(checkout / w) if w.endswith(".py") else w for w in words)],
            cwd=folder,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        return Taken(time.perf_counter() - start, _cpu() - before)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Print a table."""
    with tempfile.TemporaryDirectory() as folder:
        checkouts = {"before": Path(folder) / "before", "now": ROOT}
        words = ["git", "-C", str(ROOT), "worktree", "add", "--detach", str(checkouts["before"])]
        subprocess.run([*words, sys.argv[1]], check=True, capture_output=True)
        try:
            print(f"{'command':24}      {'before':>8} {'now':>8} {'ratio':>6}   s, clock (CPU)")
            for name in sys.argv[2:] or COMMANDS:
                command = COMMANDS[name]
                caches = {which: Path(folder) / f"cache-{name}-{which}" for which in checkouts}
                for state, times in (("cold", 1), ("warm", WARM)):
                    taken: dict[str, list[Taken]] = {which: [] for which in checkouts}
                    for _ in range(times):
                        for which, checkout in checkouts.items():
                            taken[which].append(once(checkout, command, caches[which]))
                    print(line(name, state, taken["before"], taken["now"]), flush=True)
        finally:
            words = ["git", "-C", str(ROOT), "worktree", "remove", "--force"]
            subprocess.run([*words, str(checkouts["before"])], check=True)


def line(name: str, state: str, before: list[Taken], now: list[Taken]) -> str:
    """A row of the table: medians, and the ratio of the times on the clock."""
    (wall, cpu), (wall_now, cpu_now) = (
        map(statistics.median, zip(*taken, strict=True)) for taken in (before, now)
    )
    return (
        f"{name:24} {state} {wall:8.1f} {wall_now:8.1f} {wall_now / wall:6.2f}   "
        f"({cpu:.1f}, {cpu_now:.1f})"
    )


if __name__ == "__main__":
    main()
