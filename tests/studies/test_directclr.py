"""DirectCLR on images: comparisons, settings, and the command as a user types it."""

import os
import signal
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest
import xarray as xr
from helpers import ROOT, assert_close, command
from image_folders import badly_divided, broken, divided, make

from linsim import spectra
from linsim.config import BadInput
from linsim.images import folders, projectors
from linsim.studies.directclr import (
    STUDY,
    ConvolutionalSettings,
    DenseSettings,
    ablation,
    holds_train_and_test,
    table,
)
from linsim.studies.words import collapsed_count
from linsim.sweeps import results
from linsim.sweeps.engine import Engine

FLAGS = [
    *("--preset", "cpu", "--width", "4", "--blocks", "2", "--d0", "2", "--batch-size", "4"),
    *("--train-images", "16", "--few", "2"),
]
TINY = [
    "--quick",
    "--steps",
    "20",
    "--seeds",
    "2",
    "--width",
    "16",
    "--d0",
    "4",
    "--batch-size",
    "32",
]


def fake(better, worse, paper_like=False):
    """A result file of two setups with given accuracies by seed."""
    accuracy = np.stack([np.asarray(better), np.asarray(worse)])[:, :, None, None]
    return xr.Dataset(
        {
            "probe_accuracy": (("projector", "seed", "feature", "labels"), accuracy),
            "representation_rankme": (("projector", "seed"), 100 * accuracy[..., 0, 0]),
        },
        coords={"projector": ["nonlinear", "none"], "feature": ["r"], "labels": ["all"]},
    )


@pytest.mark.parametrize(
    ("better", "worse", "expected"),
    [
        ([0.9, 0.91, 0.92], [0.8, 0.81, 0.82], "holds"),
        ([0.8, 0.81, 0.82], [0.9, 0.91, 0.92], "does not hold"),
        ([0.9, 0.7, 0.8], [0.8, 0.81, 0.82], "within noise"),
        (
            [0.50, 0.70, 0.91],
            [0.49, 0.69, 0.90],
            "holds",
        ),  # paired: the seeds differ more than the setups
    ],
)
def test_comparisons_are_judged_by_paired_intervals(better, worse, expected):
    dataset = fake(better, worse)
    first, rank = (
        c for c in ablation.testable(dataset) if (c.better[0], c.worse[0]) == ("nonlinear", "none")
    )
    assert ablation.judge(dataset, first, "all")[1] == expected
    assert ablation.judge(dataset, rank, "all")[1] == expected
    correlation = ablation.rank_correlation(dataset, "all")
    assert correlation.mean == pytest.approx(np.mean(np.sign(np.subtract(better, worse))))


def test_each_measure_is_compared_with_itself_once_for_every_number_of_labels():
    one = fake([0.9, 0.91], [0.8, 0.81])
    dataset = xr.concat([one, one.assign_coords(labels=["5"])], "labels", data_vars="minimal")
    asked = ablation.asked(dataset)
    assert [(each.measure, labels) for each, labels in asked] == [
        ("probe", "all"),
        ("probe", "5"),
        ("rankme", "all"),
    ]
    means = [ablation.judge(dataset, *each)[0].mean for each in asked]
    assert means == pytest.approx([0.1, 0.1, 10.0])


def test_comparisons_need_both_sides():
    dataset = fake([0.9, 0.91], [0.8, 0.81])
    both = {(each.better[0], each.worse[0]) for each in ablation.testable(dataset)}
    assert both == {("nonlinear", "none")}
    alone = dataset.sel(projector=["none"])
    assert ablation.testable(alone) == []


def test_the_papers_numbers_and_equalities():
    """Tables 1 and 2 and Appendix F; Proposition 1 is about three equalities."""
    assert list(ablation.PAPER.values()) == [51.5, 52.2, 61.1, 60.2, 62.3, 62.7, 66.5, 62.7, 43.0]
    for comparison in ablation.COMPARISONS:
        if comparison.measure == "probe" and comparison.better[1] == comparison.worse[1] == "r":
            better, worse = (
                ablation.PAPER[each[0]] for each in (comparison.better, comparison.worse)
            )
            assert abs(better - worse) < 1 if comparison.equal else better > worse
    assert sum(each.equal for each in ablation.COMPARISONS) == 3


def test_interval_is_students():
    values = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    found = ablation.interval(values)
    assert_close(found.high - found.mean, 2.776445 * np.sqrt(2.5 / 5), rtol=1e-6)
    assert np.isnan(ablation.interval(values[:1]).low)
    assert np.isfinite(ablation.interval(values[:2]).low)


def test_intervals_of_a_table_are_wide_enough_for_all_of_it():
    """In 30 comparisons of equal setups, at most a twentieth of tables has one that is judged."""
    rng = np.random.default_rng(0)
    tables, comparisons = 2000, 30
    found = np.zeros(tables, bool)
    for _ in range(comparisons):
        for number, values in enumerate(rng.normal(size=(tables, 6))):
            judged = ablation.interval(values, comparisons)
            found[number] |= judged.low > 0 or judged.high < 0
    assert 0.03 < found.mean() < 0.07


@pytest.mark.parametrize(
    ("low", "high", "equal", "expected"),
    [
        (0.001, 0.3, False, "holds"),
        (-0.3, -0.001, False, "does not hold"),
        (-0.001, 0.3, False, "within noise"),
        (-0.009, 0.009, True, "holds"),
        (0.001, 0.009, True, "holds"),  # different, by less than matters
        (-0.011, 0.009, True, "within noise"),
        (-0.009, 0.011, True, "within noise"),
        (0.011, 0.3, True, "does not hold"),
        (-0.3, -0.011, True, "does not hold"),
        (np.nan, np.nan, False, "cannot tell"),
        (np.nan, np.nan, True, "cannot tell"),
    ],
)
def test_outcomes_follow_from_intervals(low, high, equal, expected):
    assert ablation.outcome(ablation.Interval((low + high) / 2, low, high), equal=equal) == expected


def test_a_missing_value_is_no_verdict():
    dataset = fake([0.9, np.nan, 0.92], [0.8, 0.81, 0.82])
    assert {ablation.judge(dataset, *each)[1] for each in ablation.asked(dataset)} == {
        "cannot tell"
    }
    assert "2 cannot tell" in table._verdict(dataset, ["all"])


@pytest.mark.slow
def test_the_command_on_digits(tmp_path):
    setups = ["none", "orthogonal", "directclr", "directclr-linear-block"]
    flags = [*TINY, "--projectors", *setups, "--d0-sweep", "0", "4", "16", "--few", "5", "--x64"]
    done = command("directclr", *flags, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith(
        "verdict: of 6 comparisons with the paper, by labels: all: "
    )
    assert "raw pixels" in done.stdout
    assert "untrained encoder" in done.stdout
    assert (tmp_path / "directclr.png").stat().st_size > 10_000
    dataset = results.load(tmp_path / "directclr.nc")
    accuracy = dataset["probe_accuracy"]
    assert accuracy.sizes == {"projector": 4, "seed": 2, "feature": 4, "labels": 2}
    spectrum = dataset["representation_spectrum"]
    assert_close(spectrum.sel(projector="orthogonal"), spectrum.sel(projector="none"), rtol=1e-8)
    assert np.abs(spectrum.sel(projector="directclr") - spectrum.sel(projector="none")).max() > 1e-3
    ends = dataset["sweep_representation_rankme"]
    assert_close(
        ends.sel(d0=4), dataset["representation_rankme"].sel(projector="directclr"), rtol=1e-8
    )
    assert_close(ends.sel(d0=16), dataset["representation_rankme"].sel(projector="none"), rtol=1e-8)
    ranks = ablation.gradient_ranks(dataset)
    assert np.all(ranks.sel(projector="directclr", place="representation") == 4)
    assert np.all(
        ranks.sel(projector="directclr", place="behind the last block") >= 12
    )  # of 16, some ReLUs are dead
    assert np.all(ranks.sel(projector="directclr-linear-block", place="behind the last block") <= 4)


@pytest.mark.slow
def test_the_command_on_a_folder(tmp_path):
    folder = make(tmp_path / "data", sizes=((6, 6),) * 40, mode="RGB")
    flags = [
        *TINY,
        "--projectors",
        "none",
        "--few",
        "5",
        "--flip",
        "--crop",
        "0.7",
        "--optimizer",
        "lars",
    ]
    done = command("directclr", *flags, "--data", folder, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    dataset = results.load(tmp_path / "out" / "directclr.nc")
    assert np.isfinite(dataset["loss"]).all()
    assert "not run (--d0-sweep)" not in done.stdout


def test_broken_folders_and_flags_are_one_sentence(tmp_path):
    cases = [
        (["--data", str(tmp_path / "data" / name)], what)
        for name, what in broken(tmp_path / "data").items()
    ]
    cases += [
        (["--d0", "500"], "--d0 500 is not allowed: it must be at most --width, here 16"),
        (["--d0-sweep", "32"], "--d0-sweep 32 is not allowed"),
        (["--few", "1"], "--few 1 is not allowed"),
        (
            ["--few", "500"],
            "--few 500 is not allowed: it must be at most the training images of the smallest "
            "class, here 77",
        ),
        (
            ["--batch-size", "2000"],
            "--batch-size 2000 is not allowed: it must be at most the training images, here 796",
        ),
        (["--crop", "0"], "--crop 0.0 is not allowed"),
        (["--projectors", "conv"], "--projectors"),
    ]
    for flags, what in cases:
        done = command("directclr", *TINY, *flags, "--out", tmp_path / "out")
        assert done.returncode == 2, flags
        assert what in done.stderr + done.stdout, flags
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "out").exists(), flags


@pytest.mark.slow
def test_a_run_that_diverges_says_so(tmp_path):
    done = command(
        "directclr", *TINY, "--projectors", "none", "--learning-rate", "1e38", "--out", tmp_path
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: training diverged by step")
    assert "at projector none (" in done.stderr
    assert "Traceback" not in done.stderr


def test_images_are_loaded_once():
    assert folders.load("digits") is folders.load("digits")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """train/ and test/ of two classes of small coloured images."""
    path = tmp_path_factory.mktemp("images")
    sizes = {"sizes": ((4, 4),) * 12, "mode": "RGB"}
    return divided(path, train=sizes, test=sizes)


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A cache of images of one's own."""
    return os.environ | {"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))}


def start(folder, out, environment, *flags):
    words = [
        sys.executable,
        str(ROOT / "experiments" / "directclr.py"),
        *FLAGS,
        "--image-size",
        "4",
        "--data",
        str(folder),
    ]
    words += ["--out", str(out), *map(str, flags)]
    return subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment
    )


@pytest.mark.slow
def test_the_command_on_a_folder_with_train_and_test(folder, environment, tmp_path):
    flags = ["--projectors", "directclr", "--seeds", "2", "--steps", "9", "--num-processes", "1"]
    process = start(folder, tmp_path, environment, *flags)
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    assert "A REDUCED SETTING" in out
    assert "untrained encoder" in out
    assert "images a second" in out
    assert out.splitlines()[-1].startswith("verdict: of 1 comparisons")
    assert sorted(os.listdir(tmp_path)) == ["directclr.nc", "directclr.png", "directclr.runs"]
    dataset = results.load(tmp_path / "directclr.nc")
    assert dataset["probe_accuracy"].sizes == {"projector": 1, "seed": 2, "feature": 4, "labels": 2}
    assert dataset["step"].values.tolist() == [0, 4, 8, 9]
    assert np.isfinite(dataset["loss"]).all()
    assert (dataset["images_per_second"] > 0).all()
    assert np.all(ablation.gradient_ranks(dataset).sel(place="representation") == 2)


@pytest.mark.slow
def test_d0_of_nothing_is_an_untrained_encoder_and_all_of_it_is_no_projector(
    folder, environment, tmp_path
):
    flags = [
        "--projectors",
        "none",
        "--d0-sweep",
        "0",
        "4",
        "--seeds",
        "2",
        "--steps",
        "9",
        "--x64",
        "--num-processes",
        "1",
    ]
    process = start(folder, tmp_path, environment, *flags)
    _, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    dataset = results.load(tmp_path / "directclr.nc")
    swept = dataset["sweep_probe_accuracy"].transpose("d0", "seed", "labels")
    assert np.array_equal(
        swept.sel(d0=0), dataset["untrained_accuracy"]
    )  # weights have decayed, which norms hide
    assert_close(
        dataset["sweep_representation_rankme"].sel(d0=4),
        dataset["representation_rankme"].isel(projector=0),
        rtol=1e-6,
    )


@pytest.mark.slow
def test_killed_and_resumed_makes_the_same_bytes(folder, environment, tmp_path):
    flags = ["--projectors", "nonlinear", "--seeds", "1", "--steps", "400", "--num-processes", "1"]
    undisturbed = start(folder, tmp_path / "whole", environment, *flags)
    undisturbed.communicate(timeout=300)
    killed = 0
    for _ in range(3):
        process = start(folder, tmp_path / "cut", environment, *flags)
        states, before = tmp_path / "cut" / "directclr.runs", None
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            now = (
                [(each.name, each.stat().st_mtime_ns) for each in states.glob("*.state")]
                if states.exists()
                else []
            )
            before = before or now
            if now and now != before:
                break
            time.sleep(0.01)
        killed += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert killed == 3
    last = start(folder, tmp_path / "cut", environment, *flags)
    last.communicate(timeout=300)
    first, second = (results.load(tmp_path / name / "directclr.nc") for name in ("whole", "cut"))
    assert set(first.variables) == set(second.variables)
    for name in set(first.variables) - {"images_per_second"}:
        assert first[name].values.tobytes() == second[name].values.tobytes(), name


def test_bad_folders_and_flags_are_one_sentence(folder, tmp_path):
    bad, good = badly_divided(tmp_path / "data"), ["--data", folder]
    cases = [
        *((["--data", tmp_path / "data" / name], bad[name]) for name in ("halved", "spoilt")),
        ([], "--data '' is not allowed: it must be a folder that holds train/ and test/"),
        (
            [*good, "--blocks", "2", "1"],
            "--blocks 2 1 is not allowed: it must be at least 2 at its end",
        ),
        (
            [*good, "--d0", "9"],
            "--d0 9 is not allowed: it must be at most the representation's width, here 4",
        ),
        (
            [*good, "--train-images", "25"],
            "--train-images 25 is not allowed: it must be at most the training images, here 24",
        ),
        (
            [*good, "--few", "9"],
            "--few 9 is not allowed: it must be at most the training images of the smallest "
            "class, here 7",
        ),
    ]
    for flags, what in cases:
        done = command("directclr", *FLAGS, *flags, "--out", tmp_path / "out")
        assert done.returncode == 2, flags
        assert what in done.stderr, flags
        assert done.stderr.count("\n") == 1
        assert not (tmp_path / "out").exists(), flags


def test_a_folder_decides_which_encoder_it_gets(folder, tmp_path):
    (tmp_path / "train").mkdir()  # a class of trains
    assert not holds_train_and_test(str(tmp_path))
    assert holds_train_and_test(str(folder))
    assert not holds_train_and_test(str(folder / "train"))
    assert not holds_train_and_test("digits")
    assert list(STUDY.presets) == ["digits", "weak", "quick", "cpu", "gpu"]
    small = {"train_images": 24, "few": (), "batch_size": 4}
    flags = ["--train-images", "24", "--few", "--batch-size", "4"]
    assert STUDY.parse(["--data", str(folder), *flags]).preset == "cpu"
    assert STUDY.parse([f"--data={folder}", *flags]).preset == "cpu"
    assert isinstance(STUDY.settings(data=str(folder), **small), ConvolutionalSettings)
    chosen = STUDY.parse(["--gpu", "--data", str(folder), "--few", "--batch-size", "4"])
    assert (chosen.preset, chosen.steps) == ("gpu", 9700)
    inside = ["--data", str(folder / "train"), "--few", "5", "--batch-size", "8"]
    assert isinstance(STUDY.parse(inside), DenseSettings)
    assert STUDY.parse([]).preset == "digits"
    assert STUDY.parse(["--data", "digits"]).preset == "digits"
    assert len(projectors.NAMES) == 11


def test_settings_from_python_are_checked_against_the_images():
    with pytest.raises(BadInput, match="--few 500 is not allowed"):
        STUDY.settings(few=500)
    with pytest.raises(BadInput, match="--d0-sweep 129 is not allowed"):
        STUDY.settings(d0_sweep=[0, 129])
    settings: Any = STUDY.settings(preset="weak", few=(), d0_sweep=())
    assert (settings.preset, settings.shift, settings.few) == ("weak", 1, ())


def test_another_folder_of_the_same_name_is_another_input(tmp_path):
    folder = make(tmp_path / "data", sizes=((6, 6),) * 12)
    settings = STUDY.settings(data=str(folder), few=(), batch_size=8)
    before = STUDY.inputs(settings)
    assert before == STUDY.inputs(settings)
    (folder / "cat" / "0.png").unlink()
    folders.load.cache_clear()
    assert STUDY.inputs(settings) != before


def test_collapsed_dimensions_are_those_of_one_definition():
    rng = np.random.default_rng(0)
    values = rng.random((4, 3, 16)) ** 8
    values[0, 0], values[1, 1, 3] = 0.0, np.nan
    array = xr.DataArray(values, dims=("projector", "seed", "mode"))
    found = collapsed_count(array, 0.01)
    assert found.dims == ("projector", "seed")
    assert np.isnan(found[1, 1])
    assert int(np.isnan(found).sum()) == 1
    for index in np.ndindex(4, 3):
        if index != (1, 1):
            assert int(found[index]) == int(spectra.collapsed_dimensions(values[index], 0.01))


def test_a_short_study_from_python_keeps_nothing(folder):
    """Convolutional runs keep their state in a folder of their own while they are trained."""
    fields = {"width": 4, "blocks": (2,), "d0": 2, "batch_size": 4, "train_images": 16, "few": (2,)}
    dataset = STUDY.run(
        data=str(folder),
        projectors=("directclr",),
        steps=2,
        seeds=1,
        image_size=4,
        learning_rate=0.01,
        **fields,
    )
    behind, here = dataset["gradient_spectrum"].squeeze().transpose("place", "mode").values
    assert spectra.numerical_rank(here) == 2  # d0
    assert spectra.numerical_rank(behind) > 2
    assert dataset["loss"].sizes == {"projector": 1, "seed": 1, "time": 2}
    assert dataset.attrs["preset"] == "cpu"


def names(**fields):
    """The names under which the runs of some settings are kept."""
    sweeps = STUDY.sweeps(STUDY.settings(**fields), Engine())
    return {point.name for sweep in sweeps for point in sweep.points}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("few", (5,)),
        ("d0", 16),
        ("seed", 1),
        ("noise", 0.5),
        ("shift", 2),
        ("flip", True),
        ("crop", 0.7),
        ("width", 64),
        ("blocks", 2),
        ("steps", 299),
        ("batch_size", 64),
        ("train_share", 0.5),
        ("optimizer", "lars"),
        ("temperature", 0.3),
        ("weight_decay", 0.0),
        ("learning_rate", 0.2),
    ],
)
def test_a_run_is_kept_under_all_that_decides_what_is_kept_of_it(name, value):
    fields = {"preset": "quick", "projectors": ("none", "directclr"), "seeds": 1}
    assert not names(**fields) & names(**fields, **{name: value})


def test_runs_are_shared_by_settings_that_have_them_in_common(folder):
    fields = {"preset": "quick", "d0_sweep": (4, 16)}
    whole = names(**fields)
    assert len(whole) == 15
    assert names(**fields, collapse_threshold=0.1) == whole
    assert names(**fields | {"projectors": ("none",), "seeds": 1, "d0_sweep": (16,)}) < whole
    assert len(names(**fields | {"d0": 16}) & whole) == 6  # d0 plays no role where it is swept
    small = {"data": str(folder), "train_images": 16, "few": (), "batch_size": 4}
    apart = [small, small | {"jitter": 0.1}, small | {"norm": "group"}, small | {"online": False}]
    assert len(set().union(*(names(**each) for each in apart))) == 4 * 9
