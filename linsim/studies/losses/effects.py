"""What one change does: of each loss the noisy modes' share of the clean ones' strength, from the
first value of every axis and with one axis at another value.
"""

from collections.abc import Sequence
from typing import Any

import xarray as xr

from linsim.studies import tabular
from linsim.studies.tabular import Column

LEGEND = (
    "effect on: noisy / clean at the end, at the first value of each axis, and with one of them "
    "changed; lost: some modes have collapsed; all lost: all have"
)
KINDS = {"dimensional": "lost", "complete": "all lost"}


def lines(dataset: xr.Dataset, rows: list[dict[str, Any]], every: Sequence[str]) -> list[str]:
    """The table, and where a run's kind of collapse is not the predicted one; nothing where at most
    one axis varies. Args: dataset of the study; rows of its table; all axes but the objectives.
    """
    axes = [axis for axis in every if dataset.sizes[axis] > 1]
    if len(axes) < 2:
        return []
    first = {axis: dataset[axis].values[0] for axis in every}

    def point(at: dict[str, Any]) -> tuple[Any, ...]:
        return at["objective"], *(at[axis] for axis in every)

    changes = [(axis, value) for axis in axes for value in dataset[axis].values[1:]]
    points = {"base": first}
    points |= {_named(axis, value): first | {axis: value} for axis, value in changes}
    by_point = {point(row): row for row in rows}
    shown = [
        {"loss": f"effect on {name}"}
        | {key: _told(by_point[point({"objective": name} | at)]) for key, at in points.items()}
        for name in dataset["objective"].values
    ]
    base = ", ".join(_named(axis, first[axis]) for axis in axes)
    columns = [Column("loss", "effect on", left=True), Column("base", base)]
    columns += [Column(key, key) for key in points if key != "base"]
    return [*tabular.lines(columns, shown), *tabular.legend(LEGEND), "", *_differing(rows, axes)]


def _differing(rows: list[dict[str, Any]], axes: list[str]) -> list[str]:
    return [
        f"differs: {row['objective']} at "
        + ", ".join(_named(axis, row[axis]) for axis in axes)
        + f": {row['kind']}, predicted {row['predicted']}"
        for row in rows
        if row["predicted"] is not None and row["kind"] != row["predicted"]
    ]


def _named(axis: str, value: Any) -> str:
    return f"{axis.replace('_', ' ')} {value:g}"


def _told(row: dict[str, Any]) -> str:
    return KINDS.get(row["kind"], f"{row['noisy_by_clean']:.2g}")
