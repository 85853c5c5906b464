"""campaign: several configs in order, from recording to probed epochs, within limits; kills and stops lose nothing."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tts_train.errors import DiskError, Stopped, TtsTrainError
from tts_train.files import locked
from tts_train.masking import masked
from tts_train.output import progress
from tts_train.table import duration
from tts_train.training.records import signals
from tts_train.training.status import now
from tts_train.work.campaign.closing import report_text, waiting_for_ears
from tts_train.work.campaign.limits import Limits, Stop, Watch
from tts_train.work.campaign.outlook import look_ahead
from tts_train.work.campaign.queue import Queue, default_name, read_queue
from tts_train.work.campaign.record import OPEN, Record, begun, is_bad, known, merged, seconds_since
from tts_train.work.campaign.running import run_queue
from tts_train.workspace import Workspace, check_name


class CampaignFailed(TtsTrainError):
    """Some steps failed; all that did not need them was done. The exit code is the first failed step's."""

    kind = "campaign-failed"

    def __init__(self, result: dict[str, Any]) -> None:
        failed = [row for row in result["steps"] if row["state"] == "failed"]
        self.exit_code = int(failed[0]["exit"])
        told = "; ".join(f"{row['id']}: {row['reason']}" for row in failed)
        super().__init__(
            f"{len(failed)} step(s) of campaign {result['name']} failed: {told}",
            hint="mend what the reasons name and run the same command again: it tries the failed steps again",
        )
        self.result = result

    def as_json(self) -> dict[str, Any]:
        return {**super().as_json(), "campaign": self.result}


def campaign(
    workspace: Workspace, configs: Sequence[Path], *, name: str | None = None, limits: Limits, dry_run: bool = False
) -> dict[str, Any]:
    """Do what is left to do of the campaign.

    Returns {name, state, reason, limits, steps, waiting_for_ears, record, text}; `state` is done, or stopped when the
    hours are over. Raises ConfigError with every problem of every config and recipe before anything is started,
    CampaignFailed when steps failed, DiskError when the disk is short, Stopped after a signal, Busy when another
    process runs this campaign.
    """
    if name is None:
        name = default_name(workspace, configs)
    folder = workspace.campaigns / check_name(name, "campaign")
    if dry_run:
        return _plan(workspace, configs, name, folder, limits)
    with locked(folder / ".lock"):
        queue, rows, before = _queue(workspace, configs, folder, limits)
        if all(row["state"] == "done" for row in rows) and before["state"] == "done":
            return {**_result(workspace, folder, {**before, "steps": rows}), "nothing_left_to_do": True}
        look_ahead(workspace, queue.steps, rows)
        data = {**begun(name, masked(sys.argv[1:]), asdict(limits), before), "steps": rows}
        record = Record(folder / "campaign.json", data)
        record.write()
        with signals() as received:
            left = None if limits.hours is None else limits.hours * 3600 - seconds_since(data["night_started_at"])
            stop = run_queue(workspace, record, queue.steps, Watch(limits, folder, left, received))
            failed = any(is_bad(row) for row in rows)
            state = "stopped" if stop else "failed" if failed else "done"
            record.change(state=state, reason=stop.reason if stop else None, ended_at=now(), process=None)
        result = _result(workspace, folder, record.data)
    if stop or failed:
        progress(result["text"])
    return _conclude(result, stop)


def _queue(
    workspace: Workspace, configs: Sequence[Path], folder: Path, limits: Limits
) -> tuple[Queue, list[dict[str, Any]], dict[str, Any]]:
    before = known(folder)
    states = {row["id"]: row["state"] for row in before["steps"]}
    queue = read_queue(workspace, configs, limits.patience, lambda step: states.get(step) in OPEN)
    return queue, merged(workspace, folder, queue.steps, before), before


def _plan(workspace: Workspace, configs: Sequence[Path], name: str, folder: Path, limits: Limits) -> dict[str, Any]:
    """What a start would do and cost, as far as the commands' own plans know it now."""
    queue, rows, before = _queue(workspace, configs, folder, limits)
    look_ahead(workspace, queue.steps, rows)
    to_do = [row for row in rows if row["state"] in OPEN]
    said = [row["estimate"] or {} for row in to_do]
    unknown = [row["id"] for row, found in zip(to_do, said, strict=True) if found.get("minutes") is None]
    minutes = sum(found.get("minutes") or 0.0 for found in said)
    gigabytes = sum(found.get("disk_gb") or 0.0 for found in said)
    estimate = {"hours": round(minutes / 60, 2), "disk_gb": round(gigabytes, 2), "unknown": unknown}
    data = {"name": name, "state": before["state"], "reason": None, "steps": rows}
    later = f"; not known before their turn: {', '.join(unknown)}" if unknown else ""
    total = f"about {duration(minutes * 60)} and {gigabytes:.1f} GB{later}"
    text = f"{report_text(data, (), planned=True)}\n\n{len(to_do)} steps to do, {total}"
    return {"dry_run": True, **data, "limits": asdict(limits), "estimate": estimate, "text": text}


def _result(workspace: Workspace, folder: Path, data: dict[str, Any]) -> dict[str, Any]:
    ears = waiting_for_ears(workspace, data["steps"])
    kept = {key: data[key] for key in ("name", "state", "reason", "limits", "steps")}
    return {
        **kept,
        "waiting_for_ears": ears,
        "record": str(folder / "campaign.json"),
        "text": report_text(data, ears),
    }


def _conclude(result: dict[str, Any], stop: Stop | None) -> dict[str, Any]:
    again = "run the same command again to go on"
    if stop and stop.kind == "signal":
        raise Stopped(stop.signal_number, f"campaign {result['name']}: {stop.reason}", hint=again)
    if stop and stop.kind == "disk":
        raise DiskError(f"campaign {result['name']} stopped: {stop.reason}", hint=f"free some space and {again}")
    if result["state"] == "failed":
        raise CampaignFailed(result)
    return result
