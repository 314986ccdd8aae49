"""Runs a script as a user does, in a process of its own, forked from one that has imported the
libraries already: most of what a short command costs is importing them.
"""

import atexit
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

LIBRARIES = ["jax", "optax", "xarray", "h5netcdf", "equinox", "scipy.special", "scipy.integrate"]
LIBRARIES += ["matplotlib.figure", "matplotlib.backends.backend_agg", "tyro", "joblib", "tqdm"]

_forkserver = multiprocessing.get_context("forkserver")
_forkserver.set_forkserver_preload([__name__, *LIBRARIES])


def run(words: Sequence[str], cwd: Path, timeout: float) -> subprocess.CompletedProcess[str]:
    """What `subprocess.run` gives for the Python script or `-m module` of `words`."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = (Path(folder, name) for name in ("out", "err"))
        process = _forkserver.Process(target=_as_main, args=(list(words), cwd, out, err))
        process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(words, timeout, out.read_bytes(), err.read_bytes())
        code = process.exitcode or 0
        return subprocess.CompletedProcess(words, code, out.read_text(), err.read_text())


def _as_main(words: list[str], cwd: Path, out: Path, err: Path) -> None:
    for path, stream in ((out, 1), (err, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), stream)
    os.chdir(cwd)
    try:
        if words[0] == "-m":
            sys.argv = words[1:]
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = words
            sys.path[0] = str(Path(words[0]).parent)
            runpy.run_path(words[0], run_name="__main__")
    finally:  # as the interpreter ends, which multiprocessing leaves out: threads, then exits
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
