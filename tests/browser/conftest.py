"""A real browser. A missing one fails: a page that nobody opened is not tested.

`visit` opens pages that are watched: an error on the console, an uncaught exception or a request to anywhere but the
page's own origin fails the test at its end.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parents[1] / "dashboard"))

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync", "--mute-audio"]
PATIENCE = 15_000
"""Milliseconds for a page to get where it should: a machine under load is slow, not wrong."""
expect.set_options(timeout=PATIENCE)


@dataclass
class Watched:
    """What a page did besides its work."""

    page: Page
    own: tuple[str, ...]
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    allowed: tuple[str, ...] = ()
    """Parts of console errors that the test provokes."""

    def strangers(self) -> list[str]:
        """Requests that left the page's origin."""
        return [url for url in self.requests if not url.startswith((*self.own, "data:", "blob:"))]

    def unexpected(self) -> list[str]:
        return [error for error in self.errors if not any(part in error for part in self.allowed)]


def is_complaint(said: ConsoleMessage) -> bool:
    """Whether a line of the console is an error or a warning.

    On an address with a path Streamlit's page looks for its server there first, and Chromium reports what it misses.
    """
    looked = re.search(r"/[a-z]+/_stcore/(health|host-config)$", said.location.get("url", ""))
    return said.type in ("error", "warning") and not looked


def chromium() -> str | None:
    """The browser that tests and benchmarks drive."""
    return os.environ.get("TTS_TRAIN_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = chromium()
    if not program:
        pytest.fail("no Chromium: apt-get install -y --no-install-recommends chromium, or set TTS_TRAIN_CHROMIUM")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, headless=True, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="session")
def warm(browser: Browser) -> BrowserContext:
    """A context that has Streamlit's scripts compiled: a page costs 0.6 s of CPU instead of 1.9 s."""
    return browser.new_context()


def forget(page: Page, origin: str) -> None:
    """What a page left in the browser's storage, but for its cache."""
    if page.is_closed():
        page = page.context.new_page()
    stored = {"origin": origin, "storageTypes": "cookies,local_storage,indexeddb"}
    page.context.new_cdp_session(page).send("Storage.clearDataForOrigin", stored)
    page.close()


@pytest.fixture
def visit(browser: Browser, warm: BrowserContext) -> Iterator[Callable[..., Watched]]:
    """visit(url, width=1280, scheme="light", init="", ...) opens a page; a second one in a context of its own."""
    opened: list[tuple[BrowserContext, Watched]] = []

    def open_page(url: str, *, width: int = 1280, scheme: str = "light", init: str = "", **context: object) -> Watched:
        parts = urlsplit(url)
        made = warm if parts.scheme == "http" and not opened and not context else browser.new_context(**context)
        page = made.new_page()
        page.set_default_timeout(PATIENCE)
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        own = ("file://",) if parts.scheme == "file" else (f"{parts.scheme}://{parts.netloc}/", f"ws://{parts.netloc}/")
        watched = Watched(page, own)
        opened.append((made, watched))
        page.on("console", lambda said: watched.errors.append(said.text) if is_complaint(said) else None)
        page.on("pageerror", lambda error: watched.errors.append(str(error)))
        page.on("request", lambda request: watched.requests.append(request.url))
        page.on("websocket", lambda socket: watched.requests.append(socket.url))
        page.add_init_script((HERE / "recorder.js").read_text() + init)
        page.goto(url)
        return watched

    yield open_page
    for made, watched in opened:
        if made is warm:
            forget(watched.page, watched.own[0].rstrip("/"))
        else:
            made.close()
    assert [watched.unexpected() for _, watched in opened] == [[] for _ in opened]
    assert [watched.strangers() for _, watched in opened] == [[] for _ in opened]


@pytest.fixture
def serve() -> Iterator[Callable[[Mapping[str, tuple[str, bytes]]], str]]:
    """serve({path: (type, bytes)}) answers on 127.0.0.1; returns the address. Paths in `held` wait for their event."""
    servers: list[ThreadingHTTPServer] = []

    def start(files: Mapping[str, tuple[str, bytes]], held: Mapping[str, threading.Event] | None = None) -> str:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                path = urlsplit(self.path).path.lstrip("/")
                if held and path in held:
                    held[path].wait(30)
                kind, body = files.get(path, ("text/plain", b"" if path == "favicon.ico" else b"nothing here"))
                self.send_response(200 if path in files or path == "favicon.ico" else 404)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@dataclass
class Served:
    """A dashboard that runs: its address, process id, the workspace it shows, and what it said until now."""

    url: str
    pid: int
    log: Path

    def said(self) -> str:
        return self.log.read_text(errors="replace")


@pytest.fixture(scope="session")
def dashboards(tmp_path_factory) -> Iterator[Callable[..., Served]]:
    """dashboards(workspace, "--share", **environment) starts the real server; its traceback fails the session."""
    running: list[tuple[subprocess.Popen[str], Served]] = []

    def start(workspace: Path, *options: str, **environment: str) -> Served:
        log = tmp_path_factory.mktemp("dashboard") / "log.txt"
        script = HERE.parents[1] / ".agent/skills/tts-train/scripts/dashboard.py"
        command = [sys.executable, "-P", str(script), "--port", "0", "--workspace", str(workspace), *options]
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=stderr, env={**os.environ, **environment}, text=True
            )
        assert process.stdout
        with process.stdout:
            line = process.stdout.readline()
        served = Served("", process.pid, log)
        running.append((process, served))
        assert line, f"the dashboard does not start:\n{served.said()}"
        answer = json.loads(line)
        assert answer["ok"], f"{line}\n{served.said()}"
        served.url = answer["result"]["url"]
        return served

    yield start
    for process, _ in running:
        process.terminate()
    assert [process.wait(30) for process, _ in running] == [0] * len(running)
    assert [served.said() for _, served in running if "Traceback" in served.said()] == []


@pytest.fixture
def dashboard(dashboards) -> Callable[[Path], str]:
    """dashboard(workspace) starts the real server over a workspace's folder and returns its address."""
    return lambda workspace: dashboards(Path(workspace)).url
