"""prune: give back the disk that epochs take which nobody needs any more. Training itself never deletes one.

Only weights go. epoch.json, renders and measures stay, so reports and verdicts keep their ground.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from tts_train.errors import InputUnusable, UsageError
from tts_train.files import locked, read_json, write_json
from tts_train.review.record.store import verdicts_of
from tts_train.review.record.trials import sessions_on
from tts_train.training.run import Epoch, RunFolder
from tts_train.training.status import now
from tts_train.work.voice_package import shipped
from tts_train.workspace import Workspace

KEPT_FILES = ("epoch.json", "voice.json", "config.json")


def prune(workspace: Workspace, run: str, *, keep: str, delete: bool = False) -> dict[str, Any]:
    """Remove the weights of epochs that `keep` does not name and nothing holds on to; without `delete` only say which.

    `keep`: epoch numbers and `last:N`, separated by commas. Held on to whatever it says: epochs that were judged,
    played in a session or shipped, the last one (infer and export take it), and those that other runs start from.
    Returns {run, keep [{epoch, why}], prune, bytes, deleted, text}. Raises UsageError, and Busy while the run is
    training or being probed.
    """
    folder = RunFolder(workspace.run(run))
    with locked(folder.path / ".lock", run=folder.path):
        epochs = [epoch for epoch in folder.epochs() if _files(epoch)]  # with what a killed prune has left
        if not epochs:
            raise InputUnusable(f"run '{run}' has no weights to prune", hint="see run.sh runs")
        reasons = _reasons(workspace, run, epochs, _wanted(keep, folder))
        spare = [epoch for epoch in epochs if not reasons[epoch.number]]
        sizes = {epoch.number: _bytes(epoch) for epoch in spare}
        if delete:
            for epoch in spare:
                _remove(epoch)
    rows = [{"epoch": number, "why": "; ".join(why)} for number, why in reasons.items() if why]
    verb = "deleted" if delete else "would be deleted (--delete does it)"
    listed = ", ".join(str(number) for number in sizes) or "none"
    lines = [f"epoch {row['epoch']} stays: {row['why']}" for row in rows]
    lines.append(f"weights of epochs {listed} {verb}: {sum(sizes.values()) / 1e9:.2f} GB")
    return {
        "run": run,
        "keep": rows,
        "prune": list(sizes),
        "bytes": sum(sizes.values()),
        "deleted": delete,
        "text": "\n".join(lines),
    }


def _wanted(keep: str, run: RunFolder) -> dict[int, str]:
    """Epochs that `keep` names → why."""
    numbers = [epoch.number for epoch in run.epochs()]
    wanted: dict[int, str] = {}
    for part in filter(None, (part.strip() for part in keep.split(","))):
        kind, _, count = part.partition(":")
        if kind == "last" and count.isdigit() and int(count):
            wanted |= dict.fromkeys(numbers[-int(count) :], f"--keep {part}")
        elif part.isdigit() and int(part) in numbers:
            wanted[int(part)] = f"--keep {part}"
        else:
            there = ", ".join(map(str, numbers))
            raise UsageError(f"--keep {part} names nothing", hint=f"epochs ({there}) and last:N, separated by commas")
    return wanted


def _reasons(workspace: Workspace, run: str, epochs: list[Epoch], wanted: dict[int, str]) -> dict[int, list[str]]:
    reasons: dict[int, list[str]] = {epoch.number: [] for epoch in epochs}
    held = list(wanted.items())
    held += [(verdict.epoch, f"judged by {verdict.listener}") for verdict in verdicts_of(workspace, run)]
    held += [
        (epoch, f"played in session {name}") for epoch, names in sessions_on(workspace, run).items() for name in names
    ]
    held += [(number, f"shipped as {name}") for number, name in shipped(workspace, run).items()]
    held += [(number, f"run '{child}' starts from it") for child, number in _children(workspace, run)]
    held += [(epoch.number, "the last one") for epoch in epochs if not epoch.pruned][-1:]
    for number, why in held:
        if number in reasons and why not in reasons[number]:
            reasons[number].append(why)
    return reasons


def _children(workspace: Workspace, run: str) -> list[tuple[str, int]]:
    """(run, epoch) of every run that began with weights of `run`."""
    found = []
    for path in sorted(workspace.runs.glob("*/run.json")):
        parent = read_json(path)["config"].get("parent")
        if parent and parent["run"] == run and parent.get("from_weights"):
            found.append((path.parent.name, int(parent["epoch"])))
    return found


def _files(epoch: Epoch) -> list[Path]:
    if epoch.folder is None:
        return []
    return [path for path in sorted(epoch.folder.iterdir()) if path.name not in KEPT_FILES]


def _bytes(epoch: Epoch) -> int:
    """What deleting gives back: files that are linked from elsewhere give nothing."""
    files = [file for path in _files(epoch) for file in ([path] if path.is_file() else path.rglob("*"))]
    return sum(file.stat().st_size for file in files if file.is_file() and file.stat().st_nlink == 1)


def _remove(epoch: Epoch) -> None:
    """epoch.json says so first: a crash then leaves files that a second prune removes, never a torn epoch."""
    assert epoch.folder is not None
    write_json(epoch.folder / "epoch.json", {**epoch.info, "pruned_at": now()})
    for path in _files(epoch):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
