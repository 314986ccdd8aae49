"""Phase diagrams: the balanced flow, the predicted boundaries, and measured cells."""

import dataclasses
from typing import get_args

import jax
import numpy as np
import pytest
import xarray as xr
from helpers import assert_close, assert_not_close, command

from linsim.studies.phase_diagram import EARLY, PhaseModel, runs
from linsim.sweeps import results
from linsim.theory import population
from linsim.training import starts
from linsim.training.dynamics import Trajectory
from linsim.training.run import Trained


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
    rates = np.array([0 * noise + 2.0, 2 - noise**2])  # of clean data and of one noisy view
    escapes = np.asarray(population.escape_time(curve**2, 2, rates))
    assert_close(escapes[rates > 0], np.full(8, EARLY.two_layer_time))
    assert np.isnan(curve[1, 3:]).all()
    for model in ("one-view", "two-views", "two-layers-random"):
        assert np.isnan(runs.escape_boundary(EARLY, model, noise)).all()
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
    island, around = np.zeros((5, 6), int), np.zeros((5, 6), bool)
    island[2, 4], around[1:4, 3:6] = 1, True  # diagonal neighbours, too
    np.testing.assert_array_equal(runs.near_boundary(island), around)


ODD = dataclasses.replace(
    EARLY,
    models=("one-view", "two-layers", "two-layers-random"),
    grid=(3, 4),
    dim=5,
    one_layer_time=20.0,
    two_layer_time=6.0,
    steps=40,
)


BALANCED: tuple[tuple[PhaseModel, int], ...] = (
    ("one-view", 1),
    ("two-views", 1),
    ("two-layers", 2),
)  # and how many layers they have


def test_panels_are_looked_at_at_their_times():
    for model in get_args(PhaseModel):
        run, layers = runs.fixed_run(ODD, model), 2 if "layers" in model else 1
        assert_close(run.times, np.array([0.0, {1: 20.0, 2: 6.0}[layers]]), rtol=1e-6)
        assert run.views == ("two" if model == "two-views" else "one")
        assert len(run.widths) == layers + 1
    assert runs.fixed_run(ODD, "two-layers-random").start == starts.Spectral()
    balanced = dataclasses.replace(runs.fixed_run(ODD, "two-layers"), init_scale=0.3)
    for layer in balanced.layers(jax.random.key(0)):
        assert_close(np.linalg.svd(layer, compute_uv=False), np.full(5, 0.3), size=100)
    cells = runs.axes(ODD)
    assert_close(cells["noise"], [0.1, 1.3, 2.5])
    assert_close(np.diff(np.log(cells["init_scale"])), np.full(3, np.log(20) / 3))
    assert_close(cells["init_scale"][0], 0.05)


def test_deviations_start_at_the_product_of_the_layers_scales():
    """sqrt(a) scale^L, with a = 1 + noise^2 if both views are noisy."""
    soon = dataclasses.replace(ODD, one_layer_time=1e-9, two_layer_time=1e-9)
    noise, scale = np.array([0.0, 2.0]), np.array([0.1, 0.3, 1.0])
    for model, layers in BALANCED:
        variance = np.ones((2, 2))
        variance[1] += noise**2 * (model == "two-views")
        found = runs.predicted_deviation(soon, model, noise, scale)
        assert_close(found, np.sqrt(variance)[:, :, None] * scale**layers, rtol=1e-6)
    unknown = runs.predicted_deviation(soon, "two-layers-random", noise, scale)
    assert np.isnan(unknown).all()
    assert unknown.shape == (2, 2, 3)


def test_runs_keep_their_initial_layers_and_their_final_deviation(monkeypatch):
    first, second = np.random.default_rng(0).standard_normal((2, 2, 5, 5))
    run = dataclasses.replace(runs.fixed_run(ODD, "two-layers"), views="two", noise=1.5)
    path = Trajectory((first, second), np.ones(2), np.zeros((2, 5, 5)), np.zeros(2))
    monkeypatch.setattr(runs, "train", lambda *_: Trained(path, run.data_cov()))
    found = runs.simulate(run, jax.random.key(0))
    np.testing.assert_array_equal(found["initial_w1"], first[0])
    np.testing.assert_array_equal(found["initial_w2"], second[0])
    anchor = np.sqrt(np.diag([1, 1, 1, 3.25, 3.25]))
    expected = np.linalg.svd(second[1] @ first[1] @ anchor, compute_uv=False)
    assert_close(found["embedding_deviation"], expected, size=100)


def inline(function, calls):
    return (function(**call) for call in calls)


def test_every_cell_has_the_theory_of_its_noise_and_scale(monkeypatch):
    """Stubs return what tells the cell: of equal modes m = scale^2L, noise^2 m in the noisy block;
    of a random start the noise times its layers.
    """
    monkeypatch.setattr(runs, "side_by_side", inline)
    asked = []

    def flow(start, groups, depth, times, **_):
        asked.append((depth, times[-1]))
        noise = np.array([1.0, groups[1].noise_variance])
        return np.stack([9 + 0 * start, start * noise])

    monkeypatch.setattr(runs.finite_batch, "flow", flow)
    noise, scale = (np.array(values) for values in runs.axes(ODD).values())
    for model, layers in BALANCED:
        found = runs.at_batch_size(runs.fixed_run(ODD, model), ODD, [])
        assert found.shape == (3, 4, 1, 5)
        two = model == "two-views"
        clean = np.broadcast_to(scale**layers, (3, 4))
        noisy = clean * (noise * np.sqrt(2 * (1 + noise**2) if two else 1))[:, None]
        expected = np.stack([clean] * 3 + [noisy] * 2, axis=-1)
        assert_close(found[:, :, 0], np.sort(expected)[..., ::-1], rtol=1e-6)
        assert {depth for depth, _ in asked} == {layers}
        np.testing.assert_allclose([time for _, time in asked], [20.0, 6.0][layers - 1], rtol=1e-6)
        asked.clear()

    def layers_in_time(cells, layers, learning_rate, **_):
        assert len(cells) == len(layers) == 24
        assert learning_rate == 0  # small steps
        path = lambda w, factor: np.stack([9 + 0 * w, factor * w])
        return [
            (path(first, run.noise), path(second, 1))
            for run, (first, second) in zip(cells, layers, strict=True)
        ]

    monkeypatch.setattr(runs.theory, "layers_in_time", layers_in_time)
    layers = np.random.default_rng(0).standard_normal((2, 3, 4, 2, 5, 5))
    found = runs.at_batch_size(runs.fixed_run(ODD, "two-layers-random"), ODD, list(layers))
    expected = np.linalg.svd(layers[1] @ layers[0], compute_uv=False)
    assert_close(found, expected * noise[:, None, None, None], rtol=1e-6)


def test_panels_stand_beside_their_theory_and_are_counted_by_an_absolute_cutoff(monkeypatch):
    """0.1 is the cut-off whatever the largest; from a random start infinite batches are each run's
    own.
    """
    noise, scale = (np.array(values) for values in runs.axes(ODD).values())
    shape = (3, 3, 4, 2, 5)
    rng = np.random.default_rng(0)
    deviation, own = np.sort(rng.uniform(0, 0.2, (2, *shape)))[..., ::-1]
    layers = rng.standard_normal((2, *shape, 5))
    theory = {1: np.full((3, 4, 1, 5), 0.2), 2: np.full((3, 4, 2, 5), 0.3)}
    theory[1][2, :, :, 3:] = 0.05

    def at_batch_size(run, settings, given):
        np.testing.assert_array_equal(given, layers[:, 1 + isinstance(run.start, starts.Spectral)])
        return theory[2 if isinstance(run.start, starts.Spectral) else 1]

    monkeypatch.setattr(runs, "at_batch_size", at_batch_size)
    monkeypatch.setattr(runs, "FINE", 5)
    settings = dataclasses.replace(ODD, models=("two-layers", "two-layers-random"))
    dims = ("model", "noise", "init_scale", "seed")
    dataset = xr.Dataset(
        {
            "embedding_deviation": ((*dims, "mode"), deviation[1:]),
            "population_embedding_deviation": ((*dims, "mode"), own[1:]),
            "initial_w1": ((*dims, "hidden", "input"), layers[0, 1:]),
            "initial_w2": ((*dims, "output", "hidden"), layers[1, 1:]),
        },
        coords={
            "model": list(settings.models),
            "noise": noise,
            "init_scale": scale,
            "seed": [0, 1],
        },
    )
    found = runs.compare(dataset.transpose("seed", "init_scale", ...), settings)
    found = found.transpose("model", "noise", "init_scale", "seed", ...)
    np.testing.assert_array_equal(found["collapsed"], (deviation[1:] < 0.1).sum(axis=-1))
    assert found["theory_collapsed"].values[0, 2].tolist() == [[2, 2]] * 4
    assert found["theory_collapsed"].values.sum() == 16
    near = found["near_boundary"].values
    assert near[0, 1:].all()
    assert near.sum() == 16
    infinite = found["population_embedding_deviation"].values
    np.testing.assert_array_equal(infinite[1], own[2])
    blocks = runs.predicted_deviation(settings, "two-layers", noise, scale)
    for seed in (0, 1):
        assert_close(infinite[0, :, :, seed, 0], blocks.max(axis=0))
        assert_close(infinite[0, :, :, seed, -1], blocks.min(axis=0))
        assert_close(infinite[0, :, :, seed, 2], blocks[0])
    fine = found["predicted_deviation"].sel(model="two-layers").values
    assert_close(fine[:, [0, 2, 4]][..., [0, 4]], blocks[..., [0, -1]], rtol=1e-6)
    assert_close(found["fine_noise"], np.linspace(0.1, 2.5, 5))
    assert_close(np.diff(np.log(found["fine_init_scale"])), np.full(4, np.log(20) / 4))
    assert found["end_time"].values.tolist() == [6, 6]
    assert np.isfinite(found["escape_boundary"].sel(model="two-layers", block="clean")).all()


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
