"""The results of one command in its folder: chunk files while it runs, one merged file at the end.

    <out>/<name>.chunks/<group>.json                  what the group computes and in chunks of how many runs
    <out>/<name>.chunks/<group>.<k>-of-<n>-<hash>.nc  one chunk; its name ends in the SHA-256 of its bytes
    <out>/<name>.nc                                   everything, when all chunks are there; the chunk files go

A chunk whose bytes do not match its name is redone. A folder that holds another configuration is refused.
"""

import hashlib
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import xarray as xr

from linsim import results
from linsim.config import BadInput, RunConfig, identity


class Store:
    """The folder of one configuration. Raises: BadInput if it holds another one."""

    def __init__(self, config: RunConfig, name: str) -> None:
        self.path = config.out / f"{name}.nc"
        self.chunks = config.out / f"{name}.chunks"
        self.identity = identity(config)
        if config.overwrite:
            self.path.unlink(missing_ok=True)
            shutil.rmtree(self.chunks, ignore_errors=True)
        self._merged = self._load()
        self._refuse_another()

    def finished(self) -> xr.Dataset | None:
        """The merged results, or None if they were missing or unreadable when the store was opened, and not made since."""
        return self._merged

    def finish(self, dataset: xr.Dataset) -> xr.Dataset:
        """Write the merged file, then delete the chunks. Returns: what was written. Raises: CannotWrite."""
        dataset = dataset.assign_attrs(identity=json.dumps(self.identity))
        results.save(dataset, self.path)
        shutil.rmtree(self.chunks, ignore_errors=True)
        self._merged = dataset
        return dataset

    def group(self, label: str) -> "Group":
        """The chunks of one of the command's sweeps."""
        return Group(self.chunks, label, self.identity)

    def _load(self) -> xr.Dataset | None:
        try:
            return results.load(self.path)
        except (OSError, ValueError, RuntimeError, KeyError):
            return None

    def _refuse_another(self) -> None:
        held = [] if self._merged is None else [json.loads(self._merged.attrs.get("identity", "{}"))]
        held += [plan["identity"] for plan in map(_read_plan, sorted(self.chunks.glob("*.json"))) if plan is not None]
        for other in held:
            if other != self.identity:
                raise BadInput(
                    f"--out {self.path.parent} is not allowed: it holds another configuration "
                    f"({_difference(other, self.identity)}); it must be another folder, or --overwrite be given to start anew"
                )


class Group:
    """The chunk files of one sweep."""

    def __init__(self, folder: Path, label: str, identity: dict[str, Any]) -> None:
        self.folder, self.label, self.identity = folder, label, identity

    def chunk_size(self, choose: Callable[[], int]) -> int:
        """The chunk size that this sweep was started with; the first process to ask chooses it. Raises: CannotWrite."""
        path = self.folder / f"{self.label}.json"
        if (plan := _read_plan(path)) is None:
            plan = {"identity": self.identity, "chunk_size": choose()}
            if _read_plan(path) is None:
                path.unlink(missing_ok=True)
            results.write(json.dumps(plan).encode(), path, keep=True)
            plan = _read_plan(path) or plan
        return plan["chunk_size"]

    def written(self, count: int) -> dict[int, Path]:
        """The files of the sweep's `count` chunks, by number, whether intact or not."""
        files = self.folder.glob(f"{self.label}.*-of-{count:06}-*.nc")
        return {int(path.name.removeprefix(f"{self.label}.")[:6]): path for path in files}

    def held(self, count: int) -> set[int]:
        """The numbers of the intact chunks; damaged ones are deleted."""
        found = self.written(count)
        damaged = {number for number, path in found.items() if _intact(path) is None}
        for number in damaged:
            found[number].unlink(missing_ok=True)
        return found.keys() - damaged

    def save(self, number: int, count: int, dataset: xr.Dataset) -> None:
        """Write chunk `number` of `count`. Raises: CannotWrite."""
        content = results.encode(dataset)
        results.write(content, self.folder / f"{self.label}.{number:06}-of-{count:06}-{_digest(content)}.nc")

    @staticmethod
    def load(path: Path) -> xr.Dataset | None:
        """One chunk, or None if it has vanished or is damaged."""
        content = _intact(path)
        return None if content is None else results.load(io.BytesIO(content))


def _digest(content: bytes | memoryview) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _intact(path: Path) -> bytes | None:
    """The bytes of a chunk file if they match its name; None also where another process has merged and deleted it."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    return content if _digest(content) == path.stem.rpartition("-")[2] else None


def _read_plan(path: Path) -> dict[str, Any] | None:
    try:
        plan = json.loads(path.read_text())
        return plan if {"identity", "chunk_size"} <= plan.keys() else None
    except (OSError, ValueError, AttributeError):
        return None


def _difference(there: dict[str, Any], here: dict[str, Any]) -> str:
    """The first fields in which two configurations differ."""
    names = [name for name in here | there if there.get(name) != here.get(name)]
    shown = [f"{name} {there.get(name)} there, {here.get(name)} here" for name in names[:3]]
    return "; ".join(shown) if names else "of another version"
