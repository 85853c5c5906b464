"""Sound and pictures at addresses that tell nothing: only files that a page registered are served.

An address is a keyed hash of the file's path, size and time under a secret of this process. The same file has the same
address at every rerun, so a player goes on; a file that was replaced since is no longer found under the old one.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request

PREFIX = "/clips"
_TOKEN = re.compile(r"[0-9a-f]{32}")
_TYPES = {".wav": "audio/wav", ".flac": "audio/flac", ".png": "image/png"}
_HEADERS = {
    "Cache-Control": "private, max-age=86400, immutable",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    # When a file was made tells which of two clips is the later epoch.
    "Last-Modified": "Sat, 01 Jan 2000 00:00:00 GMT",
}
_secret = secrets.token_bytes(32)
_files: dict[str, Path] = {}


def register(path: Path) -> str:
    """The address of a wav, flac or png file. Raises FileNotFoundError, ValueError for any other kind of file."""
    if path.suffix not in _TYPES:
        raise ValueError(f"{path.name} is neither sound nor a picture")
    token = _token(path)
    _files[token] = path
    return f"{PREFIX}/{token}"


def serve(request: Request) -> Response:
    """The registered file, whole or the asked range; 404 for everything else."""
    token = request.path_params["token"]
    path = _files.get(token) if _TOKEN.fullmatch(token) else None
    if path is None or not path.is_file() or _token(path) != token:
        return PlainTextResponse("no such clip", status_code=404)
    return FileResponse(path, media_type=_TYPES[path.suffix], headers={**_HEADERS, "ETag": f'"{token}"'})


route = Route(PREFIX + "/{token:path}", serve, methods=["GET"])


def _token(path: Path) -> str:
    about = path.stat()
    text = f"{path.resolve()}\0{about.st_size}\0{about.st_mtime_ns}"
    return hmac.new(_secret, text.encode(), hashlib.sha256).hexdigest()[:32]
