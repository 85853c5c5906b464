"""How long does a listener wait? `python benchmarks/dashboard.py` in the dev environment, with Chromium
(README, "Benchmarks"). Minutes; about 1 GB of disk while it runs.

500 runs of 20 epochs are made up, 13 texts each, as long as those of the shipped probe, with pictures and word times.
Runs share their sounds on disk (hard links), not their addresses. Then Chromium opens the dashboard and, in the same
way, naive_page.py, and each is asked for:

* first: from the address to the verdict form, the page done, in a browser that knows nothing; the server has been
  started and has served its warm-up. Median of several.
* switch: from choosing another run, not seen before, until the page is done. Median and worst, and the server's CPU
  seconds in it.
* resident: the server's memory after all that.
* audio: what the browser fetched of it before anybody pressed play.

Everything runs on one machine, so the browser's work counts as well; the load average before it says how idle it was.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil
from playwright.sync_api import Browser, BrowserContext, Page, Response, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests/browser"))

from conftest import FLAGS, chromium
from finished_run import KEY, Story, make_run, workspace_in, write_measures
from tts_train.files import read_json, write_json
from tts_train.probe.material import MATCHED_VERSION
from tts_train.probe.render import weights_sha256
from tts_train.training.run import RunFolder
from tts_train.work.dashboard import free_port
from tts_train.workspace import Workspace, skill_root

EPOCHS = 20
RATE = 22050
SECONDS = {"passage": 27.0} | {f"text-{number}": 4.0 for number in range(12)}
"""Item → seconds, as the demo's voice speaks the shipped probe."""
WORDS = {"passage": 77} | dict.fromkeys((name for name in SECONDS if name != "passage"), 9)
NOTE_BYTES = 130_000
"""Of a measures.json of the demo: most of it is formants of every vowel."""
MEL_BYTES = {"passage": 220_000} | dict.fromkeys((name for name in SECONDS if name != "passage"), 38_000)
LONG = Story(
    tuple(0.62 + 0.01 * epoch for epoch in range(EPOCHS + 1)),
    tuple(1.6 - 0.02 * epoch for epoch in range(EPOCHS + 1)),
    (0.02,) * (EPOCHS + 1),
    {"lr": 4e-5, "epochs": EPOCHS},
)
DONE = "document.querySelector('[data-testid=stApp]')?.dataset.testScriptState === 'notRunning'"
FORM = "[...document.querySelectorAll('button')].some(button => button.innerText.includes('Save verdict'))"


def make_runs(workspace: Workspace, runs: int) -> list[str]:
    """`runs` runs, the first of them written, the others linked to it. Returns their names."""
    first = _first_run(workspace)
    for number in range(1, runs):
        _linked(first.path, workspace.runs / f"run-{number:04d}")
    return [f"run-{number:04d}" for number in range(runs)]


@dataclass
class Candidate:
    """A page to be measured; `shown(run)` is JavaScript: is the page about that run?"""

    url: str
    server: psutil.Process
    ready: float
    shown: Callable[[str], str]
    firsts: list[float] = field(default_factory=list)
    switches: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    audio: list[int] = field(default_factory=list)

    def visit(self, browser: Browser, run: str) -> BrowserContext:
        """Open the page in a browser that knows nothing, and let it come to rest."""
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        page = context.new_page()
        fetched: list[int] = []
        page.on("response", lambda answer: fetched.append(_audio_bytes(answer)))
        started = time.perf_counter()
        page.goto(f"{self.url}/?run={run}")
        self._await(page, run)
        self.firsts.append(time.perf_counter() - started)
        page.wait_for_timeout(2000)
        self.audio.append(sum(fetched))
        return context

    def switch(self, page: Page, run: str) -> None:
        box = page.get_by_role("combobox", name="Run")
        box.click()
        box.fill(run)
        page.get_by_role("option", name=run).first.wait_for()
        before, started = self._cpu(), time.perf_counter()
        page.keyboard.press("Enter")
        self._await(page, run)
        self.switches.append(time.perf_counter() - started)
        self.busy.append(self._cpu() - before)

    def result(self) -> dict[str, Any]:
        return {
            "ready_seconds": round(self.ready, 1),
            "first_seconds": round(median(self.firsts), 2),
            "switch_seconds": round(median(self.switches), 2),
            "switch_worst_seconds": round(max(self.switches), 2),
            "switch_server_cpu_seconds": round(median(self.busy), 2),
            "audio_megabytes_before_play": round(median(self.audio) / 1e6, 1),
            "resident_megabytes": round(self.server.memory_info().rss / 1e6),
        }

    def _await(self, page: Page, run: str) -> None:
        page.wait_for_function(f"{self.shown(run)} && {DONE} && {FORM}", timeout=60_000)

    def _cpu(self) -> float:
        times = self.server.cpu_times()
        return times.user + times.system


def _audio_bytes(answer: Response) -> int:
    return int(answer.headers.get("content-length", 0)) if "audio" in answer.headers.get("content-type", "") else 0


@contextmanager
def ours(workspace: Workspace) -> Iterator[tuple[str, psutil.Process, float]]:
    """The dashboard as it is started by people: address, server process, seconds until it was ready."""
    command = [sys.executable, "-P", str(skill_root() / "scripts/dashboard.py"), "--port", "0"]
    started = time.perf_counter()
    process = subprocess.Popen([*command, "--workspace", str(workspace.root)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    answer = json.loads(process.stdout.readline())
    ready = time.perf_counter() - started
    try:
        yield answer["result"]["url"], psutil.Process(process.pid).children()[0], ready
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def naive(workspace: Workspace) -> Iterator[tuple[str, psutil.Process, float]]:
    port = free_port(0)
    page = Path(__file__).with_name("naive_page.py")
    options = [f"--server.port={port}", "--server.address=127.0.0.1", "--server.headless=true"]
    options += ["--server.fileWatcherType=none", "--browser.gatherUsageStats=false"]
    environment = {**os.environ, "TTS_TRAIN_WORKSPACE": str(workspace.root)}
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "streamlit", "run", str(page), *options], env=environment, stdout=sys.stderr
    )
    try:
        while not any(at.status == psutil.CONN_LISTEN for at in psutil.Process(process.pid).net_connections("inet")):
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}", psutil.Process(process.pid), time.perf_counter() - started
    finally:
        process.terminate()
        process.wait(30)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--switches", type=int, default=12)
    parser.add_argument("--visits", type=int, default=3)
    given = parser.parse_args()
    program = chromium()
    assert program, "no Chromium: apt-get install -y --no-install-recommends chromium"
    with (
        tempfile.TemporaryDirectory(prefix="tts-train-bench-") as folder,
        sync_playwright() as playwright,
        ExitStack() as stack,
    ):
        workspace = workspace_in(Path(folder))
        names = make_runs(workspace, given.runs)[: given.switches + 1]
        browser = stack.enter_context(playwright.chromium.launch(executable_path=program, headless=True, args=FLAGS))
        load = round(os.getloadavg()[0], 1)
        pages = {
            "dashboard": Candidate(*stack.enter_context(ours(workspace)), _on_our_page),
            "naive": Candidate(*stack.enter_context(naive(workspace)), _on_naive_page),
        }
        pages["naive"].visit(browser, names[0]).close()  # the dashboard's start has done the same
        pages["naive"].firsts.clear()
        # In turns: what else the machine does then slows both down.
        for _ in range(given.visits):
            for page in pages.values():
                page.visit(browser, names[0]).close()
        opened = {name: page.visit(browser, names[0]).pages[0] for name, page in pages.items()}
        for run in names[1:]:
            for name, page in pages.items():
                page.switch(opened[name], run)
        result = {name: page.result() for name, page in pages.items()}
        print(json.dumps({"runs": given.runs, "epochs": EPOCHS, "load_average": load, **result}))
    return 0


def _on_our_page(run: str) -> str:
    return f"document.querySelector('.st-key-review_item-{run}') !== null"


def _on_naive_page(run: str) -> str:
    return f"document.querySelector('output')?.innerText === '{run}'"


def _first_run(workspace: Workspace) -> RunFolder:
    run = make_run(workspace, "run-0000", LONG)
    made = np.random.default_rng(1)
    write_json(
        run.path / "renders" / KEY / "key.json", {"texts": {name: _text(name) for name in SECONDS}, "seeds": [0]}
    )
    for source in ("target", *(f"epoch-{number:03d}" for number in range(EPOCHS + 1))):
        place = run.path / "renders" / KEY / source
        items = [_item(place, name, made) for name in SECONDS]
        padding = [round(value, 6) for value in made.random(NOTE_BYTES // 10)]
        if source == "target":
            write_json(place / "measures.json", {"items": items, "vowels": padding})
            continue
        number = int(source[-3:])
        write_measures(run, number, LONG, items=items, vowels=padding)
        spoken = [{"id": item["id"], "seed": 0, "sha256": item["matched"]["source_sha256"]} for item in items]
        weights = weights_sha256(run, run.epoch(number))
        write_json(place / "render.json", {"epoch": number, "weights_sha256": weights, "items": spoken})
    return run


def _text(item: str) -> str:
    return " ".join(f"word{number}" for number in range(WORDS[item])) + "."


def _item(place: Path, item: str, made: np.random.Generator) -> dict[str, Any]:
    """One text as a source spoke it: noise in bursts, pictures of the usual size, words one after another."""
    seconds = SECONDS[item] * made.uniform(0.9, 1.1)
    path = place / "matched" / f"{item}.wav"
    path.parent.mkdir(parents=True, exist_ok=True)
    sound = made.standard_normal(int(seconds * RATE)) * 1500
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(sound.astype("<i2").tobytes())
    pictures = {"mel": f"{item}.mel.png", "waveform": f"{item}.waveform.png"}
    (place / pictures["mel"]).write_bytes(_picture(MEL_BYTES[item], made))
    (place / pictures["waveform"]).write_bytes(_picture(1000, made))
    each = seconds / WORDS[item]
    words = [
        {"word": f"word{number}", "start": round(number * each, 3), "end": round((number + 1) * each, 3)}
        for number in range(WORDS[item])
    ]
    copy = {
        "file": f"matched/{item}.wav",
        "version": MATCHED_VERSION,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "source_sha256": hashlib.sha256(str(path).encode()).hexdigest(),
        "gain_db": 0.0,
        "audio_seconds": seconds,
        "trimmed_start_seconds": 0.0,
    }
    return {"id": item, "seed": 0, "words": words, "matched": copy, "pictures": pictures}


def _picture(size: int, made: np.random.Generator) -> bytes:
    """A PNG of about `size` bytes: grey noise does not compress."""
    import struct
    import zlib

    width = 400
    rows = made.integers(0, 256, (max(1, size // width), width + 1), dtype=np.uint8)
    rows[:, 0] = 0
    head = struct.pack(">IIBBBBB", width, len(rows), 8, 0, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(rows.tobytes(), 1)), (b"IEND", b""))
    chunks = (
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _linked(source: Path, target: Path) -> None:
    """`source` again under another name: the same files, run.json and status.json its own."""
    for folder, _, files in os.walk(source):
        place = target / Path(folder).relative_to(source)
        place.mkdir(parents=True, exist_ok=True)
        for name in files:
            if place == target and name in ("run.json", "status.json"):
                told = read_json(Path(folder) / name)
                write_json(place / name, json.loads(json.dumps(told).replace(source.name, target.name)))
            else:
                os.link(Path(folder) / name, place / name)


if __name__ == "__main__":
    sys.exit(main())
