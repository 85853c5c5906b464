"""The listening dashboard as a process: found in the repository, started on this machine only, warmed up, ended."""

from __future__ import annotations

import getpass
import http.client
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tts_train.errors import Busy, ConfigError, Unavailable, UsageError
from tts_train.output import Serving, progress
from tts_train.signals import handled
from tts_train.workspace import Workspace, repository_root

ADDRESS = "127.0.0.1"
START_SECONDS = 120.0
WARM_SECONDS = 60.0
TOKEN = "TTS_TRAIN_SHARE_TOKEN"  # noqa: S105  the name of a variable
TOKEN_LENGTH = 16
_STOP_SECONDS = 10.0


def serve(workspace: Workspace, port: int, *, share: bool = False) -> Serving:
    """Start the dashboard over `workspace` on 127.0.0.1:`port` (0: any free port) and wait until it answers quickly.

    Raises Unavailable without the repository or when the server does not come up, Busy when the port is taken,
    UsageError for a share token that is too short.
    """
    server = server_file()
    port = free_port(port)
    environment = {**os.environ, "TTS_TRAIN_WORKSPACE": str(workspace.root)}
    token = share_token(environment) if share else None
    # Not asked for: a token that happens to be in the environment would only lock its owner out.
    environment.pop(TOKEN, None)
    if token:
        environment[TOKEN] = token
    command = [sys.executable, "-P", "-m", "streamlit", "run", str(server), *_options(port)]
    # A session of its own: Ctrl-C reaches this process, which then ends it in order.
    process = subprocess.Popen(
        command,
        cwd=server.parent,
        env=environment,
        stdin=subprocess.PIPE,  # closes with this process, however it ends: the server ends then as well
        stdout=subprocess.DEVNULL,  # a welcome with the address, before pages open quickly
        start_new_session=True,
    )
    try:
        _await_health(process, port, token)
        _warm_up(port, token)
    except BaseException:
        _end(process)
        raise
    url = f"http://{ADDRESS}:{port}"
    result = {
        "url": url,
        "workspace": str(workspace.root),
        "stop": "Ctrl-C or SIGTERM",
        "text": f"{url}  (Ctrl-C ends)",
    }
    if share:
        ssh = f"ssh -N -L {port}:{ADDRESS}:{port} {getpass.getuser()}@{socket.gethostname()}"
        result |= {"ssh": ssh, "text": f"{url}  (Ctrl-C ends)\nelsewhere: {ssh}\nthen open {url} and give the token"}
    return Serving(result, lambda: _until_stopped(process))


def dashboard_workspace(explicit: str | None, runs: str | None) -> Workspace:
    """Which workspace to show: `--runs` WORKSPACE/artifacts/tts, `--workspace`, or the one around this folder.

    When nobody named one and there is no run in it, that of the demo, if it was made. Raises ConfigError.
    """
    if runs is not None:
        folder = Path(runs).resolve()
        if folder.parts[-2:] != ("artifacts", "tts") or not folder.is_dir():
            raise ConfigError(
                f"{folder} is not a workspace's folder of runs",
                hint="--runs WORKSPACE/artifacts/tts, or --workspace WORKSPACE",
            )
        return Workspace.find(folder.parents[1])
    found = Workspace.find(explicit)
    root = repository_root()
    if explicit or "TTS_TRAIN_WORKSPACE" in os.environ or root is None or any(found.runs.glob("*/run.json")):
        return found
    demo = Workspace(root / "artifacts" / "demo")
    return demo if any(demo.runs.glob("*/run.json")) else found


def server_file() -> Path:
    """dashboard/server.py of the repository. Raises Unavailable when the skill was copied without it."""
    root = repository_root()
    path = root / "dashboard" / "server.py" if root else None
    if path is None or not path.is_file():
        hint = "clone the repository and start ./run.sh dashboard there; every other command works without it"
        raise Unavailable("the dashboard is in the repository, not in this copy of the skill", hint=hint)
    return path


def free_port(port: int) -> int:
    """`port`, or for 0 one that is free. Raises Busy when somebody listens there."""
    with socket.socket() as probe:
        # As servers do: connections that have just ended do not keep the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ADDRESS, port))
        except OSError as error:
            raise Busy(
                f"port {port} of {ADDRESS} is taken: {error.strerror}", hint="--port with another one"
            ) from error
        return int(probe.getsockname()[1])


def share_token(environment: dict[str, str]) -> str:
    """The token of the environment, or a new one that is told once, on stderr. Raises UsageError for a short one."""
    given = environment.get(TOKEN, "")
    if given:
        return checked_token(given, TOKEN, "or unset it to have one made")
    made = secrets.token_urlsafe(24)
    progress(f"token of this dashboard, shown only here: {made}")
    return made


def checked_token(given: str, place: str, otherwise: str = "such as openssl rand -hex 16 prints") -> str:
    """The token found at `place`. Raises UsageError when it could be guessed, or does not fit into a header."""
    if len(given) < TOKEN_LENGTH or not given.isascii() or not given.isprintable():
        hint = f"at least {TOKEN_LENGTH} printable ASCII characters, {otherwise}"
        raise UsageError(f"{place} is no good token", hint=hint)
    return given


def _options(port: int) -> Iterator[str]:
    """What must hold whatever a config.toml in the home folder says; the rest is in dashboard/.streamlit."""
    yield f"--server.address={ADDRESS}"
    yield f"--server.port={port}"
    yield "--server.headless=true"
    yield "--server.baseUrlPath="
    yield "--server.enableXsrfProtection=true"
    yield "--server.enableCORS=true"
    yield "--browser.gatherUsageStats=false"
    yield f"--browser.serverAddress={ADDRESS}"
    yield f"--browser.serverPort={port}"


def _await_health(process: subprocess.Popen[bytes], port: int, token: str | None) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _healthy(port, token):
        code = process.poll()
        if code is not None:
            raise Unavailable(f"the dashboard's server ended at its start (exit code {code})", hint="see stderr above")
        if time.monotonic() > deadline:
            raise Unavailable(f"the dashboard did not answer within {START_SECONDS:.0f} s", hint="see stderr above")
        time.sleep(0.1)


def _healthy(port: int, token: str | None) -> bool:
    connection = http.client.HTTPConnection(ADDRESS, port, timeout=5)
    try:
        connection.request("GET", "/_stcore/health", headers=_bearer(token))
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _warm_up(port: int, token: str | None) -> None:
    """Open the first page as a browser does, so that its listener is not the one who waits for imports."""
    from streamlit.proto.BackMsg_pb2 import BackMsg
    from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect
    from websockets.typing import Subprotocol

    started = time.monotonic()
    visit, answer = BackMsg(), ForwardMsg()
    visit.rerun_script.SetInParent()
    try:
        with connect(
            f"ws://{ADDRESS}:{port}/_stcore/stream",
            subprotocols=[Subprotocol("streamlit")],
            additional_headers=_bearer(token),
            max_size=None,
            proxy=None,
        ) as page:
            page.send(visit.SerializeToString())
            while answer.WhichOneof("type") != "script_finished":
                answer.ParseFromString(page.recv(WARM_SECONDS))
    except (OSError, WebSocketException) as error:
        raise Unavailable(f"the dashboard refused its first visit: {error}", hint="see stderr above") from error
    progress(f"dashboard: the first page took {time.monotonic() - started:.1f} s")


def _until_stopped(process: subprocess.Popen[bytes]) -> None:
    """Until this process is told to stop, which ends the server, or the server ends by itself (exit code 1)."""
    stop = threading.Event()
    with handled(lambda *_: stop.set()):
        while not stop.wait(0.5):
            if process.poll() is not None:
                progress(f"dashboard: the server ended by itself (exit code {process.returncode})")
                raise SystemExit(1)
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _bearer(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}
