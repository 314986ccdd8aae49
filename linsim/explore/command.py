"""`linsim explore`: opens the explorer's page, on this computer alone."""

import importlib.util
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional

from linsim.config import BadInput, Checked, parsed, whole
from linsim.sweeps.runtime import prepare_folder

HERE = Path(__file__).parent
Page = Literal["bench", "strong_augmentation", "two_layers", "directclr"]


@dataclass(kw_only=True)
class ExploreSettings(Checked):
    """Open a page in the browser where a linear model is set, answered by theory, and trained.

    PAGE is the bench (default), or a guided page for a lecture, a text with live figures:
    strong_augmentation, two_layers, or directclr. It is for this computer alone: it is served on
    loopback, under an address that holds a token. Nothing is loaded from elsewhere.
    """

    page: Annotated[Positional[Page], tyro.conf.arg(metavar="PAGE")] = "bench"
    """Which page."""
    port: Annotated[int, whole(0, 65535)] = 0
    """Port on 127.0.0.1 (default: a free one)."""
    out: Path = Path("results/explore")
    """Folder of what is trained and saved in the page."""
    export: Path | None = None
    """Write the page, answered by theory alone, to this HTML file instead: it needs no Python."""
    browser: bool = True
    """Open the page in the browser; else only its address is printed."""


def main(argv: Sequence[str]) -> None:
    """Serve the page until interrupted, or export it. Raises: BadInput, CannotWrite."""
    settings = parsed(ExploreSettings, list(argv), prog="linsim explore")
    if settings.export is not None:
        _export(settings.export)
        return
    if importlib.util.find_spec("marimo") is None:
        raise BadInput("linsim explore needs marimo: pip install 'linsim[explore]'")
    prepare_folder(settings.out)
    words = [sys.executable, "-m", "marimo", "run", str(path_of(settings.page))]
    words += ["--host", "127.0.0.1", "--token"]
    words += ["--port", str(settings.port)] if settings.port else []
    words += [] if settings.browser else ["--headless"]
    words += ["--", "--out", str(settings.out)]
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before a page's `configure_jax`
    os.execv(sys.executable, words)  # so that what ends this process ends the server


def path_of(page: Page) -> Path:
    """The notebook of a page."""
    return HERE / "page.py" if page == "bench" else HERE / "guides" / f"{page}.py"


def _export(path: Path) -> None:
    from linsim.explore.export import exported
    from linsim.sweeps.results import write

    prepare_folder(path.absolute().parent)
    print(f"saved {write(exported().encode(), path)}")
