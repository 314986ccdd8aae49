"""Tables: columns with a heading in plain words, what each shows, and what it means, which is told
in a legend below.
"""

import csv
import io
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

WIDTH = 100


class Column(NamedTuple):
    """One column: the name of its value in a row, its heading, and how the value is shown."""

    name: str
    heading: str
    shown: Callable[[Any], str] = str
    left: bool = False


def lines(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The headings, and a line for each row, in columns as wide as they need to be."""
    cells = [[column.heading for column in columns]]
    cells += [[column.shown(row[column.name]) for column in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(map(_padded, row, widths, columns)).rstrip() for row in cells]


def _padded(cell: str, width: int, column: Column) -> str:
    return cell.ljust(width) if column.left else cell.rjust(width)


def legend(text: str) -> list[str]:
    """What the columns mean, in lines of moderate length."""
    return textwrap.wrap(f"legend: {text}", WIDTH, break_long_words=False)


def csv_of(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows as comma-separated values, under the names of the columns; what a row lacks is empty."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()
