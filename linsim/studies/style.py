"""What all figures share: one look, marks and line styles. Nothing of matplotlib's own state is
changed.

Colour follows the sweep (cividis, dark to light, with one marker each so that no figure needs
colour). Measured values are markers, or thin lines where there are many; the theory of any batch
size is a solid line with its spread over runs as a band; the limit of infinite batches is dotted
and grey where it is shown for comparison.
"""

import io
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib import style
from matplotlib.colors import Colormap
from matplotlib.figure import Figure

LOOK = Path(__file__).with_name("linsim.mplstyle")
MARKERS = "osD^vP*X<>"
BLOCK_COLOURS = ("#00204d", "#b3a24a")
THEORY: dict[str, Any] = {"linestyle": "-", "linewidth": 1.3, "marker": ""}
SPREAD: dict[str, Any] = {"alpha": 0.25, "linewidth": 0}
POPULATION: dict[str, Any] = {"linestyle": "--", "linewidth": 1.0, "marker": ""}
LIMIT: dict[str, Any] = {"color": "0.55", "linestyle": ":", "linewidth": 1.2, "marker": ""}


class StyledFigure(Figure):
    """A figure that is made, drawn and saved in linsim's look, whatever matplotlib is set to. Needs
    no backend.
    """

    def draw(self, renderer: Any) -> None:
        """See matplotlib."""
        with look():
            super().draw(renderer)

    def savefig(self, *args: Any, **kwargs: Any) -> None:
        """See matplotlib."""
        with look():
            super().savefig(*args, **kwargs)


def look() -> AbstractContextManager[None]:
    """A context in which matplotlib draws in linsim's look."""
    return style.context(LOOK)


def figure(width: float, height: float) -> StyledFigure:
    """An empty figure of this size in inches; to be filled inside `look`."""
    return StyledFigure(figsize=(width, height), layout="constrained")


def cividis() -> Colormap:
    """The colour map of every sweep, legible without colour."""
    return matplotlib.colormaps["cividis"]


def rendered(figure: Figure, suffix: str) -> bytes:
    """A figure as the bytes of a png, pdf or svg file.

    The layout is made here, once: matplotlib would make it, and draw, twice.
    """
    buffer, layout = io.BytesIO(), figure.get_layout_engine()
    if layout is not None:
        with look():
            layout.execute(figure)
        figure.set_layout_engine(None)
    figure.savefig(buffer, format=suffix, metadata={"Date": None} if suffix == "svg" else {})
    return buffer.getvalue()


def floor(values: np.ndarray) -> float:
    """Lower end of a log axis: a decade below the smallest value that single precision resolves."""
    largest = float(np.nanmax(values))
    resolved = values[values > 1e-7 * largest]
    return max(0.3 * float(resolved.min()), 1e-7 * largest) if len(resolved) else 1e-7
