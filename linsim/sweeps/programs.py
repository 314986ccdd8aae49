"""Runs of one static part as a compiled program: stacked, mapped over, and spread over devices."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from linsim.arrays import Array
from linsim.sweeps import traced
from linsim.sweeps.sweep import Point, Sweep

Device = Any  # jax.Device, which type checkers take for a variable

# Runs side by side on a device: what a CPU core's cache holds; on accelerators the whole chunk.
AT_ONCE = {"cpu": 4}
MOST_CHUNKS = 32  # of a sweep, unless memory asks for more: so often progress is seen and kept
WORTH_PADDING = 4  # a chunk is padded with up to so many times its runs
MEMORY_SHARE = 0.5  # of a device's memory that a chunk may take
UNKNOWN_MEMORY = 8 << 30  # bytes that a device is taken to have where it cannot be asked

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


def compiled(
    function: Callable[..., Any],
    devices: Sequence[Device],
    arguments: Sequence[Any],
    what: str | None,
    kept: Path | None,
) -> Any:
    """`vectorised`, compiled for arguments like these.

    Args: function; devices; arguments; `traced.what_decides` it; the folder of traced programs, in
    which those of one device are kept, if there is one.
    """
    mapped = vectorised(function, devices)
    return traced.lowered(mapped, arguments, what, kept if len(devices) == 1 else None).compile()


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


class Program:
    """The runs of one static part, compiled for chunks of a fixed size on the most devices that
    divide it evenly.

    `compiled`, by the size of a chunk, may be that of an earlier program of such runs; `kept` is
    where traced programs are kept, if they are.
    """

    def __init__(
        self,
        sweep: Sweep[Any],
        static: Any,
        keys: Array,
        devices: tuple[Device, ...],
        compiled: dict[int, Any],
        kept: Path | None = None,
    ) -> None:
        self.sweep, self.static, self.keys, self.devices = sweep, static, keys, devices
        if sweep.simulate is None:
            raise TypeError("a sweep without simulate is solved by Engine.each")
        self.simulate = sweep.simulate
        self._compiled, self._kept = compiled, kept

    def solve(
        self, points: list[Point], size: int, meanwhile: Callable[[], object]
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

    def bytes(self, points: list[Point], size: int) -> int:
        """Memory on one device during a chunk of `size` runs."""
        used = self._at(points, size).memory_analysis()
        return used.temp_size_in_bytes + used.argument_size_in_bytes + used.output_size_in_bytes

    def _stacked(self, points: list[Point], size: int) -> tuple[Array, list[np.ndarray]]:
        """Keys, and each leaf of the runs as a column in full precision."""
        padded = [*points, *[points[-1]] * (size - len(points))]
        columns = zip(*(jax.tree.leaves(point.run) for point in padded), strict=True)
        numbers = np.array([point.number for point in padded])
        return _picked(self.keys, numbers), [np.array(column, np.float64) for column in columns]

    @staticmethod
    def _rounded(leaves: list[np.ndarray]) -> list[np.ndarray]:
        """The columns in the precision that runs are trained in."""
        return [leaf.astype(jnp.zeros(()).dtype) for leaf in leaves]

    def _at(self, points: list[Point], size: int) -> Any:
        if size not in self._compiled:

            def simulate(key: PRNGKeyArray, *leaves: Array) -> Mapping[str, Array]:
                return self.simulate(self.static.unflatten(leaves), key)

            keys, leaves = self._stacked(points[:size], size)
            self._compiled[size] = compiled(
                simulate,
                dividing(self.devices, size),
                (keys, *self._rounded(leaves)),
                traced.what_decides(traced.full_name(self.simulate), self.static, points[0].code),
                self._kept,
            )
        return self._compiled[size]

    def compile(self, points: list[Point], size: int) -> None:
        """Compile the program of a chunk, if it is not. Args: points: all runs; runs of a chunk."""
        self._at(points, size)

    def chunk_size(self, points: list[Point], most: int | None, alone: bool) -> int:
        """Runs per chunk, from how many there are in all, so that a chunk is the same whichever of
        them are missing.

        Args: points: all runs of the static part; most: a limit that was asked for; alone: whether
        no other process shares them (else one that solves nothing of a single chunk compiles it
        for nothing).
        """
        count, total = len(self.devices), len(points)
        if most is not None:
            return even(total, most, count)
        side = AT_ONCE.get(self.devices[0].platform, total)
        lot = count * (side if total > 2 * side * count else 1)
        size = even(total, max(2 * side * count, -(-total // MOST_CHUNKS)), lot)
        if size >= total and not alone:
            return size
        excess = self.bytes(points, size) / (MEMORY_SHARE * device_memory(self.devices[0]))
        return size if excess <= 1 else even(total, int(size / excess), count)
