"""Which share of a sweep a process takes."""

import dataclasses

import pytest

from linsim.config import BadInput
from linsim.sweeps import cluster
from linsim.sweeps.settings import Execution

SLURM = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "2", "SLURM_LOCALID": "0"}


def test_shares_are_found():
    flags = Execution(num_processes=3, process_id=1)
    assert cluster.find(Execution(), {}) == cluster.Share(0, 1)
    assert cluster.find(flags, SLURM) == cluster.Share(1, 3)
    assert cluster.find(Execution(), SLURM) == cluster.Share(2, 4)


def test_several_processes_do_not_overwrite():
    overwriting = Execution(overwrite=True)
    with pytest.raises(BadInput, match="one process alone, here 4"):
        cluster.find(overwriting, SLURM)
    worker = dataclasses.replace(overwriting, num_processes=2, process_id=1)
    with pytest.raises(BadInput, match="one process alone, here 2"):
        cluster.find(worker, {})
