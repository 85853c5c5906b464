"""The routes: POST /v1/audio/speech as OpenAI's clients send it, what may be asked for, health and numbers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tts_train.errors import TtsTrainError
from tts_train.output import progress
from tts_train.serve import page
from tts_train.serve.answers import LEFT, Streamed, as_events, error_response
from tts_train.serve.front import Front
from tts_train.serve.guard import Guard
from tts_train.serve.metrics import CONTENT_TYPE
from tts_train.serve.process import Job
from tts_train.serve.request import MODEL, ApiError, Wanted, of_worker, read_request
from tts_train.serve.sound import MEDIA_TYPES

if TYPE_CHECKING:
    from starlette.requests import Request

BODY_SECONDS = 15.0
"""A request that is still being sent after that is given up."""


def application(front: Front, token: str | None) -> Starlette:
    """The server's application over a started front."""
    return Starlette(
        routes=[
            Route("/", _page(token is not None)),
            Route("/v1/audio/speech", _speech(front), methods=["POST"]),
            Route("/v1/audio/voices", _listing(lambda: {"voices": [voice.told() for voice in front.voices.values()]})),
            Route(
                "/v1/models", _listing(lambda: {"object": "list", "data": [_model(name) for name in _models(front)]})
            ),
            Route("/v1/models/{name}", _one_model(front)),
            Route("/health", _health(front)),
            Route("/metrics", _metrics(front)),
        ],
        middleware=[Middleware(Guard, token=token, policy=page.policy())],
        exception_handlers={ApiError: _told, HTTPException: _told_by_starlette, Exception: _told_bug},
    )


@dataclass
class _Answer:
    """One request for speech, from its arrival to its end."""

    front: Front
    wanted: Wanted
    job: Job
    started: float
    heard: float = 0.0
    """Seconds of speech made so far."""
    begun: bool = False
    ended: bool = False

    async def audio(self) -> AsyncIterator[bytes]:
        """Encoded audio as it comes. Raises ApiError: 504 when the time is over, and of_worker."""
        over = self.started + self.front.limits.seconds
        events = self.job.audio()
        while True:
            try:
                async with asyncio.timeout(over - time.monotonic()):
                    data, seconds = await anext(events)
            except StopAsyncIteration:
                return
            except TimeoutError as error:
                told = f"it was not spoken within {self.front.limits.seconds:g} s"
                raise ApiError(504, told, "timeout", kind="server_error") from error
            except TtsTrainError as error:
                raise of_worker(error) from error
            self.heard += seconds
            if data and not self.begun:
                self.begun = True
                self.front.metrics.first.observe(time.monotonic() - self.started)
            if data:
                yield data

    def end(self, status: int) -> None:
        """Note how it ended, once."""
        if self.ended:
            return
        self.ended = True
        self.front.left(self.job)
        seconds, voice = time.monotonic() - self.started, self.wanted.voice.name
        metrics = self.front.metrics
        metrics.requests[status] += 1
        metrics.audio_seconds[voice] = metrics.audio_seconds.get(voice, 0.0) + self.heard
        if status == 200:
            metrics.whole.observe(seconds)
        progress(f"serve: {status} {voice} {self.wanted.format}, {self.heard:.1f} s of speech in {seconds:.2f} s")


def _speech(front: Front) -> Callable[[Request], Any]:
    async def speech(request: Request) -> Response:
        started = time.monotonic()
        try:
            wanted = read_request(await _body(request, front.limits.body), front.voices, front.limits.text)
            answer = _Answer(front, wanted, front.submit(wanted.voice, wanted.message), started)
        except ApiError as error:
            front.metrics.requests[error.status] += 1
            raise
        try:
            return await (_streamed if wanted.stream else _whole)(request, answer)
        except ApiError as error:
            answer.end(error.status)
            raise
        except BaseException:
            answer.end(LEFT)
            raise

    return speech


async def _whole(request: Request, answer: _Answer) -> Response:
    async def collected() -> bytes:
        return b"".join([data async for data in answer.audio()])

    data = await _unless_left(request, collected())
    answer.end(200)
    return Response(data, media_type=MEDIA_TYPES[answer.wanted.format])


async def _streamed(request: Request, answer: _Answer) -> Response:
    """Begins with the first audio: what goes wrong before it still has a status of its own."""
    audio = answer.audio()
    first = await _unless_left(request, anext(audio, b""))

    async def content() -> AsyncIterator[bytes]:
        yield first
        async for data in audio:
            yield data

    if answer.wanted.events:
        return Streamed(as_events(content()), "text/event-stream", answer.end)
    return Streamed(content(), MEDIA_TYPES[answer.wanted.format], answer.end)


async def _unless_left(request: Request, work: Any) -> Any:
    """The result of `work`, which is cancelled when the client leaves. Raises ApiError then, which nobody reads."""

    async def left() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    working, leaving = asyncio.ensure_future(work), asyncio.create_task(left())
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ApiError(LEFT, "the client left", "client_left")
    finally:
        working.cancel()
        leaving.cancel()


async def _body(request: Request, longest: int) -> bytes:
    """The body of a request. Raises ApiError: 413 as soon as it is too long, 408 when it does not come."""
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                size += len(part)
                if size > longest:
                    told = f"the request is longer than {longest} bytes"
                    raise ApiError(413, told, "request_too_large", headers={"Connection": "close"})
                parts.append(part)
    except TimeoutError as error:
        told = f"the request did not come within {BODY_SECONDS:g} s"
        raise ApiError(408, told, "request_timeout", headers={"Connection": "close"}) from error
    return b"".join(parts)


def _page(wants_token: bool) -> Callable[[Request], Any]:
    html = page.html(wants_token=wants_token)

    async def show(_request: Request) -> Response:
        return HTMLResponse(html, headers={"Cache-Control": "no-store"})

    return show


def _listing(content: Callable[[], dict[str, Any]]) -> Callable[[Request], Any]:
    async def listing(_request: Request) -> Response:
        return JSONResponse(content())

    return listing


def _models(front: Front) -> list[str]:
    """The server, and each voice: clients that choose a model only choose a voice by it."""
    return [MODEL, *front.voices]


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "tts-train"}


def _one_model(front: Front) -> Callable[[Request], Any]:
    async def model(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _models(front):
            raise ApiError(404, f"the model '{name}' is not served here", "model_not_found", "model")
        return JSONResponse(_model(name))

    return model


def _health(front: Front) -> Callable[[Request], Any]:
    async def health(_request: Request) -> Response:
        workers = {name: "ready" if line.ready else "starting" for name, line in front.lines.items()}
        state = (
            "stopping" if front.draining else "ok" if all(line.ready for line in front.lines.values()) else "degraded"
        )
        return JSONResponse({"status": state, "workers": workers}, 503 if front.draining else 200)

    return health


def _metrics(front: Front) -> Callable[[Request], Any]:
    async def metrics(_request: Request) -> Response:
        return PlainTextResponse(front.metrics.text(front.gauges()), media_type=CONTENT_TYPE)

    return metrics


async def _told(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error_response(error)


async def _told_by_starlette(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    told = {404: "there is no such address here", 405: "this address is not asked in that way"}
    message = told.get(error.status_code, error.detail)
    return error_response(ApiError(error.status_code, message, "not_found", headers=error.headers))


async def _told_bug(_request: Request, error: Exception) -> Response:
    message = f"{type(error).__name__}: this is a bug of tts-train; its traceback is on the server's stderr"
    return error_response(ApiError(500, message, "internal", kind="server_error"))
