"""The array type of every signature: JAX or NumPy (jaxtyping adds dtype and shape)."""

import jax
import numpy as np

Array = jax.Array | np.ndarray
