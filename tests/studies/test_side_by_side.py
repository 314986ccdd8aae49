"""Work that is done side by side or ahead, in processes that are told a function by its name."""

import os
import signal
import subprocess
import sys

import pytest
from joblib.externals.loky.process_executor import TerminatedWorkerError

from linsim.config import CannotGoOn
from linsim.studies import side_by_side


def halved(number):
    return number / 2, os.getpid()


def ended(number):
    os.kill(os.getpid(), signal.SIGKILL)


CALLS = [{"number": number} for number in (4, 2, 8)]


def test_values_come_in_the_order_of_the_calls():
    assert side_by_side.in_order([(2, "c"), (0, "a"), (1, "b")]) == ["a", "b", "c"]
    found = side_by_side.side_by_side(halved, CALLS)
    assert [value for value, _ in found] == [2, 1, 4]


def test_one_call_or_one_core_needs_no_other_process(monkeypatch):
    assert side_by_side.side_by_side(halved, CALLS[:1]) == [(2, os.getpid())]
    monkeypatch.setattr(side_by_side, "cpu_count", lambda: 1)
    assert side_by_side.side_by_side(halved, CALLS)[2] == (4, os.getpid())
    assert side_by_side.begin(halved, CALLS)()[2] == (4, os.getpid())


BEGUN = """
import os, sys
sys.path.insert(0, sys.argv[1])
import test_side_by_side as here
from linsim.studies import side_by_side

side_by_side.cpu_count = lambda: 2
begun = side_by_side.begin(getattr(here, sys.argv[2]), here.CALLS)
values = begun()
assert begun() is values
print([value for value, _ in values], os.getpid() in {process for _, process in values})
"""


def begun(function):
    """What a process prints that has begun all calls ahead, before it has any threads."""
    words = [sys.executable, "-c", BEGUN, os.path.dirname(__file__), function]
    return subprocess.run(words, capture_output=True, text=True, timeout=60)


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="forking is not safe")


@on_linux
def test_what_is_begun_is_computed_in_other_processes():
    assert begun("halved").stdout == "[2.0, 1.0, 4.0] False\n"


@on_linux
def test_a_process_that_is_ended_is_told_in_a_sentence():
    assert CannotGoOn.__name__ in begun("ended").stderr
    assert side_by_side.ENDED in begun("ended").stderr


def test_processes_that_joblib_has_lost_are_told_in_a_sentence(monkeypatch):
    def lost(tasks):
        yield 0, 2.0
        raise TerminatedWorkerError

    monkeypatch.setattr(side_by_side, "cpu_count", lambda: 2)
    monkeypatch.setattr(side_by_side, "Parallel", lambda **_: lost)
    with pytest.raises(CannotGoOn, match="was ended"):
        side_by_side.side_by_side(halved, CALLS)
