"""The explorer's pages in a browser, where there is one: every control, training, hostile use."""

import base64
import contextlib
import re
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from helpers import console

from linsim.explore import command, export, figure, theory
from linsim.explore.setting import Setting
from linsim.sweeps import results


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
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    page = export.exported(export.Grid((1.0, 2.0), (8, 32), (0.1,)))
    (tmp_path / "page.html").write_text(page)
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
