"""A training as files for other tools, parsed and linted; the tools themselves are not here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from pod_commands import stand_in
from runpod_client import write_workspace
from tts_train.cloud import bundle, render
from tts_train.errors import UsageError
from tts_train.workspace import Workspace

SHELLCHECK = Path(sys.executable).with_name("shellcheck")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    root = write_workspace(tmp_path / "work space")
    skill = stand_in(root / "skill")
    for module in (bundle, render):
        monkeypatch.setattr(module, "skill_root", lambda: skill)
    return Workspace(root)


def rendered(place: Workspace, target: str, **options: Any) -> dict[str, Any]:
    chosen = {"hours": 2.5, "spot": False, "storage": None, "output": None, **options}
    return render.rendered(place.configs / "ann.yaml", place, target=target, **chosen)


def test_skypilot(place: Workspace) -> None:
    answer = rendered(
        place, "skypilot", spot=True, storage="voices", variables=["HF_TOKEN"], output=place.root / "ann.sky.yaml"
    )
    task = yaml.safe_load(answer["text"])

    assert (place.root / "ann.sky.yaml").read_text() == answer["text"]
    assert task["resources"]["use_spot"] is True
    assert "L4:1" in task["resources"]["accelerators"]
    assert task["file_mounts"]["/artifacts"] == {"name": "voices", "mode": "MOUNT_CACHED"}
    assert "skill/run.sh train-local workspace/configs/tts/ann.yaml" in task["run"]
    assert task["file_mounts"]["~/tts-train/workspace/datasets/ann"] == "./datasets/ann"
    assert "timeout --signal=TERM --kill-after=300s 9000" in task["run"]
    assert task["secrets"] == {"HF_TOKEN": None}
    _is_shell(task["setup"])
    _is_shell(task["run"])


def test_dstack(place: Workspace) -> None:
    task = yaml.safe_load(rendered(place, "dstack", spot=True, storage="voices")["text"])

    assert task["type"] == "task"
    assert "./datasets/ann:workspace/datasets/ann" in task["files"]
    assert task["resources"]["gpu"] == {"vendor": "nvidia", "memory": "8GB..", "count": 1}
    assert task["max_duration"] == "9000s"
    assert task["volumes"] == ["voices:/artifacts"]
    assert task["retry"]["on_events"] == ["no-capacity", "interruption"]
    _is_shell("\n".join(task["commands"]))


def test_a_machine_that_may_go_needs_something_that_stays(place: Workspace) -> None:
    for target in ("skypilot", "dstack"):
        with pytest.raises(UsageError, match="loses the run"):
            rendered(place, target, spot=True)
    with pytest.raises(UsageError, match="Slurm knows no"):
        rendered(place, "slurm", storage="voices")


@pytest.mark.parametrize(("ends", "code", "requeued"), [("exit 0", 0, False), ("exit 70", 70, False), ("", 0, True)])
def test_slurm_saves_at_its_signal_and_is_queued_again(
    place: Workspace, tmp_path: Path, ends: str, code: int, requeued: bool
) -> None:
    """Slurm itself is not here: bash, the signal that it sends, and a stand-in for scontrol are."""
    answer = rendered(place, "slurm")
    _is_shell(answer["text"])
    assert "#SBATCH --time=150" in answer["text"]
    (place.root / "skill/run.sh").write_text(
        f"#!/bin/bash\n{ends}\ntrap 'sleep 0.3; touch saved; exit 143' TERM\ntouch trains\n"
        "while :; do sleep 0.05; done\n"
    )
    (tmp_path / "scontrol").write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/queued\n')
    (tmp_path / "scontrol").chmod(0o755)
    own = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "7"}
    with subprocess.Popen(["bash", "-c", answer["text"]], cwd=place.root, env=own, stderr=subprocess.PIPE) as job:
        deadline = time.monotonic() + 20
        while not (place.root / "trains").exists() and job.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        if requeued:
            job.send_signal(signal.SIGTERM)
        _, said = job.communicate(timeout=20)

    assert job.returncode == code, said
    assert (tmp_path / "queued").exists() == requeued
    assert (place.root / "saved").exists() == requeued


def _is_shell(text: str) -> None:
    subprocess.run(["bash", "-n", "-c", text], check=True)
    script = text if text.startswith("#!") else f"#!/bin/bash\n{text}"
    subprocess.run([SHELLCHECK, "-"], input=script, text=True, check=True)
