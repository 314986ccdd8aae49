"""How JAX is started: for a command, and what is checked when linsim is used as a library.

On CPUs jaxlib 0.10.2 can deadlock: every batched LAPACK call (an SVD or QR under `vmap`) waits,
inside XLA's thread pool, for other threads of that pool, so that calls that run at the same time
can block one another for ever. One thread never waits, and for arrays this small one thread is
fastest; more cores are used by more processes (`linsim.sweeps.cluster`). The number of threads is
read from the environment variable NPROC when JAX starts its CPU backend, and cannot be changed
afterwards.
"""

import atexit
import contextlib
import functools
import gc
import hashlib
import importlib.util
import os
import platform
from pathlib import Path

from linsim.config import BadInput


@functools.cache
def configure_jax(*, devices: int | None = None, compilation_cache: bool = True) -> None:
    """Set up JAX for a script, once: the cache of programs, and on the CPU devices and threads.
    Call before all computation, and before NumPy is imported: its BLAS has one thread too then,
    since the small matrices of the theory cost several threads up to seven times the work.

    Several CPU devices get a pool of threads so large that some thread is always free, which costs
    them half their speed. On CPUs the compiler's first level of optimisation halves the time to
    compile, of which short sweeps consist, and costs 5 % of the speed. A flow that fails gives nan:
    to raise, it would have to call Python, and such programs cannot be kept. Variables already in
    the environment win.
    """
    count = devices or 1
    os.environ.setdefault("NPROC", "1" if count == 1 else str(32 * count))
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("EQX_ON_ERROR", "nan")
    flags = ["--xla_cpu_multi_thread_eigen=false"] if count > 1 else []
    if importlib.util.find_spec("jax_plugins") is None:  # no accelerator's plug-in is installed
        flags.append("--xla_backend_optimization_level=1")
    os.environ["XLA_FLAGS"] = " ".join([*flags, os.environ.get("XLA_FLAGS", "")]).strip()
    collect_seldom()
    import jax

    jax.config.update("jax_num_cpu_devices", count)
    if compilation_cache and "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        keep_programs(cache_folder())


def collect_seldom() -> None:
    """Let Python look for garbage seldom, and not at all when it ends: the many objects of imported
    packages are none, and searching them takes a sixth of a short command's time.
    """
    gc.set_threshold(100_000, 20, 50)
    atexit.register(gc.freeze)


def guard_against_deadlock() -> None:
    """Make sure, in a process that is not a command of ours, that JAX's CPU backend has or will
    have one thread.

    Sets NPROC=1 for this process if JAX has not yet started a backend. Raises: RuntimeError if it
    has, without NPROC.
    """
    if "NPROC" in os.environ or os.cpu_count() == 1:
        return
    if _backend_is_running():
        raise RuntimeError(
            "JAX was started with several CPU threads, with which jaxlib can deadlock in batched "
            "SVDs: set the environment "
            "variable NPROC=1 before JAX computes anything (in a notebook: restart the kernel, "
            "then "
            'os.environ["NPROC"] = "1" in the first cell, or call linsim.run there)'
        )
    os.environ["NPROC"] = "1"


def _backend_is_running() -> bool:
    from jax._src import xla_bridge  # jax has no public way to ask without starting one

    return bool(getattr(xla_bridge, "_backends", {}))


def keep_programs(cache: Path) -> None:
    """Let JAX keep compiled programs in a folder of this processor, if it can be written."""
    import jax

    folder = cache / f"programs-{_processor()}"
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        try_to_write(folder)
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def cache_folder() -> Path:
    """Where things are kept from one command to the next: XDG_CACHE_HOME/linsim, or
    ~/.cache/linsim.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "linsim"


def _processor() -> str:
    """A name for this computer's instruction set: a program compiled for another processor may not
    run on this one.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        described = next(line for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        described = platform.processor()
    return hashlib.sha256(f"{platform.machine()} {described}".encode()).hexdigest()[:12]


def prepare_folder(folder: Path) -> None:
    """Create the results folder and prove that it can be written to. Raises: BadInput."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try_to_write(folder)
    except OSError as error:
        reason = error.strerror
        raise BadInput(
            f"--out {folder} is not allowed: it must be a folder that can be written ({reason})"
        ) from None


def try_to_write(folder: Path) -> None:
    """Make a file in a folder and remove it. Raises: OSError."""
    probe = folder / f".write-test-{os.getpid()}"
    probe.touch()
    probe.unlink()
