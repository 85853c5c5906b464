"""Where a page finds the sound of a clip: beside itself, or inside."""

from __future__ import annotations

import base64
import os
from functools import cache
from pathlib import Path
from urllib.parse import quote

from tts_train.dataset import safe_member
from tts_train.errors import InputUnusable

_MIME = {".flac": "audio/flac", ".wav": "audio/wav", ".mp3": "audio/mpeg", ".ogg": "audio/ogg", ".opus": "audio/ogg"}


class AudioLinks:
    """Addresses of a dataset's clips for a page in the folder `base`, with up to `room` bytes of audio inside it."""

    def __init__(self, folder: Path, base: Path, room: int) -> None:
        self.folder = folder
        self.embedded: dict[str, str] = {}
        """Name → data: address of what is inside, in order."""
        self._places: dict[str, str] = {}
        self._room = room
        self._prefix = "" if base.resolve() == folder.resolve() else os.path.relpath(folder, base) + "/"
        self._files = cache(self._files_of)

    def address(self, name: str) -> str:
        """Relative to the page and percent-encoded, "#n" for the n-th embedded clip, "" when there is no such file.

        A manifest may come from anywhere: what it names outside the dataset is neither linked nor embedded.
        """
        if not self.exists(name):
            return ""
        if name not in self._places:
            self._places[name] = self._embed(name) or quote(self._prefix + name)
        return self._places[name]

    def exists(self, name: str) -> bool:
        parent, _, base = name.rpartition("/")
        return bool(base) and base in self._files(parent)

    def _files_of(self, parent: str) -> frozenset[str]:
        """Names of the files in a folder of the dataset; of tens of thousands of clips, none is looked at by itself."""
        place = self.folder / parent
        if Path(parent).is_absolute() or not place.resolve().is_relative_to(self.folder.resolve()):
            return frozenset()
        try:
            with os.scandir(place) as entries:
                return frozenset(
                    entry.name
                    for entry in entries
                    if entry.is_file() and (not entry.is_symlink() or self._is_inside(f"{parent}/{entry.name}"))
                )
        except (OSError, ValueError):
            return frozenset()

    def _is_inside(self, name: str) -> bool:
        try:
            safe_member(self.folder, name.lstrip("/"))
        except InputUnusable:
            return False
        return True

    def _embed(self, name: str) -> str:
        if not self._room:
            return ""
        path = self.folder / name
        size = path.stat().st_size
        if size > self._room:
            self._room = 0  # full: smaller clips further down would be a choice that nobody understands
            return ""
        self._room -= size
        kind = _MIME.get(path.suffix.lower(), "application/octet-stream")
        self.embedded[name] = f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
        return f"#{len(self.embedded) - 1}"
