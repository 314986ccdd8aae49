"""`python -m linsim <command>`: each command is a module with a `main(argv)`, imported only when it is asked for."""

import importlib
import sys
from collections.abc import Sequence

from linsim.config import stop

COMMANDS = {"verify": ("linsim.claims.command", "check every statement of the theory against its recorded verdict")}


def usage() -> str:
    """How to call this, and one line per command."""
    lines = [f"  {name:<10}{line}" for name, (_, line) in COMMANDS.items()]
    return "\n".join(["usage: python -m linsim COMMAND [FLAGS]   (COMMAND --help lists its flags)", "", *lines])


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command, or say which there are; an unknown one ends the program with code 2."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help"):
        print(usage())
    elif words[0] not in COMMANDS:
        stop(f"command {words[0]} is not known: it must be one of {', '.join(COMMANDS)}", 2)
    else:
        importlib.import_module(COMMANDS[words[0]][0]).main(words[1:])


if __name__ == "__main__":
    main()
