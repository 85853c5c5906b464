"""Answers: errors in OpenAI's shape, and audio as it comes."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, StreamingResponse

from tts_train.serve.request import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Receive, Scope, Send


def error_response(error: ApiError) -> JSONResponse:
    """The error as JSON, with its status."""
    return JSONResponse(error.body, error.status, error.headers)


LEFT = 499
"""The client closed the connection before its answer (nginx's number); nobody is told."""


class Streamed(StreamingResponse):
    """A streamed answer that tells its status at its end, however it ends: `ended(status)`.

    After its beginning an error has no status any more: the connection is closed in the middle, which clients notice.
    """

    def __init__(self, content: AsyncIterator[bytes], media_type: str, ended: Callable[[int], None]) -> None:
        # Proxies (nginx) would collect what should be heard at once.
        super().__init__(
            content, media_type=media_type, headers={"X-Accel-Buffering": "no", "Cache-Control": "no-store"}
        )
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        status = LEFT

        async def noted(message: Any) -> None:
            nonlocal status
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                status = 200

        try:
            await super().__call__(scope, receive, noted)
        except ApiError as error:
            status = error.status
        finally:
            self._ended(status)


def event(fields: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return f"data: {json.dumps(fields)}\n\n".encode()


async def as_events(audio: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Audio as OpenAI's speech events. Tokens are not counted here: the usage is there because clients expect it."""
    try:
        async for data in audio:
            yield event({"type": "speech.audio.delta", "audio": base64.b64encode(data).decode()})
    except ApiError as error:
        yield event({"type": "error", **error.body})
        return
    usage = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
    yield event({"type": "speech.audio.done", "usage": usage})
