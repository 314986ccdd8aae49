"""Sweeps that are killed, shared, interrupted, or run out of disk."""

import contextlib
import os
import random
import resource
import shutil
import signal
import time
from pathlib import Path

import pytest
from helpers import chunks, command, same_bytes, started

TINY = [
    "--noise",
    "0.5",
    "1",
    "2",
    "--seeds",
    "4",
    "--dim",
    "4",
    "--noisy-dims",
    "2",
    "--batch-size",
    "16",
]
TINY += ["--dataset-size", "64", "--steps", "400", "--chunk-size", "1"]


def start(folder, *flags):
    return started("strong_aug", *TINY, "--out", folder, *flags)


def kill_when(process, condition, timeout=120):
    """SIGKILL as soon as the condition holds. Returns: whether the process was still alive."""
    deadline = time.monotonic() + timeout
    while process.poll() is None and not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    alive = process.poll() is None
    process.kill()
    process.communicate()
    return alive


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    out, error = start(folder).communicate(timeout=300)
    assert "verdict" in out, error
    return folder


@pytest.mark.slow
def test_killed_and_resumed_is_bit_identical(undisturbed, tmp_path):
    for done in (1, 9):
        assert kill_when(start(tmp_path), lambda done=done: chunks(tmp_path) >= done)
    finished = command("strong_aug", *TINY, "--out", tmp_path)
    assert "verdict" in finished.stdout, finished.stderr
    assert same_bytes(tmp_path, undisturbed)
    assert sorted(os.listdir(tmp_path)) == ["strong_aug.nc", "strong_aug.png", "strong_aug.runs"]
    stamp = (tmp_path / "strong_aug.nc").stat().st_mtime_ns
    again = command("strong_aug", *TINY, "--out", tmp_path)
    assert again.stdout == finished.stdout
    assert (tmp_path / "strong_aug.nc").stat().st_mtime_ns == stamp
    before = chunks(tmp_path)
    other = command("strong_aug", *TINY, "--out", tmp_path, "--seeds", "5")
    assert other.returncode == 0
    assert chunks(tmp_path) == before + 3  # one more seed for each of three noises


@pytest.mark.slow  # shares are tested by `test_shares_partition_the_chunks`, deaths by the next
def test_two_processes_share_a_sweep_and_one_dies(undisturbed, tmp_path):
    flags = ["--num-processes", "2", "--process-id"]
    survivor, victim = (start(tmp_path, *flags, str(index)) for index in range(2))
    assert kill_when(victim, lambda: chunks(tmp_path) >= 3)
    out, error = survivor.communicate(timeout=300)
    assert survivor.returncode == 0, error
    assert "process 0 of 2 is done" in out
    assert not (tmp_path / "strong_aug.nc").exists()
    again = [start(tmp_path, *flags, str(index)) for index in range(2)]
    said = "".join(process.communicate(timeout=300)[0] for process in again)
    assert "verdict" in said
    assert same_bytes(tmp_path, undisturbed)


@pytest.mark.slow  # `test_processes_that_die_leave_the_rest` is its faster twin
def test_processes_started_here_make_the_same_bytes_even_if_one_dies(undisturbed, tmp_path):
    """One is stopped at its first chunk, and killed when the other has trained two."""
    parent = start(tmp_path, "--num-processes", "2")
    deadline = time.monotonic() + 120
    while len(workers := _workers(parent.pid)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(workers[0], signal.SIGSTOP)
    while chunks(tmp_path) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(workers[0], signal.SIGKILL)
    out, error = parent.communicate(timeout=300)
    assert "verdict" in out, error
    assert same_bytes(tmp_path, undisturbed)


def _workers(pid):
    """The children that run their own command: until then a child borrows its parent's memory, and
    stopped there it would stop its parent, which waits for it in vfork.
    """
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if "popen_loky" in _words(child)]


def _words(pid):
    with contextlib.suppress(OSError):  # a child of a moment, for instance git
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


@pytest.mark.slow
def test_twenty_random_kills(undisturbed, tmp_path):
    rng = random.Random(0)
    kills = 0
    while kills < 20:
        process = start(tmp_path)
        moment = time.monotonic() + rng.uniform(1, 9)
        if not kill_when(process, lambda moment=moment: time.monotonic() > moment):
            assert same_bytes(tmp_path, undisturbed)
            shutil.rmtree(tmp_path / "strong_aug.runs")
            for path in tmp_path.glob("strong_aug.*"):
                path.unlink()
        else:
            kills += 1
    assert command("strong_aug", *TINY, "--out", tmp_path).returncode == 0
    assert same_bytes(tmp_path, undisturbed)


@pytest.mark.slow
def test_interrupt_and_full_disk_are_one_sentence(undisturbed, tmp_path):
    """A file-size limit stands in for a full disk: chunks fit, the merged file does not."""
    process = start(tmp_path)
    while chunks(tmp_path) < 2:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error.count("\n") == 1
    assert error.startswith("error: interrupted; runs that ended stay")
    largest = max(path.stat().st_size for path in (tmp_path / "strong_aug.runs").glob("*.nc"))
    process = start(tmp_path)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (largest + 1, largest + 1))
    _, error = process.communicate(timeout=300)
    assert process.returncode == 1
    assert error.count("\n") == 1
    assert "strong_aug.nc could not be written (File too large); runs that ended stay" in error
    assert chunks(tmp_path) == 12
    assert command("strong_aug", *TINY, "--out", tmp_path).returncode == 0
    assert same_bytes(tmp_path, undisturbed)


def test_interrupted_before_anything_is_done(tmp_path):
    process = start(tmp_path / "out")
    while not (tmp_path / "out").exists():
        time.sleep(0.01)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error.startswith("error: interrupted")
    assert not list(tmp_path.rglob("*.part"))


def everything(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.mark.slow  # faster: `test_overwriting_leaves_everything_until_the_new_result_is_complete`
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_the_old_result_is_whole_whatever_happens_to_an_overwrite(undisturbed, tmp_path, how):
    shutil.copytree(undisturbed, tmp_path, dirs_exist_ok=True)
    before = everything(tmp_path)
    process = start(tmp_path, "--overwrite")
    while len(list((tmp_path / "strong_aug.runs.new").glob("*.nc"))) < 2:
        time.sleep(0.01)
        assert process.poll() is None
    process.send_signal(how)
    process.communicate(timeout=60)
    after = everything(tmp_path)
    assert all(after[path] == content for path, content in before.items())
    done = command("strong_aug", *TINY, "--out", tmp_path, "--overwrite")
    assert done.returncode == 0, done.stderr
    assert same_bytes(tmp_path, undisturbed)
    assert not (tmp_path / "strong_aug.runs.new").exists()
    assert chunks(tmp_path) == 12
