"""Run the steps of a queue one after the other, each in a process and with a log of its own."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tts_train.errors import TtsTrainError, from_json
from tts_train.output import progress
from tts_train.processes import is_alive
from tts_train.training.status import now
from tts_train.work.background.child import Child
from tts_train.work.background.logfile import RotatingLog
from tts_train.work.background.record import STOPPED_CODES
from tts_train.work.campaign.limits import Stop, Watch, estimate_of
from tts_train.work.campaign.outlook import can_be_planned, planned, variables
from tts_train.work.campaign.queue import Step, told
from tts_train.work.campaign.record import OPEN, Record, Row
from tts_train.workspace import Workspace, skill_root

BUSY = 75
BUSY_SECONDS = 30.0
"""Between two tries of a step whose lock somebody else holds."""
GRACE_SECONDS = 900.0
"""What a step gets to save before it is killed: a kill loses no more than the work since its last receipt or state."""
_LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Ended:
    """How a step's process ended; `stop` is what we asked it to end for."""

    code: int
    message: str
    stop: Stop | None


def run_queue(workspace: Workspace, record: Record, steps: Sequence[Step], watch: Watch) -> Stop | None:
    """Run every step that is still to do. A step that fails holds up only those that need it.

    Returns what ended the campaign early, if something did; the record tells the rest.
    """
    for step in steps:
        row = next(row for row in record.rows if row["id"] == step.identifier)
        if row["state"] not in OPEN:
            continue
        cause = record.blocked_by(row)
        if cause is not None:
            record.change(row, state="skipped", reason=f"{cause['id']}: {cause['reason']}")
            continue
        stop = _run_when_free(workspace, record, step, row, watch)
        if stop is not None:
            return stop
    return None


def _run_when_free(workspace: Workspace, record: Record, step: Step, row: Row, watch: Watch) -> Stop | None:
    """Run a step once nobody else works on the same thing; returns why the campaign ends with it, if it does."""
    # The kernel told it to save when the campaign that started it was killed; where no kernel does that, it works on.
    stop = _until(lambda: not is_alive(row["process"]), record, watch, f"{row['id']} of the start before still runs")
    _estimate(workspace, record, step, row)
    while True:
        stop = stop or watch.stop((row["estimate"] or {}).get("disk_gb") or 0.0)
        if stop is not None:
            return stop
        ended = _run(workspace, record, row, watch)
        if ended.code != BUSY or ended.stop is not None:
            return _conclude(record, row, ended)
        record.change(row, state="waiting", reason=ended.message, process=None)
        stop = _until(_after(BUSY_SECONDS), record, watch, f"{row['id']}: {ended.message}")


def _run(workspace: Workspace, record: Record, row: Row, watch: Watch) -> Ended:
    """One process from its start to its end."""
    log_file = workspace.path(row["log"])
    log_file.parent.mkdir(parents=True, exist_ok=True)
    progress(f"campaign: {row['id']}: run.sh {' '.join(row['argv'])}; log: {row['log']}")
    fields = {"state": "running", "started_at": now(), "ended_at": None, "exit": None, "reason": None}
    with RotatingLog(log_file) as log:
        child = Child([str(skill_root() / "run.sh"), *row["argv"]], str(workspace.root), variables(workspace), log)
        record.change(row, **fields, process=child.identity)
        stop: Stop | None = None
        asked = 0.0
        while child.copy(_LOOK_SECONDS):
            record.beat()
            if stop is None:
                stop = watch.stop()
                if stop is not None:
                    asked = time.monotonic()
                    progress(f"campaign: {stop.reason}; {row['id']} saves and ends")
                    child.send(signal.SIGTERM)
            elif time.monotonic() - asked > GRACE_SECONDS:
                child.send(signal.SIGKILL)
    return Ended(child.exit_code, _message(child), stop)


def _message(child: Child) -> str:
    answer = child.answer()
    if answer is None or answer.get("ok", True):
        return f"ended with code {child.exit_code} and no answer; its log tells more"
    return told(from_json(answer["error"]))


def _conclude(record: Record, row: Row, ended: Ended) -> Stop | None:
    """Note how a step ended; returns why the campaign ends with it, if it does."""
    stop, state, reason = None, "done", None
    if ended.code and (ended.stop or ended.code in STOPPED_CODES):
        # Stopped by somebody else: a shutdown tells every process, and nothing new is started then.
        stop = ended.stop or Stop("signal", f"{row['id']} was stopped from outside", ended.code - 128)
        state, reason = "stopped", stop.reason
    elif ended.code:
        state, reason = "failed", ended.message
    record.change(row, state=state, exit=ended.code, reason=reason, ended_at=now(), process=None)
    progress(f"campaign: {row['id']} {state}{f': {reason}' if reason else ''}")
    return stop


def _estimate(workspace: Workspace, record: Record, step: Step, row: Row) -> None:
    """What the step will cost, now that its input is there; what is wrong with it the step itself will say."""
    if row["estimate"] is None and can_be_planned(step, {item["id"]: item for item in record.rows}):
        try:
            row["estimate"] = estimate_of(planned(workspace, step))
        except TtsTrainError as error:
            progress(f"campaign: {row['id']} has no estimate: {error.message}")


def _until(over: Callable[[], bool], record: Record, watch: Watch, why: str) -> Stop | None:
    """Wait, with an eye on the limits; says `why` once, if it has to wait at all."""
    said = False
    while not over():
        stop = watch.stop()
        if stop is not None:
            return stop
        if not said:
            progress(f"campaign: waits: {why}")
            said = True
        record.beat()
        time.sleep(_LOOK_SECONDS)
    return None


def _after(seconds: float) -> Callable[[], bool]:
    until = time.monotonic() + seconds
    return lambda: time.monotonic() >= until
