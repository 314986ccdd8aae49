"""The runs of one chunk of a study, trained in a process that others tell what to do."""

import functools
import pickle
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from linsim.config import CannotGoOn
from linsim.studies import study
from linsim.sweeps.archive import InMemory, Kept
from linsim.sweeps.code import package_digest
from linsim.sweeps.runtime import configure_jax

_one_at_a_time = threading.Lock()  # where a worker has several threads


def trained(name: str, settings: bytes, code: str, states: Path, names: list[str]) -> list[Kept]:
    """Runs of a study.

    Args: name of the study; its settings, pickled; the digest of the code that was asked to train
    them; folder of the states of unfinished runs, if it can be seen from here; names of the runs.
    Raises: CannotGoOn.
    """
    if code != package_digest():
        raise CannotGoOn("a worker has other code of linsim than this command: update one of them")
    with _one_at_a_time:
        asked, its_settings, engine = _prepared(name, settings)
        import jax

        archive = InMemory(states)
        with jax.enable_x64(its_settings.x64):
            asked.solve(its_settings, replace(engine, archive=archive, only=frozenset(names)))
        return archive.kept


@functools.lru_cache(maxsize=4)
def _prepared(name: str, pickled: bytes) -> tuple[Any, Any, Any]:
    """A study, its settings and an engine, which keeps compiled programs from task to task."""
    settings = pickle.loads(pickled)
    configure_jax(devices=settings.devices, compilation_cache=settings.compilation_cache)
    from linsim.sweeps import traced

    asked = study(name)
    return asked, settings, asked.engine(settings, traced=traced.folder())
