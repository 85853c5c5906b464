"""What the steps will cost, and what is wrong with them before the first one starts: their own plans say it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from tts_train.errors import ConfigError, Problem, TtsTrainError, from_json
from tts_train.probe import work as probe
from tts_train.work import train
from tts_train.work.campaign.limits import estimate_of
from tts_train.work.campaign.queue import Step, told
from tts_train.work.campaign.record import Row
from tts_train.workspace import Workspace, skill_root


def look_ahead(workspace: Workspace, steps: Sequence[Step], rows: Sequence[Row]) -> None:
    """Fill in `estimate` of every step to do whose input is there. Raises ConfigError with every problem at once."""
    by_id = {row["id"]: row for row in rows}
    problems = []
    for step in steps:
        row = by_id[step.identifier]
        if row["state"] != "waiting" or row["estimate"] is not None or not can_be_planned(step, by_id):
            continue
        try:
            row["estimate"] = estimate_of(planned(workspace, step))
        except TtsTrainError as error:
            where = f"{step.step} {step.subject}: "
            own = error.problems or [Problem(told(error))]
            problems += [Problem(f"{where}{item.message}", item.file or step.order.path, item.line) for item in own]
    if problems:
        raise ConfigError(
            f"the campaign has {len(problems)} problem(s); nothing was started", hint="fix them all", problems=problems
        )


def can_be_planned(step: Step, rows: Mapping[str, Row]) -> bool:
    """Whether all that the step reads is there already."""
    if step.step == "ingest":
        return True
    if any(rows[name]["state"] != "done" for name in step.after):
        return False
    parent = step.order.config.parent
    if step.step == "train" and parent is not None:
        return rows.get(f"train-{parent.run}", {}).get("state", "done") == "done"
    return True


def planned(workspace: Workspace, step: Step) -> dict[str, Any]:
    """The step's plan. Raises what the step itself would raise at once."""
    if step.step == "train":
        return train.plan(step.order.config, workspace)
    if step.step == "probe":
        return probe.plan(workspace, step.subject)
    finished = subprocess.run(
        [str(skill_root() / "run.sh"), *step.argv, "--dry-run"],
        cwd=workspace.root,
        env=variables(workspace),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    try:
        answer = json.loads(finished.stdout)
    except json.JSONDecodeError as error:
        said = f"its plan ended with code {finished.returncode} and no answer"
        raise TtsTrainError(said, hint="its messages are above") from error
    if not answer["ok"]:
        raise from_json(answer["error"])
    plan: dict[str, Any] = answer["result"]
    return plan


def variables(workspace: Workspace) -> dict[str, str]:
    """Environment of a step: this one's, but not the locks that this process holds."""
    kept = {name: value for name, value in os.environ.items() if name != "TTS_TRAIN_HELD"}
    return {**kept, "TTS_TRAIN_WORKSPACE": str(workspace.root)}
