"""A sweep: a grid of runs, each of them a record, and the one dataset that they are merged into.

The axes may be any fields of the records, in any order. What a run computes has a name (`Point`),
whatever sweep it is a part of.
"""

import functools
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Int, Key, PRNGKeyArray

from linsim.arrays import Array
from linsim.sweeps import results
from linsim.sweeps.archive import run_id
from linsim.sweeps.code import digest
from linsim.training.records import described

Record = TypeVar("Record")
Arrays = Mapping[str, Array]
Finish = Callable[[Record, Arrays], Arrays]


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

    @functools.cached_property
    def points(self) -> "list[Point]":
        """All runs: the grid in the order of its axes, and at each point of it the seeds."""
        grid = [
            self.make(**dict(zip(self.axes, values, strict=True)))
            for values in itertools.product(*self.axes.values())
        ]
        code = digest(*filter(None, (self.make, self.simulate)))
        return [
            Point(self, self.seeds * index + number, run, number, code)
            for index, run in enumerate(grid)
            for number in range(self.seeds)
        ]


def run_keys(seed: int, seeds: int) -> Key[Array, "seeds"]:
    """One key per independent run; the same for every point of the grid, so that points differ by
    their settings only.
    """
    return _run_keys(jax.random.key(seed), np.arange(seeds))


@jax.jit
def _run_keys(key: Key[Array, ""], numbers: Int[Array, "seeds"]) -> Key[Array, "seeds"]:
    return jax.vmap(lambda number: jax.random.fold_in(key, number))(numbers)


class Point:
    """One run of a sweep: its place in the flattened grid, its record, the number of its key among
    the sweep's, its static part, the digest of the code, and the name under which it is kept.
    """

    def __init__(self, sweep: Sweep[Any], place: int, run: Any, number: int, code: str) -> None:
        self.place, self.run, self.number = place, run, number
        self.static, self.code = jax.tree.structure(run), code
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


class Merger:
    """The runs of a sweep, put in their places as they are read, so that none is held twice."""

    def __init__(self, points: list[Point]) -> None:
        self.places = {point.name: point.place for point in points}
        self.filled: set[str] = set()
        self.joined: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
        self.coords: dict[str, Any] = {}
        self.attributes: list[dict[str, Any]] = []

    def add(self, dataset: xr.Dataset, names: Sequence[str]) -> None:
        """Take the runs that belong to the sweep. Args: runs along `run`; what they are called."""
        rows = [
            row for row, name in enumerate(names) if name in self.places and name not in self.filled
        ]
        there = [self.places[names[row]] for row in rows]
        for name, variable in dataset.data_vars.items():
            if name not in self.joined:
                shape = (len(self.places), *variable.shape[1:])
                dims = tuple(map(str, variable.dims[1:]))
                missing = np.nan if variable.dtype.kind == "f" else 0  # in panels without it
                self.joined[str(name)] = dims, np.full(shape, missing, variable.dtype)
            self.joined[str(name)][1][there] = variable.values[rows]
        self.filled |= {names[row] for row in rows}
        self.attributes.append(dataset.attrs)
        inner = ((n, coord) for n, coord in dataset.coords.items() if "run" not in coord.dims)
        self.coords |= {str(name): coord for name, coord in inner}

    def merged(self, sweep: Sweep[Any]) -> xr.Dataset | None:
        """One Dataset over the grid, or None if a run is missing."""
        if len(self.filled) < len(self.places):
            return None
        axes = {**sweep.axes, "seed": range(sweep.seeds)}
        shape = tuple(len(values) for values in axes.values())
        arrays = {
            name: ((*axes, *dims), flat.reshape(*shape, *flat.shape[1:]))
            for name, (dims, flat) in self.joined.items()
        }
        merged = results.labelled(arrays, {name: list(values) for name, values in axes.items()})
        return merged.assign_coords({**self.coords, **sweep.coords})


def merged(sweep: Sweep[Any], read: Iterable[tuple[xr.Dataset, list[str]]]) -> Merger:
    """The runs of a sweep among those that are read from an archive."""
    merger = Merger(sweep.points)
    for dataset, names in read:
        merger.add(dataset, names)
    return merger
