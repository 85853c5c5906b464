"""A signature that binds answers from elsewhere to the plan they were given to.

The secret is one file per workspace that only its owner can read. It signs which session it is and the hash of what its
listener was told, so that answers to another plan, or to one that was made up, are told from answers to ours.
"""

from __future__ import annotations

import contextlib
import errno
import hmac
import os
import secrets
from pathlib import Path

from tts_train.errors import DiskError
from tts_train.files import locked, sync_folder
from tts_train.review.record.database import database
from tts_train.review.sessions.session_rows import Session
from tts_train.workspace import Workspace

KEY = "reviews.key"
"""Beside reviews.db. Without it answers that are still under way cannot be taken: it belongs into a backup as well."""
_BYTES = 32


def plan_signature(workspace: Workspace, session: Session) -> str:
    """64 hex digits. Raises DiskError when the key can be neither read nor made."""
    message = f"tts-train-plan/1 {session.id} {session.materials_sha256}"
    return hmac.new(_key(workspace), message.encode(), "sha256").hexdigest()


def is_signed(workspace: Workspace, session: Session, signature: str) -> bool:
    """Whether `signature` is that of this session's plan."""
    return hmac.compare_digest(plan_signature(workspace, session).encode(), signature.encode())


def _key(workspace: Workspace) -> bytes:
    path = database(workspace).with_name(KEY)
    try:
        with locked(path.with_name(f".{KEY}.lock"), wait=True):  # two commands at once must not make two keys
            if not path.is_file():
                _make(path)
            return path.read_bytes()
    except OSError as error:
        raise DiskError(f"{path}: {error.strerror or error}", hint="check free space and permissions") from error


def _make(path: Path) -> None:
    """Whole or absent, and nobody else's to read at any moment."""
    temporary = path.with_name(f".tmp-{KEY}")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        if os.write(descriptor, secrets.token_bytes(_BYTES)) != _BYTES:
            raise OSError(errno.ENOSPC, "the disk took half a key")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(temporary, path)
    sync_folder(path.parent)
