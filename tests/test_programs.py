"""Compiled programs are kept between commands, and only if they may be."""

import os
import subprocess
import sys

import pytest

COMMAND = """
import sys
from linsim.config import configure_jax
configure_jax(x64=True, compilation_cache=sys.argv[1] == "on")
import jax, jax.numpy as jnp, numpy as np
from linsim import contrast, dynamics
x = jnp.asarray(np.random.default_rng(0).standard_normal((6, 3)))
def flow(w):
    return dynamics.gradient_flow((w,), lambda w: contrast.distance(w, x, x + 0.5), np.array([0.0, 1.0])).weights[0]
print(jax.jit(flow)(jnp.eye(3))[-1].tobytes().hex())
"""


def command(cache, flag="on"):
    environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
    done = subprocess.run([sys.executable, "-c", COMMAND, flag], env=environment, capture_output=True, text=True, check=True)
    return done.stdout, done.stderr, {path.name: path.stat().st_mtime_ns for path in cache.rglob("*-cache")}


def test_a_second_command_finds_all_programs_of_the_first_even_the_flows(tmp_path):
    first, _, kept = command(tmp_path)
    assert any("flow" in name for name in kept)
    again, _, found = command(tmp_path)
    assert again == first
    assert found == kept


def test_damaged_programs_are_compiled_again(tmp_path):
    first, _, kept = command(tmp_path)
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
