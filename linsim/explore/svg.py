"""Plots as SVG, drawn in a millisecond each: the explorer redraws four of them at every move, for
which matplotlib takes half a second. Axes, lines, dots and words; nothing else.
"""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex
from matplotlib.ticker import MaxNLocator

Values = np.ndarray
Numbers = np.ndarray | float | int
WIDTH, HEIGHT = 480, 340  # user units, of which text has 15
LEFT, RIGHT, TOP, BOTTOM = 66, 470, 34, 288
DECADES = 6  # at most so many of them have numbers
LEAST = 1e-3  # of a stretch, relative: browsers do not draw what is squeezed to nothing
STYLE = (
    "text{font:15px system-ui,sans-serif;fill:#222}.s{font-size:11px}.t{font-weight:600}"
    ".h{paint-order:stroke;stroke:#fff;stroke-width:5px;stroke-linejoin:round}"
    ".a{stroke:#444;fill:none}.g{stroke:#e6e6e6;fill:none}path{vector-effect:non-scaling-stroke}"
)


class Scale(NamedTuple):
    """An axis from low to high, linear or logarithmic; a linear one may fall."""

    low: float
    high: float
    logarithmic: bool = False

    def __call__(self, values: Numbers) -> Values:
        """Where values lie between low, 0, and high, 1; nan where they are not finite."""
        with np.errstate(divide="ignore", invalid="ignore"):
            low, high, at = (self._bent(each) for each in (self.low, self.high, values))
        return np.asarray(np.where(np.isfinite(at), (at - low) / (high - low), np.nan))

    def _bent(self, values: Numbers) -> Values:
        array = np.asarray(values, dtype=float)
        return np.asarray(np.log10(array)) if self.logarithmic else array

    def ticks(self) -> list[tuple[float, str]]:
        """Values, and how they are written in SVG."""
        if not self.logarithmic:
            low, high = sorted((self.low, self.high))
            found = MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low, high)
            inside = [float(v) for v in found if low <= v <= high]
            return [(v, f"{v:.10g}".replace("-", "−")) for v in inside]
        first, last = np.ceil(np.log10(self.low)), np.floor(np.log10(self.high))
        powers = np.arange(first, last + 1, max(1, np.ceil((last - first) / DECADES)))
        return [(10.0**p, _power(int(p))) for p in powers]


def _power(exponent: int) -> str:
    if exponent in (0, 1):
        return str(10**exponent)
    return f'10<tspan class="s" dy="-6">{str(exponent).replace("-", "−")}</tspan>'


class Plot:
    """One picture: axes with a title, to which lines, dots and words are added."""

    def __init__(self, x: Scale, y: Scale, xlabel: str, ylabel: str, title: str) -> None:
        self.x, self.y = x, y
        self._inside: list[str] = []
        self._style = STYLE
        self._around = [
            f'<path class="a" d="M{LEFT} {TOP}V{BOTTOM}H{RIGHT}"/>',
            f'<text class="t" x="{LEFT}" y="20">{escape(title)}</text>',
            f'<text x="{(LEFT + RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">'
            f"{escape(xlabel)}</text>",
            f'<text transform="translate(16 {(TOP + BOTTOM) / 2}) rotate(-90)" '
            f'text-anchor="middle">{escape(ylabel)}</text>',
        ]
        for value, words in x.ticks():
            at = self._across(value)
            self._around.append(f'<path class="a" d="M{at:.1f} {BOTTOM}v4"/>')
            self._around.append(_text(at, BOTTOM + 20, words, "middle"))
        for value, words in y.ticks():
            at = self._down(value)
            self._inside.append(f'<path class="g" d="M{LEFT} {at:.1f}H{RIGHT}"/>')
            self._around.append(_text(LEFT - 6, at + 5, words, "end"))

    def _across(self, values: Numbers) -> Values:
        return np.asarray(LEFT + (RIGHT - LEFT) * self.x(values))

    def _down(self, values: Numbers) -> Values:
        return np.asarray(BOTTOM - (BOTTOM - TOP) * self.y(values))

    def line(
        self, x: Values, y: Values, colour: str, width: float | int = 2, dash: str = ""
    ) -> None:
        """A line through points, broken where one is not finite."""
        words, broken = [], True
        for across, down in zip(self._across(x), self._down(y), strict=True):
            if np.isfinite(across) and np.isfinite(down):
                words.append(f"{'M' if broken else 'L'}{across:.1f} {down:.1f}")
            broken = not (np.isfinite(across) and np.isfinite(down))
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        self._inside.append(
            f'<path d="{"".join(words)}" fill="none" stroke="{colour}" '
            f'stroke-width="{width}"{dashes}/>'
        )

    def dots(
        self, x: Values, y: Values, colour: str, size: float | int = 4, opacity: float | int = 1
    ) -> None:
        """A dot at every point that is finite."""
        across, down = np.broadcast_arrays(self._across(x), self._down(y))
        known = np.isfinite(across) & np.isfinite(down)
        places = zip(across[known], down[known], strict=True)
        path = "".join(f"M{a:.1f} {d:.1f}h0" for a, d in places)
        self._inside.append(_dots(path, colour, size, opacity))

    def bars(self, x: Values, heights: Values, colours: Sequence[str]) -> None:
        """A bar from 0 to each height, on both sides of x, of 0.8 together."""
        for at, height, colour in zip(x, heights, colours, strict=True):
            if np.isfinite(height):
                self._box(at - 0.4, at + 0.4, 0.0, height, colour)

    def cells(self, matrix: Values) -> None:
        """A matrix of numbers from 0, dark, to 1, bright: entry (j, k) at x = k and y = j, from 1
        on.
        """
        colours = colormaps["cividis"](matrix)
        for j, k in np.ndindex(*matrix.shape):
            self._box(k + 0.5, k + 1.5, j + 0.5, j + 1.5, to_hex(tuple(colours[j, k])))

    def _box(self, left: Numbers, right: Numbers, low: Numbers, high: Numbers, fill: str) -> None:
        x = self._across(np.array([left, right], dtype=float))
        y = np.sort(self._down(np.array([low, high], dtype=float)))
        self._inside.append(
            f'<rect x="{x[0]:.1f}" y="{y[0]:.1f}" width="{x[1] - x[0]:.1f}" '
            f'height="{y[1] - y[0]:.1f}" fill="{fill}"/>'
        )

    def level(self, x: float | int, colour: str, width: float | int = 1) -> None:
        """A line from bottom to top."""
        d = f"M{self._across(x):.1f} {TOP}V{BOTTOM}"
        self._inside.append(f'<path d="{d}" stroke="{colour}" stroke-width="{width}"/>')

    def shade(self, low: float | int, high: float | int) -> None:
        """A grey ground from one x to another."""
        left, right = self._across(low), self._across(high)
        self._inside.insert(
            0,
            f'<rect x="{left:.1f}" y="{TOP}" width="{right - left:.1f}" height="{BOTTOM - TOP}" '
            'fill="#eee"/>',
        )

    def words(
        self, across: float | int, down: float | int, text: str, colour: str = "#222"
    ) -> None:
        """Words at parts of the width and height of the frame, to the right of where they begin, or
        to the left of it in the right half.
        """
        x, y = LEFT + across * (RIGHT - LEFT), TOP + down * (BOTTOM - TOP)
        anchor = "start" if across < 0.5 else "end"
        self._around.append(
            f'<text class="h" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" style="fill:{colour}">'
            f"{escape(text)}</text>"
        )

    def key(
        self, entries: Sequence[tuple[str, str]], across: float | int, down: float | int
    ) -> None:
        """Words below one another, each in its colour. Args: (words, colour); place as `words`."""
        for row, (text, colour) in enumerate(entries):
            self.words(across, down + 0.075 * row, text, colour)

    def moving(
        self,
        first: Values,
        second: Values,
        scales: Values,
        now: int,
        seconds: float | int,
        colour: str,
    ) -> None:
        """Dots joined to their partners, both (P, 2), stretched by scales (T, 2), of which `now` is
        shown; played through all of them in so many seconds, if these are not 0.
        """
        scales = np.maximum(scales, LEAST * scales.max())
        unit = np.array([self.x(1.0) - self.x(0.0), self.y(0.0) - self.y(1.0)])
        unit = unit * [RIGHT - LEFT, BOTTOM - TOP]
        a, b = first * unit, second * unit
        pairs = zip(a, b, strict=True)
        joined = "".join(f"M{p[0]:.1f} {p[1]:.1f}L{q[0]:.1f} {q[1]:.1f}" for p, q in pairs)
        points = "".join(f"M{p[0]:.1f} {p[1]:.1f}h0" for p in a)
        still = "transform:scale({:.5f},{:.5f})".format(*scales[now])
        frames = "".join(
            "{:.2f}%{{transform:scale({:.5f},{:.5f})}}".format(100 * k / (len(scales) - 1), *each)
            for k, each in enumerate(scales)
        )
        if seconds:
            self._style += f"@keyframes play{{{frames}}}.m{{animation:play {seconds}s linear both}}"
        origin = f"translate({self._across(0.0):.1f} {self._down(0.0):.1f})"
        self._inside.append(
            f'<g transform="{origin}"><g class="m" style="{still}"><path d="{joined}" '
            f'stroke="#bbb" fill="none"/>{_dots(points, colour, 4)}</g></g>'
        )

    def svg(self) -> str:
        """The picture."""
        frame = f'x="{LEFT}" y="{TOP}" width="{RIGHT - LEFT}" height="{BOTTOM - TOP}"'
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">'
            f'<style>{self._style}</style><clipPath id="f"><rect {frame}/></clipPath>'
            f'<g clip-path="url(#f)">{"".join(self._inside)}</g>{"".join(self._around)}</svg>'
        )


def _text(x: Numbers, y: Numbers, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{words}</text>'


def _dots(path: str, colour: str, size: float | int, opacity: float | int = 1) -> str:
    return (
        f'<path d="{path}" stroke="{colour}" stroke-width="{size}" stroke-linecap="round" '
        f'fill="none" stroke-opacity="{opacity}"/>'
    )
