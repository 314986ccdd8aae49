"""What `strong_aug` makes of theory's strengths and paths, on constructed ones: nothing is trained
or integrated.

Sizes are not symmetric: five coordinates, two of them noisy, batches of 16.
"""

import itertools
import subprocess
import sys
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest
import xarray as xr
from helpers import assert_close

import linsim
from linsim.studies.strong_aug import ahead, theory
from linsim.theory.minibatch import FirstOrder
from linsim.training import starts
from linsim.training.loss import Cosine, Dot
from linsim.training.run import Run

RUN = Run(noise=1.2, dim=5, noisy_dims=2, batch_size=16, batches="dataset", dataset_size=4000)
LAYERS = replace(RUN, hidden=(5, 5), start=starts.Balanced(decay=0.0))
TIMES = 0.128 * np.array([0.0, 4, 1000])


def test_shares_of_spectra_with_each_count_of_collapsed_dimensions():
    drawn = np.array([[1.0, 0.5, 0.1], [1.0, 0.5, 1e-3], [3.0, 0.02, 0.02], [1.0, 0.5, 0.2]])
    assert theory._shares(drawn, 0.01).tolist() == [0.5, 0.25, 0.25, 0]


def test_collapsed_dimensions_are_counted_at_the_end():
    """Of theory's draws, which without a spread are the strengths' roots, and of the runs."""
    strength, none = np.array([[1.0, 1.0], [4.0, 1e-6], [1.0, 1e-6]]), np.zeros((3, 2))
    for records, expected in (([0, 1, 2], 2), ([0, 2, 0], 0)):
        told = strength[records]
        exact = FirstOrder(told, told, told, none, none)
        found = theory._degenerate(RUN, TIMES, 0.01, exact)
        assert found["collapsed_probability"].tolist() == np.eye(6)[expected].tolist()
        values = np.sqrt(np.repeat(told, [3, 2], axis=1))
        assert_close(found["theory_singular_value_low"], values)
        assert_close(found["theory_singular_value_high"], values)


def test_runs_are_counted_at_the_end_and_stand_beside_their_own_predictions(monkeypatch):
    """Settings are laid out over noise and then initial scale."""
    settings = linsim.study("strong_aug").settings(
        noise=[0.5, 1.2], init_scale=[0.1, 0.2, 0.3], dim=5, noisy_dims=2, steps=2, seeds=1
    )
    monkeypatch.setattr(theory, "first_orders", lambda _: [None] * 6)
    monkeypatch.setattr(
        theory,
        "_cell",
        lambda run, one, *_: {
            "theory_level": np.full((2, 2), [run.noise, run.init_scale]),
            "theory_left_out": np.full((2, 2), [one["noise"], one["init_scale"]]),
        },
    )
    values = np.ones((2, 3, 1, 2, 5))
    values[1, 2, 0] = [[1, 1, 1, 1, 1e-3], [1, 1, 1e-3, 1e-3, 1e-3]]
    dims = ("noise", "init_scale", "seed", "time", "mode")
    dataset = xr.Dataset(
        {"weight_singular_values": (dims, values)},
        coords={"noise": [0.5, 1.2], "init_scale": [0.1, 0.2, 0.3], "time": [0.0, 1.0]},
    )
    found = theory.compare(dataset, settings)
    assert found["collapsed"].values.ravel().tolist() == [0, 0, 0, 0, 0, 3]
    np.testing.assert_allclose(found["theory_level"], found["theory_left_out"], rtol=1e-6)
    assert_close(found["theory_level"][1, 2, 0], [1.2, 0.3], rtol=1e-6)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_layers_of_all_depths_start_with_equal_singular_values(depth):
    settings = linsim.study("strong_aug").settings(depth=depth, dim=5, noisy_dims=2)
    run = theory.fixed_run(settings)
    assert len(run.widths) == depth + 1
    assert theory.has_modes(run)
    for layer in replace(run, init_scale=0.3).layers(jax.random.key(0)):
        assert_close(np.linalg.svd(layer, compute_uv=False), np.full(5, 0.3), rtol=1e-6)


def test_what_is_not_known_has_the_shape_of_what_is():
    one = measured(np.ones((2, 2)), np.ones((2, 5)))
    shapes = {"time": 3, "block": 2, "mode": 5, "count": 6}
    found = theory._at_batch_size(replace(RUN, loss=Cosine()), one, 0.01)
    assert len(found) == 7
    for name, values in found.items():
        assert values.shape == tuple(shapes[dim] for dim in theory.PREDICTED[name])
        assert np.isnan(values).all()


def test_spectra_scatter_about_theory_as_the_measured_ones_about_their_mean():
    values, logs = np.array([2.0, 1.0, 0.5]), np.array([[0.1, 0.3, 0.0], [-0.1, -0.3, 0.0]])
    found = np.log(theory._scattered(values, 7 * np.exp(logs)))
    expected = np.sqrt(2) * np.array([0.1, 0.3, 0.1])  # the third's is the median: chance alone
    assert_close(found.std(axis=0), expected, rtol=4 / np.sqrt(2 * theory.DRAWS))
    error = expected / np.sqrt(theory.DRAWS)
    assert np.abs((found.mean(axis=0) - np.log(values)) / error).max() < 4
    assert theory._scattered(values, np.ones((1, 3))).tolist() == [values.tolist()]
    assert np.isfinite(theory._scattered(values, np.zeros((2, 3)))).all()


@pytest.mark.parametrize(("batches", "held"), [("dataset", 4000), ("fresh", np.inf)])
def test_equal_modes_of_layers_part_by_the_samples_seen_and_by_their_growth(batches, held):
    """Three clean modes and two noisy ones of three layers; one batch at first."""
    strength = np.array([[0.1, 0.1], [0.8, 0.2], [0.4, 0.3]])
    found = theory._parting(replace(LAYERS, batches=batches), TIMES, strength)
    seen = 15 * np.array([1, 4, 1000])
    begun = np.sqrt(np.outer(1 / seen + 1 / held, [10 / 3, 2]))
    grown = np.array([[1.0, 1], [8, 2], [8, 3]])
    assert_close(found, begun * 1.5 * (grown ** (2 / 3) - 1))
    assert not np.any(theory._parting(RUN, TIMES, strength))
    assert not np.any(theory._parting(replace(LAYERS, data_exponent=1.0), TIMES, strength))


def measured(strength, singular, **more):
    """Of two seeds: strengths of the blocks at the start, singular values at the end (float32)."""
    time, later = ("seed", "time"), 9 + 0 * strength
    at_end = np.asarray(singular, np.float32)
    early = at_end * np.array([[1], [1000]], np.float32)  # far apart
    return xr.Dataset(
        {
            "block_strength": ((*time, "block"), np.stack([strength, later, later], axis=1)),
            "weight_singular_values": ((*time, "mode"), np.stack([early, early, at_end], axis=1)),
            **more,
        },
        coords={"time": [0.0, 1.0, 2.0]},
    )


def test_modes_start_at_their_blocks_strengths_and_depart_by_the_learning_rate(monkeypatch):
    """Three modes of the clean block and two of the noisy one, each by itself."""
    asked: list[dict[str, Any]] = []
    start, end = [0.1, 0.1, 0.1, 0.3, 0.3], [4.0, 2.0, 1.5, 1e-13, 3e-13]
    small = np.array([start, start, end])
    factor = np.array([[1.0] * 5, [1.0] * 5, [1.5, 1.5, 1.5, 2.0, 2.0]])

    def flow(times, start, groups, **options):
        asked.append(
            {"times": times, "start": start, "counts": [g.count for g in groups]} | options
        )
        return small * (factor if options["learning_rate"] else 1.0)

    monkeypatch.setattr(theory.finite_batch, "flow", flow)
    run = replace(LAYERS, data_exponent=1.0)
    one = measured(np.array([[0.05, 0.25], [0.15, 0.35]]), np.tile(2.0 ** -np.arange(5.0), (2, 1)))
    found = theory._of_modes(run, one, 0.3)
    for options, rate in zip(asked, (0.0, 0.128), strict=True):
        np.testing.assert_allclose(options["start"], [0.1] * 3 + [0.3] * 2)
        assert options["learning_rate"] == pytest.approx(rate)
        assert options["times"].tolist() == [0.0, 1.0, 2.0]
        assert options["counts"] == [1] * 5
        assert (options["depth"], options["batch_size"], options["temperature"]) == (3, 16, None)
    strength = found["theory_block_strength"]
    assert_close(strength, [[0.1, 0.3], [0.1, 0.3], [1.5 * 7.5 / 3, 4e-13]])
    assert found["theory_left_out"][:, 0] == pytest.approx([0, 0, np.log(1.5)])
    assert found["theory_left_out"][:, 1].tolist() == [0, 0, np.inf]  # below rounding in float32
    assert np.isnan(found["theory_level"]).all()
    expected = np.sqrt([6, 3, 2.25, 6e-13, 2e-13])
    for name in ("weight_singular_values", "singular_value_low", "singular_value_high"):
        assert_close(found[f"theory_{name}"][-1], expected)
        assert_close(found[f"theory_{name}"][0] ** 2, [0.3, 0.3, 0.1, 0.1, 0.1])
    assert found["collapsed_probability"].tolist() == [0, 0, 1, 0, 0, 0]


def test_what_is_above_rounding_is_compared(monkeypatch):
    """From (10 eps)^2 of the largest strength on, eps that of the runs."""
    eps = float(np.finfo(np.float32).eps)
    for factor, told in ((99.0, False), (101.0, True)):
        flow = np.array([[1.0, 1.0], [1.0, 1.0], [2.0, 2 * factor * eps**2]])
        monkeypatch.setattr(theory.finite_batch, "flow", lambda *_, flow=flow, **__: flow)
        found = theory._of_modes(RUN, measured(np.ones((2, 2)), np.ones((2, 5))), 0.01)
        assert np.isfinite(found["theory_left_out"][-1, 1]) == told


def test_weights_of_each_seed_have_medians_and_ranges(monkeypatch):
    rng = np.random.default_rng(0)
    initial, paths = rng.standard_normal((3, 5, 5)), rng.standard_normal((3, 3, 5, 5))
    paths[:, -1] = np.eye(5) * np.array([[1.0, 1, 1, 1e-3, 1e-3]] * 2 + [[1] * 5])[:, None]

    def layers_in_time(runs, layers):
        assert list(runs) == [RUN] * 3
        np.testing.assert_array_equal([w for (w,) in layers], initial)
        return [(path,) for path in paths]

    monkeypatch.setattr(theory, "layers_in_time", layers_in_time)
    one = xr.Dataset(
        {"initial_weights": (("output", "input", "seed"), np.moveaxis(initial, 0, -1))}
    )
    found = theory._from_weights(RUN, one, 0.01)
    low, middle, high = np.quantile(np.linalg.svd(paths, compute_uv=False), (0, 0.5, 1), axis=0)
    assert_close(found["theory_weight_singular_values"], middle)
    assert_close(found["theory_singular_value_low"], low)
    assert_close(found["theory_singular_value_high"], high)
    strength = found["theory_block_strength"]
    clean = np.median(np.sum(paths[:, 0, :, :3] ** 2, axis=(1, 2)) / 3)
    assert_close(strength[0, 0], clean)
    assert_close(strength[-1], [1.0, 1e-6])
    assert found["theory_left_out"].tolist() == np.zeros((3, 2)).tolist()
    assert found["theory_level"].shape == (3, 2)
    assert np.isnan(found["theory_level"]).all()
    assert_close(found["collapsed_probability"], [1 / 3, 0, 2 / 3, 0, 0, 0])


def test_first_orders_are_found_once_for_the_same_settings(monkeypatch):
    calls: list[int] = []

    def side_by_side(function, asked):
        calls.append(len(asked))
        return [(call["noise"], call["init_scale"]) for call in asked]

    monkeypatch.setattr(ahead, "_latest", {})
    monkeypatch.setattr(ahead.side_by_side, "side_by_side", side_by_side)
    study = linsim.study("strong_aug")
    for noise in ([1.0, 2.0], [1.0, 2.0], [1.0], [1.0, 2.0]):
        found = ahead.first_orders(study.settings(noise=noise, init_scale=[0.1, 0.2]))
        assert found == list(itertools.product(noise, [0.1, 0.2]))
    assert calls == [4, 2, 4]
    assert len(ahead._latest) == 1


def test_first_order_imports_neither_jax_nor_xarray():
    code = (
        "import sys, linsim\nfrom linsim.studies.strong_aug import ahead\n"
        "found = ahead.first_order(linsim.study('strong_aug').settings(steps=2), 1.5, 0.1)\n"
        "print(found.strengths.shape, {'jax', 'xarray', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "(3, 2) set()\n"


@pytest.mark.parametrize(
    ("given", "begun"),
    [
        ({}, [2]),
        ({"seeds": 16}, []),
        ({"num_processes": 2}, []),
        ({"scheduler": "tcp://localhost:8786"}, []),
        ({"init": "gaussian"}, []),
        ({"depth": 2}, []),
        ({"data_exponent": 1.0}, []),
    ],
)
def test_theory_is_begun_where_it_is_known_and_cores_are_free(given, begun, monkeypatch):
    calls: list[int] = []
    monkeypatch.setattr(ahead, "_latest", {})
    monkeypatch.setattr(
        ahead.side_by_side, "begin", lambda _, asked: lambda: calls.append(len(asked)) or "found"
    )
    study = linsim.study("strong_aug")
    settings = study.settings(**{"noise": [1.0, 2.0], "seeds": 3} | given)
    study.begin(settings)
    assert [ahead.first_orders(settings) for _ in ahead._latest] == ["found" for _ in begun]
    assert calls == begun


def test_no_first_order_is_asked_for_where_it_is_not_known(monkeypatch):
    monkeypatch.setattr(theory, "first_orders", lambda _: pytest.fail("asked for"))
    asked = []
    monkeypatch.setattr(theory, "_cell", lambda *args: asked.append(args[-1]) or {})
    settings = linsim.study("strong_aug").settings(
        noise=[0.5, 1.2], dim=5, noisy_dims=2, steps=2, seeds=1, loss="cosine"
    )
    dims = ("noise", "init_scale", "seed", "time", "mode")
    runs = xr.Dataset({"weight_singular_values": (dims, np.ones((2, 1, 1, 2, 5)))})
    theory.compare(runs, settings)
    assert asked == [None, None]


def test_modes_in_infinite_batches_start_at_the_product_of_the_layers(monkeypatch):
    """Strengths are squares of singular values: scale^2L, of L layers."""
    stub = lambda run, groups, start, times: np.stack([start * np.arange(1, 6)] * len(times))
    monkeypatch.setattr(theory, "population_modes", stub)
    for layers, run in ((1, RUN), (3, LAYERS)):
        run = replace(run, data_exponent=1.0, init_scale=0.5)
        found = theory._modes_in_infinite_batches(run, TIMES)
        assert_close(found, [[2 * 0.25**layers, 4.5 * 0.25**layers]] * 3)


@pytest.mark.parametrize(
    ("fields", "population", "late"),
    [
        ({}, True, True),
        ({"loss": Dot(temperature=0.3)}, True, False),
        ({"solver": "population"}, True, False),
        ({"data_exponent": 1.0}, False, False),
        ({"noisy_dims": 0}, True, False),
    ],
)
def test_where_modes_settle_is_told_of_equal_modes(fields, population, late):
    run = replace(RUN, **fields)
    assert np.isfinite(theory.population_settled(run)[1]) == population
    assert np.isfinite(theory.late_settled(run)[1]) == late
