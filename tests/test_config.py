"""Settings are brought to their types and checked the moment they are set, wherever from."""

import dataclasses
from typing import Annotated, Literal

import jax.numpy as jnp
import numpy as np
import pytest

from linsim.config import Amplitude, BadInput, Checked, Count, Several, made, parsed, require


@dataclasses.dataclass(kw_only=True)
class Demo(Checked):
    """A demonstration."""

    noise: tuple[Amplitude, ...] = (1.0,)
    """Noise."""
    grid: tuple[int, int] = (2, 2)
    """Two numbers."""
    few: Annotated[tuple[Count, ...], Several(may_be_empty=True, may_repeat=True)] = ()
    """Maybe none."""
    views: Literal["one", "two"] = "one"
    """A choice."""
    seeds: Count = 1
    """How many."""
    chunk: Count | None = None
    """Maybe how many."""
    fast: bool = False
    """Yes or no."""

    def relations(self) -> None:
        """Seeds and the grid go together."""
        require(self.seeds <= self.grid[0], "seeds", self.seeds, f"at most {self.grid[0]}")


@pytest.mark.parametrize(
    ("given", "field", "expected"),
    [
        ({"noise": 2}, "noise", (2.0,)),
        ({"noise": [1, 2.5]}, "noise", (1.0, 2.5)),
        ({"noise": np.linspace(0, 1, 3)}, "noise", (0.0, 0.5, 1.0)),
        ({"noise": jnp.float32(0.5)}, "noise", (0.5,)),
        ({"noise": range(2)}, "noise", (0.0, 1.0)),
        ({"few": ()}, "few", ()),
        ({"few": [3, 3]}, "few", (3, 3)),
        ({"seeds": np.int64(2)}, "seeds", 2),
        ({"seeds": 2.0}, "seeds", 2),
        ({"chunk": None}, "chunk", None),
        ({"fast": np.True_}, "fast", True),
    ],
)
def test_numbers_lists_and_arrays_will_do(given, field, expected):
    value = getattr(made(Demo, given), field)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"noise": -1}, "--noise -1.0 is not allowed: it must be a finite number of at least 0"),
        ({"noise": float("nan")}, "--noise nan is not allowed"),
        ({"noise": [1, 1]}, "--noise 1.0 1.0 is not allowed: it must be given distinct values"),
        ({"noise": []}, "given at least one"),
        ({"noise": "much"}, "--noise much is not allowed: it must be a number"),
        ({"noise": [True]}, "--noise True is not allowed"),
        ({"grid": 3}, "2 values"),
        ({"few": [0]}, "--few 0 is not allowed"),
        ({"views": "three"}, "--views three is not allowed: it must be one of one, two"),
        ({"seeds": 1.5}, "--seeds 1.5 is not allowed: it must be a whole number"),
        ({"seeds": 3}, "--seeds 3 is not allowed: it must be at most 2"),
        ({"fast": 2}, "--fast 2 is not allowed: it must be True or False"),
        ({"nois": 1}, "setting nois is not known; did you mean noise?"),
    ],
)
def test_a_bad_value_is_one_sentence(given, message):
    with pytest.raises(BadInput) as found:
        made(Demo, given)
    assert message in str(found.value)
    assert "\n" not in str(found.value)


def test_a_value_that_is_set_later_is_checked_too():
    demo = Demo()
    with pytest.raises(BadInput):
        demo.noise = (-1.0,)
    assert demo.noise == (1.0,)
    with pytest.raises(BadInput):
        dataclasses.replace(demo, seeds=5)


def test_the_command_line_is_checked_by_the_same_rules():
    assert parsed(Demo, ["--noise", "1", "2", "--fast"], prog="demo") == Demo(
        noise=(1.0, 2.0), fast=True
    )
    with pytest.raises(BadInput, match=r"--noise -1\.0 is not allowed"):
        parsed(Demo, ["--noise", "-1"], prog="demo")
    with pytest.raises(BadInput, match=r"--nois.*did you mean --noise.*demo --help"):
        parsed(Demo, ["--nois", "1"], prog="demo")
