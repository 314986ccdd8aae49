"""Runs that are kept, found again, damaged, or replaced."""

import dataclasses
import fcntl
import json
from typing import Any

import numpy as np
import pytest
import xarray as xr

from linsim.config import CannotGoOn
from linsim.sweeps import results
from linsim.sweeps.archive import Folder, InFolder, run_id
from linsim.sweeps.engine import Engine
from linsim.sweeps.sweep import Sweep
from linsim.training.records import Real, record, static

NOISE, SCALE = (0.5, 2.0), (0.1, 0.3, 1.0)


@record
class Toy:
    """A run that returns a sum of its numbers."""

    noise: Real = 0.0
    init_scale: Real = 0.0
    kind: str = static("a")


def simulate(run, key):
    return {"value": run.noise + 10 * run.init_scale}


def sweep_into(archive, noise: tuple[float, ...] = NOISE, chunk_size=2, **options: Any):
    """Sweep into an archive. Returns: Dataset, and how many runs had to be solved."""
    solved = []

    def finish(runs, measured):
        solved.append(len(set(zip(runs.noise, runs.init_scale, strict=True))))
        return measured

    sweep = Sweep(
        axes={"noise": noise, "init_scale": SCALE},
        make=lambda noise, init_scale: Toy(noise=noise, init_scale=init_scale),
        simulate=simulate,
        seeds=3,
        finish=finish,
        **options,
    )
    engine = Engine(chunk_size=chunk_size, archive=archive)
    missing = engine.missing(sweep)
    dataset = engine.run(sweep)
    assert dataset is not None
    assert engine.missing(sweep) == 0
    assert (missing == 0) == (solved == [])
    return dataset, missing


def test_runs_that_are_there_are_not_solved_again(tmp_path):
    first, solved = sweep_into(InFolder(tmp_path / "demo.runs"))
    assert solved == 18
    again, solved = sweep_into(InFolder(tmp_path / "demo.runs"))
    assert solved == 0
    xr.testing.assert_identical(first, again)
    expected = np.add.outer(NOISE, 10 * np.array(SCALE))
    np.testing.assert_allclose(first["value"].isel(seed=1), expected)


def test_one_more_value_trains_that_one(tmp_path):
    first, _ = sweep_into(InFolder(tmp_path / "demo.runs"))
    more, solved = sweep_into(InFolder(tmp_path / "demo.runs"), noise=(0.5, 1.0, 2.0))
    assert solved == 9
    xr.testing.assert_identical(more.sel(noise=[0.5, 2.0])["value"], first["value"])
    fewer, solved = sweep_into(InFolder(tmp_path / "demo.runs"), noise=(1.0,), chunk_size=100)
    assert solved == 0
    np.testing.assert_allclose(fewer["value"], more["value"].sel(noise=[1.0]))


def test_runs_of_another_seed_precision_or_purpose_are_other_runs(tmp_path):
    sweep_into(InFolder(tmp_path / "demo.runs"))
    others: tuple[dict[str, Any], ...] = ({"seed": 1}, {"kept": "something else"})
    for options in others:
        assert sweep_into(InFolder(tmp_path / "demo.runs"), **options)[1] == 18
    import jax

    with jax.enable_x64(False):
        assert sweep_into(InFolder(tmp_path / "demo.runs"))[1] == 18


def test_code_of_ones_own_is_a_part_of_a_runs_name(tmp_path):
    from linsim.sweeps import code

    own = tmp_path / "mine.py"
    own.write_text("def simulate(run, key):\n    return {}\n")
    space: dict = {}
    exec(compile(own.read_text(), str(own), "exec"), space)
    before = code.digest(space["simulate"])
    own.write_text(own.read_text() + "\n# changed\n")
    assert code.digest(space["simulate"]) != before
    assert code.digest() == code.digest()


def test_damaged_files_are_solved_again(tmp_path):
    folder = tmp_path / "demo.runs"
    first, _ = sweep_into(InFolder(folder))
    truncated, flipped, renamed, missing, unnamed = sorted(folder.glob("*.nc"))[:5]
    truncated.write_bytes(truncated.read_bytes()[:100])
    content = bytearray(flipped.read_bytes())
    content[len(content) // 2] ^= 1
    flipped.write_bytes(content)
    renamed.rename(renamed.with_name("0" * 16 + ".nc"))
    missing.unlink()
    unnamed.with_suffix(".ids").unlink()
    result = Folder(tmp_path, "demo", {})
    again, solved = sweep_into(result.archive)
    assert solved == 10
    xr.testing.assert_identical(first, again)


def test_a_result_answers_the_very_command_that_made_it_and_no_other(tmp_path):
    folder = Folder(tmp_path, "demo", {"steps": 20})
    assert folder.finished() is None
    dataset, _ = sweep_into(folder.archive)
    folder.finish(dataset, b"picture", "png")
    assert (tmp_path / "demo.png").read_bytes() == b"picture"
    assert Folder(tmp_path, "demo", {"steps": 20}).finished() is not None
    assert Folder(tmp_path, "demo", {"steps": 30}).finished() is None
    assert (tmp_path / "demo.nc").exists()


def test_a_result_is_read_without_a_lock(tmp_path):
    """Another reader that holds the file's lock, as h5py does by default, changes nothing."""
    folder = Folder(tmp_path, "demo", {"steps": 20})
    folder.finish(sweep_into(folder.archive)[0], b"picture", "png")
    with open(folder.path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(OSError, match="lock"):
            results.load(folder.path)
        assert Folder(tmp_path, "demo", {"steps": 20}).finished() is not None


def test_a_result_that_cannot_be_read_stops_the_command(tmp_path):
    (tmp_path / "demo.nc").write_bytes(b"not netCDF")
    with pytest.raises(CannotGoOn, match=r"demo.nc is there and cannot be read \(.*move it away"):
        Folder(tmp_path, "demo", {"steps": 20}).finished()
    assert (tmp_path / "demo.nc").read_bytes() == b"not netCDF"
    assert Folder(tmp_path, "demo", {"steps": 20}, overwrite=True).finished() is None


def test_overwriting_leaves_everything_until_the_new_result_is_complete(tmp_path):
    old = Folder(tmp_path, "demo", {})
    dataset, _ = sweep_into(old.archive)
    old.finish(dataset, b"old", "png")
    sweep_into(old.archive, noise=(7.0,))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    new = Folder(tmp_path, "demo", {}, overwrite=True)
    assert new.finished() is None
    again, solved = sweep_into(new.archive, chunk_size=3)
    assert solved == 18
    assert all(path.read_bytes() == content for path, content in before.items())
    new.finish(again, b"new", "png")
    assert (tmp_path / "demo.png").read_bytes() == b"new"
    assert not (tmp_path / "demo.runs.new").exists()
    kept = InFolder(tmp_path / "demo.runs")
    assert sweep_into(kept)[1] == 0
    assert sweep_into(kept, noise=(7.0,))[1] == 0
    assert len(list((tmp_path / "demo.runs").glob("*.nc"))) == 6 + 5  # new chunks of 3, others of 2


def test_leftovers_of_an_interrupted_overwrite_are_dropped_by_the_next(tmp_path):
    first = Folder(tmp_path, "demo", {}, overwrite=True)
    sweep_into(first.archive)
    assert sweep_into(first.archive)[1] == 0
    assert sweep_into(Folder(tmp_path, "demo", {}, overwrite=True).archive)[1] == 18


@pytest.mark.parametrize("field", ["noise", "init_scale", "kind"])
def test_every_field_is_a_part_of_the_name(field):
    from linsim.training.records import described

    run = Toy()
    other = dataclasses.replace(run, **{field: "b" if field == "kind" else 0.1})
    assert run_id(described(run)) == run_id(json.loads(json.dumps(described(run))))
    assert run_id(described(run)) != run_id(described(other))
