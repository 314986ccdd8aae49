"""How JAX is started: programs kept between commands, and the guard against its deadlock."""

import os
import subprocess
import sys

import pytest

COMMAND = """
import sys
from linsim.sweeps.runtime import configure_jax
configure_jax(compilation_cache=sys.argv[1] == "on")
import jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_enable_x64", True)
from linsim.training import contrast, dynamics
x = jnp.asarray(np.random.default_rng(0).standard_normal((6, 3)))
def flow(w):
    drive = lambda w: contrast.distance(w, x, x + 0.5)
    return dynamics.gradient_flow((w,), drive, np.array([0.0, 1.0])).weights[0]
print(jax.jit(flow)(jnp.eye(3))[-1].tobytes().hex())
"""


def command(cache, flag="on"):
    environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
    words = [sys.executable, "-c", COMMAND, flag]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    kept = {path.name: path.stat().st_mtime_ns for path in cache.rglob("*-cache")}
    return done.stdout, done.stderr, kept


def test_a_second_command_finds_all_programs_of_the_first_and_compiles_damaged_ones_again(tmp_path):
    first, _, kept = command(tmp_path)
    assert any("flow" in name for name in kept)
    again, _, found = command(tmp_path)
    assert again == first
    assert found == kept
    for name in kept:
        (path,) = tmp_path.rglob(name)
        path.write_bytes(path.read_bytes()[:100])
    assert command(tmp_path)[0] == first


@pytest.mark.parametrize("where", ["off", "nowhere"])
def test_nothing_is_kept_where_it_may_not_or_cannot(tmp_path, where):
    if where == "nowhere":
        tmp_path.joinpath("linsim").touch()
    _, said, kept = command(tmp_path, "off" if where == "off" else "on")
    assert not kept
    assert "cache" not in said


GUARD = """
import os, sys
import jax
if sys.argv[1] == "started":
    jax.devices()
from linsim.sweeps import runtime
os.cpu_count = lambda: 2
runtime.guard_against_deadlock()
print(os.environ["NPROC"])
"""


@pytest.mark.parametrize(
    ("state", "nproc", "said"),
    [("fresh", None, "1"), ("started", None, "NPROC=1"), ("started", "4", "4")],
)
def test_a_process_that_could_deadlock_is_told_so_at_once(state, nproc, said):
    """NPROC is set where there is still time; a value that the user has set is left alone."""
    environment = {name: value for name, value in os.environ.items() if name != "NPROC"}
    environment |= {} if nproc is None else {"NPROC": nproc}
    words = [sys.executable, "-c", GUARD, state]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == (said != "NPROC=1")
    assert said in (done.stdout.strip() if done.returncode == 0 else done.stderr)
