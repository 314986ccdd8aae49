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


def side_by_side(
    function: Callable[..., Found], calls: Sequence[dict[str, Any]]
) -> Iterator[Found]:
    """The function's values for keyword arguments, in order, each as soon as it is there.

    The processes are told the function by its name, and stay for the next time. How many there are
    at most, the environment variable LOKY_MAX_CPU_COUNT says.
    Args: a function of a module; its arguments, plain or of NumPy.
    """
    workers = min(cpu_count(), len(calls))
    if workers < 2:
        yield from (function(**call) for call in calls)
        return
    asked = delayed(partial(with_its_parent, os.getpid(), function))
    tasks = (asked(**call) for call in calls)
    yield from Parallel(n_jobs=workers, return_as="generator")(tasks)  # type: ignore[misc]
