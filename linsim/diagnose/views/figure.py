"""The picture of `linsim diagnose views`: ratios and threshold, settled strengths, and what the
directions look like if the rows are images.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from linsim.diagnose.views.settings import COLOURS
from linsim.diagnose.views.strengths import THRESHOLD
from linsim.studies.style import BLOCK_COLOURS, figure, look

if TYPE_CHECKING:
    from linsim.diagnose.views.result import Views

ACROSS = 8  # images in a row
RANGE = 1e-3, 1e3  # of ratios drawn
SMALLEST = 1e-3  # strength drawn; weaker ones lie on the axis
BAND: dict[str, Any] = {"color": BLOCK_COLOURS[0], "alpha": 0.2, "linewidth": 0}
OWN: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 3, "color": BLOCK_COLOURS[1]}
MAP: dict[str, Any] = {"linestyle": "", "marker": "^", "markersize": 3.5, "color": BLOCK_COLOURS[1]}


def drawn(found: "Views") -> Figure:
    """Ratios, strengths and, for images, the worst and the safest directions."""
    images = bool(found.settings.image_shape)
    with look():
        canvas = figure(7.2, 5.2 if images else 3.2)
        if images:
            upper, lower = canvas.subfigures(2, 1, height_ratios=(3, 2), squeeze=False).flat
            _patterns(lower, found)
        else:
            upper = canvas
        left, right = upper.subplots(1, 2)
        _ratios(left, found)
        _strengths(right, found)
    return canvas


def _ratios(axis: Axes, found: "Views") -> None:
    rank = np.arange(1, len(found.ratios) + 1)
    low, high = (np.clip(bound, *RANGE) for bound in found.unseen_interval)
    axis.fill_between(rank, low, high, label="95 %, unseen rows", **BAND)
    axis.plot(
        rank, np.clip(found.ratios, *RANGE), color=BLOCK_COLOURS[0], label="all rows", marker=""
    )
    axis.plot(rank, np.clip(found.own.ratios, *RANGE), label="own, at the predicted map", **OWN)
    axis.axhline(THRESHOLD, color="0.3", linestyle="--", linewidth=1.0, label="lost from here on")
    axis.set(
        yscale="log",
        xlabel="direction, most noise first",
        ylabel="noise / data variance",
        title="(a) generalised eigenvalues",
    )
    axis.legend()


def _strengths(axis: Axes, found: "Views") -> None:
    rank = np.arange(1, len(found.ratios) + 1)
    bounded = np.isfinite(found.strengths)
    trained = None if found.trained is None else found.trained.strengths
    largest = np.max(found.strengths[bounded], initial=1.0)
    for bound in (found.strength_interval[1][np.isfinite(found.strength_interval[1])], trained):
        largest = max(largest, float(np.max(bound, initial=0.0))) if bound is not None else largest
    limits = SMALLEST, 3 * largest
    axis.fill_between(
        rank,
        *(np.clip(b, *limits) for b in found.strength_interval),
        label="95 %, unseen rows",
        **BAND,
    )
    shown = np.clip(np.where(bounded, found.strengths, np.inf), *limits)
    axis.plot(rank, shown, color=BLOCK_COLOURS[0], label="theory, all rows", marker="")
    if trained is not None:
        axis.plot(rank, np.clip(trained, *limits), label="trained on these pairs", **MAP)
    axis.set(
        yscale="log",
        ylim=(0.8 * SMALLEST, limits[1]),
        xlabel="direction, most noise first",
        ylabel="strength m (kept of unit variance)",
        title=f"(b) settled, batches of {found.settings.batch_size}",
    )
    axis.legend()


def _patterns(canvas: Any, found: "Views") -> None:
    """How the data look along the worst and the safest directions."""
    patterns, count = found.patterns, len(found.ratios)
    across = min(ACROSS, count)
    axes = canvas.subplots(2, across, squeeze=False)
    rows = (range(across), range(count - across, count))
    for line, chosen, name in zip(axes, rows, ("most noise", "least noise"), strict=True):
        for axis, k in zip(line, chosen, strict=True):
            axis.imshow(*_image(patterns[:, k], found.settings.image_shape), **_MAP)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
            axis.set_title(f"{k + 1}: r {found.ratios[k]:.2g}", fontsize=7)
        line[0].set_ylabel(name, fontsize=7)
    canvas.suptitle("(c) how the data look along directions (Σv, sign arbitrary)", fontsize=8)


_MAP: dict[str, Any] = {"cmap": "cividis", "vmin": 0.0, "vmax": 1.0}


def _image(values: Float[np.ndarray, "d"], shape: tuple[int, ...]) -> tuple[np.ndarray]:
    """One pattern as an image, 0 at grey one half."""
    image = values.reshape(shape)
    if len(shape) == 3 and shape[2] not in COLOURS:
        image = np.moveaxis(image, 0, -1)
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[..., 0]
    largest = np.max(np.abs(image))
    return (0.5 + 0.5 * image / (largest if largest > 0 else 1.0),)
