"""Trains the explorer's setting: the very runs of its command, some at a time."""

import atexit
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import jax
import xarray as xr

from linsim.explore import theory
from linsim.explore.setting import Setting
from linsim.studies.strong_aug import STUDY
from linsim.sweeps import traced
from linsim.sweeps.archive import InFolder
from linsim.sweeps.engine import Engine
from linsim.sweeps.runtime import prepare_folder

_one_at_a_time = threading.Lock()  # of all pages, since the cores are shared, and the folder
_compiled: dict[Any, dict[int, Any]] = {}
PATIENCE = 20.0  # seconds for what is being computed when the server ends


@atexit.register
def _finish() -> None:
    """Let what is being compiled or trained end: the interpreter must not end under a thread that
    is inside XLA.
    """
    _one_at_a_time.acquire(timeout=PATIENCE)


class Telling(InFolder):
    """A folder of runs that tells of each chunk as it is kept."""

    def __init__(self, folder: Path, tell: Callable[[xr.Dataset], object]) -> None:
        super().__init__(folder)
        self.tell = tell

    def save(self, runs: xr.Dataset, ids: Sequence[str]) -> None:
        """See `Archive`."""
        super().save(runs, ids)
        self.tell(runs)


def train(setting: Setting, out: Path, tell: Callable[[xr.Dataset], object]) -> None:
    """Train the runs of a setting that a folder lacks.

    Args: setting; out: the folder of results; tell: told of every chunk of runs, a Dataset over
    `run`. Raises: BadInput, CannotWrite.
    """
    settings = setting.settings(out=out)
    prepare_folder(out)
    archive = Telling(out / f"{STUDY.name}.runs", tell)
    with _one_at_a_time, jax.enable_x64(settings.x64):
        STUDY.solve(settings, _engine(settings, archive=archive))


def _engine(settings: Any, **where: Any) -> Engine:
    """One that knows what earlier ones have compiled, and what earlier commands have traced."""
    return STUDY.engine(settings, compiled=_compiled, traced=traced.folder(), **where)


def save(setting: Setting, out: Path) -> Path:
    """Put the result of a setting, with theory and picture, into a folder as its command does.
    Returns: the path of the data. Raises: BadInput, CannotWrite, Diverged.
    """
    with _one_at_a_time:
        STUDY.run(out=out, **setting.given())
    return out / f"{STUDY.name}.nc"


@cache
def warm_up(setting: Setting) -> threading.Thread:
    """Begin, beside all else and once, what makes the first moves and the first training of
    settings like this one quick: their runs are compiled, and what many pictures share is computed.
    The process ends once it is done.
    """
    thread = threading.Thread(target=_warm, args=(setting,), name="warm-up", daemon=True)
    thread.start()
    return thread


def _warm(setting: Setting) -> None:
    settings = setting.settings()
    with _one_at_a_time, jax.enable_x64(settings.x64):
        engine = _engine(settings)
        for sweep in STUDY.sweeps(settings, engine):
            engine.compile(sweep)
        for views in ("one", "two"):
            theory.ends(Setting(views=views))
        theory.answer(replace(setting, data_exponent=1.0))  # imports what draws anchors
