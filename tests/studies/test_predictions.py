"""What studies say that theory predicts of their runs: for the right runs, of the right numbers.

Sizes are not symmetric: five coordinates, two of them noisy, batches of 16.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import assert_close, assert_not_close, make_case

import linsim
from linsim import spectra
from linsim.config import BadInput
from linsim.studies import theory
from linsim.studies.collapse_kinds import runs as kinds
from linsim.studies.strong_aug import theory as strong_aug
from linsim.sweeps.engine import Engine
from linsim.theory import finite_batch, late_time, minibatch, population
from linsim.theory.modes import Modes
from linsim.training import observe, starts
from linsim.training.loss import AlignmentOnly, Cosine, Distance, Dot
from linsim.training.objectives import Plain
from linsim.training.optimizers import Optimizer
from linsim.training.run import Run
from linsim.training.views import block_modes

RUN = Run(noise=1.2, dim=5, noisy_dims=2, batch_size=16, record_at=(0, 2, 7), batches="dataset")
BALANCED = starts.Balanced(decay=0.0)
LAYERS = replace(RUN, hidden=(4,), start=starts.Spectral())


@pytest.mark.parametrize(
    ("fields", "covered", "exact", "first_order"),
    [
        ({}, True, True, True),
        ({"loss": Dot(temperature=0.3)}, True, True, True),
        ({"loss": Dot(temperature=0.3), "start": starts.Gaussian()}, True, True, False),
        ({"loss": Dot(temperature=0.3), "noise_shape": "graded"}, True, False, False),
        ({"loss": Cosine(temperature=0.3)}, False, False, False),
        ({"loss": AlignmentOnly()}, True, False, False),
        ({"optimizer": Optimizer(name="adam")}, False, False, False),
        ({"optimizer": optax.sgd(0.1)}, False, False, False),
        ({"batches": "fixed"}, True, False, False),
        ({"batches": "fresh"}, True, True, True),
        ({"solver": "flow"}, True, False, False),
        ({"solver": "population"}, True, False, False),
        ({"start": starts.Gaussian()}, True, True, False),
        ({"noise_shape": "graded"}, True, True, False),
        ({"hidden": (4,), "start": starts.Spectral()}, True, True, False),
        ({"views": "two"}, True, True, True),
        ({"views": "two", "start": starts.Gaussian()}, True, False, False),
        ({"views": "two", "noise_shape": "graded"}, True, False, False),
        ({"activation": "relu", "hidden": (4,)}, False, False, False),
        ({"data_exponent": 1.0, "views": "two"}, True, True, False),
        ({"data_exponent": 1.0, "loss": Dot(temperature=0.3)}, True, False, False),
        ({"hidden": (5,), "start": BALANCED, "views": "two"}, True, True, False),
        ({"hidden": (5,), "start": BALANCED, "loss": Dot(temperature=0.3)}, True, True, False),
        ({"hidden": (5,), "start": starts.Balanced(), "views": "two"}, True, False, False),
    ],
)
def test_which_theory_is_known_of_which_run(fields, covered, exact, first_order):
    run = replace(RUN, **fields)
    assert theory.covers(run) == covered
    assert theory.any_batch_size(run) == exact
    assert theory.is_known_to_first_order(run) == first_order


def test_why_theory_is_silent():
    assert theory.silence(RUN) == ""
    assert "no theory is known for the cosine loss" in theory.silence(replace(RUN, loss=Cosine()))
    momentum = replace(RUN, optimizer=Optimizer(name="momentum"))
    assert "plain gradient descent" in theory.silence(momentum)


def test_modes_of_the_blocks_that_there_are():
    one, present = block_modes((0.5, 1.5), (3, 2), "one")
    assert present == [0, 1]
    assert one == [Modes.of(1.0, 0.25, 0.0, 3), Modes.of(1.0, 2.25, 0.0, 2)]
    two, present = block_modes((0.0, 1.5), (0, 2), "two")
    assert present == [1]
    assert two == [Modes.of(3.25, 4.5, -2.25, 2)]
    groups, present = theory.mode_groups(replace(RUN, noise=1.5))
    assert present == [0, 1]
    assert groups == [Modes.of(1.0, 0.0, 0.0, 3), Modes.of(1.0, 2.25, 0.0, 2)]
    clean, present = theory.mode_groups(replace(RUN, noisy_dims=0))
    assert (present, [group.count for group in clean]) == ([0], [5])


def test_modes_of_unequal_variances_are_coordinates():
    groups, block = theory.mode_groups(replace(RUN, views="two", data_exponent=1.0))
    variance = 5 / np.arange(1, 6) / (1 / np.arange(1.0, 6)).sum()
    noise = np.array([0, 0, 0, 1.44, 1.44])
    assert block == [0, 0, 0, 1, 1]
    found = [(g.variance, g.noise_variance, g.covariance, g.count) for g in groups]
    expected = np.stack([variance + noise, 2 * noise, -noise, np.ones(5)], axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    means = theory.block_means(np.arange(10.0).reshape(2, 5), groups, block)
    assert means.tolist() == [[1.0, 3.5], [6.0, 8.5]]


@pytest.mark.parametrize(("depth", "views"), [(1, "one"), (3, "two")])
def test_modes_in_infinite_batches_flow_as_balanced_layers_do(depth, views):
    run = replace(RUN, hidden=(5,) * (depth - 1), start=BALANCED, data_exponent=1.0, views=views)
    groups, _ = theory.mode_groups(run)
    times = np.array([0.0, 1.0, 5.0])
    found = theory.population_modes(run, groups, np.full(5, 0.09), times)
    a, c = np.array([(g.variance, g.noise_variance) for g in groups]).T
    expected = population.balanced_flow(np.full(5, 0.3), times, depth, a, c) ** 2
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    other = population.balanced_flow(np.full(5, 0.3), times, depth + 1, a, c) ** 2
    assert np.abs(found / other - 1).max() > 0.05


@pytest.mark.slow
@pytest.mark.parametrize(
    "asked",
    [
        {"data_exponent": 1.0},
        {"data_exponent": 1.0, "depth": 2, "init_scale": 0.5},
        {"depth": 2, "init_scale": 0.7, "views": "two"},
    ],
)
def test_runs_of_layers_and_unequal_variances_follow_the_theory_of_modes(asked):
    small = {"noise": 0.7, "dim": 4, "noisy_dims": 2, "batch_size": 32, "batches": "fresh"}
    dataset = linsim.run("strong_aug", **small, seeds=8, steps=1500, learning_rate=0.02, **asked)
    verdict = linsim.study("strong_aug").table(dataset).splitlines()[-1]
    assert "agrees in 1 of 1 settings; compared: strengths" in verdict
    end = dataset.isel(time=-1, noise=0, init_scale=0)
    found = end["block_strength"].mean("seed") / end["theory_block_strength"]
    np.testing.assert_allclose(found, 1.0, atol=0.05)


def test_several_layers_start_orthogonal():
    with pytest.raises(BadInput, match="--init gaussian is not allowed: it must be orthogonal"):
        linsim.study("strong_aug").settings(depth=2, init="gaussian")


def test_a_spectrum_repeats_the_values_of_a_block_and_is_sorted():
    groups, _ = theory.mode_groups(RUN)
    found = theory.spectrum(groups, np.array([[1.0, 2.0], [3.0, 0.5]]))
    assert found.tolist() == [[2, 2, 1, 1, 1], [3, 3, 3, 0.5, 0.5]]


@pytest.mark.parametrize("views", ["one", "two"])
def test_layers_are_driven_by_the_moments_of_the_runs_views(views):
    """One view: anchors of covariance 1, a step of covariance noise^2; two: both, and -noise^2."""
    run, rng = replace(LAYERS, views=views), np.random.default_rng(0)
    start = 0.3 * rng.standard_normal((4, 5)), 0.3 * rng.standard_normal((5, 4))
    (found,) = theory.layers_in_time([run], [start], anchors=64)
    noise = np.diag([0, 0, 0, 1.44, 1.44])
    two = views == "two"
    expected = finite_batch.layer_flow(
        layers=start,
        times=0.128 * np.array([0.0, 2, 7]),
        data_cov=np.eye(5) + two * noise,
        noise_cov=(2 if two else 1) * noise,
        covariance=-two * noise,
        batch_size=16,
        learning_rate=0.128,
        anchors=64,
    )
    for ours, stated in zip(found, expected, strict=True):
        assert_close(ours, stated, rtol=1e-6)
    assert_close(found[0][0], start[0])


def test_the_flow_of_infinite_batches_is_at_the_runs_own_times():
    run = replace(RUN, record_at=(0, 8, 40))
    trained = theory.population_flow(run, 0.1 * jnp.eye(5))
    clean, noisy = (
        population.balanced_flow(np.array([0.1]), 0.128 * np.array([0, 8, 40]), 1, 1.0, variance)
        for variance in (0.0, 1.44)
    )
    found = np.asarray(trained.trajectory.weights[0])
    assert_close(found[:, 0, 0], clean[:, 0], rtol=1e-6)
    assert_close(found[:, 4, 4], noisy[:, 0], rtol=1e-6)
    assert_close(trained.data_cov, np.eye(5))


def test_two_layers_are_observed_with_their_whole_hidden_space():
    rng = np.random.default_rng(1)
    first, second = rng.standard_normal((3, 7, 5)), rng.standard_normal((3, 5, 7))
    found = theory._two_layers((first, second))
    for at in range(3):
        w1, w2 = (spectra.singular_values(w[at]) for w in (first, second))
        assert_close(found["theory_w1_singular_values"][at], [*w1, 0, 0], size=100)
        assert_close(found["theory_w2_singular_values"][at], [*w2, 0, 0], size=100)
        product = spectra.singular_values(second[at] @ first[at]) ** 2
        assert_close(found["theory_embedding_spectrum"][at], product, size=100)
        expected = np.abs(spectra.alignment_matrix(first[at], second[at]))
        assert_close(np.abs(found["theory_alignment"][at])[:5, :5], expected[:5, :5], size=100)


class Summing(Engine):
    """Instead of a flow from initial weights their sum, whatever is asked for."""

    def vectorised(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda _, *starts: defaultdict(lambda: sum(starts))


def found_by(finish, **initial):
    """The one value of each observable that a `finish` adds to what was measured and kept."""
    names = ("weight_singular_values", "embedding_spectrum", "block_strength", "loss")
    names += ("w1_singular_values", "w2_singular_values", "alignment")
    measured = {name: np.array(value) for name, value in initial.items()}
    measured |= {name: np.ones(()) for name in names}
    found = finish(None, measured)
    assert all(found[name] is measured[name] for name in measured)
    return {name: float(value) for name, value in found.items() if name not in measured}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),  # the strengths of its blocks are told elsewhere
        ({"data_exponent": 1.0}, None),
        ({"loss": Dot(temperature=0.3)}, 3.0),
        ({"start": starts.Gaussian()}, 3.0),
        ({"noise_shape": "graded", "batches": "fixed"}, 3.0),
        ({"loss": Cosine(temperature=0.3)}, np.nan),
    ],
)
def test_runs_of_one_layer_flow_from_their_own_start_unless_modes_are_known(fields, expected):
    finish = theory.one_layer_flows(replace(RUN, **fields), Summing())
    names = ("weight_singular_values", "embedding_spectrum", "block_strength", "loss")
    stated = {f"population_{name}": expected for name in names} if expected else {}
    assert found_by(finish, initial_weights=3.0) == pytest.approx(stated, nan_ok=True)


@pytest.mark.parametrize(
    ("fields", "limit", "exact"),
    [
        ({}, 7.0, 4.0),
        ({"views": "two"}, 7.0, np.nan),
        ({"loss": Cosine(temperature=0.3)}, np.nan, np.nan),
    ],
)
def test_two_layers_have_the_limit_and_the_theory_of_their_batch_size(
    fields, limit, exact, monkeypatch
):
    names = ("w1_singular_values", "w2_singular_values", "embedding_spectrum")
    stated = {f"theory_{name}": exact for name in (*names, "alignment")}
    known = {name: np.array(value) for name, value in stated.items()}
    monkeypatch.setattr(
        theory,
        "two_layers_at_batch_size",
        lambda runs, found, limit: {**limit(runs, found), **known},
    )
    finish = theory.two_layer_flows(replace(LAYERS, **fields), Summing())
    stated |= {f"population_{name}": limit for name in names}
    found = found_by(finish, initial_w1=3.0, initial_w2=4.0)
    assert found == pytest.approx(stated, nan_ok=True)


def test_two_layers_of_every_run_of_a_chunk_are_observed(monkeypatch):
    layers = np.random.default_rng(0).standard_normal((2, 3, 1, 5, 5))

    def begin_layers_in_time(runs, starts):
        np.testing.assert_allclose([run.noise for run in runs], [0.5, 1.0, 1.5])
        pairs = zip(runs, starts, strict=True)
        found = [tuple(float(run.noise) * layer for layer in start) for run, start in pairs]
        return reversed(list(enumerate(found)))

    monkeypatch.setattr(theory, "begin_layers_in_time", begin_layers_in_time)
    runs = replace(LAYERS, noise=jnp.array([0.5, 1.0, 1.5]))
    runs = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, 3), runs)
    starts = {"initial_w1": layers[0], "initial_w2": layers[1]}
    found = theory.two_layers_at_batch_size(runs, starts, lambda _, measured: measured)
    for name in starts:
        assert found[name] is starts[name]
    expected = np.linalg.svd(layers[1] @ layers[0], compute_uv=False) ** 2
    noise = np.array([0.5, 1.0, 1.5])[:, None, None]
    assert_close(found["theory_embedding_spectrum"], noise**4 * expected, size=100)
    assert found["theory_alignment"].shape == (3, 1, 5, 5)


@pytest.fixture(scope="module")
def small():
    """Of one linear layer, two seeds, two noises; and the study's settings."""
    settings = {"noise": [1.2, 1.6], "seeds": 2, "dim": 5, "noisy_dims": 2, "batch_size": 16}
    settings |= {"steps": 300, "dataset_size": 4000}
    return linsim.run("strong_aug", **settings)


def test_strengths_are_those_of_first_order_and_the_data_set(small):
    times = small["time"].values
    for noise in (1.2, 1.6):
        groups = [Modes.of(1.0, 0.0, 0.0, 3), Modes.of(1.0, noise**2, 0.0, 2)]
        found = minibatch.first_order(
            times, [0.01, 0.01], groups, batch_size=16, learning_rate=0.128, dataset_size=4000
        )
        one = small.sel(noise=noise).isel(init_scale=0)
        assert_close(one["theory_block_strength"], found.strengths, rtol=1e-9)
        assert_close(one["theory_level"], found.level, rtol=1e-9)
        left_out = found.left_out + found.strengths.max(axis=1, keepdims=True) / 4000
        assert_close(one["theory_left_out"], left_out, rtol=1e-9)
        drawn = minibatch.singular_values(found, groups, draws=strong_aug.DRAWS)
        bounds = np.quantile(drawn, (0.05, 0.95), axis=1)
        assert_close(one["theory_singular_value_low"], bounds[0], rtol=1e-9)
        assert_close(one["theory_singular_value_high"], bounds[1], rtol=1e-9)
        assert_close(one["theory_weight_singular_values"], np.median(drawn, axis=1), rtol=1e-9)
        cutoff = small.attrs["collapse_threshold"] * drawn[-1].max(axis=1, keepdims=True)
        counts = np.sum(drawn[-1] < cutoff, axis=1)
        shares = [np.mean(counts == count) for count in range(6)]
        assert_close(one["collapsed_probability"], shares, rtol=1e-9)
        for block, variance in enumerate((0.0, noise**2)):
            limit = population.balanced_flow(np.array([0.1]), times, 1, 1.0, variance)[:, 0] ** 2
            assert_close(one["population_block_strength"].isel(block=block), limit, rtol=1e-5)


def test_fixed_points_and_counts_of_the_population(small):
    settled = [population.fixed_point(1.0, variance) for variance in (1.44, 2.56)]
    assert_close(small["population_settled"].isel(block=1), settled, rtol=1e-9)
    assert np.isinf(small["population_settled"].isel(block=0)).all()
    assert small["predicted_collapsed"].values.tolist() == [0, 2]
    late = [late_time.settled(1.0, n**2, 0.0, clean_modes=3, noisy_modes=2) for n in (1.2, 1.6)]
    assert_close(small["late_settled"].isel(block=1), late, rtol=1e-9)
    assert np.isinf(small["late_settled"].isel(block=0)).all()


@pytest.mark.parametrize("noisy_dims", [0, 5])
def test_nothing_settles_late_without_two_blocks(noisy_dims):
    run = replace(RUN, noisy_dims=noisy_dims)
    assert np.isnan(strong_aug.late_settled(run)).all()


@pytest.mark.parametrize("fields", [{"loss": Cosine()}, {"optimizer": Optimizer(name="adam")}])
def test_nothing_is_predicted_where_theory_is_silent(fields):
    run = replace(RUN, **fields)
    assert np.isnan(strong_aug.late_settled(run)).all()
    assert np.isnan(strong_aug.population_settled(run)).all()
    assert np.isnan(strong_aug.collapsed(run))


@pytest.mark.slow
def test_other_starts_have_the_median_over_the_seeds_own_starts():
    settings = {"noise": 1.2, "seeds": 3, "dim": 3, "noisy_dims": 1, "batch_size": 16, "steps": 9}
    found = linsim.run("strong_aug", init="gaussian", **settings).isel(noise=0, init_scale=0)
    own, strengths = [], []
    for seed in range(3):
        start = np.asarray(found["initial_weights"].isel(seed=seed).transpose("output", "input"))
        run = replace(RUN, dim=3, noisy_dims=1, record_at=tuple(found["step"].values.tolist()))
        ((path,),) = theory.layers_in_time([run], [(start,)])
        own.append(np.linalg.svd(path, compute_uv=False))
        strengths.append([observe.block_strength(w, 1) for w in path])
    low, middle, high = np.quantile(own, (0, 0.5, 1), axis=0)
    assert_close(found["theory_weight_singular_values"], middle, rtol=1e-5)
    assert_close(found["theory_singular_value_low"], low, rtol=1e-5)
    assert_close(found["theory_singular_value_high"], high, rtol=1e-5)
    assert np.isnan(found["theory_level"]).all()
    assert_close(found["theory_block_strength"], np.median(strengths, axis=0), rtol=1e-5)


DOT = {"loss": "dot", "temperature": 0.3, "noise": 1.2, "dim": 5, "noisy_dims": 2, "steps": 12}
DOT_MODES = [Modes.of(1.0, 0.0, 0.0, 3), Modes.of(1.0, 1.44, 0.0, 2)]
DOT_RATE = 0.3 / (4 * (1 + 1.44))


def test_the_dot_loss_is_known_to_first_order_too():
    found = linsim.run("strong_aug", seeds=2, batch_size=16, batches="fresh", **DOT)
    found = found.isel(noise=0, init_scale=0)
    expected = minibatch.first_order(
        found["time"].values,
        [0.01, 0.01],
        DOT_MODES,
        batch_size=16,
        learning_rate=DOT_RATE,
        temperature=0.3,
    )
    assert_close(found["theory_block_strength"], expected.strengths, rtol=1e-5)
    assert_close(found["theory_level"], expected.level, rtol=1e-5)
    assert_close(found["theory_left_out"], expected.left_out, rtol=1e-3)
    assert found["population_block_strength"].notnull().all()


def test_unequal_modes_of_the_dot_loss_have_the_map_of_their_blocks():
    found = linsim.run("strong_aug", seeds=2, batch_size=16, init="gaussian", **DOT)
    found = found.isel(noise=0, init_scale=0)
    start = found["block_strength"].isel(time=0).mean("seed").values
    strengths = [
        finite_batch.flow(
            found["time"].values,
            start,
            DOT_MODES,
            batch_size=16,
            learning_rate=each,
            temperature=0.3,
        )
        for each in (DOT_RATE, 0.0)
    ]
    assert_close(found["theory_block_strength"], strengths[0], rtol=1e-4)
    left_out = np.abs(np.log(strengths[0] / strengths[1]))
    assert_close(found["theory_left_out"], left_out, rtol=1e-2)
    assert np.abs(left_out).max() > 0.01


def test_kinds_train_what_their_names_say():
    """By their gradients, of |V z - z'|^2 / 2 by hand, V the predictor if there is one; with weight
    decay where there is a predictor or a stop-gradient.
    """
    (w, x, x_pos), v = map(np.asarray, make_case(0, 9, 3, 3)), np.asarray(make_case(1, 1, 3, 3).w)
    a, b, k = x.T @ x / 9, x_pos.T @ x_pos / 9, x.T @ x_pos / 9
    stated = {
        "alignment-only": w @ (a - k.T + b - k),
        "predictor": v.T @ (v @ w @ a - w @ k.T),
        "no-stop-gradient": v.T @ (v @ w @ a - w @ k.T) + w @ b - v @ w @ k,
        "no-predictor": w @ (a - k.T),
    }
    settings = linsim.study("collapse_kinds").settings(weight_decay=0.3)
    assert settings.objective == ("infonce-two-views", "infonce-one-view", *stated)
    for name in settings.objective:
        run = kinds.run_of(settings, name)
        if name in stated:
            _, (found, _) = run.objective.gradient((w, v), x, x_pos)
            assert_close(found, stated[name], size=100)
        else:
            assert run.objective == Plain(of=Distance())
        assert run.views == ("one" if "one-view" in name else "two")
        assert run.weight_decay == (0.3 if "predictor" in name or "stop" in name else 0.0)


@pytest.mark.slow
def test_kinds_of_collapse_have_the_theory_of_their_batch_size():
    settings = {"seeds": 1, "steps": 60, "dim": 5, "noisy_dims": 2, "batch_size": 16}
    names = ["infonce-two-views", "infonce-one-view", "alignment-only", "predictor"]
    found = linsim.run("collapse_kinds", objective=names, **settings).isel(seed=0)
    attrs = found.attrs
    base, noise = attrs["base_noise"] ** 2, attrs["noise"] ** 2
    modes = {
        "infonce-one-view": [Modes.of(1.0, base, 0.0, 3), Modes.of(1.0, noise, 0.0, 2)],
        "infonce-two-views": [
            Modes.of(1 + base, 2 * base, -base, 3),
            Modes.of(1 + noise, 2 * noise, -noise, 2),
        ],
    }
    for name, groups in modes.items():
        start = np.full(2, attrs["init_scale"] ** 2)
        options = {"batch_size": 16, "learning_rate": attrs["learning_rate"]}
        strengths = finite_batch.flow(found["time"].values, start, groups, **options)
        expected = np.sort(np.repeat(strengths, [3, 2], axis=1))[:, ::-1]
        one = found.sel(objective=name)
        assert_close(one["theory_embedding_spectrum"], expected, rtol=1e-6)
        assert_not_close(one["theory_embedding_spectrum"], one["population_embedding_spectrum"])
    told, flow = (found[f"{which}_embedding_spectrum"] for which in ("theory", "population"))
    of_any_size, of_its_size = {"objective": "alignment-only"}, {"objective": "predictor"}
    np.testing.assert_array_equal(told.sel(of_any_size), flow.sel(of_any_size))
    assert_not_close(told.sel(of_its_size), flow.sel(of_its_size))
    for name in names:
        for prefix, kind in (("", "kind"), ("theory_", "theory_kind")):
            spectrum = found.sel(objective=name)[f"{prefix}embedding_spectrum"].values
            stated = spectra.collapse_kind(
                spectrum[-1],
                float(spectrum[0].sum()),
                complete=attrs["complete"],
                dimensional=attrs["dimensional"],
            )
            assert spectra.KINDS[int(found.sel(objective=name)[kind])] == stated
