"""Who is answered: pages of this dashboard on this machine, and with --share only who knows the token.

Streamlit checks the websocket alone, so a page elsewhere that is bound to 127.0.0.1 by its DNS (rebinding), or that
embeds our addresses, could read clips. Every request of every kind passes here first.
"""

from __future__ import annotations

import hashlib
import hmac
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from tts_train.own_site import foreign_part

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; connect-src 'self' ws://{host} data: blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
"""The browser itself asks nobody else for anything. Streamlit needs inline style, Vega compiles its expressions."""
_FIXED = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_ASK = """<!doctype html><html lang="en"><meta charset="utf-8"><title>tts-train</title>
<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">
<body style="font:1rem/1.5 system-ui;max-width:30rem;margin:4rem auto;padding:0 1rem"><h1>tts-train</h1>
<p>This dashboard is shared with a token. Whoever started it saw the token in their terminal.</p>
<form><label>Token <input name="token" type="password" autocomplete="off" autofocus required></label>
<button>Open</button></form>"""


_REFUSALS = {
    "host": ("This is a dashboard of 127.0.0.1: open it by that name.", 400),
    "origin": ("Pages of another origin are not answered.", 403),
    "site": ("Links from other sites are not answered: type the address, or use a bookmark.", 403),
}


class OwnPagesOnly:
    """ASGI middleware: refuses foreign hosts, origins and sites, and, given a token, whoever does not bring it.

    The token comes as ?token= (a cookie takes its place, so that it leaves the address) or as a bearer.
    """

    def __init__(self, app: ASGIApp, token: str | None = None) -> None:
        self.app = app
        self.token = token
        # Cookies know no ports: the name keeps two dashboards apart.
        self.cookie = f"tts_train_{_keyed(token, 'name')[:12]}" if token else ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = refused(headers) or self._without_token(scope, headers)
        if refusal is None:
            await self.app(scope, receive, _guarded(send, headers["host"]))
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            await refusal(scope, receive, _guarded(send, "127.0.0.1"))

    def _without_token(self, scope: Scope, headers: Headers) -> Response | None:
        if not self.token or self._brought(headers):
            return None
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if scope["type"] == "http" and any(name == "token" and _same(value, self.token) for name, value in query):
            rest = urlencode([(name, value) for name, value in query if name != "token"])
            # Never more than one slash: "//elsewhere" would be another host.
            answer = RedirectResponse("/" + scope["path"].lstrip("/") + (f"?{rest}" if rest else ""), 303)
            answer.set_cookie(self.cookie, _keyed(self.token, "cookie"), httponly=True, samesite="strict")
            return answer
        return HTMLResponse(_ASK, status_code=401)

    def _brought(self, headers: Headers) -> bool:
        assert self.token
        if _same(headers.get("authorization", ""), f"Bearer {self.token}"):
            return True
        try:
            cookies = SimpleCookie(headers.get("cookie", ""))
        except CookieError:
            return False
        return self.cookie in cookies and _same(cookies[self.cookie].value, _keyed(self.token, "cookie"))


def refused(headers: Headers) -> Response | None:
    """Why a request is not answered, or None when its Host, Origin and Sec-Fetch-Site are our own."""
    foreign = foreign_part(*(headers.getlist(name) for name in ("host", "origin", "sec-fetch-site")))
    return PlainTextResponse(*_REFUSALS[foreign]) if foreign else None


def _guarded(send: Send, host: str) -> Send:
    """`send` that adds the headers for the browser."""

    async def add(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.update({**_FIXED, "Content-Security-Policy": _POLICY.format(host=host)})
        await send(message)

    return add


def _keyed(token: str, purpose: str) -> str:
    return hmac.new(token.encode(), purpose.encode(), hashlib.sha256).hexdigest()


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())
