"""status: alive, silent, gone, done: each told apart, with what to type next."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from finished_run import CONSTANT, config_of, make_run, run_raw, run_script, workspace_in
from tts_train.files import locked, read_json, write_json
from tts_train.review.status import run_status
from tts_train.training.run import RunFolder
from tts_train.training.status import Status, is_stale, read_status, seconds_since
from tts_train.workspace import Workspace, skill_root

TRAINER = """
import sys, time
from pathlib import Path
from tts_train.training.status import Status
with Status(Path(sys.argv[1])) as status:
    status.update(state="training", epoch=3, step=30, loss=41.5, eta_seconds=600.0)
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return workspace_in(tmp_path)


@pytest.fixture
def trainer(workspace: Workspace):
    """A live process that trains `demo`, two of six epochs published."""
    run = make_run(workspace, "demo", CONSTANT, epochs=2, measured=False)
    environment = {**os.environ, "PYTHONPATH": str(skill_root() / "src")}
    command = [sys.executable, "-c", TRAINER, str(run.path / "status.json")]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def rewrite(workspace: Workspace, **fields: object) -> None:
    path = workspace.runs / "demo/status.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def save_config(workspace: Workspace) -> None:
    path = workspace.configs / "demo.yaml"
    path.write_text(yaml.safe_dump(config_of("demo", CONSTANT.changes).frozen()))


def test_a_live_run_tells_how_far_it_is(workspace: Workspace, trainer: subprocess.Popen[str]):
    result = run_script("status", "demo", "--workspace", workspace.root)
    assert (result["state"], result["stale"], result["pid"]) == ("training", False, trainer.pid)
    assert (result["step"], result["epoch"], result["eta_seconds"], result["loss"]) == (30, 3, 600.0, 41.5)
    assert (result["epochs_published"], result["epochs_planned"], result["last_epoch"]["epoch"]) == (2, 6, 2)
    assert result["heartbeat_age_seconds"] < 30
    assert "about 10 min left" in result["text"]


def test_a_live_process_without_heartbeat_is_stale(workspace: Workspace, trainer: subprocess.Popen[str]):
    rewrite(workspace, heartbeat_monotonic=time.monotonic() - 240)
    result = run_script("status", "demo", "--workspace", workspace.root)
    assert (result["state"], result["alive"], result["stale"], result["stalled"]) == ("training", True, True, False)
    assert result["heartbeat_age_seconds"] == pytest.approx(240, abs=30)
    assert "stale: no heartbeat for 4 min" in result["text"]
    assert "its process still lives" in result["text"]


def test_a_heart_that_beats_without_a_step_is_told(workspace: Workspace, trainer: subprocess.Popen[str]):
    rewrite(workspace, progress_monotonic=time.monotonic() - 1800)
    result = run_script("status", "demo", "--workspace", workspace.root)
    assert (result["stale"], result["stalled"]) == (False, True)
    assert "no step for 30 min" in result["text"]


def test_a_probe_is_why_there_is_no_step(workspace: Workspace, trainer: subprocess.Popen[str]):
    rewrite(workspace, progress_monotonic=time.monotonic() - 1800)
    with locked(workspace.runs / "demo/renders/.lock"):
        result = run_status(workspace, "demo")
    assert "training, being probed" in result["text"]
    assert not run_status(workspace, "demo")["probing"], "who has let go of the lock is no holder"


HERE, ELSEWHERE, MINUTES = {}, {"host": "elsewhere"}, 60.0
CLOCKS = [
    # who wrote it, seconds that its wall clock is ahead of ours, seconds since the heartbeat → age, stale
    ("the same clock", HERE, 0, 10, 10, False),
    ("the clock was set back by a day", HERE, 86_400, 10, 10, False),
    ("the clock was set forward by a day", HERE, -86_400, 10, 10, False),
    ("silent, and the clock was set back", HERE, 86_400, 10 * MINUTES, 10 * MINUTES, True),
    ("another host, its clock ahead", ELSEWHERE, 3600, 10, 0, False),
    ("another host in step", ELSEWHERE, 0, 10, 10, False),
    ("another host, silent", ELSEWHERE, 0, 10 * MINUTES, 10 * MINUTES, True),
]


@pytest.mark.parametrize(
    ("where", "ahead", "ago", "age", "stale"), [row[1:] for row in CLOCKS], ids=[row[0] for row in CLOCKS]
)
def test_a_set_clock_makes_no_live_run_stale(
    tmp_path: Path, where: dict[str, object], ahead: float, ago: float, age: float, stale: bool
):
    path = tmp_path / "status.json"
    with Status(path) as status:
        status.update(state="training")
        then = datetime.now(UTC) + timedelta(seconds=ahead - ago)
        signs = {"heartbeat_at": then.isoformat(timespec="seconds"), "heartbeat_monotonic": time.monotonic() - ago}
        written = {**read_json(path), **signs, **where}
        write_json(path, written)
        read = read_status(tmp_path)
    assert read["state"] == "training"
    assert seconds_since(read, "heartbeat") == pytest.approx(age, abs=2)
    assert is_stale(read) is stale


def test_a_status_of_before_a_boot_is_told_by_the_wall_clock(workspace: Workspace):
    make_run(workspace, "demo", CONSTANT, epochs=2)
    hour_ago = (datetime.now(UTC) - timedelta(hours=1)).isoformat(timespec="seconds")
    rewrite(workspace, state="training", boot_id="another", heartbeat_at=hour_ago, heartbeat_monotonic=time.monotonic())
    result = run_status(workspace, "demo")
    assert (result["state"], result["stale"]) == ("interrupted", False)
    assert result["heartbeat_age_seconds"] == pytest.approx(3600, abs=5)


def test_without_a_run_those_that_live_or_ended_lately_are_told(workspace: Workspace, trainer: subprocess.Popen[str]):
    make_run(workspace, "ended", CONSTANT, epochs=1, measured=False)
    make_run(workspace, "old", CONSTANT, epochs=1, measured=False)
    status = workspace.runs / "old/status.json"
    status.write_text(json.dumps({**json.loads(status.read_text()), "heartbeat_monotonic": time.monotonic() - 90_000}))
    (workspace.runs / "broken").mkdir()
    (workspace.runs / "broken/run.json").write_text("{")
    (workspace.runs / "broken/status.json").write_text("{")
    result = run_script("status", "--workspace", workspace.root)
    assert {row["run"]: row["state"] for row in result["runs"]} == {
        "broken": "unreadable",
        "demo": "training",
        "ended": "stopped",
    }
    assert (result["alive"], result["others"]) == (True, 1)
    assert "1 older: run.sh runs" in result["text"]


def test_an_empty_workspace_says_so(workspace: Workspace):
    result = run_script("status", "--workspace", workspace.root)
    assert (result["runs"], result["alive"]) == ([], False)
    assert "no run is alive" in result["text"]


def test_watching_draws_anew_and_ends_with_the_last_run(workspace: Workspace, trainer: subprocess.Popen[str]):
    script = [sys.executable, str(skill_root() / "scripts/status.py"), "--watch", "--workspace", str(workspace.root)]
    refused = run_raw(script)
    assert (refused.returncode, "--human" in refused.stdout) == (2, True)
    short = "import tts_train.review.status as s, functools; s.watch = functools.partial(s.watch, seconds=0.2)"
    program = f"import sys, runpy; {short}; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-c", program, *script[1:], "--human"]
    environment = {**os.environ, "PYTHONPATH": str(skill_root() / "src")}
    watching = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert watching.stdout is not None
    drawn = [watching.stdout.readline() for _ in range(6)]
    assert sum("training" in line for line in drawn) >= 2
    trainer.kill()
    trainer.wait()
    rest = watching.communicate(timeout=20)[0]
    assert watching.returncode == 0
    assert "interrupted" in rest


def test_watching_what_has_ended_tells_once(workspace: Workspace):
    make_run(workspace, "demo", CONSTANT)
    script = skill_root() / "scripts/status.py"
    done = run_raw([sys.executable, str(script), "demo", "--watch", "--human", "--workspace", str(workspace.root)])
    assert (done.returncode, done.stdout.count("demo: done")) == (0, 1)


def test_a_killed_process_is_interrupted_and_the_command_resumes_it(
    workspace: Workspace, trainer: subprocess.Popen[str]
):
    save_config(workspace)
    trainer.kill()
    trainer.wait()
    result = run_script("status", "demo", "--workspace", workspace.root)
    assert (result["state"], result["stale"]) == ("interrupted", False)
    assert str(trainer.pid) in result["reason"]
    assert "train-local" in result["next"]
    assert "configs/tts/demo.yaml" in result["next"]


def test_a_run_on_another_host_is_judged_by_its_heartbeat(workspace: Workspace, trainer: subprocess.Popen[str]):
    trainer.kill()
    trainer.wait()
    rewrite(workspace, host="elsewhere")
    result = run_script("status", "demo", "--workspace", workspace.root)
    assert (result["state"], result["stale"]) == ("training", False)
    assert "on elsewhere" in result["text"]
    rewrite(workspace, heartbeat_at=(datetime.now(UTC) - timedelta(minutes=10)).isoformat(timespec="seconds"))
    silent = run_script("status", "demo", "--workspace", workspace.root)
    assert (silent["state"], silent["stale"]) == ("training", True)
    assert "cannot be seen from here" in silent["text"]


def test_a_finished_run_leads_to_next(workspace: Workspace):
    make_run(workspace, "demo", CONSTANT)
    result = run_script("status", "demo", "--workspace", workspace.root)
    assert (result["state"], result["stale"], result["reason"]) == ("done", False, None)
    assert result["next"].split()[1:3] == ["next", "demo"]


def test_a_stopped_run_without_a_config_file_still_has_a_status(workspace: Workspace):
    make_run(workspace, "demo", CONSTANT, epochs=2)
    result = run_script("status", "demo", "--workspace", workspace.root)
    assert result["state"] == "stopped"
    assert "train-local" not in result["next"]


def test_a_run_that_never_started_is_new(workspace: Workspace):
    run = RunFolder(workspace.runs / "demo")
    run.start(config_of("demo", CONSTANT.changes), {})
    result = run_script("status", "demo", "--workspace", workspace.root)
    assert (result["state"], result["heartbeat_age_seconds"], result["last_epoch"]) == ("new", None, None)


def test_an_unknown_run_names_the_ones_there_are(workspace: Workspace):
    make_run(workspace, "demo", CONSTANT, epochs=1, measured=False)
    assert run_script("status", "demmo", "--workspace", workspace.root, code=65)["hint"] == "one of: demo"
    assert run_script("status", "../demo", "--workspace", workspace.root, code=78)["kind"] == "config"


@pytest.mark.parametrize("command", ["verdict", "next", "runs", "status", "report"])
def test_help_has_an_example_and_the_exit_codes(command: str):
    script = skill_root() / "scripts" / f"{command}.py"
    environment = {**os.environ, "PYTHONPATH": str(skill_root() / "src")}
    done = subprocess.run(
        [sys.executable, "-X", "importtime", str(script), "--help"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"Example: run.sh {command}" in done.stdout
    assert "Exit codes: 0" in done.stdout
    loaded = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert not loaded & {"torch", "numpy", "librosa", "pocketsphinx", "av", "soundfile"}
    assert len(script.read_text().splitlines()) <= 60
