"""status: alive, silent, gone, done: each told apart, with what to type next."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from finished_run import CONSTANT, config_of, make_run, run_script, workspace_in
from tts_train.training.run import RunFolder
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
    long_ago = (datetime.now(UTC) - timedelta(minutes=10)).isoformat(timespec="seconds")
    rewrite(workspace, heartbeat_at=long_ago)
    result = run_script("status", "demo", "--workspace", workspace.root)
    assert (result["state"], result["stale"]) == ("training", True)
    assert result["heartbeat_age_seconds"] == pytest.approx(600, abs=30)
    assert "silent" in result["text"]


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
