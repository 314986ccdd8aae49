"""How fast linsim is, beside what a user would run instead and beside the unavoidable work: `python
benchmarks/run.py`.

One process, one thread; the implementations of a workload take turns, so that what disturbs one
disturbs all. Prints a table, writes `benchmarks/results.json`, and puts the table into
docs/speed.md.
PyTorch is left out where it is not installed ('.[bench]').
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results.json"
THREADS = ("NPROC", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
WORKLOADS = ("R1", "R2", "R3", "R4", "R5", "R6")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only",
        nargs="+",
        choices=WORKLOADS,
        default=WORKLOADS,
        help="workloads; with all, files are written",
    )
    parser.add_argument("--repetitions", type=int, default=7, help="of each measurement")
    parser.add_argument(
        "--tiny",
        action="store_true",
        help="tiny sizes, to see that everything works; no file is written",
    )
    options = parser.parse_args()
    set_up()
    from benchmarks import measure, table

    sizes = measure.TINY if options.tiny else measure.FULL
    measured = provenance() | {"repetitions": options.repetitions, "sizes": sizes._asdict()}
    measured["workloads"] = {
        name: getattr(measure, name.lower())(sizes, options.repetitions) for name in options.only
    }
    print(table.render(measured))
    if not options.tiny and tuple(options.only) == WORKLOADS:
        RESULTS.write_text(json.dumps(measured, indent=1) + "\n")
        table.update(ROOT / "docs" / "speed.md", measured)


def set_up() -> None:
    """One thread everywhere, and linsim's own compiler settings. Call before NumPy, JAX or PyTorch
    are imported.
    """
    os.environ |= dict.fromkeys(THREADS, "1")
    sys.path.insert(0, str(ROOT))
    from linsim.sweeps.runtime import configure_jax

    configure_jax()


def provenance() -> dict[str, Any]:
    """Machine, versions and date."""
    held = {dist.name.lower() for dist in importlib.metadata.distributions()}
    packages = [name for name in ("jax", "numpy", "scipy", "torch") if name in held]
    return {
        "machine": f"{processor()}, {os.cpu_count()} cores of which all but R5 use 1",
        "versions": {"Python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in packages},
        "date": datetime.date.today().isoformat(),
    }


def processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(
            line.partition(":")[2].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
