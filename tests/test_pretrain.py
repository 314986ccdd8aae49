"""Training of convolutional encoders: resumed bit by bit, unnoticed probes, probes' formulas, and
the command as typed.
"""

import dataclasses
import functools
import os
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import assert_close, assert_not_close
from test_experiments import ROOT, command
from test_images import badly_divided, divided

from linsim import (
    ablation,
    checkpoint,
    losses,
    presets,
    pretrain,
    probe,
    projectors,
    results,
    sweep,
)
from linsim.config import at

TINY = {"width": 4, "blocks": (2,), "d0": 2, "batch_size": 4, "steps": 7, "image_size": None, "train_images": None, "few": ()}
FLAGS = [
    "--preset",
    "cpu",
    "--width",
    "4",
    "--blocks",
    "2",
    "--d0",
    "2",
    "--batch-size",
    "4",
    "--train-images",
    "16",
    "--few",
    "2",
]


def tiny(**fields):
    """A configuration with one setup that trains in a moment."""
    config = dataclasses.replace(presets.RESNETS["cpu"], **(TINY | fields))
    return at(config, projectors=fields.get("projectors", ("none",))[0])


@pytest.fixture(scope="module")
def held():
    """Twelve coloured images of two classes."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (12, 4, 4, 3), dtype=np.uint8)
    return pretrain.Held(jnp.asarray(pixels), jnp.asarray(np.repeat([0, 1], 6)))


KEY = sweep.run_keys(3, 1)[0]
RUN = pretrain.Run(KEY, jnp.arange(12))


@functools.cache
def program(config):
    """Compiled once for all tests that use a configuration."""
    return pretrain.Program(config, 3, 2)


def trained(config, held, path, epochs=None):
    """State and records after so many epochs, or at the end, going on from what is at `path`."""
    reached = None
    for reached in pretrain.train(program(config), held, RUN, path):
        if reached[1].epochs() == epochs:
            break
    return reached


def same_bytes(first, second):
    pairs = zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)


@pytest.fixture(scope="module")
def whole(held, tmp_path_factory):
    """Seven steps in epochs of three, without interruption."""
    return trained(tiny(), held, tmp_path_factory.mktemp("whole") / "state")


def test_interrupted_in_any_epoch_and_resumed_the_parameters_are_bit_identical(whole, held, tmp_path):
    assert whole[1].epochs() == 3
    for epochs in (1, 2):
        path = tmp_path / f"{epochs}.state"
        trained(tiny(), held, path, epochs)
        state, records = trained(tiny(), held, path)
        assert same_bytes(state, whole[0])
        assert same_bytes(records[:2], whole[1][:2])
    path.write_bytes(path.read_bytes()[:1000])  # damaged: starts anew
    assert same_bytes(trained(tiny(), held, path)[0], whole[0])


def test_the_online_probe_learns_and_the_encoder_does_not_notice(whole, held, tmp_path):
    state, _ = whole
    without, records = trained(tiny(online=False), held, tmp_path / "state")
    assert same_bytes(without.params, state.params)
    assert same_bytes(without.optimizer, state.optimizer)
    assert not np.any(without.online[0])
    assert np.any(state.online[0])
    assert np.isfinite(whole[1].online_accuracy).all()
    assert np.array_equal(records.online_accuracy, np.zeros(3))
    r, labels = jax.random.normal(jax.random.key(0), (4, 4)), jnp.array([0, 1, 1, 0])
    optimizer = optax.sgd(0.5)
    start = state._replace(online_optimizer=optimizer.init(state.online))
    moved, right = pretrain.learn_online(optimizer, start, r, labels)
    weights, offsets = (np.asarray(leaf) for leaf in start.online)
    odds = np.exp(np.asarray(r) @ weights + offsets)
    wrong = odds / odds.sum(axis=1, keepdims=True) - np.eye(2)[labels]
    assert_close(moved.online[0], weights - 0.5 * np.asarray(r).T @ wrong / 4)
    assert_close(right, np.mean(odds.argmax(axis=1) == labels))
    through = jax.grad(lambda r: pretrain.learn_online(optimizer, start, r, labels)[0].online[0].sum())(r)
    assert not np.any(through)


def test_a_step_is_ntxent_of_two_views(held):
    """The first step, from the parts: batch, views, loss; it moves nothing (the warm-up starts at
    0); the second does.
    """
    config = tiny()
    compiled = program(config)
    start, shuffled = compiled.begin(RUN), jnp.flip(RUN.rows)
    state, (loss, _) = compiled._one_step((start, jnp.zeros(2)), held, RUN, shuffled, 0, 1)
    step_key = jax.random.fold_in(jax.random.fold_in(KEY, pretrain.STEPS), 0)
    pixels = held.pixels[shuffled[4:8]] / 255
    views = [pretrain.augment.simclr_view(k, pixels, config.crop, config.jitter) for k in jax.random.split(step_key)]
    assert pretrain.centred(pretrain.pixels_of(jnp.array([[[[0, 255]]]], jnp.uint8))).tolist() == [[[[-2.0, 2.0]]]]
    z, z_pos = jnp.split(jax.jit(lambda x: start.params[0](4 * x - 2)[1])(jnp.concatenate(views)), 2)
    assert_close(loss, losses.ntxent(z, z_pos, config.temperature), size=1_000_000)  # through six norms
    assert_not_close(loss, losses.ntxent(z, z_pos, 2 * config.temperature))
    labels = jnp.tile(held.labels[shuffled[4:8]], 2)
    beside, _ = pretrain.learn_online(compiled.online_optimizer, start, jnp.concatenate([z, z_pos]), labels)
    assert_close(state.online[0], beside.online[0], rtol=1e-6)
    assert same_bytes(state.params, start.params)
    second, _ = compiled._one_step((state, jnp.zeros(2)), held, RUN, shuffled, 1, 0)
    assert not same_bytes(second.params, state.params)


def test_every_epoch_takes_every_image_once_and_a_compiled_loop_takes_the_same_steps(held, monkeypatch):
    """Accelerators loop inside the compiled call, the CPU outside: the same batches and steps."""

    class Counting(pretrain.Program):
        def _learn(self, loss, carry, held, run, order, number, place):
            batch = jax.lax.dynamic_slice_in_dim(order, place * 4, 4)
            return carry[0]._replace(params=carry[0].params.at[batch].add(1 + number)), carry[1]

    def counts(config, number):
        return np.asarray(Counting(config, 3, 2).epoch(nothing, held, RUN, number)[0].params)

    nothing = pretrain.State(jnp.zeros(12), None, None, None)  # type: ignore[arg-type]
    first, later = (counts(tiny(steps=6), number) for number in (0, 1))
    assert sorted(first) == [1] * 4 + [2] * 4 + [3] * 4
    assert sorted(later) == [4] * 4 + [5] * 4 + [6] * 4
    assert not np.array_equal(later - 3, first)
    assert sorted(counts(tiny(steps=4), 1)) == [0] * 8 + [4] * 4
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert np.array_equal(counts(tiny(steps=6), 1), later)


def test_a_checkpoint_is_read_back_as_it_was_or_not_at_all(tmp_path):
    tree = {"a": jnp.arange(3.0), "b": (np.float32(2.5), jnp.zeros((2, 2), jnp.int32))}
    path = tmp_path / "folder" / "state"
    assert checkpoint.load(tree, path) is None
    checkpoint.save(tree, path)
    assert same_bytes(checkpoint.load(tree, path), tree)
    assert checkpoint.load(tree | {"a": jnp.arange(4.0)}, path) is None
    assert checkpoint.load(tree | {"c": jnp.zeros(1)}, path) is None
    assert list(path.parent.iterdir()) == [path]


def test_ridge_and_neighbours_are_their_formulas():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 40)
    features = 1.5 + np.eye(3)[labels] @ rng.standard_normal((3, 4)) + rng.standard_normal((120, 4))
    order = rng.permutation(120)
    train, test = order[:90], order[90:]
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    cosine = unit[test] @ unit[train].T
    for neighbours in (90, 7):
        votes = np.zeros((30, 3))
        for row, near in enumerate(np.argsort(-cosine, axis=1)[:, :neighbours]):
            np.add.at(votes[row], labels[train][near], np.exp(cosine[row, near] / 0.07))
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(probe, "NEIGHBOURS", neighbours)
            assert probe.nearest(features, labels, train, test) == np.mean(votes.argmax(axis=1) == labels[test])
    x = (features - features[train].mean(axis=0)) / features[train].std(axis=0)
    y = 2 * np.eye(3)[labels] - 1
    found = []
    for penalty in probe.PENALTIES:
        inverse = np.linalg.inv(x[train].T @ x[train] + penalty * np.eye(4)) @ x[train].T
        offset = y[train].mean(axis=0)
        hat = x[train] @ inverse + 1 / len(train)
        left_out = (y[train] - x[train] @ inverse @ y[train] - offset) / (1 - np.diag(hat))[:, None]
        found.append((np.mean(left_out**2), np.mean((x[test] @ inverse @ y[train] + offset).argmax(axis=1) == labels[test])))
    assert probe.ridge(features, labels, train, test) == min(found)[1]
    assert np.isnan(probe.nearest(features[:, :0], labels, train, test))
    assert np.isnan(probe.nearest(features * np.nan, labels, train, test))


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
    words = [sys.executable, str(ROOT / "experiments" / "directclr.py"), *FLAGS, "--image-size", "4", "--data", str(folder)]
    words += ["--out", str(out), *map(str, flags)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment)


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
    assert sorted(os.listdir(tmp_path)) == ["directclr.nc", "directclr.png"]
    dataset = results.load(tmp_path / "directclr.nc")
    assert dataset["probe_accuracy"].sizes == {"projector": 1, "seed": 2, "feature": 4, "labels": 2}
    assert dataset["step"].values.tolist() == [0, 4, 8, 9]
    assert np.isfinite(dataset["loss"]).all()
    assert (dataset["images_per_second"] > 0).all()
    assert np.all(ablation.gradient_ranks(dataset).sel(place="representation") == 2)


@pytest.mark.slow
def test_d0_of_nothing_is_an_untrained_encoder_and_all_of_it_is_no_projector(folder, environment, tmp_path):
    flags = ["--projectors", "none", "--d0-sweep", "0", "4", "--seeds", "2", "--steps", "9", "--x64", "--num-processes", "1"]
    process = start(folder, tmp_path, environment, *flags)
    _, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    dataset = results.load(tmp_path / "directclr.nc")
    swept = dataset["sweep_probe_accuracy"].transpose("d0", "seed", "labels")
    assert np.array_equal(swept.sel(d0=0), dataset["untrained_accuracy"])  # weights have decayed, which norms hide
    assert_close(dataset["sweep_representation_rankme"].sel(d0=4), dataset["representation_rankme"].isel(projector=0), rtol=1e-6)


@pytest.mark.slow
def test_killed_and_resumed_makes_the_same_bytes(folder, environment, tmp_path):
    flags = ["--projectors", "nonlinear", "--seeds", "1", "--steps", "400", "--num-processes", "1"]
    undisturbed = start(folder, tmp_path / "whole", environment, *flags)
    undisturbed.communicate(timeout=300)
    killed = 0
    for _ in range(3):
        process = start(folder, tmp_path / "cut", environment, *flags)
        states, before = tmp_path / "cut" / "directclr.chunks", None
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            now = [(each.name, each.stat().st_mtime_ns) for each in states.glob("*.state")] if states.exists() else []
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
        ([*good, "--blocks", "2", "1"], "--blocks 2 1 is not allowed: it must be at least 2 at its end"),
        ([*good, "--d0", "9"], "--d0 9 is not allowed: it must be at most the representation's width, here 4"),
        ([*good, "--train-images", "25"], "--train-images 25 is not allowed: it must be at most the training images, here 24"),
        ([*good, "--few", "9"], "--few 9 is not allowed: it must be at most the training images of the smallest class, here 7"),
    ]
    for flags, what in cases:
        done = command("directclr", *FLAGS, *flags, "--out", tmp_path / "out")
        assert done.returncode == 2, flags
        assert what in done.stderr, flags
        assert done.stderr.count("\n") == 1
        assert not (tmp_path / "out").exists(), flags


def test_a_folder_decides_which_encoder_it_gets(folder, tmp_path):
    assert next(iter(presets.for_images(["--data", str(folder)]))) == "cpu"
    assert next(iter(presets.for_images([f"--data={folder}"]))) == "cpu"
    assert next(iter(presets.for_images(["--data", str(folder / "train")]))) == "digits"
    assert next(iter(presets.for_images([]))) == "digits"
    assert {"cpu", "gpu", "weak"} <= presets.for_images([]).keys()
    assert next(iter(presets.for_images(["--data", "digits"]))) == "digits"
    (tmp_path / "train").mkdir()  # a class of trains
    assert next(iter(presets.for_images(["--data", str(tmp_path)]))) == "digits"
    assert len(projectors.NAMES) == 10
