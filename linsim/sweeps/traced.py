"""Traced programs, kept from one command to the next: one that is there need not be traced and
lowered again (`jax.export`), which takes Python longer than many programs take to run.

A file is named after all that decides the program: the code, the versions of the packages that
trace it, the static part of the runs, and the shapes and types of the arguments.
"""

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax import export

from linsim.config import CannotWrite
from linsim.sweeps.code import package_digest
from linsim.sweeps.results import write
from linsim.training.records import described

PACKAGES = ("jax", "jaxlib", "optax", "diffrax", "equinox", "lineax", "optimistix", "numpy")
OPTIONS = ("JAX_", "EQX_")  # how variables of the environment begin that change what is traced


def folder() -> Path | None:
    """Where programs are kept: beside the compiled ones, if these are kept in a local folder."""
    compiled = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    return None if not compiled or "://" in compiled else Path(compiled) / "traced"


def full_name(function: Any) -> str:
    """A function's name with its module; of what has no name, one that no function has."""
    name = getattr(function, "__qualname__", "<unnamed>")
    return f"{getattr(function, '__module__', '')}.{name}"


def what_decides(name: str, structure: Any, code: str) -> str | None:
    """All that decides a program beside its arguments' shapes and types, as text; None if it is of
    a function without a name of its own, or if the static part of its runs has no plain
    description.

    Args: the function's `full_name`; the tree structure of the runs, which holds their static part;
    the digest of the code.
    """
    if "<" in name:  # a lambda, or a function that may hold values of where it was made
        return None
    try:
        static = described(structure.unflatten(["varies"] * structure.num_leaves))
    except TypeError:
        return None
    return json.dumps([name, static, code], sort_keys=True)


def lowered(function: Any, arguments: Sequence[Any], what: str | None, kept: Path | None) -> Any:
    """A jitted function of one device, lowered for arguments like these.

    Args: function; arguments; `what_decides` it (None: it is not kept); the folder where programs
    are kept, if they are. Returns: what `function.lower` does.
    """
    if what is None or kept is None:
        return function.lower(*arguments)
    path = kept / f"{_digest(what, arguments)}.jax"
    exported = _read(path)
    if exported is None:
        try:
            content = export.export(function)(*arguments).serialize()
        except (ImportError, NotImplementedError, ValueError):  # it calls what cannot be kept
            return function.lower(*arguments)
        exported = export.deserialize(bytearray(content))
        with contextlib.suppress(CannotWrite):
            write(bytes(content), path)
    return jax.jit(exported.call).lower(*arguments)


def _read(path: Path) -> Any | None:
    """A kept program, or None if there is none that can be read."""
    try:
        return export.deserialize(bytearray(path.read_bytes()))
    except Exception:  # whatever is wrong with a file that somebody touched, tracing mends
        return None


def _digest(what: str, arguments: Sequence[Any]) -> str:
    shapes = [(str(each.shape), str(each.dtype)) for each in arguments]
    told = [what, shapes, _circumstances(), str(jnp.zeros(()).dtype), jax.default_backend()]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]


@functools.cache
def _circumstances() -> list[Any]:
    """The code that makes programs of runs, versions of packages, and options of JAX."""
    makers = (Path(__file__).with_name(name) for name in ("programs.py", "engine.py"))
    digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in makers]
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    options = {name: value for name, value in os.environ.items() if name.startswith(OPTIONS)}
    return [package_digest(), digests, versions, sorted(options.items())]
