"""What `import linsim` gives, and what it leaves alone."""

import subprocess
import sys

import jax
import numpy as np
import optax
import pytest

import linsim
from linsim.studies.study import Diverged

TINY = {"steps": 20, "seeds": 1, "dim": 4, "noisy_dims": 2, "batch_size": 16, "dataset_size": 64}


def test_importing_loads_no_numerical_library():
    code = "import sys, linsim; print({'jax', 'numpy', 'matplotlib', 'xarray'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_study_from_python_changes_nothing_outside():
    import matplotlib

    before = dict(matplotlib.rcParams), matplotlib.get_backend(auto_select=False)
    dataset = linsim.run("strong_aug", noise=[1, 2], **TINY)
    assert dataset["noise"].values.tolist() == [1.0, 2.0]
    assert dataset.attrs["dtype"] == "float32"  # though the tests' own default is float64
    study = linsim.study("strong_aug")
    assert study.table(dataset).splitlines()[-1].startswith("verdict: ")
    study.figure(dataset).canvas.draw()
    assert before == (dict(matplotlib.rcParams), matplotlib.get_backend(auto_select=False))
    assert jax.numpy.zeros(()).dtype == np.float64


def test_errors_are_value_errors_that_name_what_is_allowed():
    with pytest.raises(ValueError, match=r"--noise -1\.0 is not allowed"):
        linsim.run("strong_aug", noise=-1)
    with pytest.raises(ValueError, match="did you mean noise"):
        linsim.run("strong_aug", nois=1)
    with pytest.raises(ValueError, match="one of strong_aug, alignment"):
        linsim.study("strong")
    with pytest.raises(ValueError, match=r"optax\.GradientTransformation"):
        linsim.run("strong_aug", optimizer=3)


def test_any_optax_optimiser_trains_and_is_not_compared_with_theory():
    plain, adam = (
        linsim.run("strong_aug", noise=1.0, optimizer=optimizer, **TINY)
        for optimizer in ("sgd", optax.adam(1e-3))
    )
    assert not np.array_equal(plain["weight_singular_values"], adam["weight_singular_values"])
    assert np.isnan(adam["population_block_strength"]).all()
    assert "plain gradient descent" in linsim.study("strong_aug").table(adam)


def test_divergence_keeps_what_was_recorded():
    with pytest.raises(Diverged, match="training diverged by step") as found:
        linsim.run("strong_aug", noise=1.0, learning_rate=50.0, **TINY)
    assert not np.isfinite(found.value.dataset["loss"]).all()


def test_a_result_that_is_kept_is_found_again(tmp_path):
    first = linsim.run("strong_aug", noise=1.0, out=tmp_path, **TINY)
    stamp = (tmp_path / "strong_aug.nc").stat().st_mtime_ns
    again = linsim.run("strong_aug", noise=1.0, out=tmp_path, **TINY)
    assert first["loss"].equals(again["loss"])
    assert (tmp_path / "strong_aug.nc").stat().st_mtime_ns == stamp
    assert (tmp_path / "strong_aug.png").exists()
