"""Writes docs/images: the dashboard on a finished demo. `python docs/make_screenshots.py DEMO` in the dev environment.

DEMO is the folder of a finished `run.sh demo`. Needs Chromium, as the tests of the dashboard do.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
SHOTS = {
    "review": ("?run={run}&listener=ann", "light", "section.ttp[data-ready]"),
    "vowels": ("runs?run={run}&part=Vowels", "dark", "canvas, svg.marks"),
}
"""Name → address, colour scheme, and what is there once the page is."""
COLOURS = 64
"""Enough for a page, and a third of the bytes."""


@contextmanager
def dashboard(workspace: Path) -> Iterator[str]:
    """The address of a dashboard that runs as long as the block."""
    command = [ROOT / "run.sh", "dashboard", "--port", "0", "--workspace", workspace]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["result"]["url"]
        finally:
            process.terminate()


def shoot(page: Page, address: str, ready: str, path: Path) -> None:
    page.goto(address)
    page.locator(ready).first.wait_for()
    page.wait_for_load_state("networkidle")
    page.locator("[data-testid=stStatusWidget]").wait_for(state="detached")
    picture = Image.open(BytesIO(page.screenshot()))
    picture.convert("RGB").quantize(COLOURS).save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("demo", type=Path)
    parser.add_argument("--run", default="demo-constant")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/images")
    parser.add_argument("--width", type=int, default=1280)
    chosen = parser.parse_args()
    chosen.out.mkdir(exist_ok=True)
    with dashboard(chosen.demo.resolve()) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, (address, scheme, ready) in SHOTS.items():
            page = browser.new_page(viewport={"width": chosen.width, "height": 860}, color_scheme=scheme)
            place = f"{url.rstrip('/')}/{address.format(run=chosen.run)}"
            shoot(page, place, ready, chosen.out / f"{name}.png")


if __name__ == "__main__":
    main()
