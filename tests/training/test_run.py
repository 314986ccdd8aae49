"""One run as a value: stepped by hand it is the compiled run, and its parts are what they say."""

import dataclasses
import subprocess
import sys
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import assert_close, make_case

from linsim import losses
from linsim.training import loss as loss_of
from linsim.training import observe, optimizers, starts
from linsim.training.names import LossName, OneLayerStart, OptimizerName, TwoLayerStart
from linsim.training.optimizers import Optimizer
from linsim.training.records import described
from linsim.training.run import Run, begin, gradient, population_drive, step, train

RUN = Run(dim=5, noisy_dims=2, batch_size=8, record_at=(0, 1, 6))
LAYERS = dataclasses.replace(RUN, hidden=(4,), start=starts.Spectral())
LOSSES = {
    "distance": lambda z, z_pos: losses.infonce(z, z_pos) / len(z),
    "dot": lambda z, z_pos: losses.infonce_dot(z, z_pos, 0.3),
    "cosine": lambda z, z_pos: losses.ntxent(z, z_pos, 0.3),
    "alignment": losses.alignment_only,
    "spectral": losses.spectral_contrastive,
    "linear-barlow-twins": losses.linear_barlow_twins,
}


@pytest.mark.parametrize(
    ("run", "optimizer"),
    [
        (RUN, Optimizer(name="momentum")),
        (LAYERS, optax.adam(0.01)),
        (dataclasses.replace(LAYERS, activation="relu"), Optimizer()),
    ],
)
def test_stepping_by_hand_is_the_compiled_run(run, optimizer):
    run, key = dataclasses.replace(run, optimizer=optimizer), jax.random.key(3)
    trajectory = jax.jit(train)(run, key).trajectory
    state, one = begin(run, key), jax.jit(step)
    for _ in range(6):
        state, _ = one(run, state)
    for layer, recorded in zip(state.params, trajectory.weights, strict=True):
        assert_close(layer, recorded[-1], size=1000)


def test_runs_of_one_static_part_are_mapped_over():
    noise = jnp.array([0.5, 2.0])
    axes = dataclasses.replace(
        RUN,
        noise=noise,
        data_exponent=jnp.zeros(2),
        init_scale=jnp.full(2, 0.1),
        learning_rate=jnp.full(2, 0.1),
    )
    stacked = jax.vmap(observe.simulate, in_axes=(0, None))(axes, jax.random.key(0))
    for index, value in enumerate(noise):
        alone = dataclasses.replace(RUN, noise=value, learning_rate=0.1)
        expected = observe.simulate(alone, jax.random.key(0))["weight_singular_values"]
        assert_close(stacked["weight_singular_values"][index], expected, size=1000)


@pytest.mark.parametrize("name", get_args(LossName))
def test_every_loss_carries_the_drive_of_its_own_loss(name):
    case, loss = make_case(1, 12, 5, 4), loss_of.named(name, 0.3)
    drive = loss.drive(case.w, case.x, case.x_pos)
    value = lambda w: LOSSES[name](case.x @ w.T, case.x_pos @ w.T)
    assert_close(drive.loss, value(case.w), size=1000)
    assert_close(-case.w @ drive.contrast, jax.grad(value)(case.w), size=1000)


@pytest.mark.parametrize("name", get_args(LossName))
def test_a_solved_loss_drives_along_minus_the_gradient_of_its_own_population(name):
    run = dataclasses.replace(RUN, loss=loss_of.named(name, 0.3), views="two")
    if not isinstance(run.loss, loss_of.SolvedLoss):
        with pytest.raises(ValueError, match="not known for Cosine"):
            population_drive(run)
        return
    w = make_case(2, 4, 5, 5).w
    drive = population_drive(run)
    assert_close(-w @ drive(w).contrast, jax.grad(lambda w: drive(w).loss)(w), size=1000)


def test_relu_layers_descend_the_mean_loss_of_their_embeddings():
    case = make_case(3, 12, 5, 4)
    run = dataclasses.replace(RUN, hidden=(4,), activation="relu")
    layers = run.layers(jax.random.key(1))
    towards, drive = gradient(run, layers, case.x, case.x_pos)

    def value(layers):
        first, second = layers
        z, z_pos = (jnp.maximum(x @ first.T, 0) @ second.T for x in (case.x, case.x_pos))
        return losses.infonce(z, z_pos) / len(z)

    for ours, stated in zip(towards, jax.grad(value)(layers), strict=True):
        assert_close(ours, stated, size=1000)
    assert_close(drive.loss, value(layers), size=1000)


def test_descent_tallies_what_the_imbalance_of_two_linear_layers_drifts():
    run = dataclasses.replace(LAYERS, learning_rate=0.5, init_scale=1.0)
    trajectory = jax.jit(train)(run, jax.random.key(0)).trajectory
    first, second = trajectory.weights
    imbalance = first @ first.transpose(0, 2, 1) - second.transpose(0, 2, 1) @ second
    assert trajectory.tally is not None
    assert_close(trajectory.tally, imbalance - imbalance[0], size=1000)
    assert np.linalg.norm(trajectory.tally[-1]) > 0.01
    for other in ({"optimizer": Optimizer(name="adam")}, {"hidden": (4, 4)}):
        fields = {"start": starts.Orthogonal()} | other
        told = train(dataclasses.replace(run, **fields), jax.random.key(0)).trajectory.tally
        assert told is None


@pytest.mark.parametrize("name", get_args(OptimizerName))
def test_optimisers_by_name_are_those_of_optax(name):
    expected = {
        "sgd": optax.chain(optax.add_decayed_weights(0.2), optax.sgd(0.1)),
        "momentum": optax.chain(optax.add_decayed_weights(0.2), optax.sgd(0.1, momentum=0.8)),
        "adam": optax.chain(optax.add_decayed_weights(0.2), optax.adam(0.1)),
        "adamw": optax.adamw(0.1, weight_decay=0.2),
    }[name]
    ours = Optimizer(name=name, momentum=0.8, weight_decay=0.2).at(0.1)
    weights = jnp.array([1.0, -2.0])
    states = [each.init(weights) for each in (ours, expected)]
    for _ in range(3):
        found, states[0] = ours.update(0.3 * weights, states[0], weights)
        stated, states[1] = expected.update(0.3 * weights, states[1], weights)
        np.testing.assert_array_equal(found, stated)


def test_theory_covers_plain_descent_alone():
    assert optimizers.is_plain_descent(Optimizer())
    for other in (Optimizer(name="adam"), Optimizer(weight_decay=0.1), optax.sgd(0.1)):
        assert not optimizers.is_plain_descent(other)


def test_starts_by_name():
    for name in get_args(OneLayerStart):
        (w,) = starts.one_layer(name).draw(jax.random.key(0), (5, 5), 0.5)
        assert w.shape == (5, 5)
    for name in get_args(TwoLayerStart):
        layers = starts.two_layers(name, 0.2, 0.0).draw(jax.random.key(0), (5, 3, 5), 0.5)
        assert [layer.shape for layer in layers] == [(3, 5), (5, 3)]
    with pytest.raises(ValueError, match="two layers"):
        starts.Imbalanced().draw(jax.random.key(0), (5, 5), 1.0)


CHANGES = {
    "noise": 0.3,
    "data_exponent": 0.5,
    "init_scale": 0.3,
    "learning_rate": 0.3,
    "loss": loss_of.Dot(),
    "start": starts.Gaussian(),
    "dim": 6,
    "hidden": (3,),
    "noisy_dims": 1,
    "noise_shape": "graded",
    "views": "two",
    "batches": "fixed",
    "batch_size": 9,
    "dataset_size": 9,
    "activation": "relu",
    "optimizer": Optimizer(momentum=0.5),
    "solver": "flow",
    "tolerance": 1e-3,
    "record_at": (0, 2),
}


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Run)])
def test_every_field_tells_runs_apart(field):
    other = dataclasses.replace(RUN, **{field: CHANGES[field]})
    assert described(other) != described(RUN)
    assert described(dataclasses.replace(other, **{field: getattr(RUN, field)})) == described(RUN)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"noisy_dims": 17}, "between 0 and 16; got 17"),
        ({"activation": "relu", "loss": loss_of.Dot()}, "ReLU layers have the distance loss"),
        ({"activation": "relu", "solver": "flow"}, "ReLU layers are trained by descent"),
    ],
)
def test_a_run_that_cannot_be_is_not_made(fields, message):
    with pytest.raises(ValueError, match=message):
        Run(**fields)
    assert Run(noisy_dims=0).noisy_dims == 0
    assert Run(noisy_dims=16).noisy_dims == 16


NAMES = """
from linsim.training import loss
from linsim.training.run import Run
for make in (lambda: Run(batches="none"), lambda: Run(views="both"), lambda: loss.named("hinge")):
    try:
        make()
    except ValueError as error:
        print(error)
"""


def test_unknown_names_are_told_with_those_there_are():
    """Without the tests' own check of types, which would be first."""
    words = [sys.executable, "-c", NAMES]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "batches 'none' is unknown; choose one of fresh, dataset, fixed",
        "views 'both' is unknown; choose one of one, two",
        f"loss 'hinge' is unknown; choose one of {', '.join(LOSSES)}",
    ]
