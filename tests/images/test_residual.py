"""Residual encoders of dense layers: what their blocks add."""

import jax
import jax.numpy as jnp
from helpers import assert_close

from linsim import spectra
from linsim.images.residual import Residual, residual, residual_encoder


def test_residual_blocks_add_their_share_of_the_variance():
    params = residual(jax.random.key(0), 64, 512, 4, hidden=256)
    x = jax.random.normal(jax.random.key(1), (256, 64))
    h, r = residual_encoder(params, x, ("relu",) * 5)
    below = residual_encoder(Residual(params.stem, ()), x, ("relu",))[1]
    last = params.blocks[-1]
    assert_close(r, h + jax.nn.relu(h @ last[0].T) @ last[1].T, size=512)
    assert (
        1.2 < float(jnp.mean(r**2) / jnp.mean(below**2)) < 4
    )  # (1 + 1/4)^4 = 2.4, were blocks independent
    assert spectra.singular_values(params.stem).shape == (64,)
