"""`linsim diagnose`: the measures of collapse for one's own arrays, embeddings or two adjacent
weight matrices. Arguments are parsed before any numerical library is loaded.
"""

import importlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional

from linsim.config import BadInput, Checked, Several, parsed
from linsim.diagnose.reading.choices import SUFFIXES, Choices, Header, Pool
from linsim.sweeps.runtime import prepare_folder

MAYBE = Several(may_be_empty=True, may_repeat=True)
COLLAPSED = 3  # exit code, where it is asked for
SUBCOMMANDS: Mapping[str, str] = {"views": "linsim.diagnose.views.command"}  # with main(argv)


@dataclass(kw_only=True)
class Request(Checked):
    """Measure the collapse of one's own embeddings, or the alignment of two adjacent weight
    matrices. `linsim diagnose views X Y` is about pairs of views.
    """

    files: Positional[Annotated[tuple[Path, ...], MAYBE]] = ()
    """Embeddings, one row a sample: .npy, .npz, .csv, .tsv, .txt (also .gz), .parquet,
    .safetensors, .h5, .mat, .pt. Several files make one table and one picture over time.
    """
    weights: Annotated[tuple[Path, ...], MAYBE] = ()
    """Instead: two adjacent layers' weights, first layer first (h, d) and (n, h), convolutions
    (h, in, height, width) too; or one file that holds both.
    """
    names: Annotated[tuple[str, ...], MAYBE] = ()
    """Names of the arrays inside a file that holds several. Several names of embeddings make one
    table over time."""
    positives: Path | None = None
    """The other view of each sample, for alignment and LiDAR."""
    labels: str = ""
    """The column of a table, or the array in the file, that holds labels: each class is judged on
    its own."""
    columns: Annotated[tuple[str, ...], MAYBE] = ()
    """The columns of a table that are embeddings, by name, number from 0, or FIRST:LAST."""
    index: str = "auto"
    """The column of a table that only counts or names rows; none if there is none."""
    header: Header = "auto"
    """Whether the first line of a table names its columns."""
    separator: str = "auto"
    """What separates the columns of a table: comma, semicolon, tab, space, or any sign."""
    pool: Pool = "none"
    """Of (N, patches, d): take the mean over patches, the first, or each as a sample."""
    transpose: bool = False
    """Samples are columns; of weights, both are stored as inputs x outputs."""
    dtype: str = ""
    """What one-byte values in a .npy file are, such as float8_e4m3fn."""
    json: bool = False
    """Print everything as JSON instead of a table."""
    csv: bool = False
    """Print the measures as CSV, a line to a file, instead of a table."""
    fail_on_collapse: bool = False
    """End with exit code 3 if any of the embeddings have collapsed."""
    out: Path = Path("results/diagnose")
    """Folder for the picture."""

    def choices(self) -> Choices:
        """How files are to be read."""
        return Choices(**{name: getattr(self, name) for name in Choices.__dataclass_fields__})


def main(argv: list[str]) -> None:
    """Command line. Raises: BadInput."""
    if argv and argv[0] in SUBCOMMANDS:
        importlib.import_module(SUBCOMMANDS[argv[0]]).main(argv[1:])
        return
    request = parsed(Request, argv, prog="linsim diagnose")
    _check(request)
    if request.weights:
        _weights(request)
    else:
        _embeddings(request)


def _check(request: Request) -> None:
    if bool(request.files) == bool(request.weights):
        given = "both" if request.files else "neither"
        raise BadInput(
            "diagnose needs either FILES of embeddings or --weights W1 W2, and was given "
            f"{given}; a file ends in {', '.join(SUFFIXES)}"
        )
    if request.json and request.csv:
        raise BadInput("--json and --csv are not allowed together: choose one")
    if request.weights and request.csv:
        raise BadInput("--csv is not allowed with --weights: choose --json or the table")


def _weights(request: Request) -> None:
    from linsim.diagnose import layers
    from linsim.diagnose.reading import load

    report = layers.of_matrices(*load.layers(request.weights, request.choices()))
    told = json.dumps(report.to_dict(), indent=1) if request.json else report.table()
    _publish(request, "weights", report.figure(), told)


def _embeddings(request: Request) -> None:
    from linsim.diagnose import figure, table

    reports = [_report(request, path, names) for path, names in _sources(request)]
    if request.json:
        told = json.dumps([report.to_dict() for report in reports], indent=1)
    elif request.csv:
        told = _csv(reports)
    else:
        told = reports[0].table() if len(reports) == 1 else table.series(reports)
    alone = len(reports) == 1
    drawn = reports[0].figure() if alone else figure.series(reports)
    _publish(request, reports[0].name if alone else "series", drawn, told)
    if request.fail_on_collapse and any(report.verdict.collapse for report in reports):
        raise SystemExit(COLLAPSED)


def _sources(request: Request) -> list[tuple[Path, tuple[str, ...]]]:
    """Each file, or each name of the one file."""
    if len(request.files) == 1 and len(request.names) > 1:
        return [(request.files[0], (name,)) for name in request.names]
    return [(path, request.names) for path in request.files]


def _report(request: Request, path: Path, names: tuple[str, ...]) -> Any:
    from linsim.diagnose.reading import load
    from linsim.diagnose.report import embeddings

    choices = replace(request.choices(), names=names)
    found = load.embeddings(path, choices)
    positives = None
    if request.positives is not None:
        positives = load.embeddings(request.positives, replace(choices, labels="")).array
    name = _name(request, path, names)
    return embeddings(found.array, positives, found.labels, name=name, taken=found.taken)


def _name(request: Request, path: Path, names: tuple[str, ...]) -> str:
    """What tells these embeddings from the others: the array, the file, or the file and its
    folder.
    """
    if len(request.files) == 1 and len(request.names) > 1:
        return names[0]
    stems = [each.stem for each in request.files]
    return path.stem if len(set(stems)) == len(stems) else str(path.with_suffix(""))


def _csv(reports: list[Any]) -> str:
    """The measures, a line to a report; what is not defined is left empty."""
    from linsim.studies.tabular import csv_of

    return csv_of([_row(each) for each in reports]).rstrip("\n")


def _row(report: Any) -> dict[str, Any]:
    told = {
        "name": report.name,
        "samples": report.count,
        "dimensions": report.width,
        "verdict": report.verdict.kind,
        "collapsed": report.verdict.collapsed,
    }
    return told | {
        name: "" if math.isnan(value) else value for name, value in report.values.items()
    }


def _publish(request: Request, name: str, drawn: Any, told: str) -> None:
    """Write the picture, and tell; where a program reads along, nothing but what it reads."""
    from linsim.studies.style import rendered
    from linsim.sweeps import results

    prepare_folder(request.out)
    path = request.out / f"{name}.png"
    results.write(rendered(drawn, "png"), path)
    print(told if request.json or request.csv else f"saved {path}\n\n{told}")
