"""`python -m linsim figures`: every figure of the README's gallery, from saved results, or from a run where there are none."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm
from tyro.conf import Positional

from linsim.config import BadInput, CannotWrite, command_line, prepare_folder

ROOT = Path(__file__).parents[1]
RESULTS = Path("results/gallery")


class Picture(NamedTuple):
    """One picture of the gallery: the experiment's script and flags, and what it corresponds to in the paper."""

    script: str
    flags: tuple[str, ...]
    paper: str


GALLERY = {
    "strong_aug": Picture("strong_aug", (), "Fig. 3: weight spectrum against the strength of augmentation"),
    "alignment_released": Picture("alignment", ("--preset", "released"), "Fig. 5: the alignment matrix, released settings"),
    "alignment_identity": Picture("alignment", ("--preset", "identity"), "Fig. 5: where it does become the identity"),
    "singular_values": Picture("singular_values", (), "Fig. 6: singular values of W1, W2 and the embeddings in time"),
    "phase_diagram": Picture("phase_diagram", (), "none: collapsed dimensions over noise and initial scale"),
    "depth": Picture("depth", (), "Fig. 11: depth, linear and ReLU layers"),
    "collapse_kinds": Picture("collapse_kinds", (), "Figs. 1, 2: no, dimensional and complete collapse"),
    "directclr": Picture("directclr", (), "Figs. 7b, 9, 10, 12 and Tables 1, 2: projectors and DirectCLR, on digits"),
    "directclr_weak": Picture("directclr", ("--preset", "weak"), "the same under weak augmentation"),
}


@dataclass(frozen=True, kw_only=True)
class Request:
    """Regenerate the figures of the README's gallery, from saved results where there are any."""

    names: Positional[tuple[str, ...]] = ()
    """Figures to draw (default: all)."""
    list: bool = False
    """Name the figures with what they correspond to in the paper, and draw none."""
    out: Path = Path("figures")
    """Folder for the figures."""
    results: Path = RESULTS
    """Folder of the saved results; what is missing there is run first."""


def main(argv: list[str]) -> None:
    """Command line. Raises: BadInput, CannotWrite (an experiment failed: it has said why)."""
    request = command_line(Request, argv, "figures")
    for name in request.names:
        if name not in GALLERY:
            raise BadInput(f"figure {name} is not allowed: it must be one of {', '.join(GALLERY)}")
    if request.list:
        for name, picture in GALLERY.items():
            print(f"{name:20} {picture.script + '.py ' + ' '.join(picture.flags):34} {picture.paper}")
        return
    if not (ROOT / "experiments").is_dir():
        raise BadInput("figures is not allowed here: it must be run from a checkout of linsim, with its experiments/")
    for folder in (request.out, request.results):
        prepare_folder(folder)
    for name in tqdm(request.names or tuple(GALLERY), unit=" figures", disable=None):
        print(f"{name}: {draw(name, request)}", flush=True)


def draw(name: str, request: Request) -> Path:
    """Put a picture of the gallery into place. Returns: its path. Raises: CannotWrite."""
    return Path(shutil.copyfile(run(name, request.results).with_suffix(".png"), request.out / f"{name}.png"))


def run(name: str, folder: Path = RESULTS) -> Path:
    """Run a picture's experiment, or go on from its saved results. Returns: its result file. Raises: CannotWrite if it fails."""
    picture, saved = GALLERY[name], folder / name
    words = [sys.executable, str(ROOT / "experiments" / f"{picture.script}.py"), *picture.flags, "--out", str(saved)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise CannotWrite(f"figure {name} could not be drawn: {Path(words[1]).name} ended with code {done.returncode}")
    return saved / f"{picture.script}.nc"
