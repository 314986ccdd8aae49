"""Figures as they are printed, at settings that are hard on them: nothing overlaps, nothing is cut
off, nothing is empty without saying why; text can be read, and lines can be told apart.
"""

import functools
import io
import itertools
import re
import string
from typing import Any

import constructed
import numpy as np
import pytest
from colorspacious import cspace_convert, deltaE
from constructed import Setting
from matplotlib.axes import Axes
from matplotlib.collections import Collection
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image

from linsim.studies import NAMES, study, style

HOSTILE = {
    "as the gallery has it": Setting(),
    "one noise": Setting(noises=1),
    "twelve noises": Setting(noises=12),
    "one seed": Setting(seeds=1),
    "dim 1": Setting(dim=1, noisy_dims=1),
    "nothing noisy": Setting(noisy_dims=0),
    "all noisy": Setting(noisy_dims=16),
    "steps 10": Setting(records=5),
    "diverged": Setting(fate="diverged"),
    "complete collapse": Setting(fate="complete"),
}
QUICK = ("twelve noises", "diverged")  # the others take a minute
MAKERS = {name: getattr(constructed, name, constructed.two_layers) for name in NAMES}
SMALLEST, LARGEST = 7.0, 9.0  # points
APART = 10.0  # of two colours of one panel, CAM02-UCS, where nothing else tells them apart


def made(name: str, setting: Setting, **attrs: Any) -> Figure:
    """The figure of a study, not laid out yet."""
    return study(name).figure(MAKERS[name](setting, **attrs))


def drawn(name: str, setting: Setting, **attrs: Any) -> Figure:
    """The figure of a study, laid out as in its file."""
    figure = made(name, setting, **attrs)
    figure.draw_without_rendering()
    return figure


def panels(figure: Figure) -> list[Axes]:
    """All axes but the colour bars."""
    return [axis for axis in figure.axes if axis.get_label() != "<colorbar>"]


def shown_texts(figure: Figure) -> list[Text]:
    """All text that is seen: of ticks only those within the axis."""
    hidden: set[int] = set()
    for axis in itertools.chain.from_iterable((a.xaxis, a.yaxis) for a in figure.axes):
        low, high = sorted(axis.get_view_interval())
        for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
            if not (low <= tick.get_loc() <= high and tick.label1.get_visible()):
                hidden.add(id(tick.label1))
            hidden.add(id(tick.label2))
    found = figure.findobj(Text)
    return [t for t in found if t.get_text() and t.get_visible() and id(t) not in hidden]


def extent(artist: Any) -> Bbox:
    """Of an artist on the page, in points."""
    box = artist.get_window_extent()
    return Bbox(box.get_points() * 72 / artist.get_figure(root=True).dpi)


def overlap(first: Bbox, second: Bbox, allowed: float = 0.5) -> bool:
    """Whether two boxes have more than an edge in common, in points."""
    return bool(
        min(first.x1, second.x1) - max(first.x0, second.x0) > allowed
        and min(first.y1, second.y1) - max(first.y0, second.y0) > allowed
    )


def holds_something(axis: Axes) -> bool:
    """Whether there is a mark within the frame, a band, a map, or words that say why not."""
    frame = axis.get_window_extent()
    for line in axis.lines:
        at = line.get_transform().transform(line.get_xydata())
        at = at[np.isfinite(at).all(axis=1)]
        if line.get_marker() not in ("", "None", None) and np.any(
            (at >= np.array(frame.min) - 3).all(axis=1)
            & (at <= np.array(frame.max) + 3).all(axis=1)
        ):
            return True
    bands = [c for c in axis.collections if isinstance(c, Collection) and len(c.get_paths())]
    filled = any(
        np.isfinite(path.vertices).all(axis=1).any() for c in bands for path in c.get_paths()
    )
    return filled or bool(axis.images) or any(text.get_text() for text in axis.texts)


def problems(figure: Figure) -> list[str]:
    """Whatever a reader would stumble over."""
    page = Bbox.from_bounds(0, 0, *(72 * figure.get_size_inches()))
    texts, found = shown_texts(figure), []
    boxes = [(text, extent(text)) for text in texts]
    for text, box in boxes:
        inside = box.x0 >= -0.5 and box.y0 >= -0.5 and box.x1 <= page.x1 + 0.5
        if not (inside and box.y1 <= page.y1 + 0.5):
            found.append(f"cut off: {text.get_text()!r}")
        if not SMALLEST <= float(text.get_fontsize()) <= LARGEST:
            found.append(f"{text.get_fontsize()} points: {text.get_text()!r}")
    for (first, one), (second, other) in itertools.combinations(boxes, 2):
        if overlap(one, other):
            found.append(f"overlap: {first.get_text()!r}, {second.get_text()!r}")
    for legend in figure.findobj(Legend):
        box = extent(legend)
        found += ["a legend covers data" for axis in figure.axes if overlap(box, extent(axis))]
    letters = [re.match(r"\((\w)\) .", axis.get_title(loc="left")) for axis in panels(figure)]
    names = [letter.group(1) for letter in letters if letter]
    if sorted(names) != list(string.ascii_lowercase[: len(letters)]):
        found.append(f"panels are lettered {names}")
    for axis in panels(figure):
        if not holds_something(axis):
            found.append(f"empty: {axis.get_title(loc='left')!r}")
        labelled = axis.get_xlabel() or not any(
            t.label1.get_visible() for t in axis.xaxis.get_major_ticks()
        )
        if not labelled:
            found.append(f"no label on x: {axis.get_title(loc='left')!r}")
    return found


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "label",
    [each if each in QUICK else pytest.param(each, marks=pytest.mark.slow) for each in HOSTILE],
)
def test_nothing_overlaps_and_nothing_is_empty(name, label):
    assert problems(drawn(name, HOSTILE[label])) == []


@pytest.mark.parametrize("name", ["strong_aug", "alignment", "singular_values"])
def test_what_theory_does_not_cover_is_drawn_without_it(name):
    figure = drawn(name, Setting(), known=False, views="two", loss="dot", no_theory="unknown")
    assert problems(figure) == []
    told = {text.get_text() for text in shown_texts(figure)}
    assert not any("this batch size" in text or "own start" in text for text in told)
    assert not any("√2" in text for text in told)


def test_titles_state_what_the_data_say():
    """The same figure of other data has other titles."""

    def titles(**changed):
        figure = made("strong_aug", Setting(**changed))
        return [axis.get_title(loc="left").replace("\n", " ") for axis in panels(figure)]

    assert titles() == [
        "(a) At noise 1.55 the 8 noisy dimensions vanish",
        "(b) 8 of 16 dimensions have collapsed from noise 1.55 on",
        "(c) Noisy dimensions collapse above √2 only",
    ]
    assert titles(noisy_dims=4)[1] == "(b) 4 of 16 dimensions have collapsed from noise 1.55 on"
    assert titles(fate="complete")[2] == "(c) 16 collapsed below √2, 16 above"
    assert titles(noises=1)[2] == "(c) 8 collapsed: all noises lie above the threshold √2"


def test_the_check_sees_what_it_is_for():
    """A page with one fault of each kind."""
    with style.look():
        figure = style.figure(3.0, 2.0)
        left, right = figure.subplots(1, 2)
        left.plot([1, 2], [1, 2], "o", label="far too long to fit beside the data")
        left.set_title("(a) a title that is as wide as both panels together")
        right.set_title("(b) another one")
        right.set_xlabel("small", fontsize=6)
        left.legend(loc="center")
        figure.text(0.98, 0.5, "beyond the edge")
    figure.draw_without_rendering()
    told = "; ".join(problems(figure))
    for fault in (
        "cut off: 'beyond",
        "overlap: '(a)",
        "a legend covers",
        "6.0 points",
        "empty: '(b)",
    ):
        assert fault in told
    assert "no label on x: '(a)" in told


@functools.cache
def series() -> list[dict[str, str]]:
    """The colour and marker of the measured series of each panel without a colour bar, in all
    figures.
    """
    found = []
    for axis in (axis for name in NAMES for axis in panels(made(name, Setting(noises=6)))):
        shown = [line for line in axis.lines if line.get_marker() not in ("", "None", "|", "v")]
        pairs = {to_hex(line.get_color()): str(line.get_marker()) for line in shown}
        if 1 < len(pairs) <= style.KEYED:
            found.append(pairs)
    return found


VISIONS = {
    name: {"name": "sRGB1+CVD", "cvd_type": name, "severity": 100}
    for name in ("deuteranomaly", "protanomaly", "tritanomaly")
}


def as_seen(colour: str, vision: str) -> Any:
    """A colour as sRGB, as it looks to someone who cannot tell some colours apart."""
    if vision == "normal":
        return np.array(to_rgb(colour))
    return np.clip(cspace_convert(to_rgb(colour), VISIONS[vision], "sRGB1"), 0, 1)


def difference(first: str, second: str, vision: str) -> float:
    """Of two colours in CAM02-UCS, in which 1 is about what can just be seen; in grey of their
    lightness alone.
    """
    if vision == "grey":
        light = [cspace_convert(to_rgb(each), "sRGB1", "CAM02-UCS")[0] for each in (first, second)]
        return abs(light[0] - light[1])
    return float(deltaE(as_seen(first, vision), as_seen(second, vision), input_space="sRGB1"))


@pytest.mark.parametrize("vision", ["normal", *VISIONS])
def test_series_of_a_panel_are_told_apart_by_colour_whoever_looks(vision):
    assert len(series()) > 8
    pairs = [pair for each in series() for pair in itertools.combinations(each, 2)]
    smallest, pair = min((difference(*pair, vision), pair) for pair in pairs)
    print(f"smallest difference, {vision}: {smallest:.1f} between {' and '.join(pair)}")
    assert smallest > APART


def test_series_of_a_panel_are_told_apart_without_colour():
    """By their markers; those that have an order also by lightness, in this order."""
    for each in series():
        assert len(set(each.values())) == len(each), each
    colours = [to_hex(colour) for colour in style.Ordered(range(12), "value").colours]
    steps = [
        difference(colours[0], later, "grey") - difference(colours[0], earlier, "grey")
        for earlier, later in itertools.pairwise(colours)
    ]
    assert min(steps) > 2


@pytest.mark.parametrize("name", NAMES)
def test_files_are_fit_for_print(name):
    """Text of 7 to 9 points that stays text, no Type 3 fonts, 300 pixels to the inch."""
    figure = made(name, Setting())
    width, height = figure.get_size_inches()
    assert width in (style.COLUMN, style.PAGE)
    vectors = style.rendered(figure, "svg").decode()
    sizes = {float(size) for size in re.findall(r"font-size: ([\d.]+)px", vectors)}
    assert sizes
    assert min(sizes) >= SMALLEST
    assert max(sizes) <= LARGEST
    assert f'width="{72 * width:g}pt"' in vectors
    pdf = style.rendered(figure, "pdf")
    assert b"/Type0" in pdf
    assert b"/Type3" not in pdf
    png = style.rendered(figure, "png")
    assert len(png) < 300_000
    pixels = Image.open(io.BytesIO(png)).size
    assert pixels == pytest.approx((300 * width, 300 * height), abs=1)


def test_log_axes_say_powers_in_plain_text():
    told = [style.power(value) for value in (1e-12, 0.01, 0.5, 1.0, 20.0, 100.0, 1e3, 1e10)]
    assert told == ["10⁻¹²", "0.01", "0.5", "1", "20", "100", "10³", "10¹⁰"]


def test_titles_are_broken_at_the_width_of_the_panel():
    text = "(a) Noisy dimensions collapse above √2 only, and this goes on"
    broken = style.wrapped(text, 1.5, 7.5)
    assert broken.replace("\n", " ") == text
    assert len(broken.splitlines()) == 3
    assert style.wrapped(text, 10.0, 7.5) == text
