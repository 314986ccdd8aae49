"""`linsim figures`: every picture of the gallery, from saved results, or from a run where there are
none.
"""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from tyro.conf import Positional

from linsim.config import BadInput, CannotWrite, Checked, Several, parsed
from linsim.studies import NAMES, study
from linsim.studies.study import Picture, Study
from linsim.sweeps.progress import progress
from linsim.sweeps.runtime import prepare_folder

RESULTS = Path("results/gallery")


class Entry(NamedTuple):
    """A picture and the study that makes it."""

    study: Study[Any]
    picture: Picture


@dataclass(kw_only=True)
class Request(Checked):
    """Regenerate the figures of the gallery, from saved results where there are any."""

    names: Annotated[Positional[tuple[str, ...]], Several(may_be_empty=True)] = ()
    """Figures to draw (default: all)."""
    list: bool = False
    """Name the figures with what they correspond to in the paper, and draw none."""
    out: Path = Path("figures")
    """Folder for the figures."""
    results: Path = RESULTS
    """Folder of the saved results; what is missing there is run first."""


def gallery() -> dict[str, Entry]:
    """The pictures of all studies, by name."""
    studies = (study(name) for name in NAMES)
    return {picture.name: Entry(each, picture) for each in studies for picture in each.pictures}


def main(argv: list[str]) -> None:
    """Command line. Raises: BadInput, CannotWrite (a study failed: it has said why)."""
    request, entries = parsed(Request, argv, prog="linsim figures"), gallery()
    for name in request.names:
        if name not in entries:
            raise BadInput(f"figure {name} is not allowed: it must be one of {', '.join(entries)}")
    if request.list:
        for name, (made_by, picture) in entries.items():
            print(
                f"{name:20} {f'linsim run {made_by.name} ' + ' '.join(picture.flags):44} "
                f"{picture.paper}"
            )
        return
    for folder in (request.out, request.results):
        prepare_folder(folder)
    names = request.names or tuple(entries)
    with progress(len(names), "figures", what="drawing ", hidden=not sys.stderr.isatty()) as bar:
        for name in names:
            print(f"{name}: {draw(name, request)}", flush=True)
            bar.update()


def draw(name: str, request: Request) -> Path:
    """Put a picture of the gallery into place. Returns: its path. Raises: CannotWrite."""
    return Path(
        shutil.copyfile(run(name, request.results).with_suffix(".png"), request.out / f"{name}.png")
    )


def run(name: str, folder: Path = RESULTS) -> Path:
    """Run a picture's study, or go on from its saved results. Returns: its result file. Raises:
    CannotWrite if it fails.
    """
    made_by, picture = gallery()[name]
    saved = folder / name
    words = [
        sys.executable,
        "-m",
        "linsim",
        "run",
        made_by.name,
        *picture.flags,
        "--out",
        str(saved),
    ]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise CannotWrite(
            f"figure {name} could not be drawn: {made_by.name} ended with code {done.returncode}"
        )
    return saved / f"{made_by.name}.nc"
