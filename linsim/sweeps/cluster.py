"""Several processes, on one host or many, that share a sweep: which one this is, and which device
it takes.

Each process solves its own chunks and writes its own files into a folder that all of them see.
Nothing is communicated, so JAX's distributed service is not started unless a coordinator is named:
in jax 0.10 that service ends every process within seconds of the coordinator's death, while here a
dead process costs its current chunk only.
"""

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from linsim.config import require
from linsim.sweeps.settings import Execution

WORKER = "LINSIM_WORKER"  # set in the environment of processes that `workers` starts


@dataclass(frozen=True)
class Share:
    """This process is number `index` of `count`; it solves every `count`-th chunk."""

    index: int = 0
    count: int = 1


WHOLE = Share()


def find(settings: Execution, environment: Mapping[str, str]) -> Share:
    """The share by flags, else by Slurm's step (srun), else the whole. Raises: BadInput
    (--overwrite by several processes).
    """
    if settings.num_processes is not None and settings.process_id is not None:
        share = Share(settings.process_id, settings.num_processes)
    elif int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        share = Share(int(environment["SLURM_PROCID"]), int(environment["SLURM_STEP_NUM_TASKS"]))
    else:
        share = WHOLE
    allowed = (
        f"used by one process alone, here {share.count}: they would delete each other's results"
    )
    alone = share.count == 1 or is_worker(environment)
    require(not settings.overwrite or alone, "overwrite", "", allowed)
    return share


def join(settings: Execution, share: Share, environment: Mapping[str, str]) -> None:
    """Take this process's devices: connect to the coordinator if one is named; under Slurm, of
    several GPUs only the own one.
    """
    import jax

    already_one = "," not in environment.get("CUDA_VISIBLE_DEVICES", ",")
    if share.count > 1 and "SLURM_LOCALID" in environment and not already_one:
        jax.config.update("jax_cuda_visible_devices", environment["SLURM_LOCALID"])
    if settings.coordinator is not None:
        jax.config.update("jax_enable_recoverability", True)
        jax.distributed.initialize(settings.coordinator, share.count, share.index)
    if is_worker(environment):
        threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()


def is_worker(environment: Mapping[str, str]) -> bool:
    """Whether this process was started by `workers`: it solves its chunks and leaves the rest to
    its parent.
    """
    return WORKER in environment


@contextlib.contextmanager
def workers(
    settings: Execution, share: Share, command: Sequence[str], missing: int
) -> Iterator[Share]:
    """Start the other processes of this computer; yields this one's share, and waits for them at
    the end.

    Their number is --num-processes, or on CPUs one per core as long as each has its
    `runs_per_worker`. Whatever a worker leaves undone is missing afterwards and can be solved by a
    share of the whole.
    Args: settings; share; command: the words that started this process; empty if it was not a
    command, then it works alone; missing: runs that are still to be trained.
    """
    count = _worker_count(settings, missing) if share == WHOLE and command else 1
    started = [
        subprocess.Popen(
            [*command, "--num-processes", str(count), "--process-id", str(index)],
            env=os.environ | {WORKER: "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for index in range(1, count)
    ]
    try:
        yield Share(0, count) if started else share
        for process in started:
            process.wait()
    finally:
        for process in started:
            process.kill()


def _worker_count(settings: Execution, missing: int) -> int:
    import jax

    if missing == 0:
        return 1
    if settings.num_processes is not None:
        return settings.num_processes
    if jax.default_backend() != "cpu":
        return 1
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, min(cores, missing // settings.runs_per_worker))


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
