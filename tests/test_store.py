"""Chunks, merged files, and folders that hold something else."""

import dataclasses
import json

import numpy as np
import pytest
import xarray as xr
from test_sweep import AXES, CONFIG

from linsim import cluster, config, store
from linsim.sweep import Engine


def simulate(key, *, noise, init_scale):
    return {"value": noise + 10 * init_scale}


def sweep_into(folder, **changes):
    """Sweep into a folder. Returns: Dataset, and the number of chunks that had to be solved."""
    solved = []
    settings = dataclasses.replace(CONFIG, out=folder, **changes)
    engine = Engine(chunk_size=2, store=store.Store(settings, "demo"))
    dataset = engine.run(simulate, AXES, seed=0, seeds=3, finish=lambda values, measured: solved.append(1) or measured)
    return dataset, len(solved)


def chunk_files(folder):
    return sorted((folder / "demo.chunks").glob("*.nc"))


def test_finished_chunks_are_not_solved_again(tmp_path):
    first, solved = sweep_into(tmp_path)
    assert solved == 9
    again, solved = sweep_into(tmp_path)
    assert solved == 0
    xr.testing.assert_identical(first, again)
    np.testing.assert_allclose(first["value"].isel(seed=1), np.add.outer(CONFIG.noise, 10 * np.array(CONFIG.init_scale)))


def test_damaged_chunks_are_solved_again(tmp_path):
    first, _ = sweep_into(tmp_path)
    truncated, flipped, renamed, missing = chunk_files(tmp_path)[:4]
    truncated.write_bytes(truncated.read_bytes()[:100])
    content = bytearray(flipped.read_bytes())
    content[len(content) // 2] ^= 1
    flipped.write_bytes(content)
    renamed.rename(renamed.with_name(renamed.name.replace("-000", "-001", 1)))
    missing.unlink()
    again, solved = sweep_into(tmp_path)
    assert solved == 4
    xr.testing.assert_identical(first, again)


def test_the_first_process_chooses_the_chunk_size(tmp_path):
    group = store.Store(dataclasses.replace(CONFIG, out=tmp_path), "demo").group("runs")
    assert group.chunk_size(lambda: 4) == 4
    assert group.chunk_size(lambda: 9) == 4
    plan = tmp_path / "demo.chunks" / "runs.json"
    plan.write_text(plan.read_text()[:10])
    assert group.chunk_size(lambda: 9) == 9
    assert json.loads(plan.read_text())["chunk_size"] == 9


def test_another_configuration_is_refused_while_running_and_when_done(tmp_path):
    sweep_into(tmp_path)
    with pytest.raises(config.BadInput, match=r"another configuration \(steps 20 there, 30 here\)"):
        sweep_into(tmp_path, steps=30)
    settings = dataclasses.replace(CONFIG, out=tmp_path)
    done = store.Store(settings, "demo")
    done.finish(sweep_into(tmp_path)[0])
    assert not done.chunks.exists()
    assert done.finished() is not None
    with pytest.raises(config.BadInput, match="--overwrite"):
        store.Store(dataclasses.replace(settings, seeds=5), "demo")
    store.Store(dataclasses.replace(settings, format="pdf", chunk_size=7, preset="renamed"), "demo")  # the same runs
    store.Store(dataclasses.replace(settings, seeds=5, overwrite=True), "demo")
    assert not done.path.exists()


def test_an_unreadable_merged_file_counts_as_missing(tmp_path):
    settings = dataclasses.replace(CONFIG, out=tmp_path)
    (tmp_path / "demo.nc").write_bytes(b"not netCDF")
    assert store.Store(settings, "demo").finished() is None


def test_shares_are_found():
    flags = dataclasses.replace(CONFIG, num_processes=3, process_id=1)
    slurm = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "2", "SLURM_LOCALID": "0"}
    assert cluster.find(CONFIG, {}) == cluster.Share(0, 1)
    assert cluster.find(flags, slurm) == cluster.Share(1, 3)
    assert cluster.find(CONFIG, slurm) == cluster.Share(2, 4)
    with pytest.raises(config.BadInput, match="one process alone, here 4"):
        cluster.find(dataclasses.replace(CONFIG, overwrite=True), slurm)
