"""report --since: what a night left, told from its files; and a night in which nothing ran."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from finished_run import CONSTANT, HOT, config_of, make_run, run_script, workspace_in
from playable_run import make_playable
from tts_train.errors import Diverged, UsageError
from tts_train.files import locked, read_json, write_json
from tts_train.processes import identity
from tts_train.review.record.store import Store, database
from tts_train.review.record.verdicts import Verdict
from tts_train.review.sessions.sessions import new_session
from tts_train.training.run import RunFolder
from tts_train.training.status import Status
from tts_train.work.background.record import jobs_folder
from tts_train.work.morning.report import morning_report
from tts_train.work.morning.window import window
from tts_train.workspace import Workspace

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return workspace_in(tmp_path)


def hours_ago(hours: float) -> str:
    return (datetime.now(UTC) - timedelta(hours=hours)).isoformat(timespec="seconds")


def age(folder: Path, hours: float) -> None:
    """Make all that is below `folder` as old as if it had been written then."""
    for path in folder.rglob("*"):
        os.utime(path, (time.time() - hours * 3600,) * 2)
    status = folder / "status.json"
    if status.is_file():
        old = {"heartbeat_at": hours_ago(hours), "heartbeat_monotonic": time.monotonic() - hours * 3600}
        write_json(status, {**read_json(status), **old})
        os.utime(status, (time.time() - hours * 3600,) * 2)


def write_job(workspace: Workspace, number: int, **fields: Any) -> None:
    gone = {"pid": 1, "started": -1.0, "boot_id": "none", "host": os.uname().nodename}
    job = {
        "id": f"20260302-03000{number}-abcdef",
        "name": None,
        "argv": ["train-local", "a.yaml"],
        "supervisor": gone,
        "command": gone,
        "started_at": hours_ago(3),
        "heartbeat_at": hours_ago(1),
        "ended_at": hours_ago(1),
        "exit_code": 0,
        "signal": None,
        "answer": None,
        "error": None,
        "on_end": None,
    }
    write_json(jobs_folder(workspace) / str(job["id"]) / "job.json", {**job, **fields})


def write_campaign(workspace: Workspace, name: str, steps: list[Mapping[str, Any]], **fields: Any) -> Path:
    step = {"config": "configs/tts/a.yaml", "exit": 0, "reason": None, "log": "log.txt", "argv": []}
    times = {"started_at": hours_ago(5), "ended_at": hours_ago(4)}
    campaign = {"name": name, "state": "done", "reason": None, "argv": [], "limits": {}, **times}
    path = workspace.runs / "campaigns" / name / "campaign.json"
    write_json(path, {**campaign, **fields, "steps": [{**step, **times, **given} for given in steps]})
    return path


SPANS = [
    ("90m", NOON - timedelta(minutes=90)),
    ("12h", NOON - timedelta(hours=12)),
    ("1.5h", NOON - timedelta(minutes=90)),
    ("2d", NOON - timedelta(days=2)),
    ("2026-03-01T22:00+00:00", datetime(2026, 3, 1, 22, tzinfo=UTC)),
    ("2026-03-01T22:00+02:00", datetime(2026, 3, 1, 20, tzinfo=UTC)),
    ("2026-03-01", datetime(2026, 3, 1).astimezone(UTC)),
]


@pytest.mark.parametrize(("text", "start"), SPANS)
def test_a_span_or_a_time_is_understood(text: str, start: datetime) -> None:
    assert window(text, NOON).since == start


@pytest.mark.parametrize(
    "text", ["", "12", "h", "-2h", "0h", "tomorrow", "2026-03-03", "9" * 30 + "d", "9" * 400 + "d"]
)
def test_what_is_no_past_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--since"):
        window(text, NOON)


def test_a_night_with_nothing_says_so(workspace: Workspace) -> None:
    age(make_run(workspace, "old", CONSTANT).path, hours=48)
    result = run_script("report", "--since", "12h", "--workspace", workspace.root)
    assert result["quiet"]
    assert (result["runs"], result["campaigns"], result["jobs"], result["failed"]) == ([], [], [], [])
    assert result["disk"]["written_bytes"] < 1000
    assert result["disk"]["free_bytes"] > 0
    assert "Nothing ran." in result["text"]
    assert [row["run"] for row in result["waiting"]["runs"]] == ["old"], "what waits does so whenever it was made"


def test_runs_are_told_with_their_best_epoch_and_what_is_new(workspace: Workspace) -> None:
    make_run(workspace, "fit", CONSTANT)
    hot = make_run(workspace, "hot", HOT, epochs=2)
    os.utime(hot.path / "epochs/epoch-001/epoch.json", (time.time() - 90_000,) * 2)
    make_run(workspace, "unmeasured", CONSTANT, epochs=1, measured=False)
    rows = {row["run"]: row for row in morning_report(workspace, "12h")["runs"]}
    assert (rows["fit"]["state"], rows["fit"]["new_epochs"]) == ("done", [1, 2, 3, 4, 5, 6])
    assert rows["fit"]["best"] == {"epoch": 6, "speaker_similarity": 0.829, "wer": 0.03}
    assert (rows["hot"]["new_epochs"], rows["hot"]["measured"], rows["hot"]["best"]) == ([2], True, None)
    assert (rows["unmeasured"]["measured"], rows["unmeasured"]["best"]) == (False, None)
    text = morning_report(workspace, "12h")["text"]
    for line in ("| 1-6 | epoch 6", "none passes the gates", "not measured"):
        assert line in text


def test_what_went_wrong_comes_first_with_its_reason_and_once(workspace: Workspace) -> None:
    reason = "the loss is not finite at epoch 2, step 19"
    run = make_run(workspace, "nan", CONSTANT, epochs=1, measured=False)
    with pytest.raises(Diverged), Status(run.path / "status.json"):
        raise Diverged(reason)
    killed = make_run(workspace, "killed", CONSTANT, epochs=1, measured=False)
    write_json(
        killed.path / "status.json", {**read_json(killed.path / "status.json"), "state": "training", "boot_id": "x"}
    )
    answer = {"ok": False, "error": {"kind": "diverged", "message": reason, "hint": ""}}
    write_job(workspace, 1, exit_code=70, answer=answer)
    write_job(workspace, 2, exit_code=74, name="ship", answer={"error": {"message": "the disk is full"}})
    write_job(workspace, 3, exit_code=None, ended_at=None)
    write_job(workspace, 4, exit_code=143)
    steps = [
        {"step": "ingest", "state": "done"},
        {"step": "train", "state": "failed", "exit": 70, "reason": reason},
        {"step": "probe", "state": "failed", "exit": 69, "reason": "no recogniser", "log": "logs/probe.txt"},
        {"step": "probe", "state": "skipped"},
    ]
    write_campaign(workspace, "night", steps, state="failed")
    result = morning_report(workspace, "12h")
    assert [row["what"].split(":")[0] for row in result["failed"]] == [
        "run killed (interrupted)",
        "run nan (failed)",
        "campaign night",
        "job ship (failed)",
        "job 20260302-030003-abcdef (lost)",
    ]
    runs = {row["run"]: row for row in result["runs"]}
    assert (runs["nan"]["error"], runs["nan"]["reason"]) == ("diverged", reason)
    assert result["campaigns"][0]["steps"] == {"done": 1, "failed": 2, "skipped": 1}
    assert [job["state"] for job in result["jobs"]] == ["failed", "failed", "lost", "stopped"]
    text = result["text"]
    assert text.index("## Went wrong") < text.index("## Runs")
    assert "probe configs/tts/a.yaml (exit 69): no recogniser\n  log: logs/probe.txt" in text
    assert "jobs logs 20260302-030003-abcdef" in text
    assert text.count(reason) == 1


def test_two_runs_that_failed_alike_are_both_told(workspace: Workspace) -> None:
    for name in ("one", "two"):
        run = make_run(workspace, name, CONSTANT, epochs=1, measured=False)
        with pytest.raises(Diverged), Status(run.path / "status.json"):
            raise Diverged("the loss ran away")
    assert len(morning_report(workspace, "12h")["failed"]) == 2


def test_a_campaign_that_nobody_works_on_was_interrupted(workspace: Workspace) -> None:
    path = write_campaign(workspace, "night", [{"step": "train", "state": "running", "ended_at": None}])
    write_json(path, {**read_json(path), "state": "running", "ended_at": None})
    assert morning_report(workspace, "12h")["campaigns"][0]["state"] == "interrupted"
    with locked(path.parent / ".lock"):
        assert morning_report(workspace, "1h")["campaigns"][0]["state"] == "running", "it runs, whenever it began"
    assert morning_report(workspace, "1h")["campaigns"] == []


def test_only_what_was_in_the_window_is_told(workspace: Workspace) -> None:
    age(make_run(workspace, "before", CONSTANT, epochs=1).path, hours=20)
    tried = make_run(workspace, "tried-again", CONSTANT, epochs=1)
    signs = read_json(tried.path / "status.json")
    age(tried.path, hours=20)
    write_json(tried.path / "status.json", signs)
    write_job(workspace, 1, started_at=hours_ago(30), ended_at=hours_ago(20), heartbeat_at=hours_ago(20))
    write_job(workspace, 2, started_at=hours_ago(30), ended_at=hours_ago(2))
    here = identity(os.getpid())
    write_job(workspace, 3, started_at=hours_ago(30), heartbeat_at=hours_ago(30), ended_at=None, supervisor=here)
    write_campaign(workspace, "before", [], started_at=hours_ago(30), ended_at=hours_ago(20))
    result = morning_report(workspace, "12h")
    assert [(row["run"], row["new_epochs"]) for row in result["runs"]] == [("tried-again", [])]
    assert result["campaigns"] == []
    assert [(job["id"][14], job["state"]) for job in result["jobs"]] == [("2", "ended"), ("3", "running")]
    assert len(morning_report(workspace, "2d")["jobs"]) == 3


def test_a_clock_that_was_set_back_hides_nothing(workspace: Workspace) -> None:
    run = make_run(workspace, "ahead", CONSTANT, epochs=1, measured=False)
    ahead = {"heartbeat_at": hours_ago(-20), "progress_at": hours_ago(-20)}
    write_json(run.path / "status.json", {**read_json(run.path / "status.json"), **ahead})
    write_job(workspace, 1, started_at=hours_ago(-20), ended_at=hours_ago(1), heartbeat_at=hours_ago(1))
    result = morning_report(workspace, "12h")
    assert [row["run"] for row in result["runs"]] == ["ahead"]
    assert "| 0 s" in result["text"], "no time is negative"


def test_what_waits_for_ears_names_the_command(workspace: Workspace) -> None:
    make_run(workspace, "unheard", CONSTANT)
    make_run(workspace, "unmeasured", CONSTANT, epochs=1, measured=False)
    judged = make_run(workspace, "judged", CONSTANT)
    make_run(workspace, "parent", CONSTANT)
    make_run(
        workspace, "child", CONSTANT, epochs=1, measured=False, parent={"run": "parent", "epoch": 6, "move": "raise-lr"}
    )
    make_playable(workspace, "listened")
    session = new_session(workspace, "listened", kind="ab", listener="ann", seed=1)
    weights = judged.epoch(6).weights_sha256
    with Store(database(workspace)) as store:
        store.add_verdict(Verdict("judged", 6, "ann", ("good",), weights_sha256=weights))
    result = morning_report(workspace, "12h")
    (row,) = result["waiting"]["runs"]
    assert (row["run"], row["best_epoch"]) == ("unheard", 6)
    assert "session new unheard --listener YOUR-NAME" in row["listen"]
    (opened,) = result["waiting"]["sessions"]
    assert (opened["run"], opened["listener"], opened["left"]) == ("listened", "ann", session["trials"])
    assert f"session show {session['session']}" in opened["command"]
    for line in ("unheard: nobody has judged it; hear epoch 6 first", "ann's ab session on listened"):
        assert line in result["text"]


def test_the_disk_is_told_with_what_grew(workspace: Workspace) -> None:
    (workspace.datasets / "ann").mkdir()
    (workspace.datasets / "ann/a.flac").write_bytes(bytes(3_000_000))
    os.link(workspace.datasets / "ann/a.flac", workspace.datasets / "ann/linked.flac")
    (workspace.datasets / "old").mkdir()
    (workspace.datasets / "old/b.flac").write_bytes(bytes(9_000_000))
    age(workspace.datasets / "old", hours=30)
    make_run(workspace, "demo", CONSTANT, epochs=1)
    disk = morning_report(workspace, "12h")["disk"]
    assert disk["written"][0] == {"folder": "datasets/ann", "bytes": 3_000_000}
    assert {row["folder"] for row in disk["written"]} == {"datasets/ann", "datasets/demo", "artifacts/tts/demo"}
    assert disk["written_bytes"] == sum(row["bytes"] for row in disk["written"])


def test_what_cannot_be_read_hides_nothing_else(workspace: Workspace) -> None:
    make_run(workspace, "whole", CONSTANT, epochs=1)
    RunFolder(workspace.runs / "torn").start(config_of("torn", CONSTANT.changes), {})
    (workspace.runs / "torn/status.json").write_text("{")
    write_campaign(workspace, "torn", []).write_text('{"name": ')
    (jobs_folder(workspace) / "torn").mkdir(parents=True)
    (jobs_folder(workspace) / "torn/job.json").write_text("[]")
    result = morning_report(workspace, "12h")
    assert [(row["run"], row["state"]) for row in result["runs"]] == [("torn", "unreadable"), ("whole", "stopped")]
    assert result["campaigns"][0]["state"] == result["jobs"][0]["state"] == "unreadable"
    assert len(result["failed"]) == 3


def test_it_is_written_as_text_and_json(workspace: Workspace, tmp_path: Path) -> None:
    make_run(workspace, "demo", CONSTANT, epochs=1)
    page, data = tmp_path / "night.md", tmp_path / "night.json"
    result = run_script("report", "--since", "12h", "--output", page, "--output", data, "--workspace", workspace.root)
    assert result["outputs"] == [str(page), str(data)]
    assert page.read_text() == result["text"]
    assert json.loads(data.read_text())["runs"] == result["runs"]
    for wrong in (["--output", "a.html"], ["demo"], ["--embed"], ["--reviews", "r"]):
        run_script("report", "--since", "12h", *wrong, "--workspace", workspace.root, code=2)
    assert "--since" in run_script("report", "--workspace", workspace.root, code=2)["message"]
