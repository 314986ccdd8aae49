"""L linear or ReLU layers: gradients, conserved imbalances, escape times, and collapse that grows
with depth.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, assert_not_close, command, make_case

from linsim import losses
from linsim.config import BadInput
from linsim.studies.depth import STUDY
from linsim.sweeps import results
from linsim.theory import alignment, population
from linsim.training import contrast, dynamics, models
from linsim.training.run import Run, gradient


@pytest.mark.parametrize("depth", [1, 2, 5, 8])
@pytest.mark.parametrize("network", ["linear", "relu"])
def test_gradients_of_every_layer_match_automatic_ones(depth, network):
    case = make_case(depth, 12, 5, 5)
    params = models.gaussian(jax.random.key(depth), (5, 7, 4, 6, 5, 7, 4, 6, 5)[: depth + 1], 1.0)

    def embed(params, x):
        return models.relu_network(params, x) if network == "relu" else x @ models.product(params).T

    def loss(params):
        return losses.infonce(embed(params, case.x), embed(params, case.x_pos)) / len(case.x)

    towards, now = jax.jit(gradient)(Run(activation=network), params, case.x, case.x_pos)
    expected, automatic = jax.jit(jax.value_and_grad(loss))(params)
    assert_close(now.loss, expected, size=1000)
    for layer, other in zip(towards, automatic, strict=True):
        assert_close(layer, other, rtol=1e-10)


def test_balanced_layers_are_balanced_and_aligned():
    values = np.array([1.0, 0.5, 0.1])
    params = models.balanced(jax.random.key(0), (4, 6, 3, 5), jnp.asarray(values))
    for pair in itertools.pairwise(params):
        assert np.abs(alignment.imbalance(*pair)).max() < 1e-14
    assert_close(
        jnp.linalg.svd(models.product(params), compute_uv=False)[:3], values**3, rtol=1e-12
    )


@pytest.mark.parametrize("depth", [3, 4])
def test_flow_conserves_every_adjacent_imbalance(depth):
    """To 100 times the tolerance; a discrete step does not."""
    case, tolerance = make_case(3, 24, 5, 5), 1e-9
    params = models.gaussian(jax.random.key(1), (5,) * (depth + 1), 1.0)
    flow = jax.jit(
        lambda p: dynamics.gradient_flow(
            p,
            lambda w: contrast.distance(w, case.x, case.x_pos),
            np.array([0.0, 1.0, 10.0]),
            tolerance=tolerance,
        )
    )(params)
    assert np.abs(flow.weights[0][-1] - params[0]).max() > 0.1
    for first, second in itertools.pairwise(flow.weights):
        drift = jax.vmap(alignment.imbalance)(first, second) - alignment.imbalance(
            first[0], second[0]
        )
        assert np.abs(drift).max() < 100 * tolerance
        twisted = jax.vmap(alignment.imbalance)(first, 1.01 * second)
        assert np.abs(twisted - twisted[0]).max() > 100 * tolerance


def test_relu_flow_conserves_the_imbalance_of_every_neuron_only():
    """ReLU layers are homogeneous neuron by neuron: the diagonal of W_l W_l^T - W_(l+1)^T W_(l+1)
    is conserved, the rest not.
    """
    case = make_case(4, 16, 4, 4)
    closed = jax.jit(gradient)
    start = models.gaussian(jax.random.key(2), (4, 4, 4), 1.0)
    moved, rate, steps = start, 1e-5, 2000

    def step(_, params):
        return jax.tree.map(
            lambda w, g: w - rate * g,
            params,
            closed(Run(activation="relu"), params, case.x, case.x_pos)[0],
        )

    moved = jax.jit(lambda p: jax.lax.fori_loop(0, steps, step, p))(start)
    drift = alignment.imbalance(*moved) - alignment.imbalance(*start)
    assert np.abs(np.diag(drift)).max() < 1e-6
    assert np.abs(drift - np.diag(np.diag(drift))).max() > 1e-4


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_escape_times_of_the_balanced_flow(depth):
    """The balanced layers' population flow, all matrices, against theory: within 2 % for L >= 2,
    logarithmic for L = 1.
    """
    for w0 in (1e-2, 1e-3) if depth < 3 else (1e-3, 1e-4):
        predicted = float(population.escape_time(w0, depth, 2.0))
        late = 0.5 if depth > 1 else 1.0
        params = models.balanced(
            jax.random.key(depth), (2,) * (depth + 1), jnp.full(2, w0 ** (1 / depth))
        )

        def drive(w):
            return contrast.Drive(
                jnp.zeros(()),
                population.contrast_matrix(w, jnp.eye(2), jnp.zeros((2, 2))),
                jnp.zeros(()),
            )

        times = predicted * np.concatenate([[0.0], np.linspace(0.9, 1.25, 400)])
        flow = jax.jit(
            lambda p, drive=drive, times=times: dynamics.gradient_flow(
                p, drive, times, tolerance=1e-10
            )
        )(params)
        product = jax.vmap(
            lambda *layers: jnp.linalg.svd(models.product(layers), compute_uv=False)[0]
        )(*flow.weights)
        crossed = times[np.argmax(np.asarray(product) > late)]
        balanced = population.balanced_flow(np.array([w0]), times[1:], depth, 1.0, 0.0)[:, 0]
        assert_close(product[1:], balanced, rtol=1e-5)
        if depth > 1:
            assert abs(crossed / predicted - 1) < 0.02
        else:
            assert (
                abs(crossed - predicted) < 1.0
            )  # the last e-fold, where growth slows, is not in the formula
        assert_not_close(crossed, 1.5 * predicted)


@pytest.mark.slow
def test_collapse_grows_with_depth(tmp_path):
    """The reduced size: 8 dimensions, 3 seeds; the figure shows 16 and 5."""
    flags = [
        "--dim",
        "8",
        "--noisy-dims",
        "8",
        "--decay",
        "0.7",
        "--seeds",
        "5",
        "--batch-size",
        "64",
        "--depth",
        "1",
        "2",
        "3",
    ]
    done = command("depth", *flags, "--steps", "400", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    verdict = done.stdout.splitlines()[-1]
    assert "linear: collapsed dimensions grow with depth (0" in verdict
    assert "relu: collapsed dimensions grow with depth (0" in verdict
    dataset = results.load(tmp_path / "depth.nc")
    early = dataset["collapsed"].sel(network="linear", depth=2).isel(time=30).values
    assert np.abs(early - int(dataset["theory_collapsed"].sel(depth=2).isel(time=30))).max() <= 1
    assert np.isnan(dataset["pair_imbalance"].sel(depth=2).isel(pair=1)).all()


def test_all_depths_can_start_from_the_same_product():
    """And a table in which nothing has happened says so."""
    flags: dict = {"dim": 6, "noisy_dims": 6, "depth": (1, 3), "network": "linear", "seeds": 1}
    dataset = STUDY.run(same_product=True, steps=2, learning_rate=1e-6, **flags)
    start = dataset["theory_embedding_spectrum"].isel(time=0).values
    assert_close(start[0], start[1], rtol=1e-9)
    measured = dataset["embedding_spectrum"].isel(time=0, network=0, seed=0).values
    assert np.abs(np.log(measured[1] / start[1])).max() < 0.3  # 1,024 samples
    assert "nothing has changed yet" in STUDY.table(dataset)
    apart = STUDY.run(steps=2, learning_rate=1e-6, **flags)["theory_embedding_spectrum"]
    assert_not_close(apart.isel(time=0, depth=0).values, apart.isel(time=0, depth=1).values)


def test_depth_flags_are_checked():
    assert STUDY.settings(depth=3).depth == (3,)
    with pytest.raises(BadInput, match="--depth 9"):
        STUDY.settings(depth=(1, 9))
    with pytest.raises(BadInput, match="distinct"):
        STUDY.settings(network=("relu", "relu"))
