"""Whether other users of this machine can read a token."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from tts_train.work.checkups.row import Row

WORLD_READS, WORLD_ENTERS = stat.S_IROTH, stat.S_IXOTH


def rows(variables: Mapping[str, str] = os.environ) -> Iterator[Row]:
    """One row for the hub's token, where huggingface_hub keeps it."""
    file = token_file(variables)
    if not file.is_file():
        yield Row("secrets", "ok", "no token of the hub is on this disk")
    elif is_public(file):
        detail = f"{file} may be read by every user of this machine"
        yield Row("secrets", "warning", detail, f"chmod 600 {shlex.quote(str(file))}")
    else:
        yield Row("secrets", "ok", f"{file} is for its owner's eyes")


def token_file(variables: Mapping[str, str]) -> Path:
    """As huggingface_hub chooses it."""
    cache = variables.get("XDG_CACHE_HOME") or "~/.cache"
    home = variables.get("HF_HOME") or f"{cache}/huggingface"
    return Path(variables.get("HF_TOKEN_PATH") or f"{home}/token").expanduser()


def is_public(file: Path) -> bool:
    """Whether anybody may read it and enter every folder on the way: a closed home folder closes all in it."""
    resolved = file.resolve()
    return bool(resolved.stat().st_mode & WORLD_READS) and all(
        folder.stat().st_mode & WORLD_ENTERS for folder in resolved.parents
    )
