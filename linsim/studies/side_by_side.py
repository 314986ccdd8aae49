"""Independent pieces of work, such as theory, done side by side in as many processes as there are
cores.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

from joblib import Parallel, cpu_count, delayed

from linsim.sweeps.elsewhere import with_its_parent

Found = TypeVar("Found")


def side_by_side(function: Callable[..., Found], calls: Sequence[dict[str, Any]]) -> list[Found]:
    """The function's values for keyword arguments, in order. Args: as `as_they_end`."""
    found = dict(as_they_end(function, calls))
    return [found[place] for place in range(len(calls))]


def as_they_end(
    function: Callable[..., Found], calls: Sequence[dict[str, Any]]
) -> Iterator[tuple[int, Found]]:
    """The function's values for keyword arguments, each as soon as it is there, with its place
    among the calls, which are begun in their order.

    The processes are told the function by its name, and stay for the next time. How many there are
    at most, the environment variable LOKY_MAX_CPU_COUNT says.
    Args: a function of a module; its arguments, plain or of NumPy.
    """
    workers = min(cpu_count(), len(calls))
    if workers < 2:
        yield from ((place, function(**call)) for place, call in enumerate(calls))
        return
    asked = delayed(partial(with_its_parent, os.getpid(), _placed, function))
    tasks = (asked(place, call) for place, call in enumerate(calls))
    yield from Parallel(n_jobs=workers, return_as="generator_unordered")(tasks)  # type: ignore[misc]


def _placed(function: Callable[..., Found], place: int, call: dict[str, Any]) -> tuple[int, Found]:
    return place, function(**call)
