"""Labelled results, and files that are old or new but never half."""

import datetime
import os

import numpy as np
import pytest
import xarray as xr

from linsim.studies.strong_aug import PAPER
from linsim.sweeps import results


def test_saved_data_come_back_with_names_units_and_provenance(tmp_path):
    dataset = results.labelled_runs({"loss": np.ones((2, 3))}, ("seed",), {"seed": [0, 1]})
    dataset = dataset.assign_attrs(results.provenance(PAPER, datetime.datetime.now(datetime.UTC)))
    loaded = results.load(results.save(dataset, tmp_path / "a.nc"))
    xr.testing.assert_identical(loaded, dataset)
    assert loaded["loss"].dims == ("seed", "time")
    assert loaded["loss"].attrs["units"] == "1"
    names = (
        "config",
        "command",
        "git_commit",
        "versions",
        "device",
        "dtype",
        "started",
        "finished",
    )
    for name in names:
        assert loaded.attrs[name]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.nc"
    results.save(xr.Dataset({"x": 1}), path)
    before = path.read_bytes()
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(results.CannotWrite, match="disk full"):
        results.save(xr.Dataset({"x": 2}), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.nc"]


def test_of_several_files_none_is_renamed_before_all_are_written(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_bytes(b"old")
    second.touch()  # a file, where a folder is needed
    with pytest.raises(results.CannotWrite):
        results.write_all({first: b"new", second / "c": b"new"})
    assert first.read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]
