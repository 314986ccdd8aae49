"""Theory on real pairs of views, held against training on the same pairs, direction by direction.

Digits of scikit-learn under noise of one view, noise of both, and crop with shift; with --data, a
folder of train/<class>/ and test/<class>/ images of 32 x 32 (CIFAR-10 in docs/views.md), under
noise of one view and under SimCLR's views, averaged over 4 x 4 pixels. On each, maps are trained on
the pairs and on two stand-ins: the same directions drawn from different rows, and Gaussian pairs of
the same second moments, and on fresh augmentations of the same images. Prints the numbers of
docs/views.md; about 20 minutes with --data.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from linsim.diagnose.views import moments, trained
from linsim.diagnose.views.result import Views
from linsim.diagnose.views.settings import Settings
from linsim.diagnose.views.strengths import THRESHOLD
from linsim.images import augment, folders
from linsim.sweeps.runtime import configure_jax

BATCH = 128
SEEDS = 3
FRESH_DIGITS, FRESH_PHOTOGRAPHS = 15, 2  # draws
SIDE = 8  # pixels of the averaged images
CHUNK = 1000
Pairs = tuple[np.ndarray, np.ndarray]


class Case(NamedTuple):
    """What the pairs are, and draws of them: pairs of views (N, ...) of the same N images. The
    first is given to the diagnosis, the others are for training on fresh augmentations.
    """

    name: str
    draws: list[Pairs]


def digits() -> Iterator[Case]:
    """The 1,797 digits of 8 x 8 pixels, values 0 to 1."""
    images = folders.digits().pixels.astype(float)
    rng = np.random.default_rng(0)

    def noisy(amplitude: float) -> np.ndarray:
        return images + amplitude * rng.standard_normal(images.shape)

    def moved(seed: int) -> np.ndarray:
        strength = augment.Strength(crop=0.75, shift=1)
        return np.asarray(augment.view(jax.random.key(seed), jnp.asarray(images), strength))

    draws = range(1 + FRESH_DIGITS)
    yield Case("digits, noise 0.3 on one view", [(images, noisy(0.3)) for _ in draws])
    yield Case("digits, noise 0.5 on both", [(noisy(0.5), noisy(0.5)) for _ in draws])
    yield Case("digits, crop and shift", [(moved(2 * i), moved(2 * i + 1)) for i in draws])


def photographs(data: Path) -> Iterator[Case]:
    """The training images of a folder, averaged to 8 x 8 pixels in colour, values 0 to 1."""
    pixels = folders.split(data)[0].pixels
    rng = np.random.default_rng(0)

    def seen(view, seed: int) -> np.ndarray:
        starts = range(0, len(pixels), CHUNK)
        keys = jax.random.split(jax.random.key(seed), len(starts))
        made = [
            view(key, jnp.asarray(pixels[start : start + CHUNK]) / 255.0)
            for key, start in zip(keys, starts, strict=True)
        ]
        return np.concatenate([np.asarray(each, dtype=float) for each in made])

    clean = seen(lambda _, images: averaged(images), 0)
    draws = range(1 + FRESH_PHOTOGRAPHS)

    def noisy() -> np.ndarray:
        return clean + 0.3 * rng.standard_normal(clean.shape)

    yield Case("photographs, noise 0.3 on one view", [(clean, noisy()) for _ in draws])

    @jax.jit
    def simclr(key, images):
        return averaged(augment.simclr_view(key, images, 0.2, 0.5))

    yield Case(
        "photographs, SimCLR", [(seen(simclr, 2 * i), seen(simclr, 2 * i + 1)) for i in draws]
    )


def averaged(images) -> jax.Array:
    """Images (N, H, W, C) averaged over blocks to SIDE x SIDE."""
    count, height, width, colours = images.shape
    blocks = images.reshape(count, SIDE, height // SIDE, SIDE, width // SIDE, colours)
    return blocks.mean(axis=(2, 4))


def told(case: Case) -> None:
    """One case: the verdict, and how training on each source compares with theory."""
    found = Views.of(*case.draws[0], Settings(batch_size=BATCH))
    given, *fresh = (roles(draw, found.anchors) for draw in case.draws)
    at = along(given, found)
    ratios, own = found.ratios, found.own_ratios
    print(f"\n{case.name}: {found.rows} pairs; {found.verdict}")
    print(f"  ratios on all rows from 2 on: {np.sum(ratios >= THRESHOLD)} of {len(ratios)}")
    print(f"  own ratios from 2 on: {np.sum(own >= THRESHOLD)}")
    print(f"  squared lengths, variance over the Gaussian one: {lengths(at, found.strengths)}")
    options = {"batch_size": BATCH, "seeds": SEEDS}
    for source in trained.SOURCES:
        maps = trained.trained(at, source=source, **options)
        lost = "own ratio", own >= THRESHOLD
        print(f"  {source:9} {compared(found, maps)}")
        if source == "pairs":
            print(
                f"            {judged(maps, 'theory', ratios >= THRESHOLD)}; {judged(maps, *lost)}"
            )
    maps = trained.trained(along([role for draw in fresh for role in draw], found), **options)
    decided = found.outcomes != "too close to tell"
    print(f"  fresh     {compared(found, maps)}")
    print(f"            {judged(maps, 'verdict', found.outcomes == 'lost', decided)}")


def roles(draw: Pairs, anchors: str) -> list[moments.Role]:
    """Anchors and augmentations of a draw, flattened."""
    first, second = (value.reshape(len(value), -1) for value in draw)
    return moments.roles(first, second, anchors)  # type: ignore[arg-type]


def along(taken: list[moments.Role], found: Views) -> trained.Coordinates:
    """The pairs in the coordinates of the directions."""
    return trained.Coordinates.of(taken, found.directions.vectors, found.ratios)


def judged(maps: trained.Trained, name: str, lost: np.ndarray, decided=True) -> str:
    """How many of the directions that are decided end otherwise than said."""
    wrong = np.sum(decided & ((maps.strengths < trained.LEAST) != lost))
    return f"{name} wrong in {wrong} of {np.sum(decided & np.ones_like(lost))} directions"


def lengths(at: trained.Coordinates, strengths: np.ndarray) -> str:
    """Variance of |W n|^2 and of |W (x_i - x_j)|^2 at the predicted map over that of independent
    Gaussian directions: of the pairs, and with every direction from another row.
    """
    m = np.where(np.isfinite(strengths), strengths, 0.0) / at.scale**2
    rng = np.random.default_rng(0)
    apart = at.x[0] - at.x[0][rng.permutation(at.x.shape[1])]
    texts = []
    for name, values in (("augmentation", at.n[0]), ("negatives", apart)):
        squares = m * np.square(values, dtype=float)
        gaussian = 2 * np.sum(squares.mean(axis=0) ** 2)
        bound, free = squares.sum(axis=1).var(), squares.var(axis=0).sum()
        texts.append(f"{name} {bound / gaussian:.2f} ({free / gaussian:.2f} without bonds)")
    return ", ".join(texts)


def compared(found: Views, maps: trained.Trained) -> str:
    """Dimensions kept, and strengths of directions with ratios below 2 on all rows against theory:
    median, 10th and 90th percentile of the deviation in per cent, of all and of the stronger half,
    and the median deviation in standard errors of the mean over seeds.
    """
    kept = (found.ratios < THRESHOLD) & np.isfinite(found.strengths)
    strong = kept & (found.strengths >= np.median(found.strengths[kept]))
    off = maps.strengths / np.where(kept, found.strengths, 1.0) - 1
    errors = (maps.strengths - found.strengths) / maps.errors
    return (
        f"keeps {maps.dimensions:5.1f} dimensions, mixing {maps.mixing:.2f}; strengths "
        f"{_spread(100 * off[kept])} %, stronger half {_spread(100 * off[strong])} %, "
        f"{np.median(np.abs(errors[strong])):.1f} standard errors"
    )


def _spread(values: np.ndarray) -> str:
    low, middle, high = np.percentile(values, (10, 50, 90))
    return f"{middle:+.1f} [{low:+.1f}, {high:+.1f}]"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with train/ and test/")
    data = parser.parse_args().data
    configure_jax()
    for case in digits():
        told(case)
    for case in photographs(data) if data else ():
        told(case)


if __name__ == "__main__":
    main()
