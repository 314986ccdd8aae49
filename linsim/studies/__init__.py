"""One folder per study: what it can be asked, its runs, its theory, its figure and its table.

The studies are known by name here, and nowhere else; a new one is a module with a `STUDY`, and two
lines in `study`.
"""

from typing import Any, Literal, get_args

from linsim.config import BadInput
from linsim.studies.study import Study

StudyName = Literal[
    "strong_aug",
    "alignment",
    "singular_values",
    "phase_diagram",
    "depth",
    "collapse_kinds",
    "losses",
    "directclr",
]
NAMES: tuple[StudyName, ...] = get_args(StudyName)


def study(name: str) -> Study[Any]:
    """The study called `name`, one of NAMES. Raises: BadInput."""
    match name:
        case "strong_aug":
            from linsim.studies.strong_aug import STUDY
        case "alignment":
            from linsim.studies.alignment import STUDY
        case "singular_values":
            from linsim.studies.singular_values import STUDY
        case "phase_diagram":
            from linsim.studies.phase_diagram import STUDY
        case "depth":
            from linsim.studies.depth import STUDY
        case "collapse_kinds":
            from linsim.studies.collapse_kinds import STUDY
        case "losses":
            from linsim.studies.losses import STUDY
        case "directclr":
            from linsim.studies.directclr import STUDY
        case _:
            raise BadInput(f"study {name} is not known; it must be one of {', '.join(NAMES)}")
    return STUDY
