"""Tasks on a Dask scheduler: what a small chunk costs beside its training, and whether a worker
that is twice as slow takes half as many.

`python benchmarks/scheduler.py` starts a scheduler and two workers on loopback.
"""

import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import xarray as xr

from linsim.sweeps.archive import InFolder, Kept
from linsim.sweeps.elsewhere import Scheduler

CHUNKS = 2000


def small(names: list[str]) -> list[Kept]:
    """A chunk that needs no training: 16 runs of 80 spectra."""
    return [(xr.Dataset({"spectrum": (("run", "time", "mode"), np.zeros((1, 80, 16)))}), names)]


def paced(seconds: float, names: list[str]) -> list[Kept]:
    """A chunk that takes so long on the first worker, and twice as long on others."""
    from distributed import get_worker

    name = str(get_worker().name)
    time.sleep(seconds if name == "0" else 2 * seconds)
    return [(xr.Dataset(attrs={"worker": name}), names)]


def main() -> None:
    """Print both."""
    from distributed import LocalCluster

    chunks = [[f"run-{number}"] for number in range(CHUNKS)]
    options = {"host": "127.0.0.1", "dashboard_address": None}
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(n_workers=2, threads_per_worker=1, **options) as cluster,
    ):
        address: str = cluster.scheduler_address  # type: ignore[attr-defined]
        where, archive = Scheduler(address), InFolder(Path(folder))
        start = time.perf_counter()
        for kept in where.trained(small, chunks):
            for runs, names in kept:
                archive.save(runs, names)
        each = 1000 * (time.perf_counter() - start) / CHUNKS
        start = time.perf_counter()
        for number in range(200):
            archive.save(*small([f"alone-{number}"])[0])
        alone = 1000 * (time.perf_counter() - start) / 200
        print(f"{CHUNKS} small chunks: {each:.1f} ms each, writing its file alone {alone:.1f} ms")
        taken = Counter(
            kept[0][0].attrs["worker"] for kept in where.trained(partial(paced, 0.05), chunks[:300])
        )
        print(f"of 300 chunks a worker took {taken['0']}, and one twice as slow {taken['1']}")


if __name__ == "__main__":
    sys.exit(main())
