"""The player's parts put together: for the Streamlit component, and as pages that open from file://.

A page is a folder of listen.html and one script per clip, because fetch is refused on file://. As one single file it
also opens where neighbours of a file cannot be read, as on Android from a message or a download.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PARTS = ("words", "core", "dom", "deck", "questions", "trial", "static")


@cache
def script(*parts: str) -> str:
    """Classic scripts one after the other; they share one scope."""
    return "\n".join((HERE / f"{part}.js").read_text(encoding="utf-8") for part in parts)


@cache
def style() -> str:
    return (HERE / "player.css").read_text(encoding="utf-8")


def page(session: Mapping[str, Any], clips: Mapping[str, bytes] | None = None) -> str:
    """listen.html of a session plan; the format is documented in static.js.

    With `clips` {token: bytes} they are inside the page, else it loads clips/TOKEN.js. The page has no address of
    anything else in it, and its policy forbids the browser to load any.
    """
    template = (HERE / "listen.html").read_text(encoding="utf-8")
    inside = "\n".join(
        f'<script type="text/plain" data-clip="{token}">{_text(data)}</script>' for token, data in (clips or {}).items()
    )
    parts = {"STYLE": style(), "SESSION": _safe(session), "CLIPS": inside, "SCRIPT": script(*PARTS)}
    # Split, not replaced one after the other: what is filled in may hold a placeholder's name.
    pieces = template.split("%%")
    return "".join(parts[piece] if index % 2 else piece for index, piece in enumerate(pieces))


def clip_script(token: str, data: bytes) -> str:
    """clips/TOKEN.js."""
    return f'SESSION_CLIPS["{token}"]("{_text(data)}");\n'


def files(session: Mapping[str, Any], clips: Iterable[tuple[str, bytes]]) -> Iterable[tuple[str, bytes]]:
    """The folder as (name, bytes), one clip in memory at a time."""
    yield "listen.html", page(session).encode()
    for token, data in clips:
        yield f"clips/{token}.js", clip_script(token, data).encode()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _safe(value: Any) -> str:
    """JSON that cannot end its script element, nor begin a comment in it."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")
