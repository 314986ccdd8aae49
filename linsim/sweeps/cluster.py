"""Processes that were started together to share a sweep, as srun does: which one this is, and which
device it takes.

Each process solves its own chunks and writes its own files into a folder that all of them see.
Nothing is communicated, so JAX's distributed service is not started unless a coordinator is named:
in jax 0.10 that service ends every process within seconds of the coordinator's death, while here a
dead process costs its current chunk only.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from linsim.config import require
from linsim.sweeps.settings import Execution


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
    require(not settings.overwrite or share.count == 1, "overwrite", "", allowed)
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
