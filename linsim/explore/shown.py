"""What pages of the explorer show, as marimo has it: pictures side by side, and trouble in one
sentence.
"""

import base64
import contextlib
from collections.abc import Iterator

import marimo as mo
import xarray as xr

from linsim.config import BadInput, CannotGoOn
from linsim.explore import figure, theory
from linsim.explore.setting import Setting
from linsim.explore.theory import Answer

COLUMNS = (
    "display: grid; gap: 0.5rem; "
    "grid-template-columns: repeat(auto-fit, minmax(min(420px, 100%), 1fr))"
)


def image(svg: str, alt: str) -> str:
    """A picture as HTML that holds all of it."""
    return f'<img src="{_held(svg)}" alt="{alt}" style="width: 100%">'


def film(setting: Setting, answer: Answer, alt: str) -> str:
    """The cloud of embeddings in training; its end alone where less motion is asked for."""
    end = len(answer.times) - 1
    still = _held(figure.embeddings(setting, answer, end))
    moving = image(figure.embeddings(setting, answer, end, play=True), alt)
    source = f'<source media="(prefers-reduced-motion: reduce)" srcset="{still}">'
    return f"<picture>{source}{moving}</picture>"


def _held(svg: str) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def beside(*parts: str) -> mo.Html:
    """Pictures, and words as HTML, side by side, as many as there is room for."""
    columns = "".join(f"<div>{part}</div>" for part in parts)
    return mo.Html(f'<div style="{COLUMNS}">{columns}</div>')


def pictures(
    setting: Setting,
    answer: Answer,
    record: int,
    runs: xr.Dataset | None,
    *,
    play: bool = False,
) -> mo.Html:
    """The four pictures of a setting, and what is to be known of them."""
    ends = theory.ends(theory.at_any_noise(setting))
    four = beside(
        image(figure.in_time(answer, record, runs), "strengths in time"),
        film(setting, answer, "cloud of embeddings")
        if play
        else image(figure.embeddings(setting, answer, record), "cloud of embeddings"),
        image(figure.spectrum(setting, answer, runs), "weight spectrum"),
        image(figure.where(ends, setting), "where a noisy mode settles"),
    )
    return mo.vstack([four, mo.md(answer.remark)]) if answer.remark else four


@contextlib.contextmanager
def trouble() -> Iterator[None]:
    """What cannot be done is said in the page, in one sentence."""
    try:
        yield
    except (ArithmeticError, BadInput, CannotGoOn) as error:
        mo.output.replace(mo.callout(str(error), kind="danger"))
