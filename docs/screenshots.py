"""Take the picture of the explorer that its page shows: `python docs/screenshots.py`.

Needs the extra `explore`, playwright (`pip install playwright`) and a Chromium on the path.
"""

import io
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

PICTURE = Path(__file__).with_name("_static") / "explorer.png"
COLOURS = 64  # which make the file a third as large


def main() -> None:
    """Open the explorer at a noise of 1.2, train its runs, and keep what is seen."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "linsim", "explore", "--no-browser"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder)
        try:
            assert server.stdout is not None
            found = (re.search(r"http://\S+", line) for line in server.stdout)
            address = next(each.group() for each in found if each)
            seen = screenshot(address)
        finally:
            server.terminate()
            server.wait()
    picture = Image.open(io.BytesIO(seen)).convert("RGB").quantize(COLOURS)
    picture.save(PICTURE, optimize=True)
    print(f"saved {PICTURE}, {PICTURE.stat().st_size / 1000:.0f} kB")


def screenshot(address: str) -> bytes:
    """The page at an address, after training."""
    with sync_playwright() as browsers:
        path = shutil.which("chromium") or shutil.which("google-chrome")
        browser = browsers.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 1330})
        page.goto(address)
        page.wait_for_selector("img", timeout=180_000)
        entry = page.locator('input[type="number"], input[inputmode]').first
        entry.fill("1.2")
        entry.press("Enter")
        page.get_by_text("--noise 1.2 ").wait_for(timeout=60_000)
        page.get_by_role("button", name="train 32 runs").click()
        page.get_by_role("button", name="save").click()  # which waits for the runs
        page.get_by_text("Saved").wait_for(timeout=300_000)
        page.evaluate("document.activeElement.blur()")
        page.locator("h1").scroll_into_view_if_needed()
        seen = page.screenshot()
        browser.close()
    return seen


if __name__ == "__main__":
    main()
