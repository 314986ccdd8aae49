"""Every test runs in float64 unless it says otherwise, with shapes checked by beartype."""

import os
import tempfile

os.environ.setdefault("NPROC", "1")  # see linsim.sweeps.runtime
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
if "PYTEST_XDIST_WORKER" not in os.environ:  # workers and commands inherit it
    cache = tempfile.TemporaryDirectory(prefix="linsim-tests-")
    os.environ["XDG_CACHE_HOME"] = cache.name

from pathlib import Path

import jaxtyping


def modules_to_check() -> list[str]:
    """All of linsim but what a person's values pass through, which checks them itself."""
    root = Path(__file__).parents[1] / "linsim"
    files = [file for file in root.rglob("*.py") if file.name not in ("config.py", "settings.py")]
    light = ("study.py", "linear.py", "gallery.py", "command.py")
    kept = [f for f in files if f.name != "__init__.py" and f.name not in light]
    return [".".join(("linsim", *file.relative_to(root).with_suffix("").parts)) for file in kept]


jaxtyping.install_import_hook(modules_to_check(), "beartype.beartype")

import jax
import jax.numpy as jnp
import pytest

jax.config.update("jax_enable_x64", True)
# Most of the time is the compiler's, here and in the commands that tests start: with less
# optimisation, and with the older emitters of loops, it takes half as long.
QUICK = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
QUICK += " --xla_cpu_parallel_codegen_split_count=1"
os.environ["XLA_FLAGS"] = f"{QUICK} {os.environ.get('XLA_FLAGS', '')}"

from hypothesis import settings

from linsim.sweeps.runtime import collect_seldom, keep_programs

collect_seldom()

settings.register_profile("linsim", deadline=None, derandomize=True, max_examples=25)
settings.load_profile("linsim")


def pytest_configure(config):
    """Compiled programs are kept for other modules, workers and times, until `--cache-clear`."""
    if hasattr(config, "cache"):  # not with `-p no:cacheprovider`
        keep_programs(config.cache.mkdir("linsim"))


@pytest.fixture(autouse=True, scope="module")
def programs_go_with_their_module():
    """Thousands of compiled operations, which are of no use to other modules, hold gigabytes."""
    yield
    jax.clear_caches()


@pytest.fixture(autouse=True)
def precision_is_left_as_found():
    yield
    message = "the test left jax_enable_x64 off: later ones in this process would run in float32"
    assert jnp.zeros(()).dtype == jnp.float64, message
