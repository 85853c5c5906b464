"""Whether the workspace's folders may be written to, and whether its database is on a local disk."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

from tts_train.errors import DiskError
from tts_train.review.record.filesystem import MOUNTS, require_local_disk
from tts_train.work.checkups.row import Row
from tts_train.workspace import Workspace

DATABASE = "reviews.db"


def rows(workspace: Workspace, mounts: Path = MOUNTS, access: Callable[[Path, int], bool] = os.access) -> Iterator[Row]:
    """One row for the folders, or one for each that is wrong; then one for the database."""
    wrong = [row for folder in _folders(workspace) if (row := _folder(workspace, folder, access))]
    yield from wrong or [Row("workspace folders", "ok", f"{workspace.root} and what is in it may be written to")]
    try:
        require_local_disk(workspace.runs, mounts)
    except DiskError as error:
        yield Row("database", "problem", error.message, error.hint)
        return
    yield from _database(workspace.runs / DATABASE, access)


def _folders(workspace: Workspace) -> tuple[Path, ...]:
    return (workspace.root, workspace.configs, workspace.datasets, workspace.runs, workspace.voices)


def _folder(workspace: Workspace, folder: Path, access: Callable[[Path, int], bool]) -> Row | None:
    check = f"folder {folder.relative_to(workspace.root)}" if folder != workspace.root else "folder workspace"
    if folder.is_symlink() and not folder.exists():
        detail = f"{folder} links to {folder.readlink()}, which is not there"
        return Row(check, "problem", detail, "mount or create its target, or remove the link")
    if not folder.exists():
        return None  # made when it is needed, in a folder that is looked at too
    if not folder.is_dir():
        return Row(
            check,
            "problem",
            f"{folder} is a file where a folder belongs",
            f"move it away: mv {shlex.quote(str(folder))} ELSEWHERE",
        )
    if _is_read_only(folder):
        fix = "remount it writable, or --workspace DIR on another disk"
        return Row(check, "problem", f"{folder} is on a file system that is mounted read-only", fix)
    if not access(folder, os.R_OK | os.W_OK | os.X_OK):
        detail = f"{folder} may not be read and written by user {os.geteuid()}; it belongs to {folder.stat().st_uid}"
        return Row(
            check,
            "problem",
            detail,
            f"chmod u+rwx {shlex.quote(str(folder))}, or chown it, or --workspace DIR elsewhere",
        )
    return None


def _is_read_only(folder: Path) -> bool:
    return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


def _database(file: Path, access: Callable[[Path, int], bool]) -> Iterator[Row]:
    if not file.exists():
        yield Row("database", "ok", f"on a local disk; {file} comes with the first verdict")
        return
    if not access(file, os.R_OK | os.W_OK):
        yield Row(
            "database",
            "problem",
            f"{file} may not be read and written",
            f"chmod u+rw {shlex.quote(str(file))}, or chown it",
        )
        return
    with file.open("rb") as opened:
        begins = opened.read(16)
    if begins and begins != b"SQLite format 3\0":
        aside = shlex.join(["mv", str(file), f"{file}.damaged"])
        fix = f"{aside}     (keep it), then put a backup in its place"
        yield Row("database", "problem", f"{file} is damaged: it is no SQLite file", fix)
        return
    yield Row("database", "ok", f"{file}, on a local disk")
