"""report --since: the night on one page, the bad news first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from tts_train.dataset_report.outputs import HTML, kind_of, write_outputs
from tts_train.errors import UsageError
from tts_train.review.commandline import command_line
from tts_train.table import duration, table
from tts_train.work.morning import night as ran
from tts_train.work.morning.disk import disk
from tts_train.work.morning.waiting import waiting
from tts_train.work.morning.window import window
from tts_train.workspace import Workspace

_BAD = ("failed", "interrupted", "lost", "unreadable")
_FOLDERS_SHOWN = 8
_PLURALS = {"runs": "run", "campaigns": "campaign", "jobs": "job"}


def morning_report(workspace: Workspace, since: str, outputs: Sequence[Path] = ()) -> dict[str, Any]:
    """What ran, ended and failed since then, which epochs are best, what waits for ears, how the disk stands.

    Returns {since, until, quiet, failed [{what, reason, command}], runs, campaigns, jobs, waiting, disk, outputs,
    text}; `quiet` when nothing ran. Reads what is on disk alone. Raises UsageError for a time or an output of another
    kind.
    """
    if any(kind_of(output) == HTML for output in outputs):
        raise UsageError("a page is made of datasets, and this is a night", hint="--output FILE.md or FILE.json")
    night = window(since)
    found: dict[str, Any] = {
        "since": night.since.isoformat(timespec="seconds"),
        "until": night.until.isoformat(timespec="seconds"),
        "runs": ran.runs(workspace, night),
        "campaigns": ran.campaigns(workspace, night),
        "jobs": ran.jobs(workspace, night),
        "waiting": waiting(workspace),
        "disk": disk(workspace, night),
    }
    found["quiet"] = not (found["runs"] or found["campaigns"] or found["jobs"])
    found["failed"] = _failures(workspace, found)
    result = {**found, "text": _text(found, night.told())}
    return {**result, "outputs": write_outputs(result, outputs)}


def _failures(workspace: Workspace, found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What went wrong, once: a job or step whose reason a run gives already is left out."""
    runs = [
        {"what": f"run {run['run']} ({run['stands']})", "reason": run["reason"], "command": run.get("next")}
        for run in found["runs"]
        if run["state"] in _BAD or run.get("stale")
    ]
    rows: list[dict[str, Any]] = []
    for campaign in found["campaigns"]:
        name = f"campaign {campaign['name']}"
        rows += [
            {"what": f"{name}: {step['step']} (exit {step['exit']})", "reason": step["reason"], "command": None}
            | ({"log": step["log"]} if step["log"] else {})
            for step in campaign["failed"]
        ]
        if campaign["state"] in ("interrupted", "unreadable"):
            rows.append({"what": f"{name} ({campaign['state']})", "reason": campaign["reason"], "command": None})
    rows += [
        {
            "what": f"job {job.get('name') or job['id']} ({job['state']}): {job['command']}",
            "reason": job["reason"],
            "command": command_line(workspace, "jobs", "logs", job["id"], "--human"),
        }
        for job in found["jobs"]
        if job["state"] in _BAD
    ]
    said = {run["reason"] for run in runs} - {None}
    return [*runs, *(row for row in rows if row["reason"] not in said)]


def _text(found: Mapping[str, Any], since: str) -> str:
    lines = [f"# Since {since}", "", _headline(found)]
    if found["failed"]:
        lines += ["", "## Went wrong", ""]
        for row in found["failed"]:
            lines.append(f"- {row['what']}" + (f": {row['reason']}" if row["reason"] else ""))
            lines += [f"  log: {row['log']}"] if row.get("log") else []
            lines += [f"  {row['command']}"] if row["command"] else []
    for name, (head, row_of) in _TABLES.items():
        if found[name]:
            lines += ["", f"## {name.capitalize()}", "", *table(head, map(row_of, found[name]))]
    lines += ["", "## Waiting for ears", "", *(_waiting(found["waiting"]) or ["Nothing."])]
    return "\n".join([*lines, "", "## Disk", "", *_disk(found["disk"])]) + "\n"


def _headline(found: Mapping[str, Any]) -> str:
    if found["quiet"]:
        return "Nothing ran."
    counts = [_many(len(found[name]), what) for name, what in _PLURALS.items() if found[name]]
    epochs = sum(len(run.get("new_epochs", ())) for run in found["runs"])
    bad = f"{len(found['failed'])} went wrong" if found["failed"] else "nothing went wrong"
    return f"{', '.join(counts)}; {_many(epochs, 'new epoch')}; {bad}."


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _run_row(run: Mapping[str, Any]) -> tuple[Any, ...]:
    if run["state"] == "unreadable":
        return run["run"], run["stands"], None, None, None, None, None
    best = run["best"] or {}
    none_fit = "none passes the gates" if run["measured"] else "not measured"
    return (
        run["run"],
        run["stands"],
        f"{run['epochs_published']}/{run['epochs_planned']}",
        _spans(run["new_epochs"]),
        f"epoch {best['epoch']}" if best else none_fit,
        best.get("speaker_similarity"),
        best.get("wer"),
    )


def _spans(numbers: Sequence[int]) -> str | None:
    """1-4, 6."""
    starts = [number for number in numbers if number - 1 not in numbers]
    ends = [number for number in numbers if number + 1 not in numbers]
    spans = [str(start) if start == end else f"{start}-{end}" for start, end in zip(starts, ends, strict=True)]
    return ", ".join(spans) or None


def _campaign_row(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["name"], row["state"], ", ".join(f"{n} {state}" for state, n in row["steps"].items()), row["reason"]


def _job_row(job: Mapping[str, Any]) -> tuple[Any, ...]:
    if job["state"] == "unreadable":
        return job["id"], job["state"], None, None, job["reason"]
    started, ended = job["started_at"], job["ended_at"]
    took = (datetime.fromisoformat(ended) - datetime.fromisoformat(started)).total_seconds() if ended else None
    ran_for = None if took is None else duration(max(took, 0.0))
    return job["name"] or job["id"], job["state"], job["exit_code"], ran_for, job["command"][:80]


_TABLES: dict[str, tuple[tuple[str, ...], Callable[[Mapping[str, Any]], tuple[Any, ...]]]] = {
    "runs": (("run", "state", "epochs", "new", "best", "similarity", "WER"), _run_row),
    "campaigns": (("campaign", "state", "steps", "why"), _campaign_row),
    "jobs": (("job", "state", "code", "for", "command"), _job_row),
}


def _waiting(found: Mapping[str, Any]) -> list[str]:
    lines = []
    for row in found["sessions"]:
        left = f"{_many(row['left'], 'trial')} left" if row["left"] else "all answered, to be closed"
        lines += [f"- {row['listener']}'s {row['kind']} session on {row['run']}: {left}", f"  {row['command']}"]
    for row in found["runs"]:
        best = f"hear epoch {row['best_epoch']} first" if row["best_epoch"] is not None else "no epoch passes the gates"
        guess = f"; from measures alone: {row['move']}" if row["move"] else ""
        lines += [f"- {row['run']}: nobody has judged it; {best}{guess}", f"  {row['listen']}"]
        lines += [f"  {row['command']}"] if row["command"] else []
    return lines


def _disk(found: Mapping[str, Any]) -> list[str]:
    free, written = found["free_bytes"], found["written_bytes"]
    nights = f": room for {free / written:.0f} times as much" if written else ""
    lines = [f"{_size(free)} free; {_size(written)} were written and are still there{nights}."]
    shown = found["written"][:_FOLDERS_SHOWN]
    if shown:
        lines += ["", *table(("folder", "written"), [(row["folder"], _size(row["bytes"])) for row in shown])]
    rest = len(found["written"]) - len(shown)
    return [*lines, f"… and {rest} more"] if rest else lines


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
