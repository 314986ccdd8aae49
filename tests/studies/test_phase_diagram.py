"""Phase diagrams: the balanced flow, the predicted boundaries, and measured cells."""

import dataclasses

import numpy as np
import pytest
from helpers import assert_close, assert_not_close, command

from linsim.studies.phase_diagram import EARLY, PhaseModel, runs
from linsim.sweeps import results
from linsim.theory import population


def flow(w0, time, depth, noise_variance: np.ndarray | float = 0.5):
    return population.balanced_flow(w0, np.array([time]), depth, 1.0, noise_variance)[0]


def test_balanced_flow_solves_its_equation_and_escapes_in_time():
    """Against the closed solution of one linear layer's early growth, and the escape time of two to
    four layers.
    """
    weak = flow(np.array([1e-6]), 2.0, 1)
    assert_close(weak, 1e-6 * np.exp([1.5 * 2.0]), rtol=1e-6)
    for depth in (2, 3, 4):
        w0 = 0.01
        escape = float(population.escape_time(w0, depth, 1.5))
        before, after = (flow(np.array(w0), factor * escape, depth) for factor in (0.95, 1.05))
        assert before < 0.5 < after
    dead = flow(np.array([0.1, 0.1]), 1e4, 1, np.array([6.0, 0.5]))
    assert dead[0] == 0.0
    assert_close(dead[1] ** 2, population.fixed_point(1.0, 0.5), rtol=1e-6)
    assert_not_close(flow(np.array([0.1]), 2.0, 2), weak)


def test_boundaries_of_the_theory():
    """The counts cross sqrt 2 for one noisy view, never for two; escape times hug the balanced
    flow's boundary from above.
    """
    noise, scale = np.array([0.1, 1.2, 1.38, 1.45, 2.5]), np.array([0.1, 1.0])
    cases: tuple[tuple[PhaseModel, list[int]], ...] = (
        ("one-view", [0, 0, 0, 1, 1]),
        ("two-views", [0, 0, 0, 0, 0]),
    )
    late = dataclasses.replace(EARLY, one_layer_time=1000.0)
    for model, collapsed in cases:
        deviation = runs.predicted_deviation(late, model, noise, scale)
        np.testing.assert_array_equal(
            deviation[1] < late.cutoff, np.repeat(np.array(collapsed)[:, None], 2, axis=1)
        )
    strong = np.array([2.0])
    settled = population.fixed_point(1 + strong**2, 2 * strong**2)
    deviation = runs.predicted_deviation(late, "two-views", strong, scale)[1]
    assert_close(deviation**2, np.repeat((1 + strong**2) * settled, 2)[None], rtol=1e-6)
    curve = runs.escape_boundary(EARLY, "two-layers", noise)
    assert np.isnan(curve[1, 3:]).all()
    for block, index in ((0, 0), (1, 0), (1, 1)):
        at_curve = runs.predicted_deviation(
            EARLY, "two-layers", noise, curve[block, index : index + 1]
        )
        below = runs.predicted_deviation(
            EARLY, "two-layers", noise, 0.6 * curve[block, index : index + 1]
        )
        assert at_curve[block, index, 0] > EARLY.cutoff > below[block, index, 0]


def test_cells_near_the_boundary():
    counts = np.zeros((5, 5), int)
    counts[3:] = 2
    expected = np.zeros((5, 5), bool)
    expected[2:4] = True
    np.testing.assert_array_equal(runs.near_boundary(counts), expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("grid", "models"),
    [
        (5, ["one-view", "two-layers-random"]),
        (7, ["one-view", "two-views", "two-layers", "two-layers-random"]),
    ],
)
def test_measured_and_predicted_boundaries_agree(grid, models, tmp_path):
    """The default's runs on a coarser grid, each against the theory from its own start."""
    flags = ["--grid", grid, grid, "--models", *models, "--seeds", "1"]
    done = command("phase_diagram", *flags, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    verdict = done.stdout.splitlines()[-1]
    assert "NOT" not in verdict
    assert verdict.count("as predicted") == len(models)
    dataset = results.load(tmp_path / "phase_diagram.nc")
    assert {0, 2, 4} <= set(np.unique(dataset["collapsed"]))
    assert (tmp_path / "phase_diagram.png").stat().st_size > 10_000


@pytest.mark.slow
def test_late_counts_from_a_random_start_are_those_of_this_batch_size(tmp_path):
    """98 % of all runs; infinite batches miss a tenth of them, even from each run's own start."""
    flags = ["--preset", "late", "--models", "two-layers-random", "--seeds", "1"]
    done = command("phase_diagram", *flags, "--out", tmp_path, timeout=600)
    assert "two-layers-random as predicted" in done.stdout, done.stderr
    dataset = results.load(tmp_path / "phase_diagram.nc")
    exact, infinite = (
        float((dataset["collapsed"] == dataset[f"{name}_collapsed"]).mean())
        for name in ("theory", "population")
    )
    print(f"this batch size {exact:.3f}, infinite batches {infinite:.3f}")
    assert exact > 0.98 > 0.9 > infinite


@pytest.mark.parametrize(
    ("flags", "what"),
    [
        (["--grid", "2", "8"], "--grid 2"),
        (["--noise-range", "2", "1"], "--noise-range 2.0 1.0"),
        (["--scale-range", "0", "1"], "--scale-range 0.0"),
        (["--cutoff", "-1"], "--cutoff -1.0"),
        (["--noisy-dims", "4"], "--noisy-dims 4"),
        (["--process-id", "2"], "--process-id 2"),
        (["--num-processes", "2", "--process-id", "2"], "--process-id 2"),
        (["--num-processes", "2", "--process-id", "1", "--overwrite"], "--overwrite"),
        (["--chunk-size", "0"], "--chunk-size 0"),
        (["--models", "one-view", "one-view"], "--models one-view one-view"),
    ],
)
def test_bad_flags(flags, what, tmp_path):
    done = command("phase_diagram", *flags, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert what in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
