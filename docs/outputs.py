"""Put into the pages what the commands named there print: `python docs/outputs.py`.

A page that shows a command's output keeps it between two comments, the first of which names the
command, and where only some lines are shown, what these begin with:

    <!-- output: linsim run strong_aug --noise 2.0; lines of block|noisy -->
    ...
    <!-- /output -->

The tests hold the words of such outputs to what the command prints.
"""

import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(
    r"(<!-- output: linsim ([^;\n]+?)(?:; lines of (\S+))? -->\n```text\n)"
    r"(.*?)(```\n<!-- /output -->)",
    re.S,
)


def pages() -> list[Path]:
    """Every page of the documentation, the README first."""
    written = sorted(path for path in (ROOT / "docs").rglob("*.md") if "_tour" not in path.parts)
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *written]


class Shown(NamedTuple):
    """A command without `linsim`, the beginnings of the lines that are shown, and these lines."""

    command: str
    beginnings: str
    text: str


def outputs(page: Path) -> list[Shown]:
    """The outputs that a page shows."""
    return [Shown(each[2], each[3] or "", each[4]) for each in BLOCK.finditer(page.read_text())]


def printed(command: str) -> str:
    """What a command prints on standard output, run in an empty folder."""
    words = [sys.executable, "-m", "linsim", *shlex.split(command)]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


def selected(output: str, beginnings: str) -> str:
    """The lines of a command's output that begin so, with no blanks at their ends."""
    lines = [line.rstrip() for line in output.strip("\n").splitlines()]
    begins = re.compile(rf"\s*({beginnings})")
    return "".join(f"{line}\n" for line in lines if begins.match(line))


def main() -> None:
    """Bring every page up to date."""
    known: dict[str, str] = {}
    for page in pages():
        for shown in outputs(page):
            known.setdefault(shown.command, printed(shown.command))
        text = BLOCK.sub(
            lambda each: each[1] + selected(known[each[2]], each[3] or "") + each[5],
            page.read_text(),
        )
        page.write_text(text)


if __name__ == "__main__":
    main()
