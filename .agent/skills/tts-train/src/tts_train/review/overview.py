"""The list of all runs, newest first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tts_train.config import load_train_config
from tts_train.errors import TtsTrainError
from tts_train.review.decision.evidence import last_measures
from tts_train.review.record.store import Store, database
from tts_train.table import table
from tts_train.training.run import RunFolder
from tts_train.training.status import read_status
from tts_train.workspace import Workspace


def list_runs(workspace: Workspace, limit: int) -> dict[str, Any]:
    """The newest `limit` runs. Returns {runs [{run, voice, backend, state, epochs, …}], total, text}.

    A run whose files cannot be read is listed as such: one broken run must not hide the others.
    """
    verdicts: dict[str, int] = {}
    if database(workspace).is_file():
        with Store(database(workspace)) as store:
            for verdict in store.verdicts():
                verdicts[verdict.run] = verdicts.get(verdict.run, 0) + 1
    folders = sorted((path.parent for path in workspace.runs.glob("*/run.json")), key=_touched, reverse=True)
    rows = [run_row(folder, verdicts.get(folder.name, 0)) for folder in folders[:limit]]
    return {"runs": rows, "total": len(folders), "text": _runs_text(rows, len(folders))}


def config_path(workspace: Workspace, run: str) -> Path | None:
    """The config in configs/tts that trains a run."""
    for path in sorted(workspace.configs.glob("*.yaml")):
        try:
            if load_train_config(path, workspace).run == run:
                return path
        except TtsTrainError:
            continue
    return None


def run_row(folder: Path, verdicts: int) -> dict[str, Any]:
    """A run of the list: {run, voice, backend, state, epochs_published, …}.

    Its state is "unreadable", with a reason, when its files cannot be read.
    """
    try:
        run = RunFolder(folder)
        config, published, info = run.config(), run.epochs(), run.info()
        adopted = bool(info.get("adopted"))
        row: dict[str, Any] = {
            "run": folder.name,
            "voice": config.voice,
            "backend": config.backend,
            "state": read_status(folder)["state"],
            "epochs_published": len(published),
            "epochs_planned": config.epochs,
            "lr": config.lr if info.get("lr_known", True) else None,
            "schedule": None if adopted else config.schedule.shape,
            "adopted": adopted,
            "verdicts": verdicts,
            "parent": config.parent.model_dump(mode="json") if config.parent else None,
            "speaker_similarity": None,
            "wer": None,
        }
        if published:
            row |= _last_measures(run)
    except (TtsTrainError, ValueError, KeyError) as error:
        return {"run": folder.name, "state": "unreadable", "reason": str(error), "verdicts": verdicts}
    return row


def _last_measures(run: RunFolder) -> dict[str, Any]:
    measures = last_measures(run)
    if measures is None:
        return {}
    return {"speaker_similarity": measures.speaker_similarity, "wer": measures.wer}


def _runs_text(rows: list[dict[str, Any]], total: int) -> str:
    if not rows:
        return "no runs yet: run.sh train-local CONFIG"
    head = ("run", "state", "epochs", "lr", "schedule", "similarity", "WER", "verdicts", "parent")
    lines = table(
        head,
        [
            (
                row["run"],
                row["state"],
                f"{row.get('epochs_published', '?')}/{row.get('epochs_planned', '?')}",
                row.get("lr"),
                row.get("schedule"),
                row.get("speaker_similarity"),
                row.get("wer"),
                row["verdicts"],
                f"{row['parent']['run']} ({row['parent']['move']})" if row.get("parent") else None,
            )
            for row in rows
        ],
    )
    rest = [] if total == len(rows) else [f"… and {total - len(rows)} more: --limit {total}"]
    return "\n".join([*lines, *rest])


def _touched(folder: Path) -> float:
    return max(path.stat().st_mtime for path in (folder / "run.json", folder / "status.json") if path.is_file())
