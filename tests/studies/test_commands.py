"""The commands as a user types them: results, tables, verdicts, and what happens on bad input."""

import os
import subprocess
import sys

import numpy as np
import pytest
from helpers import ROOT, command, console

import linsim
from linsim.sweeps import results

SMALL = [
    "--dim",
    "6",
    "--noisy-dims",
    "2",
    "--batch-size",
    "32",
    "--dataset-size",
    "500",
    "--seeds",
    "2",
]


def test_strong_augmentation_collapses_the_noisy_block(tmp_path):
    """README's main job: noise 2 on one view, 8 of 16 dimensions."""
    done = command("strong_aug", "--noise", "2.0", "--seeds", "1", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("verdict: agrees in 1 of 1 settings;")
    assert "measured 8, theory 8, of 16" in done.stdout
    dataset = results.load(tmp_path / "strong_aug.nc")
    assert dataset["time"][-1] >= 100
    assert (tmp_path / "strong_aug.png").stat().st_size > 10_000
    noisy = dataset["block_strength"].sel(block="noisy").isel(time=-1)
    assert float(noisy.max()) < 1e-9


def test_a_command_ends_well_that_has_computed_theory_in_other_processes(tmp_path):
    """Those of joblib, which stay, are no child that the command ends itself."""
    done = command("alignment", *SMALL, "--steps", "20", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("verdict: ")


@pytest.mark.slow
def test_threshold_for_one_view_and_none_for_two(tmp_path):
    flags = ["--noise", "1.3", "1.7", "--seeds", "1"]
    one = command("strong_aug", *flags, "--out", tmp_path / "one")
    assert one.stdout.splitlines()[-1].startswith("verdict: agrees in 2 of 2 settings;")
    assert results.load(tmp_path / "one" / "strong_aug.nc")[
        "predicted_collapsed"
    ].values.tolist() == [0, 8]
    two = command(
        "strong_aug", "--views", "two", "--noise", "2.0", "--seeds", "1", "--out", tmp_path / "two"
    )
    assert "measured 0, theory 0, of 16" in two.stdout
    dataset = results.load(tmp_path / "two" / "strong_aug.nc").isel(
        time=-1, noise=0, init_scale=0, seed=0
    )
    apart = np.log((dataset["block_strength"] / dataset["theory_block_strength"]).values)
    level = dataset["theory_level"].values
    assert np.all(np.abs(apart) < 4 * np.hypot(level, 0.01)), (apart, level)  # 1 %: the data set


@pytest.mark.slow
def test_released_preset_reproduces_the_released_toy_code(tmp_path):
    """Embedding spectra of the released toy (docs/theory.md, "The released code"), within a
    factor 1.3, 3 seeds.
    """
    done = command("strong_aug", "--preset", "released", "--noise", "0.5", "1.5", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    spectrum = results.load(tmp_path / "strong_aug.nc")["embedding_spectrum"].isel(
        time=-1, init_scale=0
    )
    for noise, clean, noisy in (
        (0.5, (0.14, 0.19), (0.07, 0.096)),
        (1.5, (0.12, 0.18), (0.01, 0.01)),
    ):
        values = spectrum.sel(noise=noise).transpose("seed", "mode").values
        for block, (low, high) in ((values[:, :8], clean), (values[:, 8:], noisy)):
            print(
                f"noise {noise}: {block.min():.4f} to {block.max():.4f}, released {low} to {high}"
            )
            assert low / 1.3 <= block.min()
            assert block.max() <= high * 1.3


def test_a_run_that_diverges_says_so_and_keeps_its_record(tmp_path):
    done = command(
        "strong_aug",
        *SMALL,
        "--noise",
        "1",
        "--learning-rate",
        "50",
        "--steps",
        "200",
        "--out",
        tmp_path,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: training diverged by step")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "strong_aug.nc").exists()
    dataset = results.load(tmp_path / "strong_aug.diverged.nc")
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
        (
            "collapse_kinds",
            ["--objective", "predictor", "--learning-rate", "5"],
            "at objective predictor (",
        ),
    ],
)
def test_divergence_names_the_setting(name, flags, where, tmp_path):
    done = command(
        name,
        *flags,
        "--dim",
        "4",
        "--noisy-dims",
        "2",
        "--seeds",
        "1",
        "--steps",
        "200",
        "--out",
        tmp_path,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert where in done.stderr
    assert (
        command(
            name,
            *flags,
            "--dim",
            "4",
            "--noisy-dims",
            "2",
            "--seeds",
            "1",
            "--steps",
            "200",
            "--out",
            tmp_path,
        ).returncode
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


@pytest.mark.parametrize(
    "flags", [["--views", "three"], ["--nosie", "1"], ["--noise", "much"], ["--seeds", "1.5"]]
)
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
    done = subprocess.run(
        words, capture_output=True, text=True, check=True, env=os.environ | {"COLUMNS": "100"}
    )
    assert "heavy: set()" in done.stdout


def test_figure_formats_and_an_empty_block(tmp_path):
    flags = [
        "--noise",
        "1",
        "--steps",
        "50",
        "--dim",
        "4",
        "--noisy-dims",
        "0",
        "--batch-size",
        "8",
        "--dataset-size",
        "64",
    ]
    done = command(
        "strong_aug", *flags, "--seeds", "1", "--format", "svg", "--x64", "--out", tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "strong_aug.svg").read_text().startswith("<?xml")
    assert results.load(tmp_path / "strong_aug.nc").attrs["dtype"] == "float64"


@pytest.mark.slow
def test_any_command_can_follow_any_other_and_trains_only_what_is_new(tmp_path):
    """One after the other into one folder; the second time each answers from the archive."""
    common = {"dim": 4, "noisy_dims": 2, "batch_size": 16, "dataset_size": 64, "seeds": 2}
    common |= {"steps": 20, "chunk_size": 2, "out": tmp_path}
    asked: list[dict] = [{"noise": 2.0}, {"noise": [0.5, 1, 2]}, {"views": "two", "noise": 2.0}]
    files = []
    for each in asked:
        linsim.run("strong_aug", **each, **common)
        files.append(len(list((tmp_path / "strong_aug.runs").glob("*.nc"))))
    assert files == [1, 3, 4]  # two seeds of each setting that is new
    for each in asked[:2]:
        linsim.run("strong_aug", **each, **common)
        noise = results.load(tmp_path / "strong_aug.nc")["noise"].values
        assert noise.tolist() == np.ravel(each["noise"]).tolist()
        assert len(list((tmp_path / "strong_aug.runs").glob("*.nc"))) == 4


def test_the_console_command_is_the_script(tmp_path):
    flags = [*SMALL, "--steps", "30", "--noise", "1"]
    script = command("strong_aug", *flags, "--out", tmp_path / "a")
    typed = console("run", "strong_aug", *flags, "--out", tmp_path / "b", cwd=tmp_path)
    assert typed.returncode == 0, typed.stderr
    assert typed.stdout.splitlines()[1:] == script.stdout.splitlines()[1:]
    first, second = (results.load(tmp_path / name / "strong_aug.nc") for name in "ab")
    assert all(first[name].equals(second[name]) for name in first)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--version"], 0, "linsim 0."),
        ([], 2, "verify"),
        (["--help"], 0, "diagnose"),
        (["run"], 2, "phase_diagram"),
        (["run", "strong_augment"], 2, "must be one of strong_aug"),
        (["retrain"], 2, "must be one of run, verify"),
        (["verify", "C99"], 2, "claim C99 is not known"),
        (["verify", "--seeds", "0"], 2, "--seeds 0"),
        (["figures", "none"], 2, "figure none is not allowed"),
    ],
)
def test_the_console_command_answers_in_one_sentence(words, code, said):
    done = console(*words)
    assert done.returncode == code
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_the_help_is_ordered_by_what_one_wants_first_and_ends_in_examples():
    done = command("strong_aug", "--help")
    places = [
        done.stdout.index(word) for word in ("--paper", "--noise ", "--steps", "--out", "examples:")
    ]
    assert places == sorted(places)
    assert "experiments/strong_aug.py --noise 2.0" in done.stdout.splitlines()[-4]


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--loss", "cosine"], "no theory is known for the cosine loss"),
        (["--optimizer", "adam", "--learning-rate", "0.001"], "plain gradient descent"),
        pytest.param(["--optimizer", "momentum"], "plain gradient descent", marks=pytest.mark.slow),
        pytest.param(["--weight-decay", "0.1"], "plain gradient descent", marks=pytest.mark.slow),
    ],
)
def test_where_theory_is_silent_the_table_says_so_and_compares_nothing(flags, reason, tmp_path):
    small = [*SMALL, "--steps", "30", "--noise", "1", "--out", tmp_path]
    done = command("strong_aug", *small, *flags)
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1]
    assert last.startswith("verdict: cannot tell in 1 of 1 settings")
    assert reason in last
    dataset = results.load(tmp_path / "strong_aug.nc")
    for name in ("population_block_strength", "population_settled", "predicted_collapsed"):
        assert np.isnan(dataset[name]).all()
