"""The one console command, `linsim` (also `python -m linsim`)."""

import io
import sys
from collections.abc import Callable, Mapping
from typing import NamedTuple

import linsim
from linsim.config import BadInput, one_sentence, stop
from linsim.studies import NAMES, study


class Command(NamedTuple):
    """What a command does with the words behind its name, and one line of help."""

    main: Callable[[list[str]], None]
    help: str


def run(argv: list[str]) -> None:
    """`linsim run STUDY ...`."""
    if not argv or argv[0] in ("-h", "--help"):
        listed = "\n".join(f"  {name:16} {_first_line(name)}" for name in NAMES)
        usage = "usage: linsim run STUDY ... (--help after a study tells its flags)"
        print(f"{usage}\n\n{listed}")
        raise SystemExit(0 if argv else 2)
    study(argv[0]).main(argv[1:], prog=f"linsim run {argv[0]}", own_process=True)


def _first_line(name: str) -> str:
    return (type(study(name)).__doc__ or "").strip().splitlines()[0]


def verify(argv: list[str]) -> None:
    """`linsim verify ...`."""
    from linsim.claims import command

    command.main(argv)


def figures(argv: list[str]) -> None:
    """`linsim figures ...`."""
    from linsim.studies import gallery

    gallery.main(argv)


def animate(argv: list[str]) -> None:
    """`linsim animate ...`."""
    from linsim.studies import animation

    animation.main(argv)


def diagnose(argv: list[str]) -> None:
    """`linsim diagnose ...`."""
    from linsim.diagnose import command

    command.main(argv)


def explore(argv: list[str]) -> None:
    """`linsim explore ...`."""
    from linsim.explore import command

    command.main(argv)


COMMANDS: Mapping[str, Command] = {
    "run": Command(run, "train the runs of a study, compare them with theory, draw and tell"),
    "verify": Command(
        verify, "run the ledger of claims: every statement as printed and as corrected"
    ),
    "figures": Command(figures, "regenerate the figures of the gallery"),
    "animate": Command(animate, "draw a linear layer collapse while the noise passes √2, as a GIF"),
    "diagnose": Command(
        diagnose, "measure the collapse of your own embeddings, or the alignment of two layers"
    ),
    "explore": Command(explore, "set, see and train one linear layer in the browser"),
}


def main() -> None:
    """Run a command; ends the program with code 2 on bad input, with 1 if a result could not be
    written.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a sign that the terminal lacks becomes "?"
            stream.reconfigure(errors="replace")
    argv = sys.argv[1:]
    if argv[:1] == ["--version"]:
        print(f"linsim {linsim.__version__}")
        return
    if not argv or argv[0] in ("-h", "--help"):
        listed = "\n".join(f"  {name:10} {command.help}" for name, command in COMMANDS.items())
        print(
            "usage: linsim COMMAND ... (--help after a command tells its flags; "
            f"--version)\n\n{listed}"
        )
        raise SystemExit(0 if argv else 2)
    with one_sentence():
        if argv[0] not in COMMANDS:
            raise BadInput(
                f"command {argv[0]} is not allowed: it must be one of {', '.join(COMMANDS)}"
            )
        try:
            COMMANDS[argv[0]].main(argv[1:])
        except KeyboardInterrupt:
            stop("interrupted; no file is half-written", 130)


if __name__ == "__main__":
    main()
