"""Trains the explorer's setting: the very runs of its command, some at a time."""

from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import xarray as xr

from linsim.explore.setting import Setting
from linsim.studies.strong_aug import STUDY
from linsim.sweeps.archive import InFolder
from linsim.sweeps.runtime import prepare_folder


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
    with jax.enable_x64(settings.x64):
        STUDY.solve(settings, STUDY.engine(settings, archive=archive))


def save(setting: Setting, out: Path) -> Path:
    """Put the result of a setting, with theory and picture, into a folder as its command does.
    Returns: the path of the data. Raises: BadInput, CannotWrite, Diverged.
    """
    STUDY.run(out=out, **setting.given())
    return out / f"{STUDY.name}.nc"
