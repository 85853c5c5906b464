"""Speech servers whose voices hum, for tests of the front: real processes, real sockets, no model."""

from __future__ import annotations

import http.client
import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tts_train.backends import BACKENDS
from tts_train.output import Serving
from tts_train.serve.command import Server, serve, started
from tts_train.serve.front import Limits
from tts_train.serve.voices import Voice

TESTS = Path(__file__).parent


def voice(name: str, family: str = "piper", **facts: Any) -> Voice:
    knobs = dict(BACKENDS[family].knobs)
    return Voice(name, family, f"{name}.base", None, {"language": "en", **facts}, 1, knobs, 0, "0" * 64, True)


def hums(folder: Path) -> list[str]:
    return [sys.executable, "-P", str(TESTS / "humming_worker.py"), str(folder / "hums.txt")]


@contextmanager
def humming(folder: Path, *voices: Voice, token: str | None = None, **limits: Any) -> Iterator[Server]:
    """A server that is ended with the block; what its workers note is in `noted(folder)`."""
    named = {voice.name: voice for voice in voices}
    server = started(named, "127.0.0.1", 0, token=token, limits=Limits(**limits), command=lambda _: hums(folder))
    try:
        yield server
    finally:
        server.stop()


def noted(folder: Path) -> list[str]:
    path = folder / "hums.txt"
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def until_noted(folder: Path, line: str, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while line not in noted(folder):
        assert time.monotonic() < deadline, (line, noted(folder))
        time.sleep(0.01)


def ask(
    url: str,
    method: str,
    path: str,
    body: Mapping[str, Any] | bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """One request on a connection of its own: status, headers, body."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=30)
    data = json.dumps(body).encode() if isinstance(body, Mapping) else body
    try:
        connection.request(method, path, data, {"Content-Type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def main(folder: Path) -> None:
    """A command of its own, for what signals do to it."""
    import click

    from tts_train import jobs
    from tts_train.output import run_command

    jobs.worker_command = lambda _environment, _function: hums(folder)

    @click.command("serve")
    def command() -> Serving:
        return serve({"ann": voice("ann")}, "127.0.0.1", 0, token=None, limits=Limits())

    run_command(command, [])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
