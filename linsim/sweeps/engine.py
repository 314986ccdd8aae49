"""From one run to a grid of runs: stacked runs of one static part, in chunks of one compiled call
that is spread over devices.

A sweep is a function from the values of its axes to a run (`Sweep`). Runs that differ in leaves
alone share a program and are mapped over; every other difference is a program of its own. Chunks
are independent: they may be solved by several processes (`linsim.sweeps.cluster`), are kept as they
end (`linsim.sweeps.library`), and runs that are there already are not solved again. Nothing but a
chunk and the result is ever in memory.
"""

import datetime
import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Int, Key, PRNGKeyArray
from tqdm import tqdm

from linsim.arrays import Array
from linsim.sweeps import results
from linsim.sweeps.cluster import WHOLE, Share
from linsim.sweeps.code import digest
from linsim.sweeps.library import InMemory, Library, run_id
from linsim.training.records import described

Device = Any  # jax.Device, which type checkers take for a variable
Record = TypeVar("Record")
Arrays = Mapping[str, Array]
Finish = Callable[[Record, Arrays], Arrays]

AT_ONCE = {
    "cpu": 4
}  # runs side by side on a device: what a CPU core's cache holds; on accelerators the whole chunk
MOST_CHUNKS = (
    32  # of a sweep, unless memory asks for more: progress is seen and kept about this often
)
WORTH_PADDING = 4  # a chunk is padded with up to so many times its runs
MEMORY_SHARE = 0.5  # of a device's memory that a chunk may take
UNKNOWN_MEMORY = 8 << 30  # bytes that a device is taken to have where it cannot be asked


@dataclass(frozen=True, kw_only=True)
class Sweep(Generic[Record]):
    """A grid of runs, and what is kept of each.

    axes: the values of each axis, by name; make(**point) -> the run at one value of each;
    simulate(run, key) -> its observables, traceable; seeds: independent runs per point, with keys
    from the base key `seed`; finish(runs, measured) -> the arrays to keep, from a chunk's stacked
    runs (in float64) and observables, which may still be under way on the device; kept: what
    simulate and finish keep, in a word, so that runs of which something else was kept are told
    apart; coords and dims of the observables. A sweep without `simulate` is of runs that are no one
    compiled call, for `Engine.each`.
    """

    axes: Mapping[str, Sequence[Any]]
    make: Callable[..., Record]
    simulate: Callable[[Record, PRNGKeyArray], Mapping[str, Array]] | None = None
    seed: int = 0
    seeds: int = 1
    finish: Finish[Record] | None = None
    kept: str = "observables"
    coords: Mapping[str, Any] = field(default_factory=dict)
    dims: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def run_keys(seed: int, seeds: int) -> Key[Array, "seeds"]:
    """One key per independent run; the same for every point of the grid, so that points differ by
    their settings only.
    """
    return _run_keys(jax.random.key(seed), np.arange(seeds))


@jax.jit
def _run_keys(key: Key[Array, ""], numbers: Int[Array, "seeds"]) -> Key[Array, "seeds"]:
    return jax.vmap(lambda number: jax.random.fold_in(key, number))(numbers)


_picked = jax.jit(lambda keys, numbers: keys[numbers])


def vectorised(
    function: Callable[..., Any], devices: Sequence[Device], side: int | None = None
) -> Any:
    """`function` of one run, compiled for stacked arguments that are split evenly over `devices`,
    without communication.

    A device takes `side` at a time (default: `side_by_side`), one lot after another inside the
    compiled call.
    """

    def on_one_device(*columns):
        count = len(jax.tree.leaves(columns)[0])
        together = side_by_side(count, devices[0].platform) if side is None else side
        lots = jax.tree.map(
            lambda column: column.reshape(count // together, together, *column.shape[1:]), columns
        )
        solved = jax.lax.map(lambda lot: jax.vmap(function)(*lot), lots)
        return jax.tree.map(lambda leaf: leaf.reshape(count, *leaf.shape[2:]), solved)

    spread = jax.sharding.PartitionSpec("run")
    mesh = jax.sharding.Mesh(np.array(devices), ("run",), axis_types=(jax.sharding.AxisType.Auto,))
    return jax.jit(
        jax.shard_map(on_one_device, mesh=mesh, in_specs=spread, out_specs=spread, check_vma=False)
    )


def side_by_side(count: int, platform: str) -> int:
    """How many of a device's `count` runs go side by side: all if they are few, else a divisor of
    at most AT_ONCE.
    """
    most = AT_ONCE.get(platform, count)
    return count if count <= 2 * most else largest_divisor(count, most)


def largest_divisor(number: int, most: int) -> int:
    """The largest divisor of `number` that is at most `most`."""
    return max(n for n in range(1, min(number, most) + 1) if number % n == 0)


def dividing(devices: tuple[Device, ...], size: int) -> tuple[Device, ...]:
    """The most of the devices that divide `size` evenly."""
    return devices[: largest_divisor(size, len(devices))]


def device_memory(device: Device) -> int:
    """Bytes that one device may use: an accelerator's limit, or its share of the memory."""
    if device.platform != "cpu":
        return int((device.memory_stats() or {}).get("bytes_limit", UNKNOWN_MEMORY))
    if not hasattr(os, "sysconf"):
        return UNKNOWN_MEMORY
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // jax.local_device_count()


def even(total: int, most: int, multiple: int) -> int:
    """The chunk size that splits `total` runs into the fewest equal chunks of at most `most`, each
    a multiple of `multiple`.
    """
    most = max(most // multiple, 1) * multiple
    return multiple * -(-total // (-(-total // most) * multiple))


class _Point:
    """One run of a sweep: its place in the flattened grid, its record and the number of its key,
    and its name.
    """

    def __init__(self, sweep: Sweep[Any], place: int, run: Any, number: int, code: str) -> None:
        self.place, self.run, self.number = place, run, number
        self.static = jax.tree.structure(run)
        self.name = _name(sweep, run, number, code)


def _name(sweep: Sweep[Any], run: Any, number: int, code: str) -> str:
    """`run_id` of a run; one that has no plain description is known to this process alone."""
    try:
        record = described(run)
    except TypeError:
        record = repr(run)
    precision = str(jnp.zeros(()).dtype)
    what = {"run": record, "key": [sweep.seed, number], "kept": sweep.kept}
    return run_id(what | {"dtype": precision, "code": code})


def _points(sweep: Sweep[Any]) -> list[_Point]:
    grid = [
        sweep.make(**dict(zip(sweep.axes, values, strict=True)))
        for values in itertools.product(*sweep.axes.values())
    ]
    code = digest(*filter(None, (sweep.make, sweep.simulate)))
    return [
        _Point(sweep, sweep.seeds * index + number, run, number, code)
        for index, run in enumerate(grid)
        for number in range(sweep.seeds)
    ]


@dataclass(frozen=True)
class Engine:
    """Where sweeps run.

    devices: to spread over (default: all of this process); chunk_size: runs per call and file, at
    most (default: by memory); share: this process's part of the chunks; library: where runs are
    kept; attributes: start -> provenance; meanwhile: what to do while the devices compute, at every
    chunk.
    """

    devices: tuple[Device, ...] = ()
    chunk_size: int | None = None
    share: Share = WHOLE
    library: Library = field(default_factory=InMemory)
    attributes: Callable[[datetime.datetime], Mapping[str, Any]] = lambda started: {}
    meanwhile: Callable[[], object] = lambda: None

    def missing(self, sweep: Sweep[Any]) -> int:
        """How many of a sweep's runs are not in the library."""
        held = self.library.held()
        return sum(point.name not in held for point in _points(sweep))

    def run(self, sweep: Sweep[Any], *, turn: int = 0) -> xr.Dataset | None:
        """Solve what is missing of a sweep, as far as it is this process's share.

        Args: sweep; turn: the process that takes the first chunk, so that many small sweeps are
        shared evenly.
        Returns: Dataset with dimensions (*axes, seed, ..), or None if runs of other processes are
        still missing. Shows a progress bar on a terminal. Raises: CannotWrite.
        """
        points, keys = _points(sweep), run_keys(sweep.seed, sweep.seeds)
        groups: dict[Any, list[_Point]] = {}
        for point in points:
            groups.setdefault(point.static, []).append(point)
        with _Bar(self, [point.name for point in points]) as tick:
            for index, group in enumerate(groups.values()):
                self._solve(sweep, group, keys, turn + index, len(groups), tick)
        return self._merged(sweep, points)

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
        turn as `run`. Needs a library in a folder.
        """
        points, keys = _points(sweep), run_keys(sweep.seed, sweep.seeds)
        mine = [
            point
            for place, point in enumerate(points)
            if (turn * sweep.seeds + place) % self.share.count == self.share.index
        ]
        with self.progress(work * len(mine), 0, unit, unit_scale=True) as bar:
            for index, point in enumerate(mine):
                start = index * work

                def tick(done: int, start: int = start) -> None:
                    bar.update(start + done - bar.n)

                if point.name not in self.library.held():
                    started = datetime.datetime.now(datetime.UTC)
                    path = self.library.state_path(point.name)
                    run = solve(point.run, keys[point.number], path, tick).expand_dims("run")
                    self.library.save(run.assign_attrs(self.attributes(started)), [point.name])
                    path.unlink(missing_ok=True)
                tick(work)
        return self._merged(sweep, points)

    def vectorised(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function` of one run -> of as many stacked runs as come, on as many of the devices as
        divide them evenly.

        Its arguments may be any trees of arrays; the returned function takes them stacked along a
        leading axis.
        """
        programs: dict[Any, Any] = {}

        def call(*columns: Any) -> Any:
            leaves, structure = jax.tree.flatten(columns)
            size = len(leaves[0])
            if (size, structure) not in programs:
                devices = dividing(self._available(), size)
                programs[size, structure] = vectorised(
                    lambda *one: function(*structure.unflatten(one)), devices
                )
            return programs[size, structure](*leaves)

        return call

    def _solve(
        self,
        sweep: Sweep[Any],
        group: list[_Point],
        keys: Array,
        turn: int,
        groups: int,
        tick: Callable,
    ) -> None:
        """Solve this process's missing runs of one static part.

        With at least one static part for each process, each part is left to one of them and
        compiled once.
        """
        program = _Program(sweep, group[0].static, keys, self._devices(len(group)))
        held = self.library.held()
        if all(point.name in held for point in group):
            return
        size = self._choose(program, group)
        chunks = [group[start : start + size] for start in range(0, len(group), size)]
        together = groups >= self.share.count > 1
        mine = [
            chunk
            for k, chunk in enumerate(chunks)
            if (turn + (0 if together else k)) % self.share.count == self.share.index
        ]
        missing = [point for chunk in mine for point in chunk if point.name not in held]
        for some in (missing[start : start + size] for start in range(0, len(missing), size)):
            started = datetime.datetime.now(datetime.UTC)
            arrays = program.solve(some, size, self.meanwhile)
            dataset = results.labelled_runs(arrays, ("run",), {}, sweep.dims).assign_attrs(
                self.attributes(started)
            )
            self.library.save(dataset, [point.name for point in some])
            tick()

    def _merged(self, sweep: Sweep[Any], points: list[_Point]) -> xr.Dataset | None:
        """All runs as one Dataset over the grid, or None if any is missing."""
        place = {point.name: point.place for point in points}
        joined: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
        attributes, filled, inner = [], set(), {}
        for dataset, names in self.library.load(place):
            rows = [
                (row, place[name])
                for row, name in enumerate(names)
                if name in place and name not in filled
            ]
            here, there = (list(each) for each in zip(*rows, strict=True)) if rows else ([], [])
            for name, variable in dataset.data_vars.items():
                if name not in joined:
                    joined[str(name)] = (
                        variable.dims[1:],
                        np.empty((len(points), *variable.shape[1:]), variable.dtype),
                    )
                joined[str(name)][1][there] = variable.values[here]
            filled |= {names[row] for row in here}
            attributes.append(dataset.attrs)
            inner = {
                name: coord for name, coord in dataset.coords.items() if "run" not in coord.dims
            }
        if len(filled) < len(place):
            return None
        axes = {**sweep.axes, "seed": range(sweep.seeds)}
        shape = tuple(len(values) for values in axes.values())
        arrays = {
            name: ((*axes, *dims), flat.reshape(*shape, *flat.shape[1:]))
            for name, (dims, flat) in joined.items()
        }
        merged = results.labelled(arrays, {name: list(values) for name, values in axes.items()})
        return merged.assign_coords({**inner, **sweep.coords}).assign_attrs(
            self._provenance(attributes)
        )

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

    def _choose(self, program: "_Program", group: list[_Point]) -> int:
        """Runs per chunk, from how many there are in all, so that a chunk is the same whichever of
        them are missing.
        """
        count, total = len(program.devices), len(group)
        if self.chunk_size is not None:
            return even(total, self.chunk_size, count)
        most = AT_ONCE.get(program.devices[0].platform, total)
        lot = count * (most if total > 2 * most * count else 1)
        size = even(total, max(2 * most * count, -(-total // MOST_CHUNKS)), lot)
        if size >= total and self.share.count > 1:
            return size  # one chunk: a process compiles only what it solves
        excess = program.bytes(group, size) / (MEMORY_SHARE * device_memory(program.devices[0]))
        return size if excess <= 1 else even(total, int(size / excess), count)

    def progress(
        self, total: int, done: int, unit: str, *, hidden: bool = False, **options: Any
    ) -> tqdm:
        """A bar, shown by the first process on a terminal."""
        layout = (
            "{l_bar}{bar}| {n_fmt}/{total_fmt} "
            + unit
            + " [{elapsed}<{remaining}, {rate_noinv_fmt}]"
        )
        disable = True if hidden or self.share.index > 0 else None
        return tqdm(
            total=total,
            initial=done,
            unit=" " + unit,
            bar_format=layout,
            leave=False,
            disable=disable,
            **options,
        )


class _Bar:
    """How many of some runs are there, by all processes: entered, a function to call when there may
    be more.
    """

    def __init__(self, engine: Engine, names: list[str]) -> None:
        self.engine, self.names = engine, set(names)

    def __enter__(self) -> Callable[[], None]:
        total, done = len(self.names), self._done()
        self.bar = self.engine.progress(total, done, "runs", hidden=done == total)
        return lambda: self.bar.update(self._done() - self.bar.n) and None

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def _done(self) -> int:
        return len(self.names & self.engine.library.held())


class _Program:
    """The runs of one static part, compiled for chunks of a fixed size on the most devices that
    divide it evenly.
    """

    def __init__(
        self, sweep: Sweep[Any], static: Any, keys: Array, devices: tuple[Device, ...]
    ) -> None:
        self.sweep, self.static, self.keys, self.devices = sweep, static, keys, devices
        if sweep.simulate is None:
            raise TypeError("a sweep without simulate is solved by Engine.each")
        self.simulate = sweep.simulate
        self._compiled: dict[int, Any] = {}

    def solve(
        self, points: list[_Point], size: int, meanwhile: Callable[[], object]
    ) -> dict[str, np.ndarray]:
        """The arrays of some runs, padded to `size` while computing, so that they are computed as
        in a full chunk to the last bit.

        So few that it would be a waste get a program of their own. JAX returns arrays before they
        are computed: what `finish` compiles, and `meanwhile`, take place beside the runs.
        """
        size = (
            size
            if WORTH_PADDING * len(points) >= size
            else even(len(points), len(points), len(self.devices))
        )
        keys, leaves = self._stacked(points, size)
        measured = self._at(points, size)(keys, *self._rounded(leaves))
        if self.sweep.finish is not None:
            measured = self.sweep.finish(self.static.unflatten(leaves), measured)
        meanwhile()
        return {name: np.asarray(array)[: len(points)] for name, array in measured.items()}

    def bytes(self, points: list[_Point], size: int) -> int:
        """Memory on one device during a chunk of `size` runs."""
        used = self._at(points, size).memory_analysis()
        return used.temp_size_in_bytes + used.argument_size_in_bytes + used.output_size_in_bytes

    def _stacked(self, points: list[_Point], size: int) -> tuple[Array, list[np.ndarray]]:
        """Keys, and each leaf of the runs as a column in full precision."""
        padded = [*points, *[points[-1]] * (size - len(points))]
        columns = zip(*(jax.tree.leaves(point.run) for point in padded), strict=True)
        numbers = np.array([point.number for point in padded])
        return _picked(self.keys, numbers), [np.array(column, np.float64) for column in columns]

    @staticmethod
    def _rounded(leaves: list[np.ndarray]) -> list[np.ndarray]:
        """The columns in the precision that runs are trained in."""
        return [leaf.astype(jnp.zeros(()).dtype) for leaf in leaves]

    def _at(self, points: list[_Point], size: int) -> Any:
        if size not in self._compiled:

            def simulate(key: PRNGKeyArray, *leaves: Array) -> Mapping[str, Array]:
                return self.simulate(self.static.unflatten(leaves), key)

            function = vectorised(simulate, dividing(self.devices, size))
            keys, leaves = self._stacked(points[:size], size)
            self._compiled[size] = function.lower(keys, *self._rounded(leaves)).compile()
        return self._compiled[size]
