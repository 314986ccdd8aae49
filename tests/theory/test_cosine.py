"""NT-Xent: the threshold of a weak mode, against batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close

from linsim.theory import cosine
from linsim.training import contrast


def test_agreement_is_the_mean_over_pairs_of_views():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(400_000, 5))
    z_pos = 0.6 * z + 0.8 * rng.normal(size=z.shape)
    r, r_pos = (np.linalg.norm(v, axis=1) for v in (z, z_pos))
    cos = np.sum(z * z_pos, axis=1) / (r * r_pos)
    stated = cosine.agreement(5, 0.6)
    for found, value in zip((cos / r**2, 1 / (r * r_pos)), stated, strict=True):
        assert_close(found.mean() / np.mean(1 / r**2), value, rtol=0.01)
    assert cosine.agreement(5, 1.0) == (1.0, 1.0)
    assert_close(cosine.agreement(5, 1 - 1e-9)[0], 1.0, rtol=1e-3)
    with pytest.raises(ValueError, match="3 strong modes"):
        cosine.agreement(2, 0.5)


def test_the_mean_cosine_is_that_of_tilted_directions():
    u = np.random.default_rng(0).normal(size=(400_000, 6))
    along = u[:, 0] / np.linalg.norm(u, axis=1)
    weights = np.exp(along / 0.4)
    assert_close(np.sum(weights * along) / weights.sum(), cosine.mean_cosine(6, 0.4), rtol=0.01)


@pytest.mark.parametrize("temperature", [0.3, 1.0])
def test_the_growth_rate_is_that_of_large_batches(temperature):
    rng = np.random.default_rng(0)
    count, variance = 1024, 3.0
    w = jnp.diag(jnp.array([1.2] * 6 + [1e-4]))
    deviations = np.array([0.5] * 6 + [np.sqrt(variance - 1)])
    drive = jax.jit(lambda x, x_pos: contrast.cosine(w, x, x_pos, temperature).contrast[6, 6])
    found = []
    for _ in range(40):
        clean = rng.normal(size=(count, 7))
        views = [jnp.asarray(clean + deviations * rng.normal(size=clean.shape)) for _ in range(2)]
        found.append(float(drive(*views)))
    setting = {"dims": 6, "correlation": 0.8, "temperature": temperature, "length": 1.44 * 1.25}
    stated = cosine.growth_rate(variance, 1.0, **setting)
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found) - stated) < 4 * error + 0.01 * abs(stated)
    assert abs(np.mean(found) - cosine.growth_rate(1.2 * variance, 1.0, **setting)) > 5 * error
