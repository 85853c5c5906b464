"""What was rented, on disk before it is asked for: artifacts/cloud/<tag>/record.json.

The tag is part of every pod's name. Whatever becomes of this process, and of an answer that never came, a pod can be
found by it and ended.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tts_train.errors import TtsTrainError
from tts_train.files import locked, read_json, write_json
from tts_train.training.status import now
from tts_train.workspace import Workspace

PREFIX = "tts-train-"
_TAG = re.compile(r"[0-9a-f]{8}")
_POD = re.compile(rf"{PREFIX}([0-9a-f]{{8}})-\d+")


@dataclass(frozen=True)
class Rental:
    """One job's folder: its record, its key, what it knows of hosts."""

    path: Path

    @property
    def tag(self) -> str:
        return self.path.name

    @property
    def file(self) -> Path:
        return self.path / "record.json"

    @property
    def key(self) -> Path:
        """Private half of the key that opens this job's pods alone."""
        return self.path / "ssh" / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        return self.path / "ssh" / "known_hosts"

    @property
    def prefix(self) -> str:
        """How the names of its pods begin."""
        return f"{PREFIX}{self.tag}-"

    def read(self) -> dict[str, Any]:
        record: dict[str, Any] = read_json(self.file)
        return record

    def update(self, **fields: Any) -> dict[str, Any]:
        """Write some fields anew; returns the record."""
        record = {**(self.read() if self.file.is_file() else {}), **fields, "changed_at": now()}
        write_json(self.file, record)
        return record

    def close(self, ended: str) -> None:
        """Nothing of it runs any more; the keys to what is gone go, too."""
        self.update(state="closed", ended=ended, ended_at=now())
        shutil.rmtree(self.key.parent, ignore_errors=True)

    @contextmanager
    def held(self) -> Iterator[None]:
        """One follower at a time. Raises Busy, naming the other."""
        with locked(self.path / ".lock", what=f"job {self.tag}"):
            yield


def rentals(workspace: Workspace) -> list[Rental]:
    """All that was ever rented from this workspace."""
    folder = workspace.root / "artifacts" / "cloud"
    paths = sorted(folder.glob("*")) if folder.is_dir() else []
    return [Rental(path) for path in paths if _TAG.fullmatch(path.name)]


def opened(workspace: Workspace, facts: Mapping[str, Any]) -> Rental:
    """The unfinished rental of facts["run"], else a new one with these facts.

    What was lost with its record (a torn disk) is not taken up again; `cloud reap --all` still finds its pods.
    """
    for rental in rentals(workspace):
        if state_of(rental) == "open" and rental.read().get("run") == facts["run"]:
            return rental
    rental = Rental(workspace.root / "artifacts" / "cloud" / secrets.token_hex(4))
    rental.path.mkdir(parents=True)
    os.chmod(rental.path, 0o700)
    rental.update(**facts, state="open", started_at=now(), pods=[])
    return rental


def state_of(rental: Rental) -> str:
    """open, closed or unreadable; what cannot be read is not known to have ended."""
    try:
        return str(rental.read()["state"])
    except (TtsTrainError, KeyError, TypeError):
        return "unreadable"


def tag_in(name: str) -> str | None:
    """The tag in a pod's name, when it is one of ours."""
    found = _POD.fullmatch(name)
    return found[1] if found else None
