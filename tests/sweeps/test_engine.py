"""From one run to a grid: a sweep is a loop over single runs, whatever the chunks, shares and
devices.
"""

import dataclasses
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from jaxtyping import Float

from linsim.arrays import Array
from linsim.sweeps import programs, results
from linsim.sweeps import sweep as sweeps
from linsim.sweeps.cluster import Share
from linsim.sweeps.engine import Engine
from linsim.sweeps.sweep import Sweep
from linsim.training.observe import simulate
from linsim.training.records import Real, record, static
from linsim.training.run import Run

FIXED = Run(
    learning_rate=0.1, batches="dataset", batch_size=16, dataset_size=64, dim=6, noisy_dims=2
)
RECORDS = (0, 1, 3, 8, 20)
AXES = {"noise": (0.5, 2.0), "init_scale": (0.1, 0.3, 1.0)}


def grid(axes=AXES, fixed=FIXED, **options) -> Sweep[Run]:
    """A sweep of any fields of a run."""
    start = dataclasses.replace(fixed, record_at=RECORDS)
    return Sweep(
        axes=axes,
        make=lambda **point: dataclasses.replace(start, **point),
        simulate=simulate,
        **options,
    )


@record
class Toy:
    """A run that returns its own number."""

    noise: Real = 0.0
    kind: str = static("a")


def toys(count: int, simulate=None, **options) -> Sweep[Toy]:
    """A sweep of `count` numbers."""
    own = simulate or (lambda run, key: {"value": run.noise})
    axes = {"noise": tuple(map(float, range(count)))}
    return Sweep(axes=axes, make=lambda noise: Toy(noise=noise), simulate=own, **options)


def solved(sweep: Sweep, **where) -> xr.Dataset:
    """The whole result of a sweep that no other process shares."""
    dataset = Engine(**where).run(sweep)
    assert dataset is not None
    return dataset


def test_sweep_equals_a_loop_over_single_runs_whatever_the_chunk():
    single = jax.jit(simulate)
    keys = sweeps.run_keys(7, 2)
    for chunk_size in (1, 5, 100):
        swept = solved(grid(seed=7, seeds=2), chunk_size=chunk_size)
        for i, j, k in np.ndindex(2, 3, 2):
            run = dataclasses.replace(
                FIXED, noise=AXES["noise"][i], init_scale=AXES["init_scale"][j], record_at=RECORDS
            )
            for name, value in single(run, keys[k]).items():
                found = swept[name].values[i, j, k]
                np.testing.assert_allclose(found, value, rtol=1e-9, atol=1e-12, err_msg=name)


def test_each_static_part_is_traced_once():
    traces = []

    def traced(run, key):
        traced_value = run.noise + jax.random.uniform(key)
        traces.append(run.kind)
        return {"value": traced_value}

    result = solved(toys(7, traced), chunk_size=3)
    assert result["value"].shape == (7, 1)
    assert len(traces) == 1
    Engine().run(toys(100, traced))
    assert len(traces) == 2
    axes = {"kind": ("a", "b"), "noise": (0.0, 1.0, 2.0)}
    Engine().run(Sweep(axes=axes, make=lambda **point: Toy(**point), simulate=traced))
    assert traces[2:] == ["a", "b"]


def test_same_seed_same_bytes_and_other_seed_other_runs():
    first, again, other = (solved(grid(seed=seed)) for seed in (0, 0, 1))
    for name in first:
        assert first[name].values.tobytes() == again[name].values.tobytes()
    assert not np.array_equal(first["initial_weights"], other["initial_weights"])


def test_any_field_can_be_an_axis_in_any_order_and_whatever_the_type_of_its_values():
    """Leaves vary inside one program, other fields make a program each; points equal runs."""
    axes = {"init_scale": (0.1, 1), "views": ("one", "two"), "learning_rate": (0.05, 0.1)}
    dataset = solved(grid(axes))
    assert dataset["loss"].dims[:4] == ("init_scale", "views", "learning_rate", "seed")
    run = dataclasses.replace(
        FIXED, init_scale=1.0, views="two", learning_rate=0.05, record_at=RECORDS
    )
    expected = jax.jit(simulate)(run, sweeps.run_keys(0, 1)[0])
    picked = dataset.sel(views="two", learning_rate=0.05, init_scale=1, seed=0)
    assert_allclose = np.testing.assert_allclose
    assert_allclose(picked["weight_singular_values"], expected["weight_singular_values"], rtol=1e-9)


def test_shares_partition_the_chunks():
    solved = []

    def finish(runs, measured):
        solved.extend(runs.noise.tolist())
        return measured

    for index in range(3):
        assert Engine(chunk_size=2, share=Share(index, 3)).run(toys(12, finish=finish)) is None
    assert sorted(solved) == list(range(12))


def test_finish_sees_the_numbers_of_the_runs_in_full_precision():
    seen = []

    def finish(runs, measured):
        seen.append(runs.noise)
        return measured

    with jax.enable_x64(False):
        axes = {"noise": (1.3,)}
        sweep = Sweep(
            axes=axes,
            make=lambda noise: Toy(noise=noise),
            simulate=lambda run, key: {"value": jnp.asarray(run.noise)},
            finish=finish,
        )
        dataset = solved(sweep)
    assert seen[0].tolist() == [1.3]
    assert dataset["value"].dtype == np.float32


@pytest.mark.parametrize("total", [1, 7, 12, 100])
@pytest.mark.parametrize("most", [1, 3, 8, 1000])
@pytest.mark.parametrize("multiple", [1, 2, 8])
def test_even_chunks(total, most, multiple):
    size = programs.even(total, most, multiple)
    assert size % multiple == 0
    assert size <= max(most, multiple)
    count = -(-total // size)
    # no more padding than the last chunk and the multiple need
    assert size * count - total < size + multiple * count


def test_a_small_memory_makes_small_chunks(monkeypatch):
    def outer(run, key) -> dict[str, Float[Array, "64 64"]]:
        return {"value": jnp.outer(jax.random.normal(key, (64,)), jnp.full(64, run.noise))}

    sizes, chunk = [], []

    def finish(runs, measured):
        chunk.append(len(runs.noise))
        return measured

    for memory in (1 << 30, 1 << 18):
        monkeypatch.setattr(programs, "device_memory", lambda device, memory=memory: memory)
        Engine().run(toys(1024, outer, finish=finish))
        sizes.append(chunk.pop())
        chunk.clear()
    assert sizes[0] == 1024 // programs.MOST_CHUNKS
    assert sizes[1] * 64 * 64 * 8 < programs.MEMORY_SHARE * (1 << 18)


DEVICES = """
import sys
from linsim.sweeps.runtime import configure_jax
configure_jax(devices=int(sys.argv[1]))
import jax
import linsim
from linsim.sweeps import results
assert len(jax.devices()) == int(sys.argv[1])
settings = dict(noise=[0.5, 2], init_scale=[0.1, 0.3, 1], learning_rate=0.1, steps=20)
settings |= dict(batch_size=16, dataset_size=64, dim=6, noisy_dims=2, x64=True)
dataset = linsim.run("strong_aug", **settings)
results.save(dataset, results.Path(sys.argv[2]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("devices", [2, 8])
def test_devices_agree_and_repeat(devices, tmp_path):
    """1 and several forced host devices: the same to rounding; twice on several: the same bytes."""
    datasets = []
    for number, count in enumerate((1, devices, devices)):
        path = tmp_path / f"{number}.nc"
        words = [sys.executable, "-c", DEVICES, str(count), str(path)]
        environment = {k: v for k, v in os.environ.items() if k != "NPROC"}
        subprocess.run(words, check=True, timeout=300, env=environment, capture_output=True)
        datasets.append(results.load(path))
    one, several, again = datasets
    for name in one:
        assert several[name].values.tobytes() == again[name].values.tobytes()
        apart = np.where(one[name] == several[name], 0.0, np.abs(several[name] - one[name]))
        worst = np.nanmax(apart) / np.nanmax(np.abs(one[name].where(np.isfinite(one[name]))))
        print(f"{devices} devices, {name}: largest difference {worst:.1e} of the largest value")
        assert worst <= 1e-8  # population flows stop at a tolerance of 1e-8
