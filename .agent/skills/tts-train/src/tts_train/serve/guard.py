"""Who is answered: programs and our own page on this machine, and with a token only who brings it."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders

from tts_train.own_site import foreign_part
from tts_train.serve.answers import error_response
from tts_train.serve.request import ApiError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

OPEN = ("/", "/health")
"""Answered without the token: a page that asks for it, and a word for whoever restarts dead servers."""


_REFUSALS = {
    "host": (400, "This is a server of 127.0.0.1: ask for it by that name."),
    "origin": (403, "Pages of another origin are not answered."),
    "site": (403, "Pages of other sites are not answered."),
}


class Guard:
    """ASGI middleware. `token` None: anybody who reaches this machine by its loopback name."""

    def __init__(self, app: ASGIApp, token: str | None, policy: str) -> None:
        self.app = app
        self.token = token
        self._headers = {
            "Content-Security-Policy": policy,
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(headers, scope["path"])
        answer = self.app if refusal is None else error_response(refusal)
        await answer(scope, receive, self._guarded(send))

    def _refusal(self, headers: Headers, path: str) -> ApiError | None:
        hosts, origins, sites = (headers.getlist(name) for name in ("host", "origin", "sec-fetch-site"))
        # A link from elsewhere may lead to the page. A foreign page that is bound to us by DNS has no token.
        foreign = foreign_part(hosts, origins, sites if path != "/" else (), any_host=self.token is not None)
        if foreign:
            return ApiError(*_REFUSALS[foreign], f"foreign_{foreign}")
        if self.token is None or path in OPEN:
            return None
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self.token.encode()):
            return None
        told = "This server wants its token: Authorization: Bearer TOKEN (api_key in OpenAI's clients)."
        return ApiError(401, told, "invalid_api_key", headers={"WWW-Authenticate": "Bearer"})

    def _guarded(self, send: Send) -> Send:
        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        return add
