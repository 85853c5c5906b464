"""Models of the hub: its cache read without its library, and a download where there is a network."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from pathlib import Path

from tts_train.errors import DiskError, Unavailable
from tts_train.output import progress

_ID = re.compile(r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")
_REVISION = re.compile(r"^[A-Za-z0-9][\w.-]*$")


def is_id(name: str) -> bool:
    """Whether it is written like the name of a model on the hub."""
    return bool(_ID.fullmatch(name))


def is_offline() -> bool:
    """Whether the user forbids downloads, as huggingface_hub reads it."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def cache() -> Path:
    """The hub's cache, as huggingface_hub chooses it, but read at call time."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(name):
            return Path(os.environ[name]).expanduser()
    home = os.environ.get("HF_HOME") or str(Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    return Path(home).expanduser() / "hub"


def snapshot(name: str) -> Path | None:
    """The newest snapshot of a model in the cache, whole or not."""
    place = cache() / f"models--{name.replace('/', '--')}"
    head = place / "refs" / "main"
    if not head.is_file():
        return None
    revision = head.read_text(encoding="utf-8").strip()
    folder = place / "snapshots" / revision
    return folder if _REVISION.fullmatch(revision) and folder.is_dir() else None


def download(name: str, files: Sequence[str]) -> Path:
    """Fetch `files` (patterns) of a model into the cache; returns the snapshot.

    Raises Unavailable with the reason, to be told with what to do; DiskError when the disk is full.
    """
    if is_offline():
        raise Unavailable("HF_HUB_OFFLINE forbids to download it")
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise Unavailable(f"huggingface_hub cannot be imported: {error}", hint="run.sh setup") from error

    progress(f"looking for {name} on the hub")
    try:
        return Path(snapshot_download(name, cache_dir=str(cache()), allow_patterns=list(files)))
    except (OSError, ValueError) as error:  # what the hub's library raises when it cannot reach or find something
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskError(f"{name} does not fit on the disk of {cache()}", hint="set HF_HOME to another") from error
        raise Unavailable(str(error).strip().partition("\n")[0] or type(error).__name__) from error
