"""What all figures share: one look for print, and one language of colours, marks and lines. Nothing
of matplotlib's own state is changed.

Figures are drawn at the size at which they are read: `COLUMN` or `PAGE` inches wide, with text of 7
to 7.5 points. What a mark means is the same everywhere:

- clean coordinates are blue and noisy ones orange (`CLEAN`, `NOISY`);
- values that have an order (noise, layers, modes, labels) run through one map from dark to light
  (`Ordered`), each with its own marker, so that no figure needs colour;
- measured values are markers, the exact theory is a thin black line (`THEORY`), with the spread of
  single runs or seeds as a band (`SPREAD`); infinite batches are dotted and grey (`LIMIT`), bounds
  and approximations dashed (`BOUND`), cut-offs dash-dotted (`CUTOFF`) and thresholds of the
  noise solid (`THRESHOLD`), both red.

A figure is filled inside `look`: `figure`, then for each panel `headline` and `decades`, and at the
end one `key` for all panels, which stands outside of them and so covers no data.
"""

import functools
import io
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, Colormap, ListedColormap
from matplotlib.figure import Figure, SubFigure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.textpath import text_to_path
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, NullLocator
from PIL import Image

LOOK = Path(__file__).with_name("linsim.mplstyle")
COLUMN, PAGE = 3.25, 6.75  # inches: the width of one column of a paper, and of two
DIVERGED = "training has diverged: no finite values"
KEYED = 6  # lines that a legend holds at most; a colour bar takes more
MARKERS = "osD^P*X<>h"
CLEAN, NOISY = "#1b5e9e", "#e08214"
BLOCK_COLOURS = (CLEAN, NOISY)
INK = "0.15"  # of what has no colour of its own
THEORY: dict[str, Any] = {"color": "black", "linestyle": "-", "linewidth": 0.8, "marker": ""}
LIMIT: dict[str, Any] = {"color": "0.5", "linestyle": ":", "linewidth": 1.1, "marker": ""}
BOUND: dict[str, Any] = {"color": "0.35", "linestyle": "--", "linewidth": 0.8, "marker": ""}
CUTOFF: dict[str, Any] = {"color": "#a01448", "linestyle": "-.", "linewidth": 0.8, "marker": ""}
THRESHOLD: dict[str, Any] = CUTOFF | {"linestyle": "-"}
SPREAD: dict[str, Any] = {"alpha": 0.28, "linewidth": 0}
MEASURED: dict[str, Any] = {"linestyle": "", "markeredgewidth": 0}
HOLLOW: dict[str, Any] = {"linestyle": "", "fillstyle": "none", "markeredgewidth": 0.6}
HALO = [withStroke(linewidth=2.2, foreground="white")]  # of lines and words over a map
DPI = 300
COLOURS = 256  # of a png, whose file is a third as large as with all colours


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
    """An empty figure of this size in inches, which is the size in print; to be filled inside
    `look`.
    """
    return StyledFigure(figsize=(width, height), layout="constrained")


def sequential() -> Colormap:
    """The colour map of everything that has an order, dark to light, legible without colour."""
    return ListedColormap(matplotlib.colormaps["viridis"](np.linspace(0.0, 0.9, 256)))


class Ordered:
    """Values that have an order, such as noises or modes: a colour and a marker for each.

    values: as they are shown; name: what they are; words: of each, for the key (default: the
    number).
    """

    def __init__(self, values: Iterable[Any], name: str, words: Sequence[str] = ()) -> None:
        self.values = list(values)
        self.name = name
        self.words = list(words) or [f"{value:.3g}" for value in self.values]
        count = len(self.values)
        self.colours = [tuple(sequential()(f)) for f in np.linspace(0.0, 1.0, max(count, 2))]
        self.colours = self.colours[:count]
        self.markers = [MARKERS[index % len(MARKERS)] for index in range(count)]

    def __iter__(self) -> Any:
        """(value, colour, marker) of each."""
        return iter(zip(self.values, self.colours, self.markers, strict=True))

    def key(self, drawn: Figure, axes: Any) -> None:
        """Say which colour is which, right of these axes: in a legend, or if there are many values
        on a colour bar.
        """
        if len(self.values) <= KEYED:
            drawn.legend(handles=self.handles(), title=self.name, loc="outside right upper")
            return
        count = len(self.values)
        norm = BoundaryNorm(np.arange(-0.5, count), count)
        shades = ScalarMappable(norm=norm, cmap=ListedColormap(self.colours))
        bar = drawn.colorbar(shades, ax=axes, label=self.name, pad=0.015, aspect=30)
        every = -(-count // 8)
        bar.set_ticks(range(0, count, every), labels=self.words[::every])
        bar.ax.minorticks_off()

    def handles(self) -> list[Line2D]:
        """A marker in a legend for each."""
        return [
            Line2D([], [], color=colour, marker=marker, label=words, **MEASURED)
            for words, colour, marker in zip(self.words, self.colours, self.markers, strict=True)
        ]


def named(look_of: dict[str, Any], text: str, **changed: Any) -> Line2D:
    """A line or a marker of this look in a legend."""
    shown: dict[str, Any] = {"color": INK} | look_of | changed
    return Line2D([], [], label=text, **shown)


def measured(text: str, marker: str = "o", **changed: Any) -> Line2D:
    """A marker in a legend."""
    return named(MEASURED | {"marker": marker}, text, **changed)


def band(text: str, colour: Any = INK) -> Patch:
    """A band in a legend."""
    return Patch(color=colour, label=text, **SPREAD)


def key(drawn: Figure | SubFigure, handles: Sequence[Any]) -> None:
    """One legend for all panels, below them, in as many columns as fit side by side."""
    widths = [_points(str(handle.get_label()), 7.0) + 32 for handle in handles]
    room = 72 * drawn.bbox.width / drawn.dpi
    fitting = [count for count in range(1, len(handles) + 1) if _width(widths, count) < room]
    columns = max(fitting, default=1)
    drawn.legend(handles=handles, loc="outside lower center", ncols=columns)


def _width(widths: Sequence[float], columns: int) -> float:
    """Of a legend whose entries are this wide and fill one column after another."""
    rows, longer = divmod(len(widths), columns)
    sizes = [rows + 1] * longer + [rows] * (columns - longer)
    ends = np.cumsum(sizes)
    return sum(max(widths[end - size : end]) for size, end in zip(sizes, ends, strict=True))


def headline(axis: Axes, letter: str, text: str, width: float) -> None:
    """The panel's title, with its letter, in lines that are this many inches wide at most."""
    axis.set_title(wrapped(f"({letter}) {text}", width, matplotlib.rcParams["axes.titlesize"]))


def wrapped(text: str, width: float, size: float) -> str:
    """Words in lines of so many inches at most, in this size in points."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and _points(longer, size) > 72 * width:
            lines.append(word)
        else:
            lines[-1] = longer
    return "\n".join(lines)


@functools.cache
def _points(text: str, size: float) -> float:
    """The width of a line of text in points."""
    font = FontProperties(family="DejaVu Sans", size=size)
    return text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]


def decades(axis: Axes, which: str, low: float, high: float) -> None:
    """A log scale from low to high, with its ticks in plain text: 0.01, 0.1, 1, 10, 10³."""
    of_scale = axis.xaxis if which == "x" else axis.yaxis
    axis.set(**{f"{which}scale": "log", f"{which}lim": (low, high)})
    if high / low < 30:
        of_scale.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=8))
    elif high / low < 3e3:
        of_scale.set_minor_locator(LogLocator(subs=range(2, 10), numticks=100))
    else:
        of_scale.set_minor_locator(NullLocator())
    of_scale.set_major_formatter(lambda value, _: power(value))
    of_scale.set_minor_formatter(NullFormatter())


def power(value: float) -> str:
    """A number in plain text, powers of ten far from 1 with raised digits: 0.01, 20, 10⁻⁴."""
    exponent = np.log10(value) if value > 0 else 0.0
    if abs(exponent) <= 2.5 or exponent != round(exponent):
        return f"{value:g}"
    raised = str(round(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{raised}"


def ranks(axis: Axes, count: int, label: str = "rank") -> None:
    """An axis of whole numbers from 1 to count."""
    axis.set(xlabel=label, xlim=(0.4, count + 0.6))
    whole_ticks(axis.xaxis)


def whole_ticks(axis: Axis) -> None:
    """A few ticks at whole numbers."""
    axis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 4, 5, 10], min_n_ticks=1))


def note(axis: Axes, text: str, width: float = 1.5, height: float = 0.5) -> None:
    """Say in a panel, at this height of it, why there is nothing in it."""
    place: dict[str, Any] = {"transform": axis.transAxes, "ha": "center", "va": "center"}
    lines = wrapped(text, width, matplotlib.rcParams["font.size"])
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5}
    axis.text(0.5, height, lines, color=INK, bbox=box, zorder=5, **place)


def note_if_none(axis: Axes, values: np.ndarray, text: str) -> None:
    """Say why there is nothing in a panel, if none of its values is a finite number."""
    if not np.isfinite(np.asarray(values, float)).any():
        note(axis, text)


def below(axis: Axes, at: Any, colour: Any) -> None:
    """Mark at the lower edge what lies below the frame."""
    at = np.asarray(at)
    if not at.size:
        return  # whose extent would be infinite
    edge: dict[str, Any] = {"transform": axis.get_xaxis_transform(), "clip_on": False, "zorder": 4}
    axis.plot(at, np.full(at.shape, 0.012), "v", color=colour, markersize=3.5, **edge)


def rendered(figure: Figure, suffix: str) -> bytes:
    """A figure as the bytes of a png, pdf or svg file.

    The layout is made here, once: matplotlib would make it, and draw, twice. A png has a palette.
    """
    layout = figure.get_layout_engine()
    if layout is not None:
        with look():
            layout.execute(figure)
        figure.set_layout_engine("none")
    buffer = io.BytesIO()
    if suffix == "png":
        quantised(figure).save(buffer, "png", dpi=(DPI, DPI))
    else:
        figure.savefig(buffer, format=suffix, metadata={"Date": None} if suffix == "svg" else {})
    return buffer.getvalue()


def quantised(figure: Figure, dpi: int = DPI, colours: int = COLOURS) -> Image.Image:
    """The figure's pixels, so many to the inch, in as few colours as they need."""
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    return pixels.quantize(colours, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)


def floor(values: np.ndarray, resolution: float = 1e-7) -> float:
    """Lower end of a log axis: below the smallest value that is resolved; of what is nowhere a
    positive number 1e-7. Args: values; resolution, relative to the largest (default: that of single
    precision).
    """
    known = values[np.isfinite(values) & (values > 0)]
    if not known.size:
        return 1e-7
    lowest = resolution * float(known.max())
    return max(0.3 * float(known[known > lowest].min()), lowest)


def ceiling(values: np.ndarray) -> float:
    """Upper end of a log axis: above all values; 1 if there are none."""
    known = values[np.isfinite(values) & (values > 0)]
    return 3 * float(known.max()) if known.size else 1.0
