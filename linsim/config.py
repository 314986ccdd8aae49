"""What a person can ask for: fields that carry their own rules, and one clear sentence for a bad
value.

A class of settings is a dataclass below `Checked`. The rule of a field stands in its annotation,
and every value is brought to the field's type and checked the moment it is set, whether it comes
from the command line or from Python:

    >>> @dataclasses.dataclass(kw_only=True)
    ... class Demo(Checked):
    ...     noise: tuple[Amplitude, ...] = (1.0,)
    >>> Demo(noise=2).noise  # one number, a list or an array will do
    (2.0,)
    >>> Demo(noise=[1, -1])
    Traceback (most recent call last):
    linsim.config.BadInput: --noise -1.0 is not allowed: it must be a finite number of at least 0

Imports no numerical library, so that `--help` and a bad flag answer at once.
"""

import contextlib
import contextvars
import dataclasses
import difflib
import functools
import io
import math
import re
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Literal,
    NoReturn,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import tyro


class BadInput(ValueError):
    """A value that the user can mend; the message is one sentence: what, the value, what is
    allowed.
    """


class CannotGoOn(Exception):
    """A command has to stop before its end; the message is one sentence: what, where and why."""


class CannotWrite(CannotGoOn):
    """A result could not be written."""


class Rule:
    """What a value must satisfy, as a function and in words that follow "it must be"."""

    def __init__(self, allows: Callable[[Any], bool], wording: str) -> None:
        """Args: allows: value -> whether it is allowed; wording, as "a finite number above 0"."""
        self.allows, self.wording = allows, wording


class Several:
    """How many values a field of several values takes; without this note at least one, and all of
    them different.
    """

    def __init__(self, *, may_be_empty: bool = False, may_repeat: bool = False) -> None:
        """Args: may_be_empty: none is fine; may_repeat: the same value may be given twice."""
        self.may_be_empty, self.may_repeat = may_be_empty, may_repeat


def whole(low: int, high: int | None = None) -> Rule:
    """The rule of a whole number between two bounds, both included."""
    if high is None:
        return Rule(lambda value: value >= low, f"a whole number of at least {low}")
    return Rule(lambda value: low <= value <= high, f"a whole number from {low} to {high}")


Finite = Annotated[float, Rule(math.isfinite, "a finite number")]
Amplitude = Annotated[
    float, Rule(lambda v: math.isfinite(v) and v >= 0, "a finite number of at least 0")
]
Positive = Annotated[float, Rule(lambda v: math.isfinite(v) and v > 0, "a finite number above 0")]
Fraction = Annotated[float, Rule(lambda v: 0 < v < 1, "a number between 0 and 1")]
Count = Annotated[int, whole(1)]
Natural = Annotated[int, whole(0)]

Made = TypeVar("Made", bound="Checked")
_UNCHECKED = contextvars.ContextVar("unchecked", default=False)


@dataclasses.dataclass(kw_only=True)
class Checked:
    """A dataclass whose fields are brought to their type and held against their rules whenever they
    are set.
    """

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value if _UNCHECKED.get() else checked(type(self), name, value))

    def __post_init__(self) -> None:
        if not _UNCHECKED.get():
            self.relations()

    def relations(self) -> None:
        """Check the fields against one another. Raises: BadInput."""


def flag(field: str) -> str:
    """The command-line flag of a field: `init_scale` is `--init-scale`."""
    return "--" + field.replace("_", "-")


def require(ok: bool, field: str, value: object, allowed: str) -> None:
    """Raise BadInput, naming the flag, the value and what is allowed, unless `ok`."""
    if not ok:
        raise BadInput(f"{flag(field)} {value} is not allowed: it must be {allowed}")


def checked(settings: type[Checked], field: str, value: object) -> object:
    """A value as the field's type has it, or BadInput if it cannot be that or breaks the field's
    rules.
    """
    hints = _hints(settings)
    if field not in hints:
        near = difflib.get_close_matches(field, hints, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(hints)}"
        raise BadInput(f"setting {field} is not known; {hint}")
    return _fitted(field, hints[field], value)


def made(settings: type[Made], given: Mapping[str, object], start: Made | None = None) -> Made:
    """Settings made from keyword arguments, over those of `start` (default: the class's own).

    Raises: BadInput.
    """
    fitted: dict[str, Any] = {name: checked(settings, name, given[name]) for name in given}
    return settings(**fitted) if start is None else dataclasses.replace(start, **fitted)


@functools.cache
def _hints(settings: type[Checked]) -> dict[str, Any]:
    hints = get_type_hints(settings, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(settings)}


def _fitted(field: str, hint: Any, value: object) -> object:
    """A value brought to a type hint, the rules of its annotations checked."""
    hint, notes = _bare(hint)
    origin, inner = get_origin(hint), get_args(hint)
    if origin is tuple:
        result: Any = _fitted_tuple(field, inner, notes, value)
    elif origin in (Union, types.UnionType):
        result = (
            None
            if value is None
            else _fitted(field, next(each for each in inner if each is not type(None)), value)
        )
    elif origin is Literal:
        require(value in inner, field, value, f"one of {', '.join(map(str, inner))}")
        result = value
    else:
        result = _converted(field, hint, value)
    for rule in notes:
        if isinstance(rule, Rule) and result is not None:
            require(rule.allows(result), field, result, rule.wording)
    return result


def _bare(hint: Any) -> tuple[Any, tuple[object, ...]]:
    """A type hint without its annotations, and these."""
    if get_origin(hint) is Annotated:
        bare, *notes = get_args(hint)
        inner, more = _bare(bare)
        return inner, (*more, *notes)
    return hint, ()


def _fitted_tuple(
    field: str, inner: tuple[Any, ...], notes: tuple[object, ...], value: object
) -> tuple[object, ...]:
    """One value, or any iterable of values, as a tuple."""
    alone = (
        isinstance(value, str) or not isinstance(value, Iterable) or getattr(value, "ndim", 1) == 0
    )
    given = (value,) if alone else tuple(value)  # type: ignore[arg-type]
    if inner[-1] is not Ellipsis:
        require(len(given) == len(inner), field, _listed(given), f"{len(inner)} values")
        return tuple(_fitted(field, hint, each) for hint, each in zip(inner, given, strict=True))
    several = next((note for note in notes if isinstance(note, Several)), Several())
    require(len(given) > 0 or several.may_be_empty, field, "without a value", "given at least one")
    fitted = tuple(_fitted(field, inner[0], each) for each in given)
    require(
        several.may_repeat or len(set(fitted)) == len(fitted),
        field,
        _listed(fitted),
        "given distinct values",
    )
    return fitted


def _listed(values: tuple[object, ...]) -> str:
    return " ".join(map(str, values))


def _converted(field: str, kind: Any, value: object) -> object:
    """A single value as float, int, bool, Path or str; anything else is left as it is."""
    if kind is float and not isinstance(value, bool | str):
        with contextlib.suppress(TypeError, ValueError):
            return float(value)  # type: ignore[arg-type]
    elif kind is int and not isinstance(value, bool | str):
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            if int(value) == value:  # type: ignore[call-overload]
                return int(value)  # type: ignore[call-overload]
    elif kind is bool:
        if str(value) in ("True", "False"):
            return bool(value)
    elif kind is Path and isinstance(value, str | Path):
        return Path(value)
    elif kind not in (float, int, Path) and (kind is not str or isinstance(value, str)):
        return value
    names = {
        float: "a number",
        int: "a whole number",
        bool: "True or False",
        Path: "a path",
        str: "a text",
    }
    raise BadInput(f"{flag(field)} {value} is not allowed: it must be {names[kind]}")


@contextlib.contextmanager
def _unchecked() -> Iterator[None]:
    """Inside, settings are made as they come: the parser turns every ValueError into a box of its
    own.
    """
    token = _UNCHECKED.set(True)
    try:
        yield
    finally:
        _UNCHECKED.reset(token)


def parsed(
    settings: type[Made],
    argv: list[str],
    *,
    prog: str,
    description: str = "",
    default: Made | None = None,
) -> Made:
    """Settings from a command line.

    Args: settings, whose docstring is the help if there is no description; argv without the
    program; prog, the program's name in the help; default: what holds where nothing is given.
    Raises: BadInput.
    """
    keywords: dict[str, Any] = {} if default is None else {"default": default}
    config = (tyro.conf.FlagCreatePairsOff, tyro.conf.HelptextFromCommentsOff)
    said = io.StringIO()
    try:
        with _unchecked(), contextlib.redirect_stderr(said):
            read = tyro.cli(
                settings,
                args=argv,
                prog=prog,
                description=description or None,
                config=config,
                **keywords,
            )
    except SystemExit as ended:
        if ended.code:
            raise BadInput(_without_box(said.getvalue(), prog)) from None
        raise
    return dataclasses.replace(read)


def _without_box(text: str, prog: str) -> str:
    """What the parser says in a box, as one sentence."""
    lines = [line.strip("│ ") for line in text.splitlines() if not line.startswith(("╭", "╰"))]
    parts = re.split("─+", " ".join(lines))
    said = " ".join(parts[0].replace("Error parsing", "").split()).rstrip(".")
    meant = re.findall(r"(?<!\S)--[a-z0-9-]+", " ".join(parts[1:2]))
    hint = f" (did you mean {meant[0]}?)" if "Perhaps you meant" in text and meant else ""
    return f"{said}{hint}; {prog} --help names all flags"


def stop(message: str, code: int) -> NoReturn:
    """End the program with one sentence on standard error."""
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(code)


@contextlib.contextmanager
def one_sentence(on_failure: str = "{}") -> Iterator[None]:
    """Inside, BadInput ends the program with code 2 and CannotGoOn with code 1, each with its
    sentence and no traceback.

    Args: on_failure: what is told of a CannotGoOn; {} stands for its message.
    """
    try:
        yield
    except BadInput as error:
        stop(str(error), 2)
    except CannotGoOn as error:
        stop(on_failure.format(error), 1)
