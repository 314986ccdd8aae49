"""The benchmark's implementations compute the same; how long they take is not tested."""

import importlib.util
import json
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import floor, in_linsim, in_numpy, measure, table, workloads

SIZES = measure.TINY
AGREE = 1e-5  # relative, of float32 results after a few steps
TORCH = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="PyTorch is not installed ('.[bench]')"
)


@pytest.fixture
def single():
    jax.config.update("jax_enable_x64", False)
    yield
    jax.config.update("jax_enable_x64", True)


@pytest.mark.parametrize("workload", ["r1", "r3"])
def test_descents_agree(workload, single):
    found = getattr(measure, workload)(SIZES, 1)
    assert found["apart"].keys() == found["seconds"].keys() >= {"linsim", "NumPy"}
    assert max(found["apart"].values()) < AGREE


def test_fresh_batches_agree_on_average(single):
    sizes = SIZES._replace(runs=32, count=32, steps=20)
    found = measure.r2(sizes, 1)
    assert 0 < max(found["apart"].values()) < 0.05


def test_flows_agree():
    assert max(measure.r6(SIZES, 1)["apart"].values()) < 1e-6


def test_one_gradient_agrees(single):
    batch = workloads.batch(SIZES.medium, measure.DIM)
    np.testing.assert_allclose(
        in_linsim.one_gradient(*batch)(),
        -batch[0] @ in_numpy.contrast(*batch),
        rtol=1e-4,
        atol=1e-6,
    )


@TORCH
def test_pytorch_agrees(single):
    from benchmarks import in_torch

    work = workloads.descent(3, 5, 16, 4, depth=2)
    expected = in_numpy.descend(work)
    for found in (in_torch.eager(work), in_torch.together(work)):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_the_floor_takes_the_fastest_way_of_each_part(single):
    tried = floor.candidates(8, 4)
    seconds = [[float(number + 1)] * 3 for number in range(len(tried))]
    best = floor.best(tried, seconds)
    assert best.keys() == {"exponentials", "Gram product", "product with the data"}
    slowest = floor.best(tried, [[-times[0]] for times in seconds])
    for part in best:
        assert best[part]["way"] != slowest[part]["way"]


def test_the_readme_shows_the_recorded_measurement():
    measured = json.loads((ROOT / "benchmarks" / "results.json").read_text())
    assert (
        f"{table.BEGIN}\n{table.render(measured)}\n{table.END}"
        in (ROOT / "docs" / "speed.md").read_text()
    )
