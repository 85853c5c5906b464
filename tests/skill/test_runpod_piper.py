"""A real training on a pod that is taken away: what comes back are the bytes of an undisturbed run."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import pytest

import runpod_client
from fake_runpod import serving
from tts_train import environments
from tts_train.cloud import follow
from tts_train.files import sha256_file
from tts_train.training.run import RunFolder
from tts_train.work.train import train
from tts_train.workspace import Workspace

pytestmark = pytest.mark.faults

CONFIG = {
    "voice": "ann",
    "run": "ann",
    "backend": "piper",
    "dataset": "datasets/ann/train_manifest.jsonl",
    "epochs": 2,
    "batch_size": 2,
    "lr": 1e-4,
    "threads": 1,
    "save_every_steps": 1,
}


def weights(run: RunFolder) -> dict[int, str]:
    return {epoch.number: sha256_file(epoch.folder / str(epoch.info["weights"])) for epoch in run.epochs()}


def workspace(place: Path, manifest: Path) -> Workspace:
    shutil.copytree(manifest.parent, place / "datasets/ann", ignore=shutil.ignore_patterns(".*"))
    (place / "datasets/ann/dataset.yaml").write_text(runpod_client.CARD)
    (place / "configs/tts").mkdir(parents=True)
    (place / "configs/tts/ann.yaml").write_text(json.dumps(CONFIG))
    return Workspace(place)


def test_a_pod_taken_away_in_the_second_epoch_changes_no_byte(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = workspace(tmp_path / "alone", manifest)
    train(CONFIG, str(alone.root), probe=False)
    here = workspace(tmp_path / "workspace", manifest)
    (tmp_path / "cloud").mkdir()
    monkeypatch.setenv("TTS_TRAIN_ENVS", str(environments.root()))
    monkeypatch.setenv("TTS_TRAIN_NO_SETUP", "1")
    with serving(tmp_path / "cloud") as runpod:
        runpod_client.shorten(monkeypatch, runpod, None)
        monkeypatch.setattr(follow, "POLL_SECONDS", 2.0)
        user = runpod_client.Client(here.root, runpod, None)

        def cloud() -> None:
            status = runpod.folder / "homes/40001/tts-train/ann/workspace/artifacts/tts/ann/status.json"
            runpod_client.until(lambda: list(user.run.glob("epochs/epoch-001")), 300)
            runpod_client.until(lambda: json.loads(status.read_text())["step"] > 3, 300)
            runpod.take_away("pod1")

        taking = threading.Thread(target=cloud)
        taking.start()
        code, answer = user.train(probe=False)
        taking.join()

        assert code == 0, answer
        assert len(runpod.pods) == 2
        assert runpod.alive() == []
    assert weights(RunFolder(user.run)) == weights(RunFolder(alone.runs / "ann"))
