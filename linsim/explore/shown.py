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


def image(content: bytes | str, alt: str, kind: str = "svg+xml") -> str:
    """A picture as HTML that holds all of it."""
    held = base64.b64encode(content.encode() if isinstance(content, str) else content).decode()
    return f'<img src="data:image/{kind};base64,{held}" alt="{alt}" style="width: 100%">'


def beside(*images: str) -> mo.Html:
    """Pictures side by side, as many as there is room for."""
    return mo.Html(f'<div style="{COLUMNS}">{"".join(images)}</div>')


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
        image(figure.embeddings(setting, answer, record, play=play), "cloud of embeddings"),
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
