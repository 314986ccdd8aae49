"""What a person can say about how a file is to be read. Imports no numerical library."""

from dataclasses import dataclass
from typing import Literal

Header = Literal["auto", "yes", "no"]
Pool = Literal["none", "mean", "first", "each"]

TABLES = (".csv", ".tsv", ".txt", ".parquet")
ZIPPED = (".csv.gz", ".tsv.gz", ".txt.gz")
ARRAYS = (".npy", ".npz", ".safetensors", ".h5", ".hdf5", ".mat", ".pt", ".pth")
SUFFIXES = (*ARRAYS, *TABLES, *ZIPPED)


@dataclass(frozen=True)
class Choices:
    """How a file is to be read; by default everything is found out, and told."""

    names: tuple[str, ...] = ()
    """Which arrays of a file that holds several."""
    columns: tuple[str, ...] = ()
    """Which columns of a table are the embeddings."""
    labels: str = ""
    """Which column of a table, or array of the file, holds the labels."""
    index: str = "auto"
    """Which column of a table only counts or names rows; "none" if none does."""
    header: Header = "auto"
    """Whether a table's first line names its columns."""
    separator: str = "auto"
    """What stands between the columns of a table."""
    transpose: bool = False
    """Whether samples are columns."""
    pool: Pool = "none"
    """What becomes of the middle axes of (N, patches, d): their mean, their first, or each patch a
    sample of its own."""
    dtype: str = ""
    """What the bytes of a .npy file mean whose type NumPy does not know by name."""
