"""Start and end of the server: the address, the token, the loop in its thread, and what a signal does."""

from __future__ import annotations

import asyncio
import concurrent.futures
import ipaddress
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import uvicorn

from tts_train import jobs
from tts_train.dataset import NO_CONSENT
from tts_train.errors import Busy, UsageError
from tts_train.output import Serving, progress
from tts_train.serve import TOKEN
from tts_train.serve.app import application
from tts_train.serve.front import Front, Limits
from tts_train.serve.process import WORKER
from tts_train.serve.voices import Voice
from tts_train.signals import handled
from tts_train.work.dashboard import checked_token
from tts_train.work.speak import sharing_warnings
from tts_train.work.watermark import NAME

_CONNECTIONS = 512
"""At the same time; more are told 503 by the server itself."""


def serve(
    voices: Mapping[str, Voice], host: str, port: int, *, token: str | None, limits: Limits, watermark: bool = False
) -> Serving:
    """The command's server, ready; see `started`."""
    server = started(voices, host, port, token=token, limits=limits, watermark=watermark)
    refused = any(voice.consent_basis == NO_CONSENT for voice in voices.values())
    result = {
        "url": server.url,
        "speech": f"{server.url}/v1/audio/speech",
        "voices": list(voices),
        "token": token is not None,
        "watermark": NAME if watermark else None,
        "stop": "Ctrl-C or SIGTERM: requests in flight are finished first",
        **sharing_warnings(NO_CONSENT if refused else None),
        "text": f"{server.url}  speaks as {', '.join(voices)} (Ctrl-C ends)",
    }
    return Serving(result, server.until_stopped)


def started(
    voices: Mapping[str, Voice],
    host: str,
    port: int,
    *,
    token: str | None,
    limits: Limits,
    watermark: bool = False,
    command: Callable[[str], Sequence[str]] = lambda environment: jobs.worker_command(environment, WORKER),
) -> Server:
    """Listen on `host`:`port` (0: any free port) once every worker is ready and `limits.keep` voices are loaded.

    `watermark` marks all that is said; `command` is what starts an environment's worker. Raises UsageError for an
    address beyond this machine without a token, Busy when the port is taken, and whatever kept a worker or a voice
    from being loaded.
    """
    if token is None and not is_loopback(host):
        hint = f"set {TOKEN}, or --token-file FILE; or listen on 127.0.0.1 and come by ssh -L"
        raise UsageError(f"{host} can be reached from other machines, and there is no token", hint=hint)
    opened = listening_socket(host, port)
    server = Server(Front(voices, limits, command, watermark=watermark), token, opened)
    try:
        server.start()
    except BaseException:
        server.stop()
        raise
    return server


def token_of(environment: Mapping[str, str], file: Path | None) -> str | None:
    """The token of the file, else of the environment; None: there is none. Raises UsageError for a poor one."""
    if file is not None:
        return checked_token(file.read_text(encoding="utf-8", errors="replace").strip(), str(file))
    given = environment.get(TOKEN, "")
    return checked_token(given, TOKEN) if given else None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address. A name other than localhost may mean anything."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listening_socket(host: str, port: int) -> socket.socket:
    """Bound and listening: whoever is told the address can connect. Raises Busy, UsageError for no address."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise UsageError(f"'{host}' is no address: {error.strerror}", hint="--host 127.0.0.1, or 0.0.0.0") from error
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(_CONNECTIONS)
    except OSError as error:
        opened.close()
        raise Busy(f"port {port} of {host} cannot be had: {error.strerror}", hint="--port with another one") from error
    return opened


class Server:
    """The event loop in a thread of its own, so that the main thread is there for signals."""

    def __init__(self, front: Front, token: str | None, opened: socket.socket) -> None:
        self._front = front
        self._socket = opened
        host, port = opened.getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._ready: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread = threading.Thread(target=self._run, name="serve", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        config = uvicorn.Config(
            application(front, token),
            http="h11",
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_level="error",
            access_log=False,
            server_header=False,
            limit_concurrency=_CONNECTIONS,
            timeout_graceful_shutdown=int(front.limits.seconds) + 1,
        )
        self._uvicorn = uvicorn.Server(config)

    def start(self) -> None:
        """Returns when voices are loaded and requests are answered. Raises what kept it from that."""
        self._thread.start()
        self._ready.result()

    def until_stopped(self) -> None:
        """Until a signal comes and requests in flight are finished; a second signal does not wait for them."""
        stop = threading.Event()
        with handled(lambda *_: stop.set()):
            while not stop.wait(0.5):
                if not self._thread.is_alive():
                    progress("serve: the server ended by itself")
                    raise SystemExit(1)
            stop.clear()
            progress(f"serve: stopping; {self._front.in_flight} requests are finished first (again: at once)")
            self._front.draining = True
            self._uvicorn.should_exit = True
            while self._thread.is_alive():
                if stop.wait(0.1):
                    self._uvicorn.force_exit = True
                self._thread.join(0.1)

    def stop(self) -> None:
        """End at once, whatever is in flight."""
        self._uvicorn.should_exit = self._uvicorn.force_exit = True
        if not self._ready.done() and self._loop and self._task:
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        failure: BaseException | None = None
        try:
            await self._front.start()
            self._ready.set_result(None)
            await self._uvicorn.serve(sockets=[self._socket])
        except BaseException as error:  # noqa: BLE001  workers are ended first
            failure = error
        self._socket.close()
        await self._front.close()
        if not self._ready.done():
            self._ready.set_exception(failure or asyncio.CancelledError())
        elif failure and not isinstance(failure, asyncio.CancelledError):
            raise failure
