"""The explorer: what it answers, what it trains, and the page in a browser where there is one."""

import base64
import contextlib
import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import sys
import time
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
    first, second = theory.cloud(Setting(noise=0.5), np.array([4.0, 0.25]))
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


def chromium():
    """Playwright's interface and the browser that it drives, or the test is skipped."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("there is no Chromium")
    return api, found


@pytest.mark.slow
def test_the_exported_page_in_a_browser(tmp_path, monkeypatch):
    api, executable = chromium()
    (tmp_path / "page.html").write_text(small_page(monkeypatch)[0])
    with api.sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        page, errors, asked = browser.new_page(), [], []
        page.on("pageerror", lambda error: errors.append(error))
        page.on("request", lambda request: asked.append(request.url))
        page.goto((tmp_path / "page.html").as_uri())
        assert page.inner_text("#fate") == "8 dimensions vanish"
        before = page.inner_html("#strengths")
        page.locator("#noise").fill("0")
        assert page.inner_text("#fate") == "no dimension vanishes"
        assert page.inner_html("#strengths") != before
        page.locator("#noise").fill("1")
        page.get_by_label("views").select_option(index=1)
        assert page.inner_text("#fate") == "no dimension vanishes"
        assert "--noise 2 --views two --batch-size 32" in page.inner_text("#command")
        assert not errors
        assert len(asked) == 1
        browser.close()


@contextlib.contextmanager
def served(out, *words):
    """The address of a server that runs inside."""
    pytest.importorskip("marimo", reason="the extra explore is not installed")
    command = [sys.executable, "-m", "linsim", "explore", *words, "--no-browser", "--out", str(out)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield next(
            found.group() for line in server.stdout if (found := re.search(r"http://\S+", line))
        )
    finally:
        server.terminate()
        _, said = server.communicate(timeout=30)
        assert "Traceback" not in said


class Browser:
    """A browser whose pages note errors of their console, and what they ask of other hosts."""

    def __init__(self, api, executable):
        self.playwright = api.sync_playwright()
        self.executable = executable
        self.errors, self.elsewhere = [], []

    def __enter__(self):
        browsers = self.playwright.__enter__()
        self.browser = browsers.chromium.launch(
            executable_path=self.executable, args=["--no-sandbox"]
        )
        return self

    def __exit__(self, *failed):
        self.browser.close()
        self.playwright.__exit__(*failed)

    def open(self, address, **options):
        """A page of an address, whose first picture is there."""
        page = self.browser.new_page(**options)
        own = address.split("?")[0].rstrip("/")
        allowed = (own, "data:", "blob:", own.replace("http", "ws"))
        page.on("request", lambda r: r.url.startswith(allowed) or self.elsewhere.append(r.url))
        page.on("console", lambda m: m.type == "error" and self.errors.append(m.text))
        page.goto(address)
        page.wait_for_selector("img", timeout=180_000)
        return page


@pytest.fixture
def browser():
    with Browser(*chromium()) as opened:
        yield opened


def picture(page, alt="strengths in time"):
    """A picture of a page, as it is now."""
    return page.get_attribute(f'img[alt="{alt}"]', "src")


def changes(page, act, alt="strengths in time"):
    """Act, and wait until the picture is another."""
    before, end = picture(page, alt), time.monotonic() + 120
    act()
    while picture(page, alt) == before:
        assert time.monotonic() < end, "the picture did not change"
        page.wait_for_timeout(50)


def shows(page, chosen):
    """Wait until a page shows a setting: its command, and its picture to the last bit."""
    page.get_by_text(chosen.command(), exact=True).wait_for(timeout=120_000)
    drawn = figure.in_time(theory.answer(chosen), theory.TIMES, None)
    meant = base64.b64encode(drawn.encode()).decode()
    page.wait_for_selector(f'img[alt="strengths in time"][src$="{meant[-200:]}"]', timeout=120_000)
    assert picture(page).endswith(meant)
    assert "Traceback" not in page.content()


@pytest.mark.slow
def test_the_page_in_a_browser(tmp_path, browser):
    """Every control changes the picture; training draws runs; what is saved, the command that the
    page shows makes too; nothing is asked of another host.
    """
    with served(tmp_path) as address:
        own = address.split("?")[0]
        stranger = browser.browser.new_page()
        stranger.goto(own)
        assert "access_token" not in stranger.url
        assert stranger.query_selector("img") is None
        page = browser.open(address)
        page.on("dialog", lambda dialog: dialog.dismiss())
        sliders = page.get_by_role("slider")
        for control, key in enumerate(["Left"] * 5 + ["Right"] * 2 + ["Left"]):
            sliders.nth(control).focus()
            changes(page, lambda key=key: page.keyboard.press(f"Arrow{key}"))
        shown = Setting(noise=1.95, noisy_dims=7, batch_size=64, init_scale=0.03, depth=2)
        shown = replace(shown, data_exponent=0.25).paced(0.5)
        page.get_by_text(shown.command(), exact=True).wait_for(timeout=60_000)
        for control in (5, 6):
            sliders.nth(control).focus()
            changes(page, lambda: page.keyboard.press("ArrowLeft"))
        changes(page, lambda: page.get_by_role("button", name="train 32 runs").click())
        page.get_by_role("button", name="save").click()
        page.get_by_text("Saved").wait_for(timeout=240_000)
        words = shlex.split(page.locator("code", has_text="linsim run").inner_text())
    assert words[:3] == ["linsim", "run", "strong_aug"]
    assert not browser.elsewhere
    assert not browser.errors
    done = console(*words[1:], "--out", tmp_path / "command")
    assert done.returncode == 0, done.stderr
    saved, made = (results.load(at / "strong_aug.nc") for at in (tmp_path, tmp_path / "command"))
    for name in ("weight_singular_values", "block_strength", "theory_block_strength"):
        np.testing.assert_allclose(saved[name], made[name], rtol=1e-6, err_msg=name)


@pytest.mark.slow
def test_hostile_use_leaves_the_page_right(tmp_path, browser):
    """Dragging without pause, bad numbers, two tabs, a server that is killed and started again."""
    with served(tmp_path) as address:
        page = browser.open(address)
        page.get_by_role("slider").first.focus()
        for key in ["ArrowLeft"] * 30 + ["ArrowRight"] * 21 + ["ArrowLeft"] * 15:
            page.keyboard.press(key)
        shows(page, Setting(noise=0.8))
        entry = page.locator('input[type="number"], input[inputmode]').first
        for typed, kept in (("abc", 0.8), ("-5", 0.0), ("1e99", 3.0), ("1.25", 1.25)):
            entry.fill("")
            entry.press_sequentially(typed)
            entry.press("Enter")
            entry.blur()
            if typed == "1.25":
                shows(page, Setting(noise=kept))
            page.wait_for_timeout(500)
            assert "Traceback" not in page.content()
        other = browser.open(address)
        shows(other, Setting())
        other.get_by_role("slider").first.focus()
        other.keyboard.press("ArrowRight")
        shows(other, Setting(noise=2.05))
        shows(page, Setting(noise=1.25))
        for each in (page, other):
            each.get_by_role("button", name="train 32 runs").click()
    for each in (page, other):  # whose server is gone
        each.wait_for_timeout(1000)
        assert picture(each)
        assert "Traceback" not in each.content()
        each.close()
    with served(tmp_path) as address:
        shows(browser.open(address), Setting())
    assert not browser.elsewhere


@pytest.mark.slow
def test_the_film_plays_unless_less_motion_is_asked_for(tmp_path, browser):
    with served(tmp_path) as address:
        for motion, moves in (("no-preference", True), ("reduce", False)):
            page = browser.open(address, reduced_motion=motion)
            alt = "cloud of embeddings"
            changes(page, page.get_by_role("button", name="play").click, alt)
            cloud = page.locator(f'img[alt="{alt}"]')
            frames = []
            for _ in range(3):
                frames.append(cloud.screenshot())
                page.wait_for_timeout(1000)
            assert (len(set(frames)) > 1) == moves
            page.close()


@pytest.mark.slow
@pytest.mark.parametrize("width", [400, 1440])
@pytest.mark.parametrize("name", get_args(command.Page))
def test_pages_fit_phone_and_desk(name, width, tmp_path, browser):
    with served(tmp_path, name) as address:
        page = browser.open(address, viewport={"width": width, "height": 900})
        page.wait_for_timeout(1000)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for image in page.locator("img").all():
            box = image.bounding_box()
            assert box is not None
            assert 300 < box["width"] <= width
    assert not browser.elsewhere
    assert not browser.errors
