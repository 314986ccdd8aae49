"""Chunks of runs trained elsewhere: by other processes of this computer, through joblib, or by the
workers of a Dask scheduler, wherever these are.

A task is the names of the runs of one chunk, and what comes back is what was trained, as an archive
keeps it. Whoever is free takes the next one; only the command itself writes, so that a process
that dies costs its current chunk alone.
"""

import functools
import ipaddress
import logging
import os
import signal
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from linsim.config import BadInput, CannotGoOn
from linsim.sweeps.settings import Execution

if TYPE_CHECKING:
    from linsim.sweeps.archive import Kept

Task = Callable[[list[str]], "list[Kept]"]
Found = TypeVar("Found")
PATIENCE = "10s"  # for a scheduler to answer


class Elsewhere(ABC):
    """Where chunks are trained."""

    @abstractmethod
    def trained(self, task: Task, chunks: Sequence[list[str]]) -> "Iterator[list[Kept]]":
        """The runs of each chunk, in the order in which they are done. Args: what trains the runs
        of these names; the names of each chunk's runs. Raises: BadInput, CannotGoOn.
        """


@dataclass(frozen=True)
class Processes(Elsewhere):
    """So many processes of this computer. If one of them dies, what is left is not trained."""

    count: int

    def trained(self, task: Task, chunks: Sequence[list[str]]) -> "Iterator[list[Kept]]":
        """See `Elsewhere`."""
        from joblib import Parallel, delayed
        from joblib.externals.loky.process_executor import TerminatedWorkerError

        workers = Parallel(n_jobs=self.count, return_as="generator_unordered")
        asked = delayed(partial(with_its_parent, os.getpid(), task))
        try:
            yield from workers(asked(names) for names in chunks)  # type: ignore[misc]
        except TerminatedWorkerError:
            return


def with_its_parent(parent: int, function: Callable[..., Found], *args: Any, **more: Any) -> Found:
    """The value of a function in a process that ends when its parent does, which alone answers
    Ctrl-C.

    Otherwise it would wait for minutes, with the command's output open. Args: the parent's number;
    the function, and what it is called with.
    """
    _watch(parent)
    return function(*args, **more)


@functools.cache
def _watch(parent: int) -> None:
    from joblib.externals.loky import process_executor

    # Where psutil is installed joblib ends a process that has grown by 300 MB, as by a leak. These
    # grow by the programs they compile, and would have to compile them again.
    process_executor._USE_PSUTIL = False
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


@dataclass(frozen=True)
class Scheduler(Elsewhere):
    """The workers of a Dask scheduler, which gives the chunk of one that dies to another."""

    address: str

    def trained(self, task: Task, chunks: Sequence[list[str]]) -> "Iterator[list[Kept]]":
        """See `Elsewhere`."""
        distributed = _distributed()
        for logger in ("distributed", "distributed.client"):  # what it has to say is said here
            logging.getLogger(logger).setLevel(logging.CRITICAL + 1)
        if (warning := exposed(self.address)) is not None:
            print(warning, file=sys.stderr)
        try:
            client = distributed.Client(self.address, timeout=PATIENCE, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise BadInput(
                f"--scheduler {self.address} is not allowed: it must be the address of a Dask "
                f"scheduler that answers, for instance tcp://127.0.0.1:8786 ({error})"
            ) from None
        with client:
            if not client.scheduler_info()["workers"]:
                print(f"no worker has joined {self.address} yet: waiting", file=sys.stderr)
            futures = client.map(task, list(chunks), pure=False)
            for future in distributed.as_completed(futures, loop=client.loop):
                yield self._result(future)

    def _result(self, future: Any) -> "list[Kept]":
        from concurrent.futures import CancelledError

        try:
            return future.result()
        except (CancelledError, OSError) as error:
            reason = "does not answer any more"
            raise CannotGoOn(f"the scheduler {self.address} {reason}") from error
        except _distributed().KilledWorker as error:
            raise CannotGoOn(
                f"one chunk ended every worker of {self.address} that took it (out of memory? then "
                "a smaller --chunk-size)"
            ) from error


def _distributed() -> Any:
    try:
        import distributed
    except ImportError:
        raise BadInput(
            "--scheduler is not allowed: Dask is not installed: pip install 'linsim[cluster]'"
        ) from None
    return distributed


def exposed(address: str) -> str | None:
    """A warning about a scheduler that others than this computer's users could reach unencrypted:
    whoever reaches it runs code as its owner.
    """
    parts = urlsplit(address)
    if parts.scheme == "tls" or _is_loopback(parts.hostname):
        return None
    return (
        f"warning: whoever reaches {address} can run code there, and it is not encrypted: use TLS "
        "(docs/running.md) or a network that you trust"
    )


def _is_loopback(host: str | None) -> bool:
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return host == "localhost"


def chosen(settings: Execution, missing: int) -> Elsewhere | None:
    """Where to train so many runs: --scheduler, else --num-processes or as many processes as there
    are cores, as long as each has its `runs_per_worker`; None for this process alone.
    """
    if missing == 0:
        return None
    if settings.scheduler is not None:
        return Scheduler(settings.scheduler)
    count = settings.num_processes or _worth_starting(settings, missing)
    return Processes(count) if count > 1 else None


def _worth_starting(settings: Execution, missing: int) -> int:
    import jax

    if jax.default_backend() != "cpu":
        return 1
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return min(cores, missing // settings.runs_per_worker)
