"""The explorer: what it answers, draws and trains, and its pages without a browser."""

import base64
import importlib.util
import json
import re
import shlex
from dataclasses import replace
from typing import get_args
from xml.etree import ElementTree

import jax
import numpy as np
import pytest
import xarray as xr
from helpers import console

from linsim.config import BadInput
from linsim.explore import command, export, figure, lessons, setting, svg, theory, training
from linsim.explore.setting import Setting
from linsim.studies.strong_aug import STUDY
from linsim.sweeps import programs, results, runtime
from linsim.sweeps.archive import InFolder
from linsim.sweeps.settings import identity
from linsim.theory import finite_batch, late_time
from linsim.theory.modes import Modes
from linsim.training import data

SETTINGS = [
    Setting(),
    Setting(noise=0.55, views="two", batch_size=16, init_scale=0.003, noisy_dims=3),
    Setting(noise=1.0, loss="dot"),
    Setting(noise=1.0, depth=3, data_exponent=0.75),
    Setting(noise=1.0, loss="dot").paced(0.25),
]


@pytest.mark.parametrize("chosen", SETTINGS)
def test_the_command_that_is_shown_asks_for_the_same_runs(chosen):
    words = shlex.split(chosen.command())
    assert words[:3] == ["linsim", "run", "strong_aug"]
    read, meant = STUDY.parse(words[3:]), chosen.settings()
    assert identity(read) == identity(meant)
    assert read.chunk_size == meant.chunk_size  # on which the last digits depend


@pytest.mark.parametrize(
    ("chosen", "noisy"),
    [
        (Setting(noise=1.2, batch_size=32, noisy_dims=5), Modes.of(1.0, 1.44, 0.0, 5)),
        (
            Setting(noise=0.8, views="two", batch_size=8, noisy_dims=5),
            Modes.of(1.64, 1.28, -0.64, 5),
        ),
    ],
)
def test_the_answer_is_the_exact_flow_to_a_pixel(chosen, noisy):
    """3 % of m are a pixel of a picture in which a factor of ten is 80 pixels high."""
    found = theory.answer(chosen)
    modes = [Modes.of(1.0, 0.0, 0.0, 11), noisy]
    exact = finite_batch.flow(
        found.times,
        [0.01, 0.01],
        modes,
        batch_size=chosen.batch_size,
        learning_rate=chosen.settings().rate,
    )
    np.testing.assert_allclose(found.strengths, exact, rtol=0.03)
    other = finite_batch.flow(found.times, [0.01, 0.01], modes, batch_size=chosen.batch_size)
    assert np.abs(found.strengths / other - 1).max() > 0.05  # without the finite step


@pytest.mark.parametrize(
    ("chosen", "collapsed"),
    [
        (Setting(noise=1.4), 0),
        (Setting(noise=1.45), 8),
        (Setting(noise=2.0, views="two"), 0),
        (Setting(noise=2.0, noisy_dims=16), 16),
        (Setting(noise=2.0, noisy_dims=0), 0),
        (Setting(noise=2.0, loss="dot"), 0),
        (Setting(noise=1.45, depth=2), 8),
        (Setting(noise=1.0, data_exponent=1.0), 7),  # k^-1 / mean < 1/2 from the tenth on
        (Setting(noise=0.78, data_exponent=1.0), 1),
    ],
)
def test_it_says_how_many_dimensions_vanish(chosen, collapsed, monkeypatch):
    monkeypatch.setattr(finite_batch, "flow", lambda t, m, *_, **__: np.ones((len(t), len(m))))
    theory.answer.cache_clear()
    assert theory.answer(chosen).collapsed == collapsed
    theory.answer.cache_clear()


def test_where_noisy_modes_settle():
    one, two = theory.ends(Setting()), theory.ends(Setting(views="two"))
    assert one.threshold == pytest.approx(np.sqrt(2))
    assert np.isnan(two.threshold)
    assert np.all((one.infinite > 0) == (one.noise < one.threshold))
    at = int(np.argmin(np.abs(one.noise - 1.0)))
    assert one.finite[at] == late_time.settled(1.0, 1.0, clean_modes=8, noisy_modes=8)
    assert np.all(two.infinite > 0)
    uneven = theory.ends(Setting(data_exponent=1.0))
    assert uneven.threshold == pytest.approx(np.sqrt(2 * data.variances(16, 1.0)[8]))
    assert np.all((uneven.infinite > 0) == (uneven.noise < uneven.threshold))


def test_the_cloud_has_the_strengths_of_its_time():
    first, second = (views * np.sqrt([4.0, 0.25]) for views in theory.cloud(Setting(noise=0.5)))
    np.testing.assert_allclose(first.std(axis=0), [2.0, 0.5], rtol=0.15)
    assert np.all(first[:, 0] == second[:, 0])  # the clean coordinate
    np.testing.assert_allclose((second - first)[:, 1].std(), 0.25, rtol=0.15)


@pytest.fixture
def short(monkeypatch):
    """Of trainings that take a second."""
    monkeypatch.setattr(setting, "STEPS", 40)
    monkeypatch.setattr(setting, "SEEDS", 4)
    monkeypatch.setattr(setting, "PER_CHUNK", 2)
    return Setting(dim=4, noisy_dims=2, batch_size=16)


def test_the_runs_are_those_of_the_command(short, tmp_path):
    told = []
    training.train(short, tmp_path, told.append)
    assert [runs.sizes["run"] for runs in told] == [2, 2]
    settings = STUDY.parse(shlex.split(short.command())[3:])
    with jax.enable_x64(False):
        (sweep,) = STUDY.sweeps(settings, STUDY.engine(settings))
        asked = {point.name for point in sweep.points}  # of all that decides a run's numbers
    assert InFolder(tmp_path / "strong_aug.runs").held() == asked
    training.train(short, tmp_path, told.append)
    assert len(told) == 2  # nothing is trained twice


def test_what_is_warm_is_not_compiled_again(short, tmp_path, monkeypatch):
    compiled, vectorised = [], programs.vectorised
    monkeypatch.setattr(training, "_compiled", {})
    monkeypatch.setattr(
        programs, "vectorised", lambda *args: compiled.append(args) or vectorised(*args)
    )
    training.warm_up.cache_clear()  # type: ignore[attr-defined]
    thread = training.warm_up(short)
    assert training.warm_up(short) is thread
    thread.join(60)
    assert len(compiled) == 1
    for each in (short, replace(short, noise=0.5)):
        training.train(each, tmp_path, lambda runs: None)
    assert len(compiled) == 1
    training.train(replace(short, batch_size=8), tmp_path, lambda runs: None)
    assert len(compiled) == 2


@pytest.mark.slow
@pytest.mark.parametrize("changed", [{}, {"depth": 2, "data_exponent": 1.0, "learning_rate": 0.1}])
def test_what_is_saved_is_what_the_command_makes(changed, short, tmp_path):
    chosen = replace(short, **changed)
    page = results.load(training.save(chosen, tmp_path / "page"))
    words = shlex.split(chosen.command())[3:]
    done = console("run", "strong_aug", *words, "--out", tmp_path / "command")
    assert done.returncode == 0, done.stderr
    command = results.load(tmp_path / "command" / "strong_aug.nc")
    for name in ("weight_singular_values", "block_strength", "theory_block_strength"):
        np.testing.assert_allclose(page[name], command[name], rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("noisy_dims", [0, 8, 16])
def test_every_picture_can_be_drawn(noisy_dims):
    chosen = Setting(noisy_dims=noisy_dims, batch_size=8)
    answer = theory.answer(chosen)
    drawn(chosen, answer, None)


def drawn(chosen, answer, runs):
    """The four pictures, each of which is well-formed and without a number that is none."""
    pictures = (
        figure.in_time(answer, 0, runs),
        figure.embeddings(chosen, answer, theory.TIMES, play=True),
        figure.spectrum(chosen, answer, runs),
        figure.where(theory.ends(theory.at_any_noise(chosen)), chosen),
    )
    for picture in pictures:
        assert ElementTree.fromstring(picture).tag.endswith("svg")
        assert "nan" not in picture
    return pictures


@pytest.mark.parametrize("exponent", [0.0, 1.0])
def test_what_has_diverged_is_not_drawn_as_numbers(exponent, monkeypatch):
    monkeypatch.setattr(finite_batch, "flow", lambda t, m, *_, **__: np.ones((len(t), len(m))))
    theory.answer.cache_clear()
    chosen = Setting(data_exponent=exponent)
    answer = theory.answer(chosen)
    theory.answer.cache_clear()
    values = np.full((2, 3, 16), np.nan)
    values[0] = 1.0
    runs = xr.Dataset(
        {
            "weight_singular_values": (("run", "time", "mode"), values),
            "block_strength": (("run", "time", "block"), values[:, :, :2]),
        },
        coords={"time": [0.0, 1.0, 2.0]},
    )
    drawn(chosen, answer, runs)


def test_lines_and_dots_lie_where_their_values_are():
    plot = svg.Plot(svg.Scale(1.0, 100.0, True), svg.Scale(0.0, 2.0), "x", "y", "a < b")
    plot.line(np.array([1.0, 10.0, np.nan, 100.0]), np.array([0.0, 1.0, 1.0, 2.0]), "red")
    middle, top = (svg.LEFT + svg.RIGHT) / 2, svg.TOP
    line = f"M{svg.LEFT:.1f} {svg.BOTTOM:.1f}L{middle:.1f} {(top + svg.BOTTOM) / 2:.1f}"
    picture = plot.svg()
    assert f'd="{line}M{svg.RIGHT:.1f} {top:.1f}"' in picture
    assert "a &lt; b" in picture


def test_the_line_of_unequal_modes_and_layers_is_the_exact_flow():
    chosen = Setting(noise=1.0, depth=2, data_exponent=1.0, dim=2, noisy_dims=1)
    found = theory.answer(chosen)
    modes = [Modes.of(4 / 3, 0.0, 0.0, 1), Modes.of(2 / 3, 1.0, 0.0, 1)]
    exact = finite_batch.flow(
        found.times, [1e-4, 1e-4], modes, batch_size=128, depth=2, learning_rate=0.128
    )
    np.testing.assert_allclose(found.strengths, exact, rtol=0.02)


def test_where_the_theory_of_a_batch_size_takes_minutes_infinite_batches_are_drawn():
    chosen = Setting(noise=0.5, loss="dot", data_exponent=0.5, dim=4, noisy_dims=2)
    found = theory.answer(chosen)
    assert found.remark == theory.LIMIT_ONLY
    mode, t = found.groups[1], found.times
    end = found.settled[1]
    growth = 2 * 2 * mode.variance / 0.1  # of ln m, at first
    logistic = end / (1 + (end / 0.01 - 1) * np.exp(-growth * t))
    np.testing.assert_allclose(found.strengths[:, 1], logistic, rtol=1e-5)


def test_settings_out_of_range_are_named():
    with pytest.raises(BadInput, match="--batch-size 1 is not allowed"):
        theory.answer(replace(Setting(), batch_size=1))


def test_bad_flags_and_a_missing_library_end_in_one_sentence(monkeypatch):
    with pytest.raises(BadInput, match="--port 70000 is not allowed"):
        command.main(["--port", "70000"])
    monkeypatch.setattr(command.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"needs marimo: pip install 'linsim\[explore\]'"):
        command.main([])


def test_the_page_runs_without_a_browser(monkeypatch):
    pytest.importorskip("marimo", reason="the extra explore is not installed")
    monkeypatch.setattr(runtime, "configure_jax", lambda: None)  # this process has started it
    warmed = []
    monkeypatch.setattr(training, "warm_up", warmed.append)
    from linsim.explore.page import app

    outputs, defined = app.run()
    assert defined["setting"] == Setting()
    assert warmed == [Setting()]
    assert any("linsim run strong_aug" in getattr(each, "text", "") for each in outputs)
    page = defined["shown"].pictures(Setting(), defined["answer"], 0, None).text
    assert page.count("<img") == 4


@pytest.mark.parametrize("name", get_args(command.Page)[1:])
def test_every_guided_page_runs_without_a_browser(name, monkeypatch):
    """Its cells raise nothing, and its figures are well-formed."""
    pytest.importorskip("marimo", reason="the extra explore is not installed")
    monkeypatch.setattr(runtime, "configure_jax", lambda: None)  # this process has started it
    monkeypatch.setattr(lessons, "STEPS", 30)
    monkeypatch.setattr(lessons, "DIRECT_STEPS", 3)
    monkeypatch.setattr(finite_batch, "flow", lambda t, m, *_, **__: np.ones((len(t), len(m))))
    for cached in (theory.answer, lessons.two_layers, lessons.direct):
        cached.cache_clear()
    (app,) = (each for each in vars(notebook(name)).values() if type(each).__name__ == "App")
    outputs, _ = app.run()
    pictures = [found for each in outputs for found in IMAGE.findall(getattr(each, "text", ""))]
    assert len(pictures) >= 2
    for picture in pictures:
        assert ElementTree.fromstring(base64.b64decode(picture)).tag.endswith("svg")
    for cached in (theory.answer, lessons.two_layers, lessons.direct):
        cached.cache_clear()


IMAGE = re.compile('image/svg[+]xml;base64,([^"]+)')


def notebook(name):
    """The module of a page."""
    spec = importlib.util.spec_from_file_location(f"page_{name}", command.path_of(name))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_layers_align_from_a_small_start_under_different_noise():
    """And not otherwise; the numbers are those that `alignment` has of the same run."""
    lessons.two_layers.cache_clear()
    found = {each: lessons.two_layers(*each) for each in ((0.2, "graded"), (1.0, "graded"))}
    cosines = {each: np.abs(np.diagonal(two.alignment[-1])) for each, two in found.items()}
    small = found[0.2, "graded"]
    assert small.grown(-1) >= 6
    assert cosines[0.2, "graded"][: small.grown(-1)].min() > 0.85
    assert cosines[1.0, "graded"].max() < 0.8
    assert np.all(np.abs(np.diagonal(small.alignment, axis1=1, axis2=2)) > small.bound - 0.05)
    assert small.imbalance[0] < 0.1 * found[1.0, "graded"].imbalance[0]


@pytest.mark.parametrize("d0", [3, 10])
def test_directclr_trains_what_its_last_block_mixes(d0):
    none, linear, relu = (lessons.direct(d0, block) for block in ("none", "linear", "relu"))
    assert none.ranks() == (d0, d0)
    assert linear.ranks() == (d0, d0)
    assert relu.ranks() == (d0, 16)
    assert np.all((none.moved > 0) == (np.arange(16) < d0))
    assert linear.moved.min() > 0.1
    assert relu.moved.min() > 0.1


def small_page(monkeypatch):
    """The exported page of eight settings, and what it holds."""
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    page = export.exported(export.Grid((1.0, 2.0), (8, 32), (0.1,)))
    (content,) = re.findall(r"^const content = (.*);$", page, flags=re.MULTILINE)
    return page, json.loads(content)


def test_the_exported_page_holds_the_theory_and_nothing_from_elsewhere(monkeypatch):
    page, content = small_page(monkeypatch)
    last = Setting(noise=2.0, views="two", batch_size=32)
    found = 10 ** np.array(content["strengths"][-1])
    np.testing.assert_allclose(found, theory.answer(last).strengths.T, rtol=2e-3)
    assert content["collapsed"] == [0, 8, 0, 8, 0, 0, 0, 0]
    assert content["ends"]["two"]["threshold"] == [None]
    assert "http" not in page
    assert "NaN" not in page
