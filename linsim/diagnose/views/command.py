"""`linsim diagnose views X Y`: theory on one's own pairs of views."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from linsim.config import BadInput, Several, parsed
from linsim.diagnose.reading.choices import Choices
from linsim.diagnose.views.settings import Settings
from linsim.sweeps.runtime import configure_jax, prepare_folder


@dataclass(kw_only=True)
class Request(Settings):
    """Which directions of one's own data a linear map trained with InfoNCE loses under this
    augmentation, and how strong it leaves the others.
    """

    files: Positional[Annotated[tuple[Path, ...], Several(may_be_empty=True, may_repeat=True)]] = ()
    """Two files of views, row i of both two views of one sample; or one file that holds both."""
    names: Annotated[tuple[str, ...], Several(may_be_empty=True, may_repeat=True)] = ()
    """Names of the arrays inside .npz or .safetensors files, where they hold several."""
    json: bool = False
    """Print everything as JSON instead of a table."""
    csv: bool = False
    """Print the values as CSV, a line for each direction, instead of a table."""
    out: Path = Path("results/diagnose")
    """Folder for the picture."""


def main(argv: list[str]) -> None:
    """Command line. Raises: BadInput."""
    request = parsed(Request, argv, prog="linsim diagnose views")
    if request.json and request.csv:
        raise BadInput("--json and --csv are not allowed together: choose one")
    pairs = list(_sources(request))
    from linsim.diagnose.reading.load import raw

    x, y = (raw(path, Choices(names=names)).array for path, names in pairs)
    prepare_folder(request.out)
    if request.train:
        configure_jax()
    from linsim.diagnose.views.result import Views
    from linsim.studies.style import rendered
    from linsim.sweeps import results

    found = Views.of(x, y, request)
    path = request.out / "views.png"
    results.write(rendered(found.figure(), "png"), path)
    if request.json:
        print(json.dumps(found.to_dict(), indent=2))
    elif request.csv:
        print(found.to_csv(), end="")
    else:
        print(f"saved {path}\n\n{found.table()}")


def _sources(request: Request):
    """File and names of either view. Raises: BadInput."""
    files, names = request.files, request.names
    if len(files) == 1 and len(names) == 2:
        return [(files[0], (names[0],)), (files[0], (names[1],))]
    if len(files) == 2 and len(names) in (0, 1, 2):
        chosen = [(name,) for name in names] if len(names) == 2 else [names, names]
        return list(zip(files, chosen, strict=True))
    given = " ".join(map(str, files)) or "nothing"
    raise BadInput(
        f"diagnose views was given {given}: it must be two files X Y, or one file with --names X Y"
    )
