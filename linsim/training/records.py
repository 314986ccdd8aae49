"""Typed values that compiled programs take as arguments: numbers that may vary are leaves,
everything else is static.

    >>> @record
    ... class Demo:
    ...     noise: Real = 1.0  # a leaf: values of it are stacked and mapped over
    ...     views: str = static("one")  # static: another value is another program
    >>> jax.tree.leaves(Demo(noise=2.0))
    [2.0]
    >>> described(Demo(views="two"))
    {'type': 'Demo', 'noise': 1.0, 'views': 'two'}
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar, dataclass_transform, overload

import jax
from jaxtyping import Float

from linsim.arrays import Array

Real = float | int | Float[Array, "..."]
T = TypeVar("T")


@overload
def static() -> Any: ...
@overload
def static(default: T) -> T: ...
def static(default: Any = dataclasses.MISSING) -> Any:
    """A field that does not vary inside one compiled program, with its default if it has one."""
    made: Any = dataclasses.field(default=default, metadata={"static": True})
    return made


@dataclass_transform(
    frozen_default=True, kw_only_default=True, field_specifiers=(dataclasses.field,)
)
def record(cls: type[T]) -> type[T]:
    """A frozen dataclass with keyword arguments that JAX knows as a tree of its fields."""
    return jax.tree_util.register_dataclass(dataclasses.dataclass(frozen=True, kw_only=True)(cls))


def described(value: Any) -> Any:
    """A record as plain JSON values, the same for equal records: what its results are kept under.

    Raises: TypeError for what has no plain value, such as an optimiser that was made from Python.
    """
    if dataclasses.is_dataclass(value):
        fields = {
            field.name: described(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
        return {"type": type(value).__name__, **fields}
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return [described(each) for each in value]
    if isinstance(value, Mapping):
        return {str(name): described(each) for name, each in value.items()}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{type(value).__name__} has no plain value")
