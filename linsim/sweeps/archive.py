"""Trained runs in a folder, each under a name that says what it computes: none is trained twice.

    <out>/<name>.runs/<digest>.nc    some runs, as they were trained together; named after the
                                     SHA-256 of their names and of the file's bytes
    <out>/<name>.runs/<digest>.ids   the names of these runs, one a line
    <out>/<name>.nc                  the result of the latest command that ended, replaced only by
                                     a complete new one

A run's name (`run_id`) is a digest of everything that decides its numbers: its record, its key, the
precision, the code that computes it, and what is kept of it. Any command finds in the folder
whatever it shares with earlier ones. Files are written under another name and then renamed; a file
whose bytes do not match its name goes, and its runs are trained again.
"""

import hashlib
import io
import json
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from linsim.config import CannotGoOn
from linsim.sweeps import results

Kept = tuple[xr.Dataset, list[str]]  # runs that were trained together, and their names
OVERWRITE = ".new"  # ending of the folder that --overwrite trains into


def run_id(described: Mapping[str, Any]) -> str:
    """The name of a run. Args: everything that decides its numbers, as plain JSON values. Returns:
    24 hexadecimal digits.
    """
    return _digest(json.dumps(described, sort_keys=True).encode(), 24)


class Archive(ABC):
    """Where trained runs are kept."""

    @abstractmethod
    def held(self) -> set[str]:
        """The names of all runs that are there now."""

    @abstractmethod
    def save(self, runs: xr.Dataset, ids: Sequence[str]) -> None:
        """Keep runs, which lie along the dimension `run`. Raises: CannotWrite."""

    @abstractmethod
    def load(self, ids: Iterable[str]) -> Iterator[Kept]:
        """The runs of these names, some at a time: a Dataset, and what its runs are called."""

    @abstractmethod
    def state_path(self, name: str) -> Path:
        """Where an unfinished run keeps its state."""


class InMemory(Archive):
    """Runs that last as long as the process."""

    def __init__(self, states: Path | None = None) -> None:
        """Args: where unfinished runs keep their state, if that folder is there (default: in one
        that goes with this process).
        """
        self.kept: list[Kept] = []
        self._states = states
        self._own: tempfile.TemporaryDirectory[str] | None = None

    def held(self) -> set[str]:
        """See `Archive`."""
        return {name for _, names in self.kept for name in names}

    def save(self, runs: xr.Dataset, ids: Sequence[str]) -> None:
        """See `Archive`."""
        self.kept.append((runs, list(ids)))

    def load(self, ids: Iterable[str]) -> Iterator[Kept]:
        """See `Archive`."""
        wanted = set(ids)
        return ((runs, names) for runs, names in self.kept if wanted & set(names))

    def state_path(self, name: str) -> Path:
        """See `Archive`."""
        if self._states is not None and self._states.is_dir():
            return self._states / f"{name}.state"
        if self._own is None:
            self._own = tempfile.TemporaryDirectory(prefix="linsim-")
        return Path(self._own.name) / f"{name}.state"


class InFolder(Archive):
    """Runs in a folder that any number of processes read and write at the same time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[str, list[str]] = {}  # what the .ids files hold, each read once

    def held(self) -> set[str]:
        """See `Archive`."""
        return {name for names in self._files().values() for name in names}

    def save(self, runs: xr.Dataset, ids: Sequence[str]) -> None:
        """See `Archive`."""
        content, names = results.encode(runs), "\n".join(ids)
        digest = _seal(names, content)
        self._read.pop(digest, None)
        results.write(names.encode(), self.folder / f"{digest}.ids")
        results.write(content, self.folder / f"{digest}.nc")

    def load(self, ids: Iterable[str]) -> Iterator[Kept]:
        """See `Archive`."""
        missing = set(ids)
        for digest, names in self._files().items():
            if missing & set(names) and (content := self._content(digest)) is not None:
                missing -= set(names)
                yield results.load(io.BytesIO(content)), names

    def drop_damaged(self) -> None:
        """Remove the files that do not hold what they were written with."""
        for digest in self._files():
            self._content(digest)

    def take_over(self, other: "InFolder") -> None:
        """Move another folder's runs in here, in place of those of the same names."""
        new = other.held()
        superseded = [digest for digest, names in self._files().items() if set(names) <= new]
        self.folder.mkdir(exist_ok=True)
        for path in sorted(other.folder.iterdir()):
            path.replace(self.folder / path.name)
        for digest in set(superseded) - other._files().keys():
            for suffix in (".nc", ".ids"):
                (self.folder / (digest + suffix)).unlink(missing_ok=True)
        shutil.rmtree(other.folder, ignore_errors=True)

    def state_path(self, name: str) -> Path:
        """See `Archive`."""
        return self.folder / f"{name}.state"

    def _files(self) -> dict[str, list[str]]:
        """The names of the runs of each whole file."""
        found = {path.stem for path in self.folder.glob("*.nc")}
        for digest in sorted(found - self._read.keys()):
            try:
                self._read[digest] = (self.folder / f"{digest}.ids").read_text().split()
            except OSError:
                self._read[digest] = []
        return {digest: self._read[digest] for digest in sorted(found)}

    def _content(self, digest: str) -> bytes | None:
        """The bytes of a file; None if it has vanished, or is damaged, and then it goes."""
        path = self.folder / f"{digest}.nc"
        try:
            content = path.read_bytes()
        except OSError:
            return None
        if _seal("\n".join(self._read.get(digest, [])), content) == digest:
            return content
        path.unlink(missing_ok=True)
        return None


class Folder:
    """The folder of one study's results: its archive, and the result of the latest command.

    With `overwrite` runs are trained anew into a second archive, which takes the place of the first
    when the result is complete; until then everything that was there stays.
    """

    def __init__(
        self,
        out: Path,
        name: str,
        identity: Mapping[str, Any],
        *,
        overwrite: bool = False,
    ) -> None:
        """Args: out; name of the study; identity: what decides the result; overwrite."""
        self.out, self.name = out, name
        self.path = out / f"{name}.nc"
        self.identity = json.loads(json.dumps(identity, default=str))
        self._main = InFolder(out / f"{name}.runs")
        self._anew = InFolder(out / f"{name}.runs{OVERWRITE}")
        self.overwrite = overwrite
        if overwrite:
            shutil.rmtree(self._anew.folder, ignore_errors=True)
        self.archive = self._anew if overwrite else self._main
        self.archive.drop_damaged()

    def finished(self) -> xr.Dataset | None:
        """The result that is there, if it is just what this command asks for.

        It is read as bytes, which needs no lock that another reader or a network's file system may
        refuse. Raises: CannotGoOn for a file that is there and cannot be read: whoever wants its
        place must say so, since what cannot be read now may be a result.
        """
        if self.overwrite or not self.path.exists():
            return None
        try:
            dataset = results.load(io.BytesIO(self.path.read_bytes()))
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise CannotGoOn(
                f"{self.path} is there and cannot be read ({reason}): move it away, or choose "
                "another --out"
            ) from None
        return (
            dataset if json.loads(dataset.attrs.get("identity", "null")) == self.identity else None
        )

    def finish(self, dataset: xr.Dataset, figure: bytes, suffix: str) -> Path:
        """Put a complete result into place, and its picture. Returns: the picture's path. Raises:
        CannotWrite.
        """
        dataset = dataset.assign_attrs(identity=json.dumps(self.identity))
        picture = self.out / f"{self.name}.{suffix}"
        results.write_all({self.path: results.encode(dataset), picture: figure})
        if self.overwrite and self._anew.folder.is_dir():
            self._main.take_over(self._anew)
        return picture

    def redraw(self, figure: bytes, suffix: str) -> Path:
        """Replace the picture alone. Returns: its path. Raises: CannotWrite."""
        return results.write(figure, self.out / f"{self.name}.{suffix}")

    def finish_diverged(self, dataset: xr.Dataset) -> Path:
        """Keep what diverged runs recorded, beside the latest result. Returns: path. Raises:
        CannotWrite.
        """
        return results.save(dataset, self.out / f"{self.name}.diverged.nc")


def _seal(names: str, content: bytes | memoryview) -> str:
    """The name of the file of some runs: equal contents under other names are another file."""
    return _digest(names.encode() + b"\n" + bytes(content))


def _digest(content: bytes | memoryview, length: int = 16) -> str:
    return hashlib.sha256(content).hexdigest()[:length]
