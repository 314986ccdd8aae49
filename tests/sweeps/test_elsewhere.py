"""Chunks that a Dask scheduler's workers train: the same bytes, whatever dies."""

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

import dask.config
import pytest
import xarray as xr
from distributed import KilledWorker, LocalCluster
from helpers import chunks, command, same_bytes, started

from linsim.config import BadInput, CannotGoOn
from linsim.sweeps import elsewhere
from linsim.sweeps.settings import Execution

TINY = [
    "--noise",
    "0.5",
    "2",
    "--seeds",
    "4",
    "--dim",
    "4",
    "--noisy-dims",
    "2",
    "--batch-size",
    "16",
    "--dataset-size",
    "64",
]
TINY += ["--steps", "8000", "--learning-rate", "0.01", "--chunk-size", "1"]


@pytest.fixture
def scheduler(tmp_path):
    """A function that starts `dask scheduler` on a free port: its process, and its address. All
    that it and `dask worker` started is killed afterwards.
    """
    started = []

    def dask(*words):
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=tmp_path,
            start_new_session=True,
        )
        started.append(process)
        return process

    def start(workers):
        file = tmp_path / f"scheduler-{len(started)}.json"
        words = "scheduler --host 127.0.0.1 --port 0 --no-dashboard --scheduler-file"
        process = dask(*words.split(), str(file))
        deadline = time.monotonic() + 60
        while not file.exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        words = "worker --nthreads 1 --no-nanny --no-dashboard --scheduler-file"
        helpers = [dask(*words.split(), str(file)) for _ in range(workers)]
        return process, json.loads(file.read_text())["address"], helpers

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def start(folder, address):
    return started("strong_aug", *TINY, "--out", folder, "--scheduler", address)


@pytest.mark.slow
def test_workers_that_die_cost_nothing_and_a_scheduler_that_dies_costs_a_sentence(
    scheduler, tmp_path
):
    """A worker is killed, and then the scheduler; then all goes on from what is there, on another
    one.
    """
    assert command("strong_aug", *TINY, "--out", tmp_path / "alone").returncode == 0
    process, address, (victim, slow) = scheduler(workers=2)
    running = start(tmp_path / "shared", address)
    deadline = time.monotonic() + 120
    while chunks(tmp_path / "shared") < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(victim.pid, signal.SIGKILL)
    while chunks(tmp_path / "shared") < 4:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(slow.pid, signal.SIGSTOP)  # so that it cannot be done before
    os.killpg(process.pid, signal.SIGKILL)
    out, error = running.communicate(timeout=120)
    assert running.returncode == 1
    assert error == (
        f"error: the scheduler {address} does not answer any more; runs that ended stay, and "
        "the same command goes on from them\n"
    )
    assert not out
    assert 4 <= chunks(tmp_path / "shared") < 8
    _, address, _ = scheduler(workers=1)
    out, error = start(tmp_path / "shared", address).communicate(timeout=120)
    assert "verdict" in out, error
    assert same_bytes(tmp_path / "shared", tmp_path / "alone")


def test_tasks_of_a_scheduler_and_what_is_said_when_it_dies(tmp_path):
    """The faster twin of the test above, in threads of this process."""
    options = {"host": "127.0.0.1", "dashboard_address": None, "processes": False}
    go_on, chunks = tmp_path / "go-on", [["a", "b"], ["c"], ["d"]]

    def task(names):
        while names != ["a", "b"] and not go_on.exists():
            time.sleep(0.01)
        return [(xr.Dataset(attrs={"names": names}), names)]

    begun: Any = LocalCluster(n_workers=1, threads_per_worker=1, protocol="tcp", **options)
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}), begun as cluster:
        where = elsewhere.Scheduler(cluster.scheduler_address)
        found = where.trained(task, chunks)
        assert next(found)[0][1] == ["a", "b"]
        go_on.touch()
        assert sorted(names for kept in found for _, names in kept) == [["c"], ["d"]]
        go_on.unlink()
        found = where.trained(task, chunks)
        next(found)
        cluster.sync(cluster.scheduler.close)
        with pytest.raises(CannotGoOn, match=f"{where.address} does not answer any more"):
            next(found)
        go_on.touch()


def test_a_chunk_that_ends_every_worker_is_told():
    class Future:
        def result(self):
            raise KilledWorker("task", None, 3)  # type: ignore[arg-type]

    with pytest.raises(CannotGoOn, match="one chunk ended every worker of tcp://a:1"):
        elsewhere.Scheduler("tcp://a:1")._result(Future())


def test_processes_that_die_leave_the_rest():
    """One of two ends in its first chunk: what the other has not begun is left to the caller."""

    def task(names) -> Any:  # without a Dataset, which would cost importing xarray
        if names == ["0"]:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.1)
        return [(None, names)]

    chunks = [[str(number)] for number in range(60)]
    found = [kept[0][1] for kept in elsewhere.Processes(2).trained(task, chunks)]
    assert ["0"] not in found
    assert len(found) < 59
    calm = [kept[0][1] for kept in elsewhere.Processes(2).trained(task, chunks[1:9])]
    assert sorted(calm) == chunks[1:9]


@pytest.mark.slow
def test_a_scheduler_that_does_not_answer_is_one_sentence(tmp_path, monkeypatch):
    for address in ("tcp://127.0.0.1:9", "nonsense"):
        done = command("strong_aug", *TINY, "--out", tmp_path, "--scheduler", address)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1, done.stderr
        assert f"--scheduler {address} is not allowed" in done.stderr
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(BadInput, match=r"pip install 'linsim\[cluster\]'"):
        list(elsewhere.Scheduler("tcp://127.0.0.1:9").trained(lambda names: [], [["a"]]))


@pytest.mark.parametrize(
    ("address", "warned"),
    [
        ("tcp://127.0.0.1:8786", False),
        ("tcp://localhost:8786", False),
        ("tcp://[::1]:8786", False),
        ("tls://10.0.0.7:8786", False),
        ("tcp://10.0.0.7:8786", True),
        ("ucx://node7:8786", True),
    ],
)
def test_who_could_reach_a_scheduler_is_told(address, warned):
    assert (elsewhere.exposed(address) is not None) == warned


def test_where_chunks_are_trained(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)))
    assert elsewhere.chosen(Execution(), 0) is None
    assert elsewhere.chosen(Execution(scheduler="tcp://a:1"), 0) is None
    assert elsewhere.chosen(Execution(scheduler="tcp://a:1"), 1) == elsewhere.Scheduler("tcp://a:1")
    assert elsewhere.chosen(Execution(), 31) is None
    assert elsewhere.chosen(Execution(), 32) == elsewhere.Processes(2)
    assert elsewhere.chosen(Execution(), 1000) == elsewhere.Processes(4)
    assert elsewhere.chosen(Execution(num_processes=1), 1000) is None
    assert elsewhere.chosen(Execution(num_processes=3), 1) == elsewhere.Processes(3)
    with pytest.raises(BadInput, match="given without --num-processes"):
        Execution(scheduler="tcp://a:1", num_processes=2)
