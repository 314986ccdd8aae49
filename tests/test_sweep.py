import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linsim import dynamics, results, runs, sweep, train
from linsim.cluster import Share
from linsim.settings import LinearConfig
from linsim.sweep import Engine

CONFIG = LinearConfig(
    preset="test",
    noise=(0.5, 2.0),
    views="one",
    loss="distance",
    batches="dataset",
    init="orthogonal",
    init_scale=(0.1, 0.3, 1.0),
    learning_rate=0.1,
    steps=20,
    batch_size=16,
    dataset_size=64,
    dim=6,
    noisy_dims=2,
)
AXES = {"noise": CONFIG.noise, "init_scale": CONFIG.init_scale}


def test_sweep_equals_a_loop_over_single_runs_whatever_the_chunk():
    simulate = runs.simulate(CONFIG, dynamics.record_steps(20, count=6))
    single = jax.jit(simulate)
    keys = sweep.run_keys(7, 2)
    for chunk_size in (1, 5, 100):
        swept = Engine(chunk_size=chunk_size).run(simulate, AXES, seed=7, seeds=2)
        for index in np.ndindex(2, 3, 2):
            i, j, k = index
            expected = single(keys[k], noise=jnp.float64(CONFIG.noise[i]), init_scale=jnp.float64(CONFIG.init_scale[j]))
            for name, value in expected.items():
                np.testing.assert_allclose(swept[name].values[index], value, rtol=1e-9, atol=1e-12, err_msg=name)


def test_each_shape_is_traced_once():
    traces = []

    def simulate(key, *, noise):
        traces.append(noise)
        return {"value": noise + jax.random.uniform(key)}

    result = Engine(chunk_size=3).run(simulate, {"noise": tuple(map(float, range(7)))}, seed=0, seeds=1)
    assert result["value"].shape == (7, 1)
    assert len(traces) == 1
    Engine().run(simulate, {"noise": tuple(map(float, range(100)))}, seed=0, seeds=1)
    assert len(traces) == 2


def test_same_seed_same_bytes_and_other_seed_other_runs():
    simulate = runs.simulate(CONFIG, np.array([0, 1, 20]))
    first, again, other = (Engine().run(simulate, AXES, seed=seed, seeds=1) for seed in (0, 0, 1))
    for name in first:
        assert first[name].values.tobytes() == again[name].values.tobytes()
    assert not np.array_equal(first["initial_weights"], other["initial_weights"])


def test_any_field_can_be_an_axis():
    """Floats vary inside one compiled sweep, other fields each in a sweep of their own; points equal single configurations."""
    axes = {"views": ("one", "two"), "learning_rate": (0.05, 0.1), "noise": (0.5,), "init_scale": (0.3,), "steps": (20,)}
    dataset = train.grid(runs.simulate, CONFIG, axes, Engine())
    assert dataset["loss"].dims[:4] == ("views", "steps", "learning_rate", "noise")
    alone = dataclasses.replace(CONFIG, views="two", learning_rate=0.05, noise=(0.5,), init_scale=(0.3,))
    expected = train.one_layer(alone, Engine()).isel(noise=0, init_scale=0)
    picked = dataset.sel(views="two", learning_rate=0.05).isel(noise=0, init_scale=0, steps=0)
    np.testing.assert_allclose(picked["weight_singular_values"], expected["weight_singular_values"], rtol=1e-9)


def test_shares_partition_the_chunks():
    solved = []

    def finish(values, measured):
        solved.extend(values["noise"].tolist())
        return measured

    axes = {"noise": tuple(map(float, range(12)))}
    for index in range(3):
        engine = Engine(chunk_size=2, share=Share(index, 3))
        assert engine.run(lambda key, *, noise: {"value": noise}, axes, seed=0, seeds=1, finish=finish) is None
    assert sorted(solved) == list(axes["noise"])


@pytest.mark.parametrize("total", [1, 7, 12, 100])
@pytest.mark.parametrize("most", [1, 3, 8, 1000])
@pytest.mark.parametrize("multiple", [1, 2, 8])
def test_even_chunks(total, most, multiple):
    size = sweep.even(total, most, multiple)
    assert size % multiple == 0
    assert size <= max(most, multiple)
    count = -(-total // size)
    assert size * count - total < size + multiple * count  # no more padding than the last chunk and the multiple need


def test_a_small_memory_makes_small_chunks(monkeypatch):
    def simulate(key, *, noise):
        return {"value": jnp.outer(jax.random.normal(key, (64,)), jnp.full(64, noise))}

    axes = {"noise": tuple(map(float, range(1024)))}
    sizes, chunk = [], []

    def finish(values, measured):
        chunk.append(len(values["noise"]))
        return measured

    for memory in (1 << 30, 1 << 18):
        monkeypatch.setattr(sweep, "device_memory", lambda device, memory=memory: memory)
        Engine().run(simulate, axes, seed=0, seeds=1, finish=finish)
        sizes.append(chunk.pop())
        chunk.clear()
    assert sizes[0] == 1024 // sweep.MOST_CHUNKS
    assert sizes[1] * 64 * 64 * 8 < sweep.MEMORY_SHARE * (1 << 18)


DEVICES = """
import sys
from linsim.config import configure_jax
configure_jax(x64=True, devices=int(sys.argv[1]))
import jax, numpy as np
from linsim import results, runs, train
from linsim.sweep import Engine
sys.path.insert(0, sys.argv[2])
from test_sweep import AXES, CONFIG
assert len(jax.devices()) == int(sys.argv[1])
results.save(train.one_layer(CONFIG, Engine()), results.Path(sys.argv[3]))
"""


def test_devices_agree_and_repeat(tmp_path):
    """1, 2 or 8 forced host devices: the same to rounding; twice on 2 devices: the same bytes."""
    datasets = {}
    for label, devices in (("1", 1), ("2", 2), ("2 again", 2), ("8", 8)):
        path = tmp_path / f"{label}.nc"
        words = [sys.executable, "-c", DEVICES, str(devices), str(Path(__file__).parent), str(path)]
        environment = {k: v for k, v in os.environ.items() if k != "NPROC"}
        subprocess.run(words, check=True, timeout=300, env=environment, capture_output=True)
        datasets[label] = results.load(path)
    for name in datasets["1"]:
        assert datasets["2"][name].values.tobytes() == datasets["2 again"][name].values.tobytes()
        for label in ("2", "8"):
            difference = np.abs(datasets[label][name].values - datasets["1"][name].values)
            scale = np.nanmax(np.abs(datasets["1"][name].values))
            print(f"{label} devices, {name}: largest difference {np.nanmax(difference) / scale:.1e} of the largest value")
            assert np.nanmax(difference) <= 1e-8 * scale  # population flows stop at a tolerance of 1e-8
