"""Independent pieces of work, such as theory, done side by side in as many processes as there are
cores, or ahead of when they are wanted.
"""

import functools
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from joblib import Parallel, cpu_count, delayed

from linsim.config import CannotGoOn
from linsim.sweeps.elsewhere import with_its_parent

Found = TypeVar("Found")
ENDED = "a process that computes theory was ended (out of memory?)"


def side_by_side(function: Callable[..., Found], calls: Sequence[dict[str, Any]]) -> list[Found]:
    """The function's values for keyword arguments, in order. Args: as `as_they_end`."""
    return in_order(as_they_end(function, calls))


def as_they_end(
    function: Callable[..., Found], calls: Sequence[dict[str, Any]]
) -> Iterator[tuple[int, Found]]:
    """The function's values for keyword arguments, each as soon as it is there, with its place
    among the calls, which are begun in their order.

    The processes are told the function by its name, and stay for the next time. How many there are
    at most, the environment variable LOKY_MAX_CPU_COUNT says.
    Args: a function of a module; its arguments, plain or of NumPy.
    """
    if min(cpu_count(), len(calls)) < 2:
        return ((place, function(**call)) for place, call in enumerate(calls))
    return _elsewhere(function, calls)


def begin(
    function: Callable[..., Found], calls: Sequence[dict[str, Any]]
) -> Callable[[], list[Found]]:
    """Begin to compute the function's values in other processes. Only while this one has no other
    threads, as before JAX is imported, since the others are forked from it.

    Args: as `as_they_end`. Returns: what waits for the values and returns them, in order; where
    there is no other core, or forking is not safe, it computes them.
    """
    if cpu_count() < 2 or sys.platform != "linux":
        return functools.cache(lambda: side_by_side(function, calls))
    workers = min(cpu_count(), len(calls))
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("fork"))
    asked = partial(with_its_parent, os.getpid(), function)
    with _its_end_is_told():
        begun = [pool.submit(asked, **call) for call in calls]
    return functools.cache(lambda: _values(begun))


def _values(begun: Sequence[Future[Found]]) -> list[Found]:
    with _its_end_is_told():
        return [each.result() for each in begun]


@contextmanager
def _its_end_is_told() -> Iterator[None]:
    """A process may end before all is asked for, or before all is done."""
    try:
        yield
    except BrokenProcessPool as error:
        raise CannotGoOn(ENDED) from error


def _elsewhere(
    function: Callable[..., Found], calls: Sequence[dict[str, Any]]
) -> Iterator[tuple[int, Found]]:
    workers = Parallel(n_jobs=min(cpu_count(), len(calls)), return_as="generator_unordered")
    asked = delayed(partial(with_its_parent, os.getpid(), _placed, function))
    begun = workers(asked(place, call) for place, call in enumerate(calls))
    return _unless_ended(begun)  # type: ignore[arg-type]


def _unless_ended(begun: Iterator[Found]) -> Iterator[Found]:
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    try:
        yield from begun
    except TerminatedWorkerError as error:
        raise CannotGoOn(ENDED) from error


def _placed(function: Callable[..., Found], place: int, call: dict[str, Any]) -> tuple[int, Found]:
    return place, function(**call)


def in_order(found: Iterable[tuple[int, Found]]) -> list[Found]:
    """The values of `as_they_end`, once they are all there, in the order of the calls."""
    by_place = dict(found)
    return [by_place[place] for place in sorted(by_place)]
