"""What waits for ears: open listening sessions, and runs that were measured and that nobody has judged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tts_train.errors import TtsTrainError
from tts_train.files import read_json
from tts_train.review.commandline import command_line
from tts_train.review.decision.ears import read_ears
from tts_train.review.decision.evidence import read_evidence
from tts_train.review.sessions.sessions import list_sessions
from tts_train.work.campaign.closing import for_ears
from tts_train.workspace import Workspace


def waiting(workspace: Workspace) -> dict[str, list[dict[str, Any]]]:
    """{sessions [{session, run, kind, listener, left, command}], runs [as `for_ears`]}, whenever they began.

    A run that another one was made from is settled, and so is one that somebody listens to in an open session.
    """
    sessions = [
        {
            **{name: row[name] for name in ("session", "run", "kind", "listener")},
            "left": row["trials"] - row["answered"],
            "command": command_line(workspace, "session", "show", row["session"]),
        }
        for row in list_sessions(workspace)["sessions"]
        if row["state"] == "open"
    ]
    settled = {row["run"] for row in sessions} | set(_parents(workspace))
    names = sorted(path.parent.name for path in workspace.runs.glob("*/run.json"))
    runs = [for_ears(workspace, name) for name in names if name not in settled and _unheard(workspace, name)]
    return {"sessions": sessions, "runs": runs}


def _unheard(workspace: Workspace, run: str) -> bool:
    try:
        evidence = read_evidence(workspace, run)
        ears = read_ears(workspace, evidence)
    except (TtsTrainError, ValueError, KeyError, TypeError):  # nothing published, or unreadable: told elsewhere
        return False
    return evidence.measured and not (ears.last_words or ears.abx or ears.choices)


def _parents(workspace: Workspace) -> Iterator[str]:
    for path in workspace.runs.glob("*/run.json"):
        try:
            parent = read_json(path)["config"].get("parent")
        except (TtsTrainError, KeyError, TypeError, AttributeError):
            continue
        if parent:
            yield str(parent["run"])
