"""Arrays of other libraries as NumPy's, without importing those libraries."""

import sys
from typing import Any

import ml_dtypes
import numpy as np

EIGHT_BITS = ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz")


def to_numpy(given: Any) -> np.ndarray:
    """An array of NumPy, JAX or PyTorch, a data frame, or nested lists, in the type it has.

    Args: given. Returns: the same values; an array in a file stays there.
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(given, torch.Tensor):
        return from_torch(given)
    return given if isinstance(given, np.ndarray) else np.asarray(given)


def from_torch(tensor: Any) -> np.ndarray:
    """A tensor, wherever it lies and whatever needs its gradient."""
    tensor = tensor.detach().cpu()
    name = str(tensor.dtype).removeprefix("torch.")
    if name == "bfloat16":
        return tensor.contiguous().view(sys.modules["torch"].int16).numpy().view(ml_dtypes.bfloat16)
    if name in EIGHT_BITS:
        raw = tensor.contiguous().view(sys.modules["torch"].uint8).numpy()
        return raw.view(getattr(ml_dtypes, name))
    return tensor.numpy()


def is_real(dtype: np.dtype) -> bool:
    """Whether a type holds real numbers, those of ml_dtypes among them."""
    if dtype.kind in "fiub":
        return True
    try:
        ml_dtypes.finfo(dtype)
    except (TypeError, ValueError):
        return False
    return dtype.kind != "c"
