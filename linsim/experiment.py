"""What every experiment's command does: parse, train, save, compare with theory, save, draw, report.

Imports nothing heavy until the command line has been parsed.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from linsim import cluster
from linsim.config import BadInput, ModelConfig, configure_jax, parse, prepare_folder, stop


class Parts(NamedTuple):
    """The four functions that make an experiment."""

    train: Callable[[Any, Any], Any]
    """config, `sweep.Engine` -> Dataset of trained runs (None: other processes are still at work)"""
    compare: Callable[[Any, Any], Any]
    """Dataset, config -> Dataset with theory beside the runs"""
    draw: Callable[[Any], Any]
    """Dataset -> Figure"""
    tell: Callable[[Any], str]
    """Dataset -> table and verdict"""


def main(name: str, presets: Mapping[str, ModelConfig], parts: Callable[[], Parts], argv: list[str] | None) -> None:
    """Run one experiment from its command line, or go on where the same command was stopped.

    Args: name of the files and of the default folder; presets, the first being the default; parts: called after parsing, so
    that it may import what it needs; argv without the program, or None for sys.argv.
    Ends the program with code 2 on bad input, with 1 if training diverged (what was recorded is saved first) or a result could
    not be written, with 130 if interrupted; finished chunks stay.
    """
    try:
        config = parse(presets, argv, name)
        share = cluster.find(config, os.environ)
        prepare_folder(config.out)
    except BadInput as error:
        stop(str(error), 2)
    configure_jax(x64=config.x64, devices=config.devices)
    from linsim import results, store

    try:
        cluster.join(config, share, os.environ)
        folder = store.Store(config, name)
        _report(name, config, parts(), folder, share)
    except BadInput as error:
        stop(str(error), 2)
    except results.CannotWrite as error:
        stop(f"{error}; finished chunks stay, and the same command goes on from them", 1)
    except KeyboardInterrupt:
        stop(f"interrupted; finished chunks stay in {config.out}, and the same command goes on from them", 130)


def _report(name: str, config: Any, parts: Parts, folder: Any, share: cluster.Share) -> None:
    """Load or make the results, save them, draw and tell."""
    from linsim import plots, report

    dataset = folder.finished()
    if dataset is None:
        dataset = _train(config, parts, folder, share)
        if dataset is None or cluster.is_worker(os.environ):
            print(f"process {share.index} of {share.count} is done; the last process to finish writes {folder.path}")
            return
        diverged = report.divergence(dataset) is not None
        dataset = folder.finish(dataset if diverged else parts.compare(dataset, config))
    if (message := report.divergence(dataset)) is not None:
        stop(f"{message}; what was recorded is in {folder.path}", 1)
    figure_path = plots.save(parts.draw(dataset), config.out / f"{name}.{config.format}")
    print(f"saved {folder.path} and {figure_path}\n")
    print(parts.tell(dataset))


def _train(config: Any, parts: Parts, folder: Any, share: cluster.Share) -> Any:
    """This process's chunks, those of the workers it starts, and then whatever these left undone."""
    from linsim import train

    with cluster.workers(config, share) as mine:
        dataset = parts.train(config, train.engine(config, store=folder, share=mine))
    if mine.count > share.count and dataset is None:
        dataset = parts.train(config, train.engine(config, store=folder, share=share))
    return dataset
