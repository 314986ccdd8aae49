"""Independent pieces of theory, computed side by side in as many processes as there are cores."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from joblib import Parallel, cpu_count, delayed

Found = TypeVar("Found")


def side_by_side(function: Callable[..., Found], calls: Sequence[dict[str, Any]]) -> list[Found]:
    """The function's values for keyword arguments, in order.

    The processes are told the function by its name, and stay for the next time. How many there are
    at most, the environment variable LOKY_MAX_CPU_COUNT says.
    Args: a function of a module; its arguments, plain or of NumPy.
    """
    workers = min(cpu_count(), len(calls))
    if workers < 2:
        return [function(**call) for call in calls]
    found = Parallel(n_jobs=workers)(delayed(function)(**call) for call in calls)
    return cast(list[Found], found)
