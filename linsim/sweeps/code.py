"""Which code computes a result: a digest of the sources, so that results of other code are never
taken for those of this one.
"""

import functools
import hashlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

COMPUTES = ("arrays.py", "losses", "spectra", "training", "theory", "images", "studies")
ONLY_SHOWS = (
    "figure.py",
    "table.py",
    "style.py",
    "words.py",
    "gallery.py",
    "animation.py",
    "tabular.py",
    "study.py",
)  # what no number depends on


@functools.cache
def package_digest() -> str:
    """A digest of all sources of linsim that numbers depend on."""
    root = Path(__file__).parents[1]
    files = [
        file for name in COMPUTES for file in _sources(root / name) if file.name not in ONLY_SHOWS
    ]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.relative_to(root).as_posix().encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def digest(*functions: Callable[..., Any]) -> str:
    """A digest of linsim's sources and of the files that functions of one's own stand in."""
    root = Path(__file__).parents[1]
    bare = map(inspect.unwrap, functions)
    found = {inspect.getsourcefile(function) for function in bare if inspect.isfunction(function)}
    own = sorted(
        Path(file) for file in found if file is not None and root not in Path(file).parents
    )
    contents = b"".join(file.read_bytes() for file in own if file.is_file())
    return hashlib.sha256(package_digest().encode() + contents).hexdigest()[:16]


def _sources(path: Path) -> list[Path]:
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]
