"""What runs of either encoder share: the order of the images, and the optimiser's schedule."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import assert_close

from linsim import losses
from linsim.images.projectors import LowRankDiagonal, Subvector
from linsim.images.run import (
    ImageRun,
    contrast,
    observe,
    optimizer,
    stratified_order,
    with_setup,
)


def test_every_head_of_a_split_holds_each_class_in_its_share():
    labels = np.repeat([0, 1, 2], [100, 50, 10])
    ordered = jax.jit(lambda key: stratified_order(key, labels))
    orders = [np.asarray(ordered(jax.random.key(seed))) for seed in (0, 1)]
    for order in orders:
        assert sorted(order) == list(range(160))
        for head in (16, 48, 80):
            shares = np.bincount(labels[order[:head]], minlength=3) / head
            np.testing.assert_allclose(shares, [100 / 160, 50 / 160, 10 / 160], atol=1.5 / head)
    assert not np.array_equal(orders[0], orders[1])


@pytest.mark.parametrize("name", ["sgd", "lars"])
def test_the_rate_warms_up_over_a_tenth_of_the_steps_and_falls_as_a_cosine(name):
    """Seen through the updates of a gradient of 1: SGD has rate x momentum, LARS that of rates."""
    run = ImageRun(optimizer=name, steps=50, learning_rate=0.3, weight_decay=0.0)
    expected = optax.warmup_cosine_decay_schedule(0.0, 0.3, 5, 50)
    rates = np.array([expected(step) for step in range(50)], dtype=float)
    taken = updates(run)
    velocity = np.cumsum(0.9 ** np.arange(50))
    found = taken / velocity if name == "sgd" else taken - 0.9 * np.append(0.0, taken[:-1])
    assert_close(found, rates, rtol=1e-6)
    assert_close(jax.jit(updates)(run), taken, rtol=1e-6)  # with a rate that is traced


def test_a_short_run_warms_up_in_one_step():
    taken = updates(ImageRun(steps=4, learning_rate=0.3, weight_decay=0.0))
    rates = 0.3 * np.array([0, 1, 0.75, 0.25])  # (1 + cos)/2 after 0, 1 and 2 thirds
    assert_close(taken / np.cumsum(0.9 ** np.arange(4)), rates, rtol=1e-6)


def updates(run):
    """What SGD or LARS (without its trust ratio) takes off a weight in each step."""
    descent = optimizer(run, decayed=run.optimizer != "lars")
    weights, taken = jnp.ones(1), []
    state = descent.init(weights)
    for _ in range(run.steps):
        update, state = descent.update(jnp.ones(1), state, weights)
        taken.append(-jnp.asarray(update)[0])
    return jnp.stack(taken)


def test_only_the_parameters_that_may_decay_do():
    """All of them unless it is said which."""
    for name in ("sgd", "lars"):
        run = ImageRun(optimizer=name, steps=50, weight_decay=0.1)
        weights: dict[str, Any] = {"decays": jnp.ones(1), "stays": jnp.ones(1)}
        still: dict[str, Any] = {name: jnp.zeros(1) for name in weights}
        for descent, every in (
            (optimizer(run, {"decays": True, "stays": False}), False),
            (optimizer(run), True),
        ):
            update: Any = None
            state = descent.init(weights)
            for _ in range(3):  # the first rate is zero
                update, state = descent.update(still, state, weights)
            assert update["decays"] < 0
            assert (update["stays"] < 0) if every else (update["stays"] == 0)


def test_the_loss_is_ntxent_of_both_halves_behind_the_projector():
    r = np.random.default_rng(0).standard_normal((6, 4))
    loss = contrast(lambda weight, r, key: weight * r[:, :3], 0.3)
    z, z_pos = 2.0 * r[:3, :3], 2.0 * r[3:, :3]
    assert_close(loss(2.0, r, None), losses.ntxent(z, z_pos, 0.3))


def test_the_spectrum_and_the_effective_rank_are_centred_and_rankme_is_not():
    h, r = np.random.default_rng(0).standard_normal((2, 9, 4)) * [3.0, 2, 1, 0.5] + 2
    found = observe(h, r)
    values = np.linalg.svd(r - r.mean(axis=0), compute_uv=False)
    assert_close(found["representation_spectrum"], values**2 / 9, size=10)

    def rank(values):
        shares = values / values.sum()
        return np.exp(-np.sum(shares * np.log(shares)))

    assert_close(found["representation_rank"], rank(values), size=10)
    assert_close(found["representation_rankme"], rank(np.linalg.svd(r)[1]), rtol=1e-5)
    assert found["features_h"] is h
    assert found["features_r"] is r


def test_a_setup_is_a_projector_and_a_kind_of_last_block():
    run = with_setup(ImageRun(), "directclr-linear-block", 7)
    assert run.projector == Subvector(d0=7)
    assert run.linear_block
    assert not with_setup(run, "directclr", 7).linear_block
    assert with_setup(run, "low-rank-diagonal", 7).projector == LowRankDiagonal(d0=7.0)
