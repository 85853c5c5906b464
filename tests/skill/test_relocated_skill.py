"""The skill's folder copied alone: what needs no repository works, what needs it says so.

The environments come along as hard links, so that the copy installs nothing; their path line is relative, so the
copy runs its own code.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tts_train.clip import Clip
from tts_train.dataset import load_manifest, write_manifest

ROOT = Path(__file__).parents[2]
SKILL = ROOT / ".agent/skills/tts-train"
HELDOUT = ROOT / "datasets/demo/heldout"
CLIPS = ("pairs-golf", "pairs-boot", "hat", "park")


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("elsewhere") / "tts-train"
    shutil.copytree(SKILL, home, ignore=shutil.ignore_patterns(".envs", "__pycache__"))
    (home / ".envs").mkdir()
    environments = Path(os.environ.get("TTS_TRAIN_ENVS", SKILL / ".envs"))
    for name in ("core", "skill"):
        subprocess.run(["cp", "-al", environments / name, home / ".envs" / name], check=True)
    return home


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("workspace")
    dataset = root / "datasets/ann"
    (dataset / "clips").mkdir(parents=True)
    shutil.copyfile(ROOT / "datasets/demo/dataset.yaml", dataset / "dataset.yaml")
    clips = []
    for clip in load_manifest(HELDOUT / "manifest.jsonl"):
        if clip.id in CLIPS:
            shutil.copyfile(HELDOUT / clip.audio_file, dataset / "clips" / clip.audio_file)
            clips.append(Clip(**{**clip.as_row(), "audio_file": f"clips/{clip.audio_file}"}))
    write_manifest(dataset / "train_manifest.jsonl", clips)
    return root


@pytest.fixture(scope="module")
def run_sh(copied: Path, workspace: Path) -> Any:
    variables = {key: value for key, value in os.environ.items() if not key.startswith(("TTS_TRAIN_", "PYTHONPATH"))}

    def run(*arguments: str) -> tuple[int, dict[str, Any]]:
        command = [copied / "run.sh", *arguments]
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
            cwd=workspace,
            env={**variables, "TTS_TRAIN_NO_SETUP": "1"},
        )
        return done.returncode, json.loads(done.stdout)

    return run


@pytest.fixture(scope="module")
def trained(run_sh: Any) -> dict[str, Any]:
    code, answer = run_sh("config", "new", "ann", "--dataset", "datasets/ann/train_manifest.jsonl")
    assert code == 0, answer
    config = Path(answer["result"]["config"])
    config.write_text(config.read_text().replace("epochs: 6", "epochs: 1"))
    code, answer = run_sh("train-local", str(config))
    assert code == 0, answer
    return answer["result"]


def test_the_copy_runs_its_own_code(copied: Path, run_sh: Any) -> None:
    code, answer = run_sh("doctor")

    assert code == 0
    assert answer["result"]["skill"] == str(copied)
    assert answer["result"]["repository"] is None


def test_it_trains_and_speaks(run_sh: Any, workspace: Path, trained: dict[str, Any]) -> None:
    code, answer = run_sh("infer", "ann-piper", str(workspace / "hello.wav"), "--text", "Hello there.", "--epoch", "1")

    assert trained["published"] == [1]
    assert code == 0, answer
    assert (workspace / "hello.wav").stat().st_size > 10_000
    assert json.loads((workspace / "hello.wav.json").read_text())["epoch"] == 1


def test_status_verdict_and_next_work(run_sh: Any, trained: dict[str, Any]) -> None:
    assert run_sh("status", "ann-piper")[1]["result"]["state"] == "done"
    heard = ("--epoch", "1", "--heard", "good", "--listener", "ann")
    assert run_sh("verdict", "ann-piper", *heard)[0] == 0
    code, answer = run_sh("next", "ann-piper")

    assert code == 0, answer
    assert (answer["result"]["move"], answer["result"]["basis"]) == ("ship", "verdicts")


def test_what_needs_the_repository_says_so(run_sh: Any) -> None:
    code, answer = run_sh("demo")

    assert code == 69
    assert "repository" in answer["error"]["message"]
