"""The array type of every signature: JAX or NumPy (jaxtyping adds dtype and shape)."""

from typing import TypeAlias

import jax
import numpy as np

Array: TypeAlias = jax.Array | np.ndarray
