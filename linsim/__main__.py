"""`python -m linsim COMMAND`: the commands that are not experiments."""

import importlib
import sys
from typing import NamedTuple

from linsim.config import BadInput, CannotWrite, stop


class Command(NamedTuple):
    """A module with a function main(argv), and one line of help."""

    module: str
    help: str


COMMANDS = {
    "verify": Command("linsim.claims.command", "run the ledger of claims: every statement as printed and as corrected"),
    "figures": Command("linsim.gallery", "regenerate the figures of the README's gallery"),
    "diagnose": Command("linsim.diagnose", "measure the collapse of your own embeddings, or the alignment of two layers"),
}


def main(argv: list[str]) -> None:
    """Run a command; ends the program with code 2 on bad input, with 1 if a result could not be written."""
    listed = "\n".join(f"  {name:10} {command.help}" for name, command in COMMANDS.items())
    if not argv or argv[0] in ("-h", "--help"):
        print(f"usage: python -m linsim COMMAND ... (--help after a command tells its flags)\n\n{listed}")
        raise SystemExit(0 if argv else 2)
    if argv[0] not in COMMANDS:
        stop(f"command {argv[0]} is not allowed: it must be one of {', '.join(COMMANDS)}", 2)
    try:
        importlib.import_module(COMMANDS[argv[0]].module).main(argv[1:])
    except BadInput as error:
        stop(str(error), 2)
    except CannotWrite as error:
        stop(str(error), 1)
    except KeyboardInterrupt:
        stop("interrupted; no file is half-written", 130)


if __name__ == "__main__":
    main(sys.argv[1:])
