"""The cheap normal numbers: their distribution, and no structure that their size would show."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from linsim.training import noise

COUNT = 2**20


@pytest.fixture(scope="module")
def sample():
    return np.asarray(noise.normal(jax.random.key(1), (COUNT,), jnp.float32), np.float64)


def test_the_distribution_is_the_standard_normal(sample):
    assert stats.kstest(sample, "norm").pvalue > 1e-3
    assert stats.kstest(1.01 * sample, "norm").pvalue < 1e-3
    assert np.abs(sample).max() < 5.8
    for power, expected, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(np.mean(sample**power) - expected) < 4 * np.sqrt(variance / COUNT)


@pytest.mark.parametrize("lag", [1, 2, 3, 4, 16, 24, 128, COUNT // 4, COUNT // 2])
def test_numbers_of_one_batch_are_uncorrelated(sample, lag):
    """In value and in square, also the cosine and the sine of one circle (lag COUNT/2) and two
    words of a hash (COUNT/4).
    """
    for power in (1, 2):
        values = sample**power - np.mean(sample**power)
        assert abs(np.mean(values[lag:] * values[:-lag]) / np.mean(values**2)) < 4.5 / np.sqrt(
            COUNT - lag
        )


def test_batches_of_neighbouring_steps_and_seeds_are_uncorrelated():
    keys = [
        jax.random.fold_in(jax.random.key(seed), step) for seed in range(16) for step in range(16)
    ]
    batches = jax.vmap(lambda key: noise.normal(key, (3072,), jnp.float32))(jnp.stack(keys))
    correlations = np.corrcoef(np.asarray(batches))[np.triu_indices(len(keys), 1)] * np.sqrt(3072)
    assert abs(correlations.std() - 1) < 0.03
    assert np.abs(correlations).max() < 5.5


def test_every_bit_that_is_used_is_fair_and_independent_of_its_neighbour():
    words = np.asarray(noise.hashed_bits(jax.random.key(2), COUNT))
    for place in range(8, 32):
        bits = (words >> np.uint32(place)) & np.uint32(1)
        for each in (bits, bits[1:] ^ bits[:-1], bits[4:] ^ bits[:-4]):
            assert abs(each.mean() - 0.5) < 4.5 * 0.5 / np.sqrt(COUNT)
    lowest = words & 1
    assert abs(np.mean(lowest[1:] ^ lowest[:-1]) - 0.5) > 0.01, (
        "the lowest bit, which is dropped, is not to be trusted"
    )


def test_double_precision_is_jax_random_and_any_generator_can_seed():
    key = jax.random.key(3)
    assert np.array_equal(
        noise.normal(key, (5, 2), jnp.float64), jax.random.normal(key, (5, 2), jnp.float64)
    )
    other = noise.normal(jax.random.key(3, impl="rbg"), (7,), jnp.float32)
    assert other.shape == (7,)
    assert not np.array_equal(other, noise.normal(jax.random.key(4, impl="rbg"), (7,), jnp.float32))
