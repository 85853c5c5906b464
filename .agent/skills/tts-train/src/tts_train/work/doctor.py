"""doctor: what is here, what is missing, and the fix for each; reads only, installs nothing, loads no model library."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import psutil

from tts_train import environments
from tts_train.errors import DiskError, EnvironmentMissing, Problem, TtsTrainError, Unavailable
from tts_train.work.checkups import cpu, disk, extras, folders, gpu, installed, machine, models, private, skill
from tts_train.work.checkups.row import Row
from tts_train.workspace import Workspace, repository_root, skill_root

_SIGNS = {"ok": "ok", "warning": "warning", "problem": "PROBLEM", "absent-but-optional": "absent"}
_ALARMS = ("problem", "warning")


def examine(workspace: Workspace) -> dict[str, Any]:
    """Every row, the facts beside them, and of what stands in the way or should be known: what it is, what to try."""
    smi = gpu.ask_smi()
    states = _states()
    rows = list(_rows(workspace, states, smi))
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "memory_gigabytes": round(psutil.virtual_memory().total / 1e9, 1),
        "disk_free_gigabytes": round(disk.free_gigabytes(workspace.root), 1),
        "cpu_level": cpu.level(cpu.read_flags()),
        "gpus": list(smi.gpus),
        "workspace": str(workspace.root),
        "skill": str(skill_root()),
        "repository": str(repository_root() or "") or None,
        "environments": states,
        "rows": [asdict(row) for row in rows],
    }
    alarms = sorted((row for row in rows if row.state in _ALARMS), key=lambda row: _ALARMS.index(row.state))
    facts["findings"] = [{"what": f"{row.check}: {row.detail}", "try": row.fix} for row in alarms]
    facts["text"] = text(rows)
    return facts


def require_health(facts: Mapping[str, Any]) -> None:
    """Raise for the rows that are problems, all at once, with the exit code of the first one's kind.

    EnvironmentMissing: an environment or its packages; DiskError: space, permissions, the database; Unavailable: all
    else (CPU, GPU, models, the skill's own files).
    """
    bad = [row for row in facts["rows"] if row["state"] == "problem"]
    if not bad:
        return
    problems = [Problem(f"{row['check']}: {row['detail']}. Try: {row['fix']}") for row in bad]
    more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
    raise _kind(bad[0]["check"])(f"{bad[0]['check']}: {bad[0]['detail']}{more}", hint=bad[0]["fix"], problems=problems)


def _kind(check: str) -> type[TtsTrainError]:
    match check.split(maxsplit=1)[0]:
        case "environment" | "environments" | "packages":
            return EnvironmentMissing
        case "disk" | "folder" | "folders" | "database":
            return DiskError
        case _:
            return Unavailable


def _states() -> list[dict[str, Any]]:
    try:
        return installed.states()
    except OSError:
        return []  # no pyproject.toml, for one: the rows say so


def _rows(workspace: Workspace, states: list[dict[str, Any]], smi: gpu.Smi) -> Iterator[Row]:
    missing = disk.missing_gigabytes(states)
    subjects: dict[str, Callable[[], Iterator[Row]]] = {
        "cpu": cpu.rows,
        "machine": machine.rows,
        "gpu": lambda: gpu.rows(ask=lambda: smi),
        "environments": installed.rows,
        "models": models.rows,
        "disk": lambda: disk.rows(workspace.root, environments.root(), missing),
        "folders": lambda: folders.rows(workspace),
        "secrets": private.rows,
        "skill": lambda: skill.rows(skill_root()),
        "extras": extras.rows,
    }
    for subject, look in subjects.items():
        yield from looked_at(subject, look)


def looked_at(subject: str, look: Callable[[], Iterator[Row]]) -> Iterator[Row]:
    """The rows of a subject; one that cannot be looked at must not hide the others."""
    try:
        yield from look()
    except (OSError, UnicodeError) as error:
        fix = "check the permissions of what is named, or run doctor as the user who owns it"
        yield Row(subject, "problem", f"cannot be looked at to the end: {error}", fix)


def text(rows: list[Row]) -> str:
    """A line a row, the fix below what is not in order, and a last line that counts."""
    width = max(len(row.check) for row in rows)
    lines = []
    for row in rows:
        lines.append(f"{_SIGNS[row.state]:8} {row.check:{width}}  {row.detail}")
        if row.fix and row.state != "ok":
            lines.append(f"{'':8} {'':{width}}  Try: {row.fix}")
    counts = [(state, sum(row.state == state for row in rows)) for state in _ALARMS]
    alarms = ", ".join(f"{count} {state}{'s' * (count != 1)}" for state, count in counts)
    lines.append(f"{len(rows)} checks: {alarms}")
    return "\n".join(lines)
