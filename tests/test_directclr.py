"""DirectCLR on images: splits, probes, comparisons, and the command as a user types it."""

import dataclasses

import jax
import numpy as np
import pytest
import xarray as xr
from helpers import assert_close
from linsim.presets import PROJECTORS
from test_experiments import command
from test_images import broken, make

from linsim import ablation, directclr, images, probe, results

TINY = ["--quick", "--steps", "20", "--seeds", "2", "--width", "16", "--d0", "4", "--batch-size", "32"]


def test_every_head_of_a_split_holds_each_class_in_its_share():
    labels = np.repeat([0, 1, 2], [100, 50, 10])
    split = directclr.Split(dataclasses.replace(PROJECTORS["digits"], train_share=0.5), labels)
    orders = [np.asarray(jax.jit(split.order)(jax.random.key(seed))) for seed in (0, 1)]
    for order in orders:
        assert sorted(order) == list(range(160))
        for head in (16, 48, split.train):
            shares = np.bincount(labels[order[:head]], minlength=3) / head
            np.testing.assert_allclose(shares, [100 / 160, 50 / 160, 10 / 160], atol=1.5 / head)
    assert not np.array_equal(*orders)


def test_probe_reads_what_is_linearly_there_and_nothing_else():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 60)
    features = np.eye(3)[labels] @ rng.standard_normal((3, 5)) + 0.1 * rng.standard_normal((180, 5))
    order = rng.permutation(180)
    train, test = order[:120], order[120:]
    every, few = probe.accuracies(features, labels, train, test, (5,), 0)
    assert every > 0.95
    assert few > 0.9
    shuffled = probe.accuracy(features, rng.permutation(labels), train, test)
    assert shuffled < 1 / 3 + 4 * np.sqrt(2 / 9 / 60)  # chance, four standard errors
    assert np.isnan(probe.accuracies(features[:, :0], labels, train, test, (5,), 0)).all()


def test_test_images_do_not_reach_the_probe():
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(2), 30)
    features = rng.standard_normal((60, 4))
    train, test = np.arange(0, 60, 2), np.arange(1, 60, 2)
    before = probe.accuracy(features, labels, train, test[:5])
    moved = features.copy()
    moved[test[5:]] = 1e6
    assert probe.accuracy(moved, labels, train, test[:5]) == before


def test_few_rows_are_distinct_training_rows_of_each_class():
    labels = np.repeat(np.arange(4), 25)
    train = np.arange(0, 100, 2)
    rows = probe.few_rows(np.random.default_rng(0), labels, train, 5)
    assert len(set(rows)) == 20
    assert set(rows) <= set(train)
    assert np.bincount(labels[rows]).tolist() == [5] * 4


def fake(better, worse, paper_like=False):
    """A result file of two setups with given accuracies by seed."""
    accuracy = np.stack([np.asarray(better), np.asarray(worse)])[:, :, None, None]
    return xr.Dataset(
        {
            "probe_accuracy": (("projector", "seed", "feature", "labels"), accuracy),
            "representation_rankme": (("projector", "seed"), accuracy[..., 0, 0]),
        },
        coords={"projector": ["nonlinear", "none"], "feature": ["r"], "labels": ["all"]},
    )


@pytest.mark.parametrize(
    ("better", "worse", "expected"),
    [
        ([0.9, 0.91, 0.92], [0.8, 0.81, 0.82], "holds"),
        ([0.8, 0.81, 0.82], [0.9, 0.91, 0.92], "does not hold"),
        ([0.9, 0.7, 0.8], [0.8, 0.81, 0.82], "within noise"),
        ([0.50, 0.70, 0.91], [0.49, 0.69, 0.90], "holds"),  # paired: the seeds differ more than the setups
    ],
)
def test_comparisons_are_judged_by_paired_intervals(better, worse, expected):
    dataset = fake(better, worse)
    first, rank = (c for c in ablation.testable(dataset) if (c.better[0], c.worse[0]) == ("nonlinear", "none"))
    assert ablation.judge(dataset, first, "all")[1] == expected
    assert ablation.judge(dataset, rank, "all")[1] == expected
    correlation = ablation.rank_correlation(dataset, "all")
    assert correlation.mean == pytest.approx(np.mean(np.sign(np.subtract(better, worse))))


def test_interval_is_students():
    values = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    found = ablation.interval(values)
    assert_close(found.high - found.mean, 2.776445 * np.sqrt(2.5 / 5), rtol=1e-6)
    assert np.isnan(ablation.interval(values[:1]).low)
    assert ablation.outcome(ablation.Interval(0.1, -0.1, 0.3), equal=True) == "holds"
    assert ablation.outcome(ablation.Interval(0.1, 0.05, 0.3), equal=True) == "does not hold"


def test_the_command_on_digits(tmp_path):
    setups = ["none", "orthogonal", "directclr", "directclr-linear-block"]
    flags = [*TINY, "--projectors", *setups, "--d0-sweep", "0", "4", "16", "--few", "5", "--x64"]
    done = command("directclr", *flags, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("verdict: of 4 comparisons of the paper, by labels: all: ")
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
    assert_close(ends.sel(d0=4), dataset["representation_rankme"].sel(projector="directclr"), rtol=1e-8)
    assert_close(ends.sel(d0=16), dataset["representation_rankme"].sel(projector="none"), rtol=1e-8)
    ranks = ablation.gradient_ranks(dataset)
    assert np.all(ranks.sel(projector="directclr", place="representation") == 4)
    assert np.all(ranks.sel(projector="directclr", place="behind the last block") >= 12)  # of 16, some ReLUs are dead
    assert np.all(ranks.sel(projector="directclr-linear-block", place="behind the last block") <= 4)


@pytest.mark.slow
def test_the_command_on_a_folder(tmp_path):
    folder = make(tmp_path / "data", sizes=((6, 6),) * 40, mode="RGB")
    flags = [*TINY, "--projectors", "none", "--few", "5", "--flip", "--crop", "0.7", "--optimizer", "lars"]
    done = command("directclr", *flags, "--data", folder, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    dataset = results.load(tmp_path / "out" / "directclr.nc")
    assert np.isfinite(dataset["loss"]).all()
    assert "not run (--d0-sweep)" not in done.stdout


def test_broken_folders_and_flags_are_one_sentence(tmp_path):
    cases = [(["--data", str(tmp_path / "data" / name)], what) for name, what in broken(tmp_path / "data").items()]
    cases += [
        (["--d0", "500"], "--d0 500 is not allowed: it must be at most --width, here 16"),
        (["--d0-sweep", "32"], "--d0-sweep 32 is not allowed"),
        (["--few", "1"], "--few 1 is not allowed"),
        (["--few", "500"], "--few 500 is not allowed: it must be at most the training images of the smallest class, here 116"),
        (["--batch-size", "2000"], "--batch-size 2000 is not allowed: it must be at most the training images, here 1198"),
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
    done = command("directclr", *TINY, "--projectors", "none", "--learning-rate", "1e38", "--out", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: training diverged by step")
    assert "at projector none (" in done.stderr
    assert "Traceback" not in done.stderr


def test_images_are_loaded_once():
    assert images.load("digits") is images.load("digits")
