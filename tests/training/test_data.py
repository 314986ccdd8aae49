import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close

from linsim.training import data


def test_factor_reproduces_any_covariance_with_as_many_rows_as_its_rank():
    root = np.random.default_rng(0).standard_normal((6, 2))
    factor = data.factor(root @ root.T)
    assert factor.shape == (2, 6)
    assert_close(factor.T @ factor, root @ root.T, size=36)
    assert data.factor(np.zeros((3, 3))).shape == (0, 3)


@pytest.mark.parametrize("bad", [np.diag([1.0, -1.0]), np.array([[1.0, 1.0], [0.0, 1.0]])])
def test_factor_refuses_what_is_no_covariance(bad):
    with pytest.raises(ValueError, match="positive semi-definite"):
        data.factor(bad)


@pytest.mark.parametrize("views", ["one", "two"])
def test_moments_are_those_of_the_samples(views):
    cov, noise = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([[0.3, -0.3], [-0.3, 0.5]])
    factors = data.factor(cov), data.factor(noise)
    sample = data.source(jax.random.key(0), "fresh", *factors, views=views, batch_size=400_000)
    x, x_pos = sample(jax.random.key(1))
    moments = data.moments(cov, noise, views)
    expected = {
        "anchor": (x, x),
        "positive": (x_pos, x_pos),
        "cross": (x, x_pos),
        "step": (x_pos - x, x_pos - x),
    }
    for name, (left, right) in expected.items():
        assert_close(left.T @ right / len(x), getattr(moments, name), rtol=0.01)
    assert_close(sample.second_moment(), cov, size=4)


def test_default_block_is_the_last_coordinates():
    assert np.diag(data.block_covariance(16, 8)).tolist() == [0.0] * 8 + [1.0] * 8
    with pytest.raises(ValueError, match="17"):
        data.block_covariance(16, 17)


@pytest.mark.parametrize(("count", "total"), [(128, 10_000), (7, 7), (3, 10)])
def test_stratified_rows_are_distinct_and_uniform(count, total):
    keys = jax.random.split(jax.random.key(0), 4000)
    rows = np.asarray(jax.vmap(lambda key: data.stratified_rows(key, count, total))(keys))
    assert np.all(np.diff(rows, axis=1) > 0)
    assert rows.min() >= 0
    assert rows.max() < total
    hits = np.bincount(rows.ravel(), minlength=total) / (len(keys) * count / total)
    assert abs(hits.mean() - 1) < 1e-12
    assert hits.std() < 3 * np.sqrt(total / count / len(keys)) + (0.2 if total % count else 0)


def make_source(batches, **kwargs):
    noise = 0.5 * data.factor(data.block_covariance(4, 2))
    options = {"views": "one", "batch_size": 8} | kwargs
    return data.source(jax.random.key(3), batches, data.factor(np.eye(4)), noise, **options)


def test_fresh_batches_differ_in_everything():
    sample = make_source("fresh")
    (x, _), (y, _) = sample(jax.random.key(0)), sample(jax.random.key(1))
    assert not np.any(x == y)


def test_minibatches_are_rows_of_one_set_with_new_noise():
    sample = make_source("dataset", dataset_size=8)
    cov = sample.second_moment()
    (x, x_pos), (y, y_pos) = sample(jax.random.key(0)), sample(jax.random.key(1))
    assert np.array_equal(x, y)
    assert not np.any(x_pos[:, 2:] == y_pos[:, 2:])
    assert np.array_equal(x_pos[:, :2], x[:, :2])
    assert_close(cov, x.T @ x / 8, size=8)


def test_a_fixed_batch_never_changes():
    sample = make_source("fixed", views="two")
    cov = sample.second_moment()
    (x, x_pos), (y, y_pos) = sample(jax.random.key(0)), sample(jax.random.key(1))
    assert np.array_equal(x, y)
    assert np.array_equal(x_pos, y_pos)
    assert np.linalg.eigvalsh(cov).min() > 0


def test_bad_sources_are_named():
    with pytest.raises(ValueError, match=r"dataset_size = 7; got 8"):
        make_source("dataset", dataset_size=7)


def test_two_views_share_the_clean_sample_and_nothing_else():
    clean = jnp.ones((5, 4))
    x, x_pos = data.view_pair(jax.random.key(0), clean, data.factor(np.eye(4)), "two")
    assert not np.any(x == x_pos)
    assert np.array_equal(
        data.view_pair(jax.random.key(0), clean, data.factor(np.eye(4)), "one")[0], clean
    )
