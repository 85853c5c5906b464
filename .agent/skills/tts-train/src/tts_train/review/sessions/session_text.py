"""Sessions in words, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tts_train.review.commandline import command_line
from tts_train.review.record.trials import POSITIONS
from tts_train.table import table
from tts_train.workspace import Workspace


def planned_text(result: Mapping[str, Any]) -> str:
    """What new_session returns."""
    seen = "blind" if result["blind"] else "sighted: listed, but never counted"
    lines = [
        f"Session {result['session']} for {result['listener']}: {result['trials']} trials ({result['kind']}, {seen}), ",
        f"Clips: {result['folder']}",
        *(f"Note: {note}." for note in result["notes"]),
        "Type:",
        f"  {result['next']}",
    ]
    lines[0] += f"about {max(1, round(result['listening_minutes']))} min."
    return "\n".join(lines)


def shown_text(workspace: Workspace, result: Mapping[str, Any]) -> str:
    """What show_session returns."""
    name, done = result["session"], f"{result['answered']} of {result['trials']} answered"
    lines = [f"Session {name} ({result['kind']}) of {result['listener']}: {done}."]
    if result["closed"]:
        fields = ("number", "role", "item", "seed", "first", "second", "x", "answer")
        rows = [[trial[field] for field in fields] for trial in result["revealed"]]
        command = command_line(workspace, "compare", result["run"])
        return "\n".join([*lines, f"Closed {result['closed']}.", "", *table(fields, rows), "", "Type:", f"  {command}"])
    coming = result["next"]
    if coming is None:
        return "\n".join([*lines, "Type:", f"  {command_line(workspace, 'session', 'close', name)}"])
    said = ["--heard", "good"] if result["kind"] == "sheet" else ["--answer", "first"]
    answer = ["verdict", result["run"], "--session", name, "--trial", str(coming["number"]), *said]
    typed = command_line(workspace, *answer, "--listener", result["listener"])
    lines += ["", f"Trial {coming['number']}: {result['question']}", f"  “{coming['text']}”"]
    lines += [f"  {place}: {coming[place]}{_label(coming, place)}" for place in POSITIONS if place in coming]
    return "\n".join([*lines, "Answer, for example:", f"  {typed}"])


def sessions_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """What list_sessions returns."""
    if not rows:
        return "There is no session yet."
    head = ("session", "run", "kind", "blind", "listener", "answered", "state", "planned")
    cells = []
    for row in rows:
        seen, done = "blind" if row["blind"] else "sighted", f"{row['answered']} of {row['trials']}"
        cells.append((row["session"], row["run"], row["kind"], seen, row["listener"], done, row["state"], row["at"]))
    return "\n".join(table(head, cells))


def _label(coming: Mapping[str, Any], place: str) -> str:
    return f" ({coming['labels'][place]})" if coming["labels"] else ""
