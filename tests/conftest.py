"""Every test runs in float64 unless it says otherwise, with shapes checked by jaxtyping and beartype."""

import os
import tempfile

os.environ.setdefault("NPROC", "1")  # see linsim.config.configure_jax
if "PYTEST_XDIST_WORKER" not in os.environ:  # workers and commands inherit it
    cache = tempfile.TemporaryDirectory(prefix="linsim-tests-")
    os.environ["XDG_CACHE_HOME"] = cache.name

import jaxtyping

jaxtyping.install_import_hook("linsim", "beartype.beartype")

import jax
import pytest

jax.config.update("jax_enable_x64", True)
flags = os.environ.get("XLA_FLAGS", "")
os.environ["XLA_FLAGS"] = f"--xla_backend_optimization_level=0 {flags}"  # most of the tests' time is the compiler's
jax.devices()  # reads the flags; commands that tests start keep their own
os.environ["XLA_FLAGS"] = flags

from hypothesis import settings

settings.register_profile("linsim", deadline=None, derandomize=True, max_examples=25)
settings.load_profile("linsim")


@pytest.fixture(autouse=True)
def precision_is_left_as_found():
    yield
    assert jax.config.jax_enable_x64, "the test left jax_enable_x64 off, and later ones in this process would run in float32"
