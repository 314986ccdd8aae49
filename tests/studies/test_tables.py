"""What all tables share: columns, a legend below, the numbers as CSV, and how far a command is."""

import csv
import io
import sys
import time
from typing import Any

import constructed
import pytest
from constructed import Setting

from linsim.studies import NAMES, study, tabular
from linsim.studies.strong_aug import STUDY
from linsim.studies.study import Study
from linsim.studies.tabular import Column
from linsim.sweeps import progress

TINY = "--noise 1 --steps 20 --seeds 1 --dim 4 --noisy-dims 2 --batch-size 16 --dataset-size 64"
TABLED: dict[str, Any] = {
    name: getattr(constructed, name, constructed.two_layers) for name in NAMES
}


def test_columns_are_as_wide_as_what_they_hold():
    columns = [Column("name", "name", left=True), Column("value", "m", "{:.2f}".format)]
    rows = [{"name": "long name", "value": 1.0}, {"name": "b", "value": 100.0}]
    assert tabular.lines(columns, rows) == [
        "name            m",
        "long name    1.00",
        "b          100.00",
    ]


def test_csv_holds_every_name_once_and_leaves_empty_what_a_row_lacks():
    text = tabular.csv_of([{"a": 1, "b": 0.25}, {"a": 2, "c": "x, y"}])
    assert list(csv.reader(io.StringIO(text))) == [
        ["a", "b", "c"],
        ["1", "0.25", ""],
        ["2", "", "x, y"],
    ]


@pytest.mark.parametrize("name", NAMES)
def test_every_table_has_a_legend_and_its_numbers_in_rows(name):
    """All runs are in the rows, whatever the table shows; the verdict stays last."""
    dataset = TABLED[name](Setting(noises=2, dim=4, noisy_dims=2, records=20))
    lines = study(name).table(dataset).splitlines()
    assert sum(line.startswith("legend: ") for line in lines) == 1
    assert lines[-1].startswith("verdict")
    assert max(map(len, [line for line in lines if line.startswith("legend")])) <= tabular.WIDTH
    rows = study(name).rows(dataset)
    read = list(csv.DictReader(io.StringIO(tabular.csv_of(rows))))
    assert len(read) == len(rows) > 0
    for told, row in zip(read, rows, strict=True):
        for key, value in row.items():
            assert told[key] == ("" if value is None else str(value))
    if "seed" in rows[0]:
        assert {row["seed"] for row in rows} == {0, 1, 2}


def test_rows_are_what_the_table_rounds():
    dataset = constructed.two_layers(Setting(dim=3, noisy_dims=1, seeds=2, records=20))
    for name in ("alignment", "singular_values"):
        rows, table = study(name).rows(dataset), study(name).table(dataset)
        first = [row for row in rows if row["seed"] == 0]
        assert len(rows) == 2 * len(first) == 6
        assert all(f"{row['s1']:.3g}" in table for row in first)


def test_the_command_writes_csv_and_says_the_verdict_alone(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys.modules[Study.__module__], "configure_jax", lambda **_: None)
    STUDY.main([*TINY.split(), "--out", str(tmp_path), "--csv", "--quiet"], own_process=False)
    quiet, shown = capsys.readouterr()
    assert quiet.startswith("verdict: ")
    assert quiet.count("\n") == 1
    assert shown == ""
    rows = list(csv.DictReader((tmp_path / "strong_aug.csv").open()))
    assert {row["block"] for row in rows} == {"clean", "noisy"}
    STUDY.main([*TINY.split(), "--out", str(tmp_path)], own_process=False)
    loud = capsys.readouterr().out
    assert loud.splitlines()[-1] == quiet.strip()
    assert f"{float(rows[0]['m']):.4g}" in loud


# --- progress ---------------------------------------------------------------------------------


class Terminal(io.StringIO):
    """A stream that says it is a terminal, or not."""

    def __init__(self, is_one: bool) -> None:
        super().__init__()
        self.is_one = is_one

    def isatty(self) -> bool:
        return self.is_one


def test_where_there_is_no_terminal_a_line_is_written_now_and_then(monkeypatch):
    monkeypatch.setattr(sys, "stderr", stream := Terminal(False))
    monkeypatch.setattr(progress, "SECONDS", 0.01)
    with progress.progress(4, "runs", what="training ") as bar:
        time.sleep(0.03)
        bar.update(1)
        time.sleep(0.03)
        bar.update(2)
        time.sleep(0.03)
        bar.update(1)
    first, second = stream.getvalue().splitlines()
    assert first.startswith("training 1 of 4 runs, about ")
    assert first.endswith(" minutes left")
    assert second.startswith("training 3 of 4 runs, about ")


def test_short_commands_write_no_lines(monkeypatch):
    monkeypatch.setattr(sys, "stderr", stream := Terminal(False))
    with progress.progress(2, "runs") as bar:
        bar.update(2)
    assert stream.getvalue() == ""


def test_on_a_terminal_the_clock_runs_before_anything_is_done(monkeypatch):
    monkeypatch.setattr(sys, "stderr", stream := Terminal(True))
    with progress.progress(4, "runs", what="training "):
        time.sleep(1.3)
    shown = stream.getvalue().split("\r")
    assert any("training" in each and "0/4 runs [00:01" in each for each in shown)


def test_what_is_hidden_shows_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stderr", stream := Terminal(True))
    with progress.progress(4, "runs", hidden=True) as bar:
        bar.update(4)
    assert stream.getvalue() == ""
