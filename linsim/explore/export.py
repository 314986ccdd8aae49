"""The explorer as one HTML file that needs no Python: theory on a grid, for teaching."""

import itertools
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from linsim.explore.setting import Setting
from linsim.explore.theory import Answer, answer, cloud, ends
from linsim.studies.side_by_side import side_by_side
from linsim.studies.style import BLOCK_COLOURS
from linsim.training.names import Views

TEMPLATE = Path(__file__).with_name("export.html")
VIEWS: tuple[Views, ...] = ("one", "two")
DIGITS = 3  # of log10 of a strength
LOWEST = -12.0  # of the same


class Grid(NamedTuple):
    """The settings that a page can answer, for one noisy view and for two."""

    noise: tuple[float, ...] = tuple(round(0.1 * k, 1) for k in range(31))
    batch_size: tuple[int, ...] = (8, 32, 128, 512)
    init_scale: tuple[float, ...] = (0.01, 0.1, 1.0)


WHOLE = Grid()


def exported(grid: Grid = WHOLE) -> str:
    """The page, with the answers to every setting of the grid in it. The first shown is that of
    noise 2, batches of 128 and an initial singular value of 0.1, or what is nearest to it.
    """
    points = itertools.product(VIEWS, grid.batch_size, grid.init_scale, grid.noise)
    calls = [
        {"setting": Setting(views=v, batch_size=n, init_scale=s, noise=noise)}
        for v, n, s, noise in points
    ]
    answers = side_by_side(answer, calls)
    first, second = cloud(Setting(noise=1.0))
    content = {
        **grid._asdict(),
        "views": VIEWS,
        "times": np.round(answers[0].times, 4).tolist(),
        "strengths": [_logarithms(each) for each in answers],
        "collapsed": [each.collapsed for each in answers],
        "ends": {views: _ends(views) for views in VIEWS},
        "anchors": np.round(first, 3).tolist(),
        "steps": np.round(second - first, 3).tolist(),
        "colours": BLOCK_COLOURS,
    }
    text = json.dumps(content, separators=(",", ":"))
    return TEMPLATE.read_text().replace("/* CONTENT */ null", text)


def _logarithms(found: Answer) -> list[list[float]]:
    """log10 of the strengths of both blocks, (2, T)."""
    with np.errstate(divide="ignore"):
        logarithms = np.maximum(np.log10(found.strengths.T), LOWEST)
    return np.round(logarithms, DIGITS).tolist()


def _ends(views: Views) -> dict[str, list[float | None]]:
    found = ends(Setting(views=views))
    columns = {"noise": found.noise, "infinite": found.infinite, "finite": found.finite}
    return {name: np.round(values, 4).tolist() for name, values in columns.items()} | {
        "threshold": [found.threshold if np.isfinite(found.threshold) else None]
    }
