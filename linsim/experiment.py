"""What every experiment's command does: parse, train, save, compare with theory, save, draw, report.

Imports nothing heavy until the command line has been parsed.
"""

import os
import signal
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NamedTuple

from linsim import cluster
from linsim.config import BadInput, CannotWrite, TrainConfig, configure_jax, parse, prepare_folder, stop


class Parts(NamedTuple):
    """The four functions that make an experiment, each as "module:function", so that it is imported when it is needed."""

    train: str
    """config, `sweep.Engine` -> Dataset of trained runs (None: other processes are still at work)"""
    compare: str
    """Dataset, config -> Dataset with theory beside the runs"""
    draw: str
    """Dataset -> Figure"""
    tell: str
    """Dataset -> table and verdict"""


def main(name: str, presets: Mapping[str, TrainConfig], parts: Parts | Callable[[Any], Parts], argv: list[str] | None) -> None:
    """Run one experiment from its command line, or go on where the same command was stopped.

    Args: name of the files and of the default folder; presets, the first being the default; parts, or config -> parts;
    argv without the program, or None for sys.argv.
    Ends the program with code 2 on bad input, with 1 if training diverged (what was recorded is saved first) or a result could
    not be written, with 130 if interrupted; finished chunks stay.
    """
    try:
        config = parse(presets, argv, name)
        share = cluster.find(config, os.environ)
        prepare_folder(config.out)
        if argv is None:
            signal.signal(signal.SIGINT, partial(_interrupted, config.out))
        configure_jax(x64=config.x64, devices=config.devices, compilation_cache=config.compilation_cache)
        chosen = parts(config) if callable(parts) else parts
        _run(name, config, chosen, share, [sys.executable, *sys.orig_argv[1:]] if argv is None else [])
    except BadInput as error:
        stop(str(error), 2)
    except CannotWrite as error:
        stop(f"{error}; finished chunks stay, and the same command goes on from them", 1)


def _interrupted(out: Path, *_: Any) -> None:
    """End at once: every file is whole at every moment but one that is just being written, which goes."""
    for part in out.rglob(f".*.{os.getpid()}.part"):
        part.unlink(missing_ok=True)
    print(
        f"error: interrupted; finished chunks stay in {out}, and the same command goes on from them", file=sys.stderr, flush=True
    )
    os._exit(130)


def _run(name: str, config: Any, parts: Parts, share: cluster.Share, command: list[str]) -> None:
    from linsim import store

    cluster.join(config, share, os.environ)
    folder = store.Store(config, name)
    dataset = folder.finished()
    if dataset is None:
        dataset = _results(config, parts, folder, share, command)
    if dataset is None:
        print(f"process {share.index} of {share.count} is done; the last one to finish writes {folder.path}")
    else:
        _report(name, config, parts, dataset, folder.path)


def _results(config: Any, parts: Parts, folder: Any, share: cluster.Share, command: list[str]) -> Any:
    """Train, compare and save; None in a process that leaves this to another.

    The second pass solves what this process's workers left undone, and finds what others finished in the meantime.
    """
    from linsim import train

    def runs(share: cluster.Share) -> Any:
        return resolve_name(parts.train)(config, train.engine(config, store=folder, share=share, meanwhile=imports))

    def imports() -> None:
        for part in parts:
            resolve_name(part)

    with cluster.workers(config, share, command) as mine:
        dataset = runs(mine)
    if dataset is None:
        dataset = runs(share)
    if dataset is None or cluster.is_worker(os.environ):
        return None
    from linsim import report

    return folder.finish(dataset if report.divergence(dataset) else resolve_name(parts.compare)(dataset, config))


def _report(name: str, config: Any, parts: Parts, dataset: Any, path: Path) -> None:
    """Draw and tell, or end the program if training diverged."""
    from linsim import plots, report

    if (message := report.divergence(dataset)) is not None:
        stop(f"{message}; what was recorded is in {path}", 1)
    figure_path = plots.save(resolve_name(parts.draw)(dataset), config.out / f"{name}.{config.format}")
    print(f"saved {path} and {figure_path}\n")
    print(resolve_name(parts.tell)(dataset))
