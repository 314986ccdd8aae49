"""Small real images: scikit-learn's digits, or a folder with one sub-folder per class.

A folder may also hold train/ and test/ of such. It is decoded once, and kept as one array file in
the user's cache, under a name that changes with its contents.
"""

import contextlib
import functools
import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image, UnidentifiedImageError

from linsim.config import BadInput, CannotWrite
from linsim.images.names import DIGITS, Part
from linsim.sweeps import results
from linsim.sweeps.runtime import cache_folder
from linsim.training.records import record, static

SPLITS = ("train", "test")
CHOOSING = 3  # one image in so many of each class is for choosing settings
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


class Images(NamedTuple):
    """pixels (N, H, W, C), 0 (dark) to 1; labels (N,), indices into the names of the classes."""

    pixels: Float[np.ndarray, "N H W C"]
    labels: Int[np.ndarray, "N"]
    classes: tuple[str, ...]


class Stored(NamedTuple):
    """pixels (N, H, W, C) as bytes; labels (N,), indices into the names of the classes."""

    pixels: UInt8[np.ndarray, "N H W C"]
    labels: Int[np.ndarray, "N"]
    classes: tuple[str, ...]


@record
class Source:
    """Where the images of a run come from, as a part of its record.

    name: "digits" or a folder; size: height and width in pixels that all are resized to (None:
    their own); part: which of the images; digest: of the decoded images, so that a run is not taken
    for one on other images.
    """

    name: str = static(DIGITS)
    size: int | None = static(None)
    part: Part = static("all")
    digest: str = static("")


def digest(*parts: Images | Stored) -> str:
    """A text that changes with the pixels, labels or classes of some images."""
    summed = hashlib.sha256()
    for part in parts:
        summed.update(repr((part.pixels.shape, str(part.pixels.dtype), part.classes)).encode())
        summed.update(np.ascontiguousarray(part.pixels).data)
        summed.update(np.asarray(part.labels, np.int64).tobytes())
    return summed.hexdigest()[:16]


@functools.cache
def load(source: str, size: int | None = None, part: Part = "all") -> Images:
    """The images called `source`.

    Args: source: "digits" or a folder; size: of a folder's images, as in `folder`; part: all, or
    one of two parts that share no image: each class's first image, and every third one from there
    on, are for choosing settings, the others for judging them.
    Raises: BadInput.
    """
    if part == "all":
        return digits() if source == DIGITS else folder(Path(source), size)
    pixels, labels, classes = load(source, size)
    kept = (_place_in_class(labels) % CHOOSING == 0) == (part == "choosing")
    return Images(pixels[kept], labels[kept], classes)


def _place_in_class(labels: Int[np.ndarray, "N"]) -> Int[np.ndarray, "N"]:
    """How many images of the same class come before each image."""
    places = np.empty_like(labels)
    for name in np.unique(labels):
        places[labels == name] = np.arange(np.sum(labels == name))
    return places


def digits() -> Images:
    """The 1,797 handwritten digits of 8 x 8 pixels that come with scikit-learn.

    Source: Alpaydin and Kaynak 1998, UCI "Optical recognition of handwritten digits", its test
    part.
    Raises: BadInput if scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise BadInput(
            "--data digits is not allowed: it must be a folder unless scikit-learn is installed "
            "(pip install 'linsim[probe]')"
        ) from None
    held: Any = load_digits()
    return Images(
        held.images[..., None].astype(np.float32) / 16,
        held.target,
        tuple(map(str, held.target_names)),
    )


def folder(path: Path, size: int | None = None) -> Images:
    """The images of path/<class>/<file>, classes by name, grey if all are grey and else in colour.

    Args: path; size: height and width in pixels that all are resized to (default: their own, which
    must be the same).
    Returns: Images.
    Raises: BadInput (no such folder, fewer than two classes, an empty one, mixed sizes, an
    unreadable file).
    """
    files = _files(path)
    pixels, labels = _bytes(path, files, size)
    return Images(pixels.astype(np.float32) / 255, labels, tuple(files))


@functools.cache
def split(path: Path, size: int | None = None) -> tuple[Stored, Stored]:
    """The images of path/train/<class>/<file> and of path/test/<class>/<file>.

    They are decoded together: grey if all of both are. Args: as `folder`.
    Returns: training and test images.
    Raises: BadInput, as `folder`, and if one of the two is missing or they have different classes.
    """
    train, test = _both(path)
    classes = tuple(train)
    named = {
        f"{part}/{name}": files[name]
        for part, files in zip(SPLITS, (train, test), strict=True)
        for name in classes
    }
    pixels, labels = _bytes(path, named, size)
    training = labels < len(classes)
    first, second = (
        Stored(pixels[chosen], labels[chosen] % len(classes), classes)
        for chosen in (training, ~training)
    )
    return first, second


def _both(path: Path) -> list[dict[str, list[Path]]]:
    """Image files by class, of train/ and of test/."""
    for part in SPLITS:
        if not (path / part).is_dir():
            raise BadInput(
                f"--data {path} is not allowed: it must be a folder that holds train/ and test/, "
                f"and {part}/ is missing"
            )
    train, test = (_files(path / part) for part in SPLITS)
    for here, there, part, other in ((train, test, *SPLITS), (test, train, *SPLITS[::-1])):
        if missing := sorted(here.keys() - there.keys()):
            raise BadInput(
                f"--data {path} is not allowed: train/ and test/ must have the same classes, "
                f"and {missing[0]} is in {part}/, not in {other}/"
            )
    return [train, test]


def _bytes(
    path: Path, files: dict[str, list[Path]], size: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (N, H, W, C) as bytes, and labels: from the cache, or decoded and put there."""
    cache = cache_folder() / f"images-{_fingerprint(files, size)}.npz"
    try:
        with np.load(cache) as held:
            return held["pixels"], held["labels"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        pixels, labels = _decode(path, files, size)
    buffer = io.BytesIO()
    np.savez(buffer, pixels=pixels, labels=labels)
    with contextlib.suppress(
        OSError, CannotWrite
    ):  # without a cache the next command decodes again
        cache.parent.mkdir(parents=True, exist_ok=True)
        results.write(buffer.getbuffer(), cache)
    return pixels, labels


def _files(path: Path) -> dict[str, list[Path]]:
    """Image files by class."""
    if not path.is_dir():
        raise BadInput(
            f"--data {path} is not allowed: it must be 'digits' or a folder of images with one "
            "sub-folder per class"
        )
    files = {
        each.name: sorted(file for file in each.iterdir() if file.suffix.lower() in SUFFIXES)
        for each in sorted(path.iterdir())
        if each.is_dir() and not each.name.startswith(".")
    }
    if len(files) < 2:
        raise BadInput(
            f"--data {path} is not allowed: it must hold at least two sub-folders of images, one "
            f"per class, not {len(files)}"
        )
    for name, held in files.items():
        if not held:
            raise BadInput(
                f"--data {path} is not allowed: its class folder {path / name} must hold images, "
                "and holds none"
            )
    return files


def _fingerprint(files: dict[str, list[Path]], size: int | None) -> str:
    """A name that changes with the files' paths, lengths or times, or with the size."""
    listing = [
        (str(file.resolve()), (stat := file.stat()).st_size, stat.st_mtime_ns)
        for held in files.values()
        for file in held
    ]
    return hashlib.sha256(repr((size, listing)).encode()).hexdigest()[:16]


def _decode(
    path: Path, files: dict[str, list[Path]], size: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (N, H, W, C) as bytes, and labels."""
    paths = [file for held in files.values() for file in held]
    decoded = [_read(file) for file in paths]
    grey = all(image.mode == "L" for image in decoded)
    target = decoded[0].size if size is None else (size, size)
    arrays = []
    for file, image in zip(paths, decoded, strict=True):
        if size is None and image.size != target:
            raise BadInput(
                f"--data {path} is not allowed: its images must have one size, or --image-size be "
                f"given, and {paths[0]} has {target[0]} x {target[1]} pixels, {file} "
                f"{image.size[0]} x {image.size[1]}"
            )
        shown = image if grey else image.convert("RGB")
        arrays.append(
            np.asarray(
                shown if shown.size == target else shown.resize(target, Image.Resampling.BILINEAR)
            )
        )
    pixels = np.stack(arrays)
    return pixels[..., None] if grey else pixels, np.repeat(
        np.arange(len(files)), [len(held) for held in files.values()]
    )


def _read(file: Path) -> Image.Image:
    """One decoded image, grey or in colour."""
    try:
        with Image.open(file) as image:
            return image.convert("L" if image.mode in ("1", "L") else "RGB")
    except (
        UnidentifiedImageError,
        Image.DecompressionBombError,
        OSError,
        SyntaxError,
        ValueError,
    ) as error:
        raise BadInput(
            f"--data holds {file}, which must be an image and cannot be read ({error})"
        ) from None
