"""What every experiment's command does: parse, train, save, compare with theory, save, draw, report.

Imports nothing heavy until the command line has been parsed.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from linsim.config import LinearConfig, configure_jax, parse, stop


class Parts(NamedTuple):
    """The four functions that make an experiment."""

    train: Callable[[Any], Any]
    """config -> Dataset of trained runs"""
    compare: Callable[[Any, Any], Any]
    """Dataset, config -> Dataset with theory beside the runs"""
    draw: Callable[[Any], Any]
    """Dataset -> Figure"""
    tell: Callable[[Any], str]
    """Dataset -> table and verdict"""


def main(name: str, presets: Mapping[str, LinearConfig], parts: Callable[[], Parts], argv: list[str] | None) -> None:
    """Run one experiment from its command line.

    Args: name of the files and of the default folder; presets, the first being the default; parts: called after parsing, so
    that it may import what it needs; argv without the program, or None for sys.argv.
    Ends the program with code 2 on bad input, and with 1 if training diverged; what was recorded is saved first.
    """
    config = parse(presets, argv, name)
    configure_jax(x64=config.x64)
    train, compare, draw, tell = parts()
    from linsim import plots, report, results

    dataset = train(config)
    data_path = results.save(dataset, config.out / f"{name}.nc")
    if (message := report.divergence(dataset)) is not None:
        stop(f"{message}; what was recorded is in {data_path}", 1)
    dataset = compare(dataset, config)
    results.save(dataset, data_path)
    figure_path = plots.save(draw(dataset), config.out / f"{name}.{config.format}")
    print(f"saved {data_path} and {figure_path}\n")
    print(tell(dataset))
