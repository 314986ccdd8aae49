import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, make_case

from linsim import losses
from linsim.theory import infonce
from linsim.training import models


@pytest.mark.parametrize("init", [models.gaussian, models.uniform, models.orthogonal])
def test_initial_scale_is_the_root_mean_square_singular_value(init):
    (w,) = init(jax.random.key(0), (200, 200), 0.3)
    assert_close(np.sqrt(np.mean(np.linalg.svd(w, compute_uv=False) ** 2)), 0.3, rtol=0.02)


def test_orthogonal_layers_have_equal_singular_values():
    w1, w2 = models.orthogonal(jax.random.key(0), (6, 4, 5), 0.3)
    for w, shape in ((w1, (4, 6)), (w2, (5, 4))):
        assert w.shape == shape
        assert_close(np.linalg.svd(w, compute_uv=False), 0.3 * np.ones(4), size=6)


def test_uniform_entries_are_those_of_a_torch_layer():
    (w,) = models.uniform(jax.random.key(0), (16, 1000), 3**-0.5)
    assert np.abs(w).max() <= 0.25
    assert np.abs(w).max() > 0.249


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_layer_gradients_are_those_of_the_loss(depth):
    case = make_case(0, 20, 5, 3)
    widths = (*(5, 6, 4, 7)[:depth], 3)
    params = models.gaussian(jax.random.key(1), widths, 1.0)
    expected = jax.grad(
        lambda p: losses.infonce(case.x @ models.product(p).T, case.x_pos @ models.product(p).T)
    )(params)
    grad = infonce.weight_gradient(models.product(params), case.x, case.x_pos)
    for actual, exact in zip(models.layer_gradients(params, grad), expected, strict=True):
        assert_close(actual, exact, size=100)


def test_product_applies_the_first_layer_first():
    w1, w2 = jnp.arange(6.0).reshape(3, 2), jnp.arange(12.0).reshape(4, 3)
    assert np.array_equal(models.product((w1, w2)), w2 @ w1)
