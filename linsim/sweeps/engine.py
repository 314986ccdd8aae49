"""From one run to a grid of runs: chunks of runs of one static part, each one compiled call.

Runs that differ in leaves alone share a program and are mapped over; every other difference is a
program of its own. Chunks are independent: they may be trained by other processes
(`linsim.sweeps.elsewhere`), or shared by processes that were started together
(`linsim.sweeps.cluster`); they are kept as they end (`linsim.sweeps.archive`), and runs that are
there already are not trained again. Nothing but a chunk and the result is ever in memory.
"""

import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import xarray as xr
from jaxtyping import PRNGKeyArray
from tqdm import tqdm

from linsim.sweeps import results, traced
from linsim.sweeps.archive import Archive, InMemory, Kept
from linsim.sweeps.cluster import WHOLE, Share
from linsim.sweeps.code import digest
from linsim.sweeps.programs import Device, Program, compiled, dividing
from linsim.sweeps.progress import progress
from linsim.sweeps.sweep import Point, Sweep, merged, run_keys


@dataclass(frozen=True)
class Engine:
    """Where sweeps run.

    devices: to spread over (default: all of this process); chunk_size: runs per call and file, at
    most (default: by memory); share: this process's part of the chunks; only: the names of the runs
    that are asked of this process, which then leaves their merging to who asked; elsewhere: trains
    the chunks of these names in its stead; archive: where runs are kept; attributes: start ->
    provenance; meanwhile: what to do while the devices compute, at every chunk; quiet: show no
    progress; made: programs, and what a study makes but once; compiled: what earlier engines have
    compiled, where one goes on from another; traced: the folder in which traced programs are kept
    (default: none is).
    """

    devices: tuple[Device, ...] = ()
    chunk_size: int | None = None
    share: Share = WHOLE
    only: frozenset[str] | None = None
    elsewhere: Callable[[Sequence[list[str]]], Iterator[list[Kept]]] | None = None
    archive: Archive = field(default_factory=InMemory)
    attributes: Callable[[datetime.datetime], Mapping[str, Any]] = lambda started: {}
    meanwhile: Callable[[], object] = lambda: None
    quiet: bool = False
    made: dict[Any, Any] = field(default_factory=dict)
    compiled: dict[Any, dict[int, Any]] = field(default_factory=dict)
    traced: Path | None = None

    def compile(self, sweep: Sweep[Any]) -> None:
        """Compile the programs of a sweep, so that its runs begin at once."""
        for group in _by_static(sweep):
            program = self._program(sweep, group)
            size, missing = self._chunks(program, group, 0, 1)
            if missing:
                program.compile(group, size)

    def missing(self, sweep: Sweep[Any]) -> int:
        """How many of a sweep's runs are not in the archive."""
        held = self.archive.held()
        return sum(point.name not in held for point in sweep.points)

    def run(self, sweep: Sweep[Any], *, turn: int = 0) -> xr.Dataset | None:
        """Solve what is missing of a sweep, as far as it is this process's share.

        Args: sweep; turn: the process that takes the first chunk, so that many small sweeps are
        shared evenly.
        Returns: Dataset with dimensions (*axes, seed, ..), or None if runs of other processes are
        still missing. Shows its progress. Raises: CannotGoOn.
        """
        groups = _by_static(sweep)
        with _Bar(self, [point.name for point in sweep.points]) as tick:
            asked: list[list[str]] = []
            for index, group in enumerate(groups):
                program = self._program(sweep, group)
                size, chunks = self._chunks(program, group, turn + index, len(groups))
                if self.elsewhere is not None:
                    asked += [[point.name for point in chunk] for chunk in chunks]
                    continue
                for chunk in chunks:
                    self._solve(program, chunk, size)
                    tick()
            self._ask(asked, tick)
        return self._merged(sweep)

    def each(
        self,
        sweep: Sweep[Any],
        solve: Callable[[Any, PRNGKeyArray, Path, Callable[[int], object]], xr.Dataset],
        *,
        work: int,
        unit: str,
        turn: int = 0,
    ) -> xr.Dataset | None:
        """The same for runs that are no one compiled call: each is solved by itself, one after
        another.

        Args: sweep; solve(run, key, path, tick) -> Dataset of one run, where path is for the state
        of an unfinished run and tick is told how much of its `work`, counted in `unit`, is done;
        turn as `run`. Raises: CannotGoOn.
        """
        keys, held = run_keys(sweep.seed, sweep.seeds), self.archive.held()
        mine = [
            point
            for place, point in enumerate(sweep.points)
            if self._is_mine(turn * sweep.seeds + place) and self._is_asked(point)
        ]
        if self.elsewhere is not None:
            with _Bar(self, [point.name for point in sweep.points]) as tick_runs:
                self._ask([[point.name] for point in mine if point.name not in held], tick_runs)
            return self._merged(sweep)
        hidden = self.only is not None
        with self.progress(work * len(mine), 0, unit, hidden=hidden) as bar:
            for index, point in enumerate(mine):
                start = index * work

                def tick(done: int, start: int = start) -> None:
                    bar.update(start + done - bar.n)

                if point.name not in self.archive.held():
                    started = datetime.datetime.now(datetime.UTC)
                    path = self.archive.state_path(point.name)
                    run = solve(point.run, keys[point.number], path, tick).expand_dims("run")
                    self.archive.save(run.assign_attrs(self.attributes(started)), [point.name])
                    path.unlink(missing_ok=True)
                tick(work)
        return self._merged(sweep)

    def vectorised(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function` of one run -> of as many stacked runs as come, on as many of the devices as
        divide them evenly.

        Its arguments may be any trees of arrays; the returned function takes them stacked along a
        leading axis. A function of a module is traced but once, if programs are kept.
        """
        programs: dict[Any, Any] = {}

        def call(*columns: Any) -> Any:
            leaves, structure = jax.tree.flatten(columns)
            size = len(leaves[0])
            if (size, structure) not in programs:
                name = traced.full_name(function)
                programs[size, structure] = compiled(
                    lambda *one: function(*structure.unflatten(one)),
                    dividing(self._available(), size),
                    leaves,
                    traced.what_decides(name, structure, digest(function)),
                    self.traced,
                )
            return programs[size, structure](*leaves)

        return call

    def _program(self, sweep: Sweep[Any], group: list[Point]) -> Program:
        """The program of the runs of one static part, compiled when it is first used."""
        name = id(sweep), group[0].static
        if name not in self.made:
            keys = run_keys(sweep.seed, sweep.seeds)
            devices, static = self._devices(len(group)), group[0].static
            alike = sweep.simulate, static, devices, jnp.zeros(()).dtype
            known = self.compiled.setdefault(alike, {})
            self.made[name] = Program(sweep, static, keys, devices, known, self.traced)
        return self.made[name]

    def _chunks(
        self, program: Program, group: list[Point], turn: int, groups: int
    ) -> tuple[int, list[list[Point]]]:
        """The size of a chunk of one static part, and what is missing of this process's chunks.

        With at least one static part for each process, each part is left to one of them and
        compiled once.
        """
        held = self.archive.held()
        if all(point.name in held or not self._is_asked(point) for point in group):
            return 1, []
        alone = self.share.count == 1 and self.only is None and self.elsewhere is None
        size = program.chunk_size(group, self.chunk_size, alone)
        together = groups >= self.share.count > 1
        missing = [
            point
            for place, point in enumerate(group)
            if self._is_mine(turn + (0 if together else place // size))
            and self._is_asked(point)
            and point.name not in held
        ]
        return size, [missing[start : start + size] for start in range(0, len(missing), size)]

    def _is_mine(self, turn: int) -> bool:
        return turn % self.share.count == self.share.index

    def _is_asked(self, point: Point) -> bool:
        return self.only is None or point.name in self.only

    def _solve(self, program: Program, chunk: list[Point], size: int) -> None:
        """Solve and keep the runs of one chunk."""
        started = datetime.datetime.now(datetime.UTC)
        arrays = program.solve(chunk, size, self.meanwhile)
        dataset = results.labelled_runs(arrays, ("run",), {}, program.sweep.dims)
        self.archive.save(
            dataset.assign_attrs(self.attributes(started)), [point.name for point in chunk]
        )

    def _ask(self, chunks: Sequence[list[str]], tick: Callable[[], object]) -> None:
        """Have chunks trained elsewhere, and keep what comes back."""
        if self.elsewhere is None or not chunks:
            return
        for trained in self.elsewhere(chunks):
            for runs, names in trained:
                self.archive.save(runs, names)
            tick()

    def _merged(self, sweep: Sweep[Any]) -> xr.Dataset | None:
        """All runs as one Dataset over the grid, or None if any is missing or was not asked for."""
        if self.only is not None:
            return None
        held = [point.name for point in sweep.points]
        merger = merged(sweep, self.archive.load(held))
        dataset = merger.merged(sweep)
        if dataset is None:
            return None
        return dataset.assign_attrs(self._provenance(merger.attributes))

    def _provenance(self, attributes: list[dict[str, Any]]) -> dict[str, Any]:
        """This command's provenance, from its first chunk's start to the last one's end, and the
        code that trained its runs.
        """
        now = dict(self.attributes(datetime.datetime.now(datetime.UTC)))
        if not now:
            return {}
        span = {
            "started": min(a["started"] for a in attributes),
            "finished": max(a["finished"] for a in attributes),
        }
        return now | span | {"trained_by": " ".join(sorted({a["git_commit"] for a in attributes}))}

    def _available(self) -> tuple[Device, ...]:
        return self.devices or tuple(jax.local_devices())

    def _devices(self, runs: int) -> tuple[Device, ...]:
        available = self._available()
        return available[: max(1, min(len(available), runs, self.chunk_size or runs))]

    def progress(self, total: int, done: int, unit: str, *, hidden: bool = False) -> tqdm:
        """How many of so many are done, shown by the first process unless it is to be quiet."""
        hidden = hidden or self.quiet or self.share.index > 0
        return progress(total, unit, what="training ", done=done, hidden=hidden)


def _by_static(sweep: Sweep[Any]) -> list[list[Point]]:
    """The points of each static part, which share a program."""
    groups: dict[Any, list[Point]] = {}
    for point in sweep.points:
        groups.setdefault(point.static, []).append(point)
    return list(groups.values())


class _Bar:
    """How many of some runs are there, by all processes: entered, a function to call when there may
    be more.
    """

    def __init__(self, engine: Engine, names: list[str]) -> None:
        self.engine, self.names = engine, set(names)

    def __enter__(self) -> Callable[[], None]:
        total, done = len(self.names), self._done()
        hidden = done == total or self.engine.only is not None
        self.bar = self.engine.progress(total, done, "runs", hidden=hidden)
        return self._tick

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def _tick(self) -> None:
        self.bar.update(self._done() - self.bar.n)

    def _done(self) -> int:
        return len(self.names & self.engine.archive.held())
