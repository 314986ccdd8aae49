"""Every test runs in float64 unless it says otherwise, with shapes checked by beartype."""

import contextlib
import ctypes
import functools
import os
import tempfile

os.environ.setdefault("NPROC", "1")  # see linsim.sweeps.runtime
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
if "PYTEST_XDIST_WORKER" not in os.environ:  # workers and commands inherit it
    cache = tempfile.TemporaryDirectory(prefix="linsim-tests-")
    os.environ["XDG_CACHE_HOME"] = cache.name

from pathlib import Path

import jaxtyping

# What a person's values pass through, which checks them itself; and inner loops of the theory, of
# which a million checks take a tenth of the time: `pytest -m ''` checks these too.
LIGHT = ("config.py", "settings.py", "study.py", "linear.py", "gallery.py", "command.py")
LOOPS = ("mellin.py", "finite_distance.py")
ROOM = 10**9  # bytes that a worker may have before its programs go


def modules_to_check(but: tuple[str, ...]) -> list[str]:
    """All of linsim but files of these names."""
    root = Path(__file__).parents[1] / "linsim"
    files = [file for file in root.rglob("*.py") if file.name not in ("__init__.py", *but)]
    return [".".join(("linsim", *file.relative_to(root).with_suffix("").parts)) for file in files]


def pytest_configure(config):
    """Shapes are checked; compiled programs are kept for other modules, workers and times, until
    `--cache-clear`.
    """
    but = LIGHT if config.option.markexpr == "" else LIGHT + LOOPS
    jaxtyping.install_import_hook(modules_to_check(but), "beartype.beartype")
    from linsim.sweeps.runtime import collect_seldom, keep_programs

    collect_seldom()
    if hasattr(config, "cache"):  # not with `-p no:cacheprovider`
        keep_programs(config.cache.mkdir("linsim"))


import jax
import jax.numpy as jnp
import psutil
import pytest
from hypothesis import settings
from jax._src.interpreters import mlir

jax.config.update("jax_enable_x64", True)
# Most of the time is the compiler's, here and in the commands that tests start: with less
# optimisation, and with the older emitters of loops, it takes half as long.
QUICK = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
QUICK += " --xla_cpu_parallel_codegen_split_count=1"
os.environ["XLA_FLAGS"] = f"{QUICK} {os.environ.get('XLA_FLAGS', '')}"

# A new MLIR context for every program takes a third of the time of a small one: all share one.
mlir.make_ir_context = functools.cache(mlir.make_ir_context)

settings.register_profile("linsim", deadline=None, derandomize=True, max_examples=25)
settings.load_profile("linsim")

room = [ROOM]  # more, where less is left over


def resident() -> int:
    """Bytes of memory that this process has."""
    return psutil.Process().memory_info().rss


@pytest.fixture(autouse=True)
def programs_leave_room():
    """Each compiled operation holds a megabyte, and there are thousands: all go when they are many,
    and what they held is given back.
    """
    yield
    if resident() > room[0]:
        jax.clear_caches()
        with contextlib.suppress(AttributeError):  # of another C library
            ctypes.CDLL(None).malloc_trim(0)
        room[0] = max(ROOM, resident() + ROOM // 5)


@pytest.fixture(autouse=True)
def precision_is_left_as_found():
    yield
    message = "the test left jax_enable_x64 off: later ones in this process would run in float32"
    assert jnp.result_type(float) == jnp.float64, message
