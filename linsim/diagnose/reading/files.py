"""Files that hold arrays by name. Nothing is ever unpickled, so no code in a file is ever run."""

import importlib.util
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from linsim.config import BadInput
from linsim.diagnose.reading.arrays import EIGHT_BITS, from_torch

Held = Mapping[str, Callable[[], Any]]
ALONE = ""  # the name of the one array of a file that does not name it


def held(path: Path, dtype: str) -> Held:
    """The arrays of a file by name, each read when it is called. Raises: BadInput, and what the
    libraries raise for damaged files.
    """
    match path.suffix.lower():
        case ".npy":
            return {ALONE: lambda: typed(np.load(path, mmap_mode="r", allow_pickle=False), dtype)}
        case ".npz":
            with np.load(path, allow_pickle=False) as archive:
                names = list(archive)
            return {name: _of_npz(path, name, dtype) for name in names}
        case ".safetensors":
            return _safetensors(path)
        case ".h5" | ".hdf5":
            return _hdf5(path)
        case ".mat":
            return _matlab(path)
        case _:
            return _torch(path)


def chosen(path: Path, arrays: Held, names: tuple[str, ...]) -> str:
    """The name of the one array that is asked for, or that is there. Raises: BadInput."""
    if len(names) == 1 and names[0] in arrays:
        return names[0]
    if len(arrays) == 1 and not names:
        return next(iter(arrays))
    if not names:
        given = f"{path} holds {len(arrays)} arrays"
    else:
        near = get_close_matches(names[0], arrays, n=3, cutoff=0.5)
        hint = f" (did you mean {' or '.join(near)}?)" if near else ""
        given = f"--names {' '.join(names)} is not allowed{hint}"
    listed = ", ".join(list(arrays)[:40]) + (", .." if len(arrays) > 40 else "")
    raise BadInput(f"{given}: --names must be one of those in {path}, {listed or 'which has none'}")


def typed(array: np.ndarray, dtype: str) -> np.ndarray:
    """NumPy writes types that it does not know as so many bytes: two are bfloat16, of one there are
    several. Raises: BadInput.
    """
    if array.dtype.kind != "V" or array.dtype.names:
        return array
    if array.dtype.itemsize == 2:
        return array.view(ml_dtypes.bfloat16)
    if dtype not in EIGHT_BITS:
        raise BadInput(
            f"values of {array.dtype.itemsize} bytes of a type that is not named need --dtype, one "
            f"of {', '.join(EIGHT_BITS)}"
        )
    return array.view(getattr(ml_dtypes, dtype))


def _of_npz(path: Path, name: str, dtype: str) -> Callable[[], np.ndarray]:
    def read() -> np.ndarray:
        with np.load(path, allow_pickle=False) as archive:
            return typed(archive[name], dtype)

    return read


def _safetensors(path: Path) -> Held:
    need(path, "safetensors", "diagnose")
    import safetensors

    with safetensors.safe_open(path, "np") as file:
        types = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118

    def read(name: str) -> np.ndarray:
        if types[name] not in ("F8_E4M3", "F8_E5M2"):
            with safetensors.safe_open(path, "np") as file:
                return file.get_tensor(name)
        raw = dict(safetensors.deserialize(path.read_bytes()))[name]  # which NumPy has no name for
        kind = ml_dtypes.float8_e4m3fn if types[name] == "F8_E4M3" else ml_dtypes.float8_e5m2
        return np.frombuffer(raw["data"], kind).reshape(raw["shape"])

    return {name: lambda name=name: read(name) for name in types}


def _hdf5(path: Path) -> Held:
    import h5py

    names: list[str] = []
    with h5py.File(path, "r", locking=False) as file:
        file.visititems(
            lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None
        )

    def read(name: str) -> Any:
        with h5py.File(path, "r", locking=False) as file:
            return file[name][()]  # type: ignore[index]

    return {name: lambda name=name: read(name) for name in names}


def _matlab(path: Path) -> Held:
    import scipy.io

    try:
        names = [name for name, _, _ in scipy.io.whosmat(path)]
    except NotImplementedError:  # version 7.3 is HDF5, with the axes in reverse
        return {name: lambda read=read: np.asarray(read()).T for name, read in _hdf5(path).items()}

    def read(name: str) -> Any:
        return scipy.io.loadmat(path, variable_names=[name])[name]

    return {name: lambda name=name: read(name) for name in names}


def _torch(path: Path) -> Held:
    if importlib.util.find_spec("torch") is None:
        raise BadInput(
            f"{path} is PyTorch's own format, which only PyTorch reads safely: install it, or "
            "there save z.detach().float().cpu().numpy() with numpy.save as a .npy file"
        )
    import torch  # type: ignore[import-not-found]

    tensors = _flat(torch.load(path, map_location="cpu", weights_only=True))
    return {name: lambda t=tensor: from_torch(t) for name, tensor in tensors.items()}


def _flat(value: Any, name: str = ALONE) -> dict[str, Any]:
    """The tensors of nested dictionaries and lists, their keys joined by dots."""
    if hasattr(value, "detach"):
        return {name: value}
    pairs = (
        value.items()
        if isinstance(value, Mapping)
        else enumerate(value)
        if isinstance(value, list | tuple)
        else ()
    )
    return {
        inner: tensor
        for key, each in pairs
        for inner, tensor in _flat(each, f"{name}.{key}".lstrip(".")).items()
    }


def need(path: Path, library: str, extra: str) -> None:
    """Raises: BadInput if a library that reads a format is not installed."""
    if importlib.util.find_spec(library) is None:
        raise BadInput(
            f"{path} is not allowed: without {library} (pip install 'linsim[{extra}]') it must be "
            "another format"
        )
