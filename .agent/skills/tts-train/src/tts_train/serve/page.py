"""The page to type and listen: one answer, nothing from the network, style and script named by their hashes."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path

_HERE = Path(__file__).parent


def html(*, wants_token: bool) -> str:
    """The page; with `wants_token` it asks for the server's token."""
    page = (_HERE / "page.html").read_text(encoding="utf-8")
    hidden = "" if wants_token else "hidden"
    return (
        page.replace("%%STYLE%%", _part("page.css"))
        .replace("%%SCRIPT%%", _part("page.js"))
        .replace("%%HIDDEN%%", hidden)
    )


def policy() -> str:
    """The Content-Security-Policy of every answer."""
    return (
        f"default-src 'none'; style-src {_hash('page.css')}; script-src {_hash('page.js')}; connect-src 'self'; "
        "media-src blob:; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


@cache
def _part(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _hash(name: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(_part(name).encode()).digest()).decode()}'"
