import jax
import jax.numpy as jnp
import numpy as np

from linsim import dynamics, runs, sweep
from linsim.config import LinearConfig

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
        swept = sweep.run(simulate, AXES, seed=7, seeds=2, chunk_size=chunk_size)
        for index in np.ndindex(2, 3, 2):
            i, j, k = index
            expected = single(keys[k], noise=jnp.float64(CONFIG.noise[i]), init_scale=jnp.float64(CONFIG.init_scale[j]))
            for name, value in expected.items():
                np.testing.assert_allclose(swept[name][index], value, rtol=1e-9, atol=1e-12, err_msg=name)


def test_each_shape_is_traced_once():
    traces = []

    def simulate(key, *, noise):
        traces.append(noise)
        return {"value": noise + jax.random.uniform(key)}

    result = sweep.run(simulate, {"noise": tuple(map(float, range(7)))}, seed=0, seeds=1, chunk_size=3)
    assert result["value"].shape == (7, 1)
    assert len(traces) == 1


def test_same_seed_same_bytes_and_other_seed_other_runs():
    simulate = runs.simulate(CONFIG, np.array([0, 1, 20]))
    first, again, other = (sweep.run(simulate, AXES, seed=seed, seeds=1) for seed in (0, 0, 1))
    for name in first:
        assert first[name].tobytes() == again[name].tobytes()
    assert not np.array_equal(first["initial_weights"], other["initial_weights"])
