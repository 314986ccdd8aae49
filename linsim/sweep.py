"""From one run to a grid of runs: chunks of a fixed shape, each one compiled call that is vectorised and spread over devices.

Chunks are independent: they may be solved by several processes (`linsim.cluster`), are written as they end (`linsim.store`), and
a later call with the same store solves only those that are missing. Nothing but a chunk and the results is ever in memory.
"""

import datetime
import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Int, Key
from tqdm import tqdm

from linsim import results
from linsim.arrays import Array
from linsim.cluster import WHOLE, Share
from linsim.store import Store

Device = Any  # jax.Device, which type checkers take for a variable
Simulate = Callable[..., dict[str, Array]]
Columns = Mapping[str, np.ndarray]
Finish = Callable[[Columns, Mapping[str, Array]], Mapping[str, Any]]

AT_ONCE = {"cpu": 4}  # runs side by side on a device: what a CPU core's cache holds; on accelerators the whole chunk
MOST_CHUNKS = 32  # of a sweep, unless memory asks for more: progress is seen and kept about this often
MEMORY_SHARE = 0.5  # of a device's memory that a chunk may take


def run_keys(seed: int, seeds: int) -> Key[Array, "seeds"]:
    """One key per independent run; the same for every point of the grid, so that points differ by their settings only."""
    return _run_keys(jax.random.key(seed), np.arange(seeds))


@jax.jit
def _run_keys(key: Key[Array, ""], numbers: Int[Array, "seeds"]) -> Key[Array, "seeds"]:
    return jax.vmap(lambda number: jax.random.fold_in(key, number))(numbers)


_picked = jax.jit(lambda keys, numbers: keys[numbers])


def vectorised(function: Callable, devices: Sequence[Device]) -> Any:
    """`function` of one run, compiled for stacked runs that are split evenly over `devices`, without communication.

    A device takes as many at a time as AT_ONCE lets it, one lot after another inside the compiled call.
    """

    def on_one_device(*columns):
        count = len(jax.tree.leaves(columns)[0])
        side = side_by_side(count, devices[0].platform)
        lots = jax.tree.map(lambda column: column.reshape(count // side, side, *column.shape[1:]), columns)
        solved = jax.lax.map(lambda lot: jax.vmap(function)(*lot), lots)
        return jax.tree.map(lambda leaf: leaf.reshape(count, *leaf.shape[2:]), solved)

    spread = jax.sharding.PartitionSpec("run")
    mesh = jax.sharding.Mesh(np.array(devices), ("run",), axis_types=(jax.sharding.AxisType.Auto,))
    return jax.jit(jax.shard_map(on_one_device, mesh=mesh, in_specs=spread, out_specs=spread, check_vma=False))


def side_by_side(count: int, platform: str) -> int:
    """How many of a device's `count` runs go side by side: all if they are few, else a divisor of at most AT_ONCE."""
    most = AT_ONCE.get(platform, count)
    return count if count <= 2 * most else largest_divisor(count, most)


def largest_divisor(number: int, most: int) -> int:
    """The largest divisor of `number` that is at most `most`."""
    return max(n for n in range(1, min(number, most) + 1) if number % n == 0)


def dividing(devices: tuple[Device, ...], size: int) -> tuple[Device, ...]:
    """The most of the devices that divide `size` evenly."""
    return devices[: largest_divisor(size, len(devices))]


def device_memory(device: Device) -> int:
    """Bytes that one device may use: an accelerator's limit, or its share of the computer's memory."""
    if device.platform == "cpu":
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // jax.local_device_count()
    return int((device.memory_stats() or {}).get("bytes_limit", 8 << 30))


def even(total: int, most: int, multiple: int) -> int:
    """The chunk size that splits `total` runs into the fewest equal chunks of at most `most`, each a multiple of `multiple`."""
    most = max(most // multiple, 1) * multiple
    return multiple * -(-total // (-(-total // most) * multiple))


@dataclass(frozen=True)
class Engine:
    """Where sweeps run.

    devices: to spread over (default: all of this process); chunk_size: runs per call and file, at most (default: by memory);
    share: this process's part of the chunks; store: where chunks are kept (None: in memory); attributes: start -> provenance;
    meanwhile: what to do while the devices compute, at every chunk.
    """

    devices: tuple[Device, ...] = ()
    chunk_size: int | None = None
    share: Share = WHOLE
    store: Store | None = None
    attributes: Callable[[datetime.datetime], Mapping[str, Any]] = lambda started: {}
    meanwhile: Callable[[], object] = lambda: None

    def run(
        self,
        simulate: Simulate,
        axes: Mapping[str, Sequence[float]],
        *,
        seed: int,
        seeds: int,
        coords: Mapping[str, Any] | None = None,
        finish: Finish | None = None,
        label: str = "runs",
        turn: int = 0,
        sweeps: int = 1,
    ) -> xr.Dataset | None:
        """Run `simulate` on every point of the grid axes x seeds.

        Args: simulate(key, **point) -> dict of arrays for ONE run, traceable; axes: values by name; seed: base key; seeds:
        runs per point; coords: of the observables; finish(values, measured) -> the arrays to keep, from those of a chunk's
        runs, which lie along the first axis and may still be under way on the device; label: the sweep's name among those of
        one store; turn: the process whose turn it is to take the first chunk, so that many small sweeps are shared evenly;
        sweeps: how many there are, each with a program of its own: with at least one for each process, each is left to one of
        them and compiled once.
        Returns: Dataset with dimensions (*axes, seed, ..), or None if chunks of other processes are still missing.
        Shows a progress bar on a terminal. Raises: CannotWrite.
        """
        points = list(itertools.product(*axes.values(), range(seeds)))
        program = _Program(simulate, tuple(axes), run_keys(seed, seeds), self._devices(len(points)))
        group = _Memory() if self.store is None else self.store.group(label)
        size = group.chunk_size(lambda: self._choose(program, points))
        chunks = [points[start : start + size] for start in range(0, len(points), size)]
        held = group.held(len(chunks))
        together = sweeps >= self.share.count > 1
        mine = [k for k in range(len(chunks)) if (turn + (0 if together else k)) % self.share.count == self.share.index]
        missing = [k for k in mine if k not in held]
        with self._bar(len(points), len(held) * size, hidden=not missing) as bar:
            for number in missing:
                started = datetime.datetime.now(datetime.UTC)
                columns, arrays = program.solve(chunks[number], size, finish, self.meanwhile)
                labels = {name: ("run", column) for name, column in columns.items()}
                dataset = results.labelled_runs(arrays, ("run",), labels | dict(coords or {}))
                group.save(number, len(chunks), dataset.assign_attrs(self.attributes(started)))
                bar.update(min(len(group.written(len(chunks))) * size, len(points)) - bar.n)
        return _merged(group, chunks, {**axes, "seed": range(seeds)})

    def vectorised(self, function: Callable) -> Callable:
        """`function` of one run -> of as many stacked runs as come, on as many of the devices as divide them evenly."""
        programs: dict[int, Any] = {}

        def call(*columns: np.ndarray | Array) -> Any:
            size = len(columns[0])
            if size not in programs:
                programs[size] = vectorised(function, dividing(self._available(), size))
            return programs[size](*columns)

        return call

    def _available(self) -> tuple[Device, ...]:
        return self.devices or tuple(jax.local_devices())

    def _devices(self, runs: int) -> tuple[Device, ...]:
        available = self._available()
        return available[: max(1, min(len(available), runs, self.chunk_size or runs))]

    def _choose(self, program: "_Program", points: list) -> int:
        count, total = len(program.devices), len(points)
        if self.chunk_size is not None:
            return even(total, self.chunk_size, count)
        most = AT_ONCE.get(program.devices[0].platform, total)
        lot = count * (most if total > 2 * most * count else 1)
        size = even(total, max(2 * most * count, -(-total // MOST_CHUNKS)), lot)
        if size >= total and self.share.count > 1:
            return size  # one chunk: a process compiles only what it solves
        excess = program.bytes(points, size) / (MEMORY_SHARE * device_memory(program.devices[0]))
        return size if excess <= 1 else even(total, int(size / excess), count)

    def _bar(self, runs: int, done: int, hidden: bool) -> tqdm:
        """Runs done by all processes, shown by the first on a terminal."""
        layout = "{l_bar}{bar}| {n_fmt}/{total_fmt} runs [{elapsed}<{remaining}, {rate_noinv_fmt}]"
        disable = True if hidden or self.share.index > 0 else None
        return tqdm(total=runs, initial=min(done, runs), unit=" runs", bar_format=layout, leave=False, disable=disable)


class _Program:
    """One run's function, compiled for chunks of a fixed size on the most devices that divide it evenly."""

    def __init__(self, simulate: Simulate, names: tuple[str, ...], keys: Array, devices: tuple[Device, ...]) -> None:
        self.simulate, self.names, self.keys, self.devices = simulate, names, keys, devices
        self._compiled: dict[int, Any] = {}

    def solve(self, points: list, size: int, finish: Finish | None, meanwhile: Callable[[], object]) -> tuple[Columns, Columns]:
        """The columns of settings (with the seeds) and the arrays of a chunk's runs; padded to `size` while computing.

        JAX returns arrays before they are computed: what `finish` compiles, and `meanwhile`, take place beside the runs.
        """
        key, values = self._stacked(points, size)
        measured = self._at(points, size)(key, values)
        if finish is not None:
            measured = finish(values, measured)
        meanwhile()
        columns = values | {"seed": np.array([point[-1] for point in points])}
        return _first(columns, len(points)), _first(measured, len(points))

    def bytes(self, points: list, size: int) -> int:
        """Memory on one device during a chunk of `size` runs."""
        used = self._at(points, size).memory_analysis()
        return used.temp_size_in_bytes + used.argument_size_in_bytes + used.output_size_in_bytes

    def _stacked(self, points: list, size: int) -> tuple[Array, dict[str, np.ndarray]]:
        *values, seeds = zip(*points, *[points[-1]] * (size - len(points)), strict=True)
        dtype = jnp.zeros(()).dtype
        return _picked(self.keys, np.array(seeds)), {n: np.array(v, dtype) for n, v in zip(self.names, values, strict=True)}

    def _at(self, points: list, size: int) -> Any:
        if size not in self._compiled:
            function = vectorised(lambda key, values: self.simulate(key, **values), dividing(self.devices, size))
            self._compiled[size] = function.lower(*self._stacked(points[:size], size)).compile()
        return self._compiled[size]


class _Memory:
    """Chunks kept in memory, with the interface of `linsim.store.Group`."""

    def __init__(self) -> None:
        self.chunks: dict[int, xr.Dataset] = {}

    def chunk_size(self, choose: Callable[[], int]) -> int:
        return choose()

    def written(self, count: int) -> dict[int, xr.Dataset]:
        return self.chunks

    def held(self, count: int) -> set[int]:
        return set(self.chunks)

    def save(self, number: int, count: int, dataset: xr.Dataset) -> None:
        self.chunks[number] = dataset

    @staticmethod
    def load(chunk: xr.Dataset) -> xr.Dataset:
        return chunk


def _first(columns: Mapping[str, Any], count: int) -> Columns:
    return {name: np.asarray(column)[:count] for name, column in columns.items()}


def _merged(group: Any, chunks: list[list], axes: Mapping[str, Sequence]) -> xr.Dataset | None:
    """All chunks as one Dataset over the grid, or None if any is missing."""
    written, offset, joined = group.written(len(chunks)), 0, {}
    attributes: list[dict] = []
    for number, points in enumerate(chunks):
        chunk = group.load(written[number]) if number in written else None
        if chunk is None:
            return None
        for name, variable in chunk.data_vars.items():
            if number == 0:
                total = sum(map(len, chunks))
                joined[name] = variable.dims[1:], np.empty((total, *variable.shape[1:]), variable.dtype)
            joined[name][1][offset : offset + len(points)] = variable.values
        offset += len(points)
        attributes.append(chunk.attrs)
    shape = tuple(len(values) for values in axes.values())
    arrays = {name: ((*axes, *dims), flat.reshape(*shape, *flat.shape[1:])) for name, (dims, flat) in joined.items()}
    inner = {name: c for name, c in chunk.coords.items() if "run" not in c.dims}
    dataset = results.labelled(arrays, {name: list(values) for name, values in axes.items()}).assign_coords(inner)
    times = {} if not attributes[0] else _span(attributes)
    return dataset.assign_attrs(attributes[-1] | times)


def _span(attributes: list[dict]) -> dict[str, str]:
    """From the first chunk's start to the last one's end."""
    return {"started": min(a["started"] for a in attributes), "finished": max(a["finished"] for a in attributes)}
