"""`linsim diagnose`: the measures of collapse for one's own arrays, embeddings or two adjacent
weight matrices.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional

from linsim.config import BadInput, Checked, Several, parsed
from linsim.sweeps.runtime import configure_jax, prepare_folder

SUFFIXES = (".npy", ".npz", ".csv", ".safetensors")
MAYBE = Several(may_be_empty=True, may_repeat=True)


@dataclass(kw_only=True)
class Request(Checked):
    """Measure the collapse of one's own embeddings, or the alignment of two adjacent weight
    matrices.
    """

    file: Positional[Path | None] = None
    """Embeddings, one row a sample: .npy, .npz, .csv or .safetensors."""
    weights: Annotated[tuple[Path, ...], MAYBE] = ()
    """Instead: two adjacent layers' weight matrices, first layer first (h, d) and (n, h); or one
    file that holds both.
    """
    names: Annotated[tuple[str, ...], MAYBE] = ()
    """Names of the arrays inside .npz or .safetensors files, where they hold several."""
    out: Path = Path("results/diagnose")
    """Folder for the picture."""


def main(argv: list[str]) -> None:
    """Command line. Raises: BadInput."""
    if argv[:1] == ["views"]:
        from linsim.diagnose.views import command

        command.main(argv[1:])
        return
    request = parsed(Request, argv, prog="linsim diagnose")
    if (request.file is None) == (not request.weights):
        given = "neither" if request.file is None else "both"
        raise BadInput(
            f"diagnose needs either a FILE of embeddings or --weights W1 W2, and was given {given}"
        )
    if request.file is None:
        name, arrays = "weights", load_layers(request.weights, request.names)
    else:
        name, arrays = request.file.stem, (load(request.file, request.names),)
    prepare_folder(request.out)
    configure_jax()
    import jax

    with jax.enable_x64(True):
        _report(request.out / f"{name}.png", arrays)


def _report(path: Path, arrays: tuple[Any, ...]) -> None:
    """Draw and tell: one matrix of embeddings, or those of two layers."""
    from linsim.diagnose import figure, table
    from linsim.studies.style import rendered
    from linsim.sweeps import results

    if len(arrays) == 1:
        drawn, told = figure.embeddings(*arrays), table.embeddings(*arrays)
    else:
        drawn, told = figure.layers(*arrays), table.layers(*arrays)
    results.write(rendered(drawn, "png"), path)
    print(f"saved {path}\n\n{told}")


def load(path: Path, names: tuple[str, ...] = ()) -> Any:
    """The one matrix of a file, float64, two samples or more, not constant. Raises: BadInput."""
    matrix = _matrix(path, names)
    if len(matrix) < 2:
        raise BadInput(
            f"{path} holds one sample, and needs at least two: a spectrum of covariances cannot "
            "be told from one"
        )
    if (matrix == matrix[0]).all():
        raise BadInput(
            f"{path} holds {len(matrix)} equal rows, and needs rows that differ: there is no "
            "spectrum to measure"
        )
    return matrix


def load_layers(paths: tuple[Path, ...], names: tuple[str, ...]) -> tuple[Any, Any]:
    """Two adjacent layers' matrices (h, d) and (n, h), from two files, or by two names from one.
    Raises: BadInput.
    """
    if len(paths) == 1 and len(names) == 2:
        paths, chosen = (paths[0], paths[0]), [(name,) for name in names]
    elif len(paths) == 2:
        chosen = [(name,) for name in names] if len(names) == 2 else [names, names]
    else:
        given = " ".join(map(str, paths))
        raise BadInput(
            f"--weights {given} is not allowed: it must be two files, or one file with --names W1 "
            "W2"
        )
    first, second = (_matrix(path, which) for path, which in zip(paths, chosen, strict=True))
    if second.shape[1] != first.shape[0]:
        raise BadInput(
            f"--weights of shapes {first.shape} and {second.shape} are not allowed: the second's "
            "columns must be the first's rows"
        )
    return first, second


def _matrix(path: Path, names: tuple[str, ...]) -> Any:
    """A finite matrix of real numbers, float64."""
    import numpy as np

    if path.suffix not in SUFFIXES:
        raise BadInput(f"{path} is not allowed: it must be a file ending in {', '.join(SUFFIXES)}")
    try:
        array = np.asarray(_read(path, names))
    except BadInput:
        raise
    except Exception as error:  # each format has its own kinds of damage
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise BadInput(
            f"{path} cannot be read ({reason}); it must be a whole {path.suffix} file of numbers"
        ) from None
    if array.ndim != 2 or array.size == 0:
        raise BadInput(
            f"{path} holds an array of shape {array.shape}, and must hold a matrix, one row a "
            "sample"
        )
    if array.dtype.kind not in "fiub":
        raise BadInput(f"{path} holds values of type {array.dtype}, and must hold real numbers")
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        row, column = bad[0]
        raise BadInput(
            f"{path} holds {array[row, column]} at row {row}, column {column} (from 0), and all "
            "values must be finite"
        )
    return array.astype(np.float64)


def _read(path: Path, names: tuple[str, ...]) -> Any:
    """The array of a file; nothing is ever unpickled."""
    import numpy as np

    if path.suffix == ".csv":
        with open(path) as file:
            first = file.readline().split(",")
        return np.loadtxt(
            path, delimiter=",", skiprows=0 if all(map(_is_number, first)) else 1, ndmin=2
        )
    if path.suffix == ".npy":
        return np.load(path, allow_pickle=False)
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as held:
            return held[_chosen(path, names, list(held))]
    try:
        from safetensors.numpy import load_file
    except ImportError:
        raise BadInput(
            f"{path} is not allowed: without safetensors (pip install 'linsim[diagnose]') it must "
            "be another format"
        ) from None
    held = load_file(path)
    return held[_chosen(path, names, list(held))]


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _chosen(path: Path, names: tuple[str, ...], held: list[str]) -> str:
    wanted = names[0] if len(names) == 1 else held[0] if len(held) == 1 and not names else None
    if wanted not in held:
        given = (
            f"--names {' '.join(names)} is not allowed"
            if names
            else f"{path} holds {len(held)} arrays"
        )
        raise BadInput(
            f"{given}: --names must be one of those in {path}, "
            f"{', '.join(held) or 'which has none'}"
        )
    return wanted
