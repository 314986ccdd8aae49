"""The array type of every signature, JAX or NumPy, which of the two computes, and what is compiled
as a whole.
"""

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np

Array: TypeAlias = jax.Array | np.ndarray
Function = TypeVar("Function", bound=Callable[..., Any])


def jitted(function: Function) -> Function:
    """A formula that is compiled as one program, also where it is called by itself: operation by
    operation it would take as many programs as it has operations.

    It is `jax.jit`, of which type checkers forget the signature.
    """
    return cast("Function", jax.jit(function))


def namespace(*arrays: Array) -> Any:
    """The library that computes with these arrays: JAX if any of them is one of its own (or is
    being traced), else NumPy, which keeps float64 whatever JAX is set to.

    Args: arrays. Returns: `jax.numpy` or `numpy`.
    """
    return jnp if any(isinstance(array, jax.Array) for array in arrays) else np


def raised(array: Array) -> Array:
    """An array in a precision that measures can be computed in: float32 and float64 stay, half
    precision becomes float32, and whole numbers what is usual for them (float64 in NumPy).

    Args: array of real numbers. Returns: the same values.
    """
    if isinstance(array, jax.Array):
        return jnp.asarray(array, jnp.promote_types(array.dtype, jnp.float32))
    small = jnp.issubdtype(array.dtype, jnp.floating) and array.dtype.itemsize <= 4
    return np.asarray(array, np.float32 if small else np.float64)
