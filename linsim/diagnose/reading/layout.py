"""How a table in a text file is laid out, from its first lines: encoding, separator, decimal sign,
and whether the first line names the columns.
"""

import csv
import dataclasses
import gzip
import itertools
from pathlib import Path

from linsim.config import BadInput
from linsim.diagnose.reading.choices import Choices

LOOKED_AT = 30  # lines
SEPARATORS = {"tab": "\t", "space": r"\s+", "comma": ",", "semicolon": ";"}
MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
MISSING = ("", "na", "n/a", "nan", "null", "none", "<na>")


@dataclasses.dataclass(frozen=True)
class Layout:
    """What has to be known to read a table."""

    encoding: str
    separator: str
    decimal: str
    titles: tuple[str, ...] | None
    """The names of the columns; None if no line holds them."""
    width: int
    """The number of columns."""
    skipped: int
    """How many lines come before the first row."""
    told: str
    """What was taken for the header, in words."""


def find(path: Path, choices: Choices) -> Layout:
    """Look at the first lines. Raises: BadInput, OSError."""
    encoding = _encoding(path)
    numbered = [(k, line) for k, line in enumerate(_lines(path, encoding)) if line.strip()]
    comments = list(itertools.takewhile(lambda line: line[1].lstrip().startswith("#"), numbered))
    body = numbered[len(comments) :]
    if not body:
        raise BadInput(f"{path} holds no rows, and must hold a table of numbers")
    lines = [line for _, line in body]
    separator = SEPARATORS.get(choices.separator, choices.separator)
    if choices.separator == "auto":
        separator = _separator(lines)
    rows = [split(line, separator) for line in lines]
    decimal = "," if separator != "," and any(_decimal_comma(c) for c in rows[-1]) else "."
    first, rest = rows[0], rows[1:]
    if choices.header == "yes" or (choices.header == "auto" and _names(path, first, rest, decimal)):
        if rest and len(first) == len(rest[0]) - 1:  # as R writes the names of rows
            first = ["", *first]
        skipped = body[1][0] if rest else body[0][0] + 1
        shown = ", ".join(cell or "(empty)" for cell in first[:4])
        told = f"header: the first line ({shown}{', ..' if len(first) > 4 else ''})"
        return Layout(encoding, separator, decimal, tuple(first), len(first), skipped, told)
    return Layout(encoding, separator, decimal, None, len(first), body[0][0], "header: none")


def split(line: str, separator: str) -> list[str]:
    """The cells of a line."""
    if separator == SEPARATORS["space"]:
        return line.split()
    row = next(csv.reader([line], delimiter=separator, skipinitialspace=True))
    return [cell.strip() for cell in row]


def _encoding(path: Path) -> str:
    with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
        start = file.read(3)
    return next((name for mark, name in MARKS.items() if start.startswith(mark)), "utf-8")


def _lines(path: Path, encoding: str) -> list[str]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding=encoding) as file:
        return [line.rstrip("\r\n") for line in itertools.islice(file, LOOKED_AT)]


def _separator(lines: list[str]) -> str:
    """The sign that cuts every line into the same number of cells, two or more."""
    for sign in ("\t", ";", ",", SEPARATORS["space"]):
        found = [len(split(line, sign)) for line in lines]
        rest = found[1:] or found
        if min(rest) == max(rest) > 1 and found[0] in (rest[0], rest[0] - 1):
            return sign
    return max(("\t", ";", ","), key=lambda sign: sum(line.count(sign) for line in lines))


def _names(path: Path, first: list[str], rest: list[list[str]], decimal: str) -> bool:
    """Whether the first line names the columns. Raises: BadInput where nobody can tell."""
    if not rest:
        return False
    texts = [k for k, cell in enumerate(first) if not (_number(cell, decimal) or _missing(cell))]
    if len(first) == len(rest[0]) - 1:
        return bool(texts)
    if _counts(first, texts, rest, decimal):
        return True
    columns = [[row[k] for row in rest if k < len(row)] for k in range(len(first))]
    data = [k for k, cells in enumerate(columns) if all(_number(cell, decimal) for cell in cells)]
    named = [k for k in texts if k in data]
    if named and 2 * len(named) < len([k for k in data if not _missing(first[k])]):
        raise BadInput(
            f"{path} has {first[named[0]]!r} among the numbers of its first line: it must be all "
            "numbers, or names of columns (--header yes or no says which)"
        )
    return bool(named)


def _counts(first: list[str], texts: list[int], rest: list[list[str]], decimal: str) -> bool:
    """Whether the cells of a line that are not text only count columns: from 0 or 1, or three or
    more from any number. Above whole numbers it takes three from 0 or 1.
    """
    numbers = [k for k, cell in enumerate(first) if k not in texts and not _missing(cell)]
    if not numbers or not all(first[k].isdigit() for k in numbers):
        return False
    values = [int(first[k]) for k in numbers]
    below = [row[k] for row in rest for k in numbers if k < len(row)]
    whole = all(_number(c, decimal) and float(_point(c, decimal)).is_integer() for c in below)
    alone = len(numbers) == len(first)
    counting = values == list(range(values[0], values[0] + len(values)))
    if whole and alone:
        return counting and values[0] < 2 and len(values) > 2
    return counting and (values[0] < 2 or len(values) > 2)


def _number(cell: str, decimal: str) -> bool:
    try:
        float(_point(cell, decimal))
    except ValueError:
        return False
    return not _missing(cell)


def _point(cell: str, decimal: str) -> str:
    return cell.replace(",", ".") if decimal == "," else cell


def _missing(cell: str) -> bool:
    return cell.lower() in MISSING


def _decimal_comma(cell: str) -> bool:
    whole, comma, part = cell.lstrip("+-").partition(",")
    return bool(comma) and whole.isdigit() and part[:1].isdigit()
