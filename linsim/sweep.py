"""From one run to a grid of runs: chunks of a fixed shape, each one compiled, vectorised call."""

import itertools
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Key
from tqdm import tqdm

from linsim.arrays import Array

Simulate = Callable[..., dict[str, Array]]


def run_keys(seed: int, seeds: int) -> Key[Array, "seeds"]:
    """One key per independent run; the same for every point of the grid, so that points differ by their settings only."""
    return jax.vmap(lambda run: jax.random.fold_in(jax.random.key(seed), run))(jnp.arange(seeds))


def run(
    simulate: Simulate, axes: Mapping[str, Sequence[float]], *, seed: int, seeds: int, chunk_size: int = 4
) -> dict[str, np.ndarray]:
    """Run `simulate` on every point of the grid axes x seeds.

    Args: simulate(key, **point) -> dict of arrays for ONE run, traceable; axes: values by name; seed: base key; seeds:
    runs per point; chunk_size: runs per compiled call (the last chunk is padded, so every shape is traced once).
    Returns: the arrays of `simulate` with leading dimensions (*axes, seeds). Shows a progress bar on a terminal.
    """
    points = list(itertools.product(*axes.values(), range(seeds)))
    size = -(-len(points) // -(-len(points) // chunk_size))  # equal chunks, none larger than chunk_size
    keys = run_keys(seed, seeds)
    compiled = jax.jit(jax.vmap(lambda key, values: simulate(key, **dict(zip(axes, values, strict=True)))))
    chunks = []
    with tqdm(total=len(points), unit="run", disable=None, leave=False) as bar:
        for chunk in _batched(points, size):
            padded = chunk + [chunk[-1]] * (size - len(chunk))
            values = [jnp.asarray(column, dtype=float) for column in list(zip(*padded, strict=True))[:-1]]
            result = compiled(keys[np.array([point[-1] for point in padded])], values)
            chunks.append({name: np.asarray(leaf)[: len(chunk)] for name, leaf in result.items()})
            bar.update(len(chunk))
    shape = (*(len(values) for values in axes.values()), seeds)
    joined = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}
    return {name: leaf.reshape(*shape, *leaf.shape[1:]) for name, leaf in joined.items()}


def _batched(items: list, size: int) -> list[list]:
    return [items[start : start + size] for start in range(0, len(items), size)]
