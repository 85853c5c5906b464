"""verdict: check what a listener says against the run and its probe, then record it."""

from __future__ import annotations

from typing import Any

from tts_train.errors import UsageError
from tts_train.review.commandline import YOUR_NAME, command_line
from tts_train.review.evidence import newest_render_key
from tts_train.review.store import Store, database
from tts_train.review.verdicts import Verdict, check_against_probe, checked
from tts_train.training.run import RunFolder
from tts_train.workspace import Workspace


def record_verdict(workspace: Workspace, verdict: Verdict) -> dict[str, Any]:
    """Add a verdict to the store. Returns {verdict, next, text}.

    Raises InputUnusable for an unknown run, ConfigError for an epoch that is not published, UsageError for a category,
    marker or word that does not exist.
    """
    if verdict.listener == YOUR_NAME:
        raise UsageError(f"{YOUR_NAME} stands for the listener's name", hint="a verdict is one person's: name them")
    run = RunFolder(workspace.run(verdict.run))
    run.epoch(verdict.epoch)
    new = checked(verdict)
    check_against_probe(new, run.config(), workspace)
    with Store(database(workspace)) as store:
        recorded = store.add_verdict(Verdict(**{**vars(new), "render_key": newest_render_key(run.path)}))
    command = command_line(workspace, "next", run.name)
    return {"verdict": recorded.as_row(), "next": command, "text": f"{recorded.quoted()}\nType:\n  {command}"}
