"""The commands as a user types them: results, tables, verdicts, and what happens on bad input."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from linsim import results

ROOT = Path(__file__).parents[1]
SMALL = ["--dim", "6", "--noisy-dims", "2", "--batch-size", "32", "--dataset-size", "500", "--seeds", "2"]


def command(name, *flags, timeout=300):
    """Run one experiment in its own process. Returns: CompletedProcess."""
    words = [sys.executable, str(ROOT / "experiments" / f"{name}.py"), *map(str, flags)]
    return subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=False, cwd=ROOT)


def test_strong_augmentation_collapses_the_noisy_block(tmp_path):
    """README's main job: noise 2 on one view, 8 of 16 dimensions."""
    done = command("strong_aug", "--noise", "2.0", "--seeds", "1", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("verdict: collapsed dimensions as predicted in 1 of 1")
    assert "measured 8, predicted 8, of 16" in done.stdout
    dataset = results.load(tmp_path / "strong_aug.nc")
    assert dataset["time"][-1] >= 100
    assert (tmp_path / "strong_aug.png").stat().st_size > 10_000
    noisy = dataset["block_strength"].sel(block="noisy").isel(time=-1)
    assert float(noisy.max()) < 1e-9


def test_threshold_for_one_view_and_none_for_two(tmp_path):
    flags = ["--noise", "1.3", "1.7", "--seeds", "1"]
    one = command("strong_aug", *flags, "--out", tmp_path / "one")
    assert "verdict: collapsed dimensions as predicted in 2 of 2 settings" in one.stdout
    assert results.load(tmp_path / "one" / "strong_aug.nc")["predicted_collapsed"].values.tolist() == [0, 8]
    two = command("strong_aug", "--views", "two", "--noise", "2.0", "--seeds", "1", "--out", tmp_path / "two")
    assert "measured 0, predicted 0, of 16" in two.stdout
    assert "0.03252" in two.stdout  # population m*
    dataset = results.load(tmp_path / "two" / "strong_aug.nc").isel(time=-1, noise=0, init_scale=0, seed=0)
    apart = dataset["block_strength"].values / dataset["condensed_block_strength"].values - 1
    assert np.all(np.abs(apart) < 4 * np.array([0.005, 0.041])), apart  # standard deviations of 16 seeds


@pytest.mark.slow
def test_released_preset_reproduces_the_released_toy_code(tmp_path):
    """Embedding spectra of the released one-layer toy (README, "The released code"), within a factor 1.3, 3 seeds."""
    done = command("strong_aug", "--preset", "released", "--noise", "0.5", "1.5", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    spectrum = results.load(tmp_path / "strong_aug.nc")["embedding_spectrum"].isel(time=-1, init_scale=0)
    for noise, clean, noisy in ((0.5, (0.14, 0.19), (0.07, 0.096)), (1.5, (0.12, 0.18), (0.01, 0.01))):
        values = spectrum.sel(noise=noise).transpose("seed", "mode").values
        for block, (low, high) in ((values[:, :8], clean), (values[:, 8:], noisy)):
            print(f"noise {noise}: {block.min():.4f} to {block.max():.4f}, released {low} to {high}")
            assert low / 1.3 <= block.min()
            assert block.max() <= high * 1.3


def test_a_run_that_diverges_says_so_and_keeps_its_record(tmp_path):
    done = command("strong_aug", *SMALL, "--noise", "1", "--learning-rate", "50", "--steps", "200", "--out", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: training diverged by step")
    assert "Traceback" not in done.stderr
    dataset = results.load(tmp_path / "strong_aug.nc")
    assert np.isfinite(dataset["loss"].values[..., 0]).all()
    assert not np.isfinite(dataset["loss"].values[..., -1]).any()


@pytest.mark.parametrize(
    ("name", "flags", "where"),
    [
        (
            "depth",
            ["--depth", "2", "--network", "linear", "--learning-rate", "100", "--noise", "2"],
            "at network linear, depth 2 (",
        ),
        ("collapse_kinds", ["--objective", "predictor", "--learning-rate", "5"], "at objective predictor ("),
    ],
)
def test_divergence_names_the_setting(name, flags, where, tmp_path):
    done = command(name, *flags, "--dim", "4", "--noisy-dims", "2", "--seeds", "1", "--steps", "200", "--out", tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert where in done.stderr
    assert (
        command(name, *flags, "--dim", "4", "--noisy-dims", "2", "--seeds", "1", "--steps", "200", "--out", tmp_path).returncode
        == 1
    )


BAD = [
    (["--noise", "-1"], "--noise -1.0", "at least 0"),
    (["--noise", "nan"], "--noise nan", "finite"),
    (["--noise", "1", "1"], "--noise 1.0 1.0", "distinct"),
    (["--steps", "0"], "--steps 0", "at least 2"),
    (["--batch-size", "20000"], "--batch-size 20000", "--dataset-size, here 10000"),
    (["--noisy-dims", "17"], "--noisy-dims 17", "--dim, here 16"),
    (["--preset", "papr"], "--preset papr", "paper, released"),
    (["--out", "/proc/none"], "--out /proc/none", "written"),
    (["--seed", "-3"], "--seed -3", "0 to 2^32"),
    (["--learning-rate", "inf"], "--learning-rate inf", "finite"),
]


@pytest.mark.parametrize(("flags", "what", "allowed"), BAD)
def test_bad_input_is_one_sentence(flags, what, allowed, tmp_path):
    out = [] if "--out" in flags else ["--out", tmp_path / "out"]
    done = command("strong_aug", *flags, *out)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert what in done.stderr
    assert allowed in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("flags", [["--views", "three"], ["--nosie", "1"], ["--noise", "much"], ["--seeds", "1.5"]])
def test_unparsable_flags_are_named(flags):
    done = command("strong_aug", *flags)
    assert done.returncode == 2
    assert flags[0] in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("flags", [["--help"], ["--noise", "-1"]])
def test_help_and_bad_flags_load_no_numerical_library(flags):
    code = (
        "import sys, runpy\nsys.argv = sys.argv[1:]\n"
        "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit:\n    pass\n"
        "print('heavy:', {'jax', 'numpy', 'matplotlib', 'xarray', 'scipy'} & set(sys.modules))"
    )
    words = [sys.executable, "-c", code, str(ROOT / "experiments" / "strong_aug.py"), *flags]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=os.environ | {"COLUMNS": "100"})
    assert "heavy: set()" in done.stdout


def test_figure_formats_and_an_empty_block(tmp_path):
    flags = ["--noise", "1", "--steps", "50", "--dim", "4", "--noisy-dims", "0", "--batch-size", "8", "--dataset-size", "64"]
    done = command("strong_aug", *flags, "--seeds", "1", "--format", "svg", "--x64", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "strong_aug.svg").read_text().startswith("<?xml")
    assert results.load(tmp_path / "strong_aug.nc").attrs["dtype"] == "float64"


def alignment_run(tmp_path, *flags):
    done = command("alignment", *flags, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("verdict: of 16 modes")
    assert "every entry obeys the identity" in done.stdout
    assert "no entry lies below the bound" in done.stdout
    assert (tmp_path / "alignment.png").stat().st_size > 10_000
    return results.load(tmp_path / "alignment.nc").isel(noise=0, init_scale=0)


def test_flow_grows_and_aligns_a_few_modes_and_leaves_the_rest(tmp_path):
    """Fixed batch of 128, noise 0.001, gradient flow to t = 1000 (mean loss)."""
    dataset = alignment_run(tmp_path, "--preset", "flow", "--seeds", "2")
    assert float(dataset["time"][-1]) == 1000
    grown = (dataset["mode_state"] > 0).sum("hidden_mode").values
    assert np.all((grown >= 3) & (grown <= 4))
    assert not np.any(dataset["mode_state"] == 1)  # none misaligned
    assert np.ptp(dataset["imbalance_norm"].values, axis=-1).max() < 100 * 1e-11
    behind = dataset["w1_singular_values"].isel(hidden_mode=slice(6, None))
    assert float((behind.isel(time=-1) / behind.isel(time=0)).max()) < 3


def test_alignment_reaches_the_identity_where_singular_values_grow_apart(tmp_path):
    dataset = alignment_run(tmp_path, "--preset", "identity", "--seeds", "1")
    diagonal = np.abs(np.diagonal(dataset["alignment"].values[0, -1]))
    assert diagonal.min() > 0.99
    assert np.abs(np.diagonal(dataset["alignment"].values[0, 0])).min() < 0.5  # it was not so at the start


@pytest.mark.slow
def test_released_two_layers_are_block_diagonal(tmp_path):
    """README, "The released code": 12 to 13 grown modes, their subspaces within 9 degrees, |diag A| misaligned; 5 seeds."""
    dataset = alignment_run(tmp_path, "--preset", "released", "--seeds", "5")
    for seed in range(5):
        run = dataset.isel(seed=seed)
        first = run["w1_singular_values"].values[-1]
        grown = int(np.sum(first > 0.3))
        assert 12 <= grown <= 13
        assert first[grown:].max() < 0.08 * 1.3
        block = run["alignment"].values[-1][:grown, :grown]
        angle = np.degrees(np.arccos(np.linalg.svd(block, compute_uv=False)[-1]))
        print(f"seed {seed}: {grown} grown, subspaces {angle:.1f} degrees apart, max |diag A| {np.abs(np.diag(block)).max():.2f}")
        assert angle < 9
        assert np.abs(np.diag(block)).max() < 0.9


@pytest.mark.slow
def test_flow_preset_over_20_seeds_never_violates_the_bound(tmp_path):
    alignment_run(tmp_path, "--preset", "flow", "--seeds", "20")


def test_singular_values_compare_theorem_3_with_the_runs(tmp_path):
    flags = ["--dim", "6", "--hidden", "6", "--noisy-dims", "2", "--batch-size", "32", "--dataset-size", "500", "--seeds", "2"]
    flags += ["--steps", "300", "--init", "balanced", "--init-scale", "0.5"]
    done = command("singular_values", *flags, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("verdict: ")
    dataset = results.load(tmp_path / "singular_values.nc").isel(noise=0, init_scale=0, time=3)
    exact = dataset[["w1_singular_values", "w2_singular_values"]].to_array("layer").transpose("seed", "layer", "hidden_mode")
    np.testing.assert_allclose(dataset["theorem_3"].transpose("seed", "layer", "hidden_mode"), exact, rtol=0.05)


@pytest.mark.parametrize("name", ["alignment", "singular_values"])
def test_two_layer_flags_are_checked(name, tmp_path):
    for flags, what in (
        (["--preset", "flow", "--no-x64"], "--solver flow"),
        (["--group-gap", "1"], "--group-gap 1.0"),
        (["--hidden", "0"], "--hidden 0"),
        (["--tolerance", "0"], "--tolerance 0.0"),
    ):
        done = command(name, *flags, "--out", tmp_path / "out")
        assert done.returncode == 2
        assert what in done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["alignment", "singular_values"])
@pytest.mark.parametrize("hidden", [2, 6])
def test_hidden_layers_of_any_width(name, hidden, tmp_path):
    flags = ["--steps", "30", "--batch-size", "16", "--dataset-size", "64", "--dim", "4", "--noisy-dims", "2", "--seeds", "1"]
    done = command(name, *flags, "--hidden", hidden, "--noise", "0", "1", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert results.load(tmp_path / f"{name}.nc").sizes["hidden_mode"] == hidden
