"""Files that hold columns. pandas reads them; which columns are embeddings, which holds labels and
which only counts or names the rows is found out by rules that are told, and that flags overrule.
"""

import dataclasses
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from linsim.config import BadInput
from linsim.diagnose.reading import layout
from linsim.diagnose.reading.choices import Choices
from linsim.diagnose.reading.files import need

# since version 3.1 pandas reads numbers to the last digit by itself
SINCE_THEN = tuple(map(int, pd.__version__.split(".")[:2])) >= (3, 1)
EXACT: dict[str, Any] = {} if SINCE_THEN else {"float_precision": "round_trip"}
LABELS = ("label", "labels", "class", "target")
COUNTERS = ("", "unnamed: 0", "index", "idx", "id", "row", "sample")


@dataclasses.dataclass(frozen=True)
class Table:
    """A table that was read."""

    array: np.ndarray
    labels: np.ndarray | None
    taken: tuple[str, ...]
    """What was taken for what, in words."""


def read(path: Path, choices: Choices) -> Table:
    """The embeddings of a table and their labels. Raises: BadInput, and what pandas raises."""
    if path.suffix == ".parquet":
        need(path, "pyarrow", "parquet")
        frame, taken = pd.read_parquet(path), []
    else:
        found = layout.find(path, choices)
        frame, taken = _text(path, found), [found.told]
    titles = [str(title) for title in frame.columns]
    frame.columns = pd.RangeIndex(len(titles))
    index = _index(frame, titles, choices)
    labels = _labels(frame, titles, choices, index)
    columns = _columns(path, frame, titles, choices, {index, labels})
    for role, column in (("index", index), ("labels", labels)):
        taken.append(f"{role}: {_called(titles, column)}")
    taken.append(f"embeddings: {_span(titles, columns)}")
    _no_gaps(path, frame, titles, columns + [k for k in (labels,) if k is not None])
    kept = None if labels is None else frame[labels].to_numpy()
    return Table(_numbers(frame[columns]), kept, tuple(taken))


def _text(path: Path, found: layout.Layout) -> pd.DataFrame:
    frame = pd.read_csv(
        path,
        header=None,
        names=list(range(found.width)),
        skiprows=found.skipped,
        sep=found.separator,
        decimal=found.decimal,
        encoding=found.encoding,
        skipinitialspace=True,
        skip_blank_lines=found.width > 1,  # a blank line of one column is a missing value
        low_memory=False,
        **EXACT,
    )
    if not isinstance(frame.index, pd.RangeIndex):
        raise BadInput(
            f"{path} has rows of more than {found.width} cells, and all rows must have as many as "
            "the first"
        )
    frame.columns = list(found.titles or map(str, range(found.width)))
    return frame


def _index(frame: pd.DataFrame, titles: list[str], choices: Choices) -> int | None:
    """The column that only counts or names rows: by its name, because it counts, or because it is
    text that never repeats.
    """
    if choices.index != "auto":
        return None if choices.index == "none" else _position(titles, choices.index, "index")
    if len(titles) < 2 or str(0) in choices.columns or titles[0] in choices.columns:
        return None
    values, title = frame[0], titles[0].lower()
    if title in COUNTERS[:2] or (len(values) > 2 and _counts(frame)):
        return 0
    names = values.is_unique and (title in COUNTERS or not _is_data(values))
    return 0 if names and len(values) > 2 else None


def _counts(frame: pd.DataFrame) -> bool:
    """Whether the first column counts the rows from 0 or 1, or holds different whole numbers beside
    columns that all hold fractions, as the index of a selection does.
    """
    whole = [pd.api.types.is_integer_dtype(kind) for kind in frame.dtypes]
    if not whole[0]:
        return False
    values = frame[0].to_numpy()
    counted = any(np.array_equal(values, np.arange(len(values)) + start) for start in (0, 1))
    return counted or (frame[0].is_unique and not any(whole[1:]))


def _labels(
    frame: pd.DataFrame, titles: list[str], choices: Choices, index: int | None
) -> int | None:
    """The column of labels: by its name, or because it is text."""
    if choices.labels:
        return _position(titles, choices.labels, "labels")
    columns = [
        k for k in range(len(titles)) if k != index and str(titles[k]) not in choices.columns
    ]
    texts = [k for k in columns if not _is_data(frame[k])]
    if len(texts) == 1 and all(isinstance(value, str) for value in frame[texts[0]].dropna()):
        return None if _mixed(frame[texts[0]]) else texts[0]
    named = [k for k in columns if titles[k].lower() in LABELS and not texts]
    if len(named) == 1 and pd.api.types.is_integer_dtype(frame[named[0]]) and len(columns) > 1:
        return named[0]
    return None


def _columns(
    path: Path,
    frame: pd.DataFrame,
    titles: list[str],
    choices: Choices,
    others: set[int | None],
) -> list[int]:
    """The columns of embeddings: those that are asked for, or all that are left. Raises: BadInput
    for text among them.
    """
    if choices.columns:
        columns = [k for word in choices.columns for k in _range(titles, word)]
    else:
        columns = [k for k in range(len(titles)) if k not in others]
    for k in columns:
        if not _is_data(frame[k]):
            row = int(np.argmax(np.isnan(_parsed(frame[k]))))
            raise BadInput(
                f"{path} holds {frame[k][row]!r} at row {row}, column {titles[k]} (rows from 0), "
                "and embeddings must be numbers (--columns, --labels and --index choose columns)"
            )
    if not columns:
        raise BadInput(f"{path} has no column of numbers, and must have at least one")
    return columns


def _is_data(column: Any) -> bool:
    """Numbers, or arrays of numbers as data sets keep embeddings."""
    if pd.api.types.is_numeric_dtype(column):
        return True
    return len(column) > 0 and isinstance(column.iloc[0], np.ndarray | list)


def _mixed(column: Any) -> bool:
    """Whether some of the texts are numbers: a column of numbers with a slip, not one of labels."""
    return not np.isnan(_parsed(column)).all()


def _parsed(column: Any) -> np.ndarray:
    """The numbers of a column, nan for what is none."""
    return np.asarray(pd.to_numeric(column, errors="coerce"), float)


def _numbers(frame: Any) -> np.ndarray:
    """The columns as a matrix, in their own type if they share one."""
    first = frame.iloc[0, 0] if len(frame) else None
    if isinstance(first, np.ndarray | list):
        return np.hstack([np.stack(list(map(np.asarray, frame[k]))) for k in frame.columns])
    kinds = frame.dtypes
    if kinds.nunique() > 1 or pd.api.types.is_extension_array_dtype(kinds.iloc[0]):
        return frame.to_numpy(dtype=float, na_value=np.nan)
    return frame.to_numpy()


def _no_gaps(path: Path, frame: pd.DataFrame, titles: list[str], columns: list[int]) -> None:
    for k in columns:
        gaps = frame[k].isna().to_numpy()
        if gaps.any():
            raise BadInput(
                f"{path} has no value at row {int(np.argmax(gaps))}, column {titles[k]} (rows from "
                "0), and must have one in every cell"
            )


def _range(titles: list[str], word: str) -> list[int]:
    """The columns of one word of --columns: a name, a number, or first:last with last left out."""
    start, colon, stop = word.partition(":")
    if word not in titles and colon and (start + stop).isdigit():
        return list(range(len(titles)))[int(start or 0) : int(stop) if stop else None]
    return [_position(titles, word, "columns")]


def _position(titles: Sequence[str], word: str, field: str) -> int:
    """A column by its name, or its number from 0. Raises: BadInput."""
    if word in titles:
        return list(titles).index(word)
    if word.isdigit() and int(word) < len(titles):
        return int(word)
    near = get_close_matches(word, titles, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {_span(titles)}"
    raise BadInput(f"--{field} {word} is not allowed: it must be a column's name or number; {hint}")


def _called(titles: Sequence[str], column: int | None) -> str:
    if column is None:
        return "none"
    return f"column {column} ({titles[column] or 'unnamed'})"


def _span(titles: Sequence[str], columns: Sequence[Any] | None = None) -> str:
    names = [titles[k] for k in (range(len(titles)) if columns is None else columns)]
    return (
        ", ".join(names) if len(names) < 5 else f"{len(names)} columns, {names[0]} to {names[-1]}"
    )
