"""What else happens in a night: the clock is set, the disk becomes read-only, two want the same, a dataset is gone."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import disk_faults
import kills
import piper_voices
from toy import ToyTask, toy_config
from tts_train.config import TrainConfig
from tts_train.errors import Busy, ConfigError, DiskError, InputUnusable, TtsTrainError
from tts_train.files import LOCK, locked, read_json, sha256_file
from tts_train.training import loop
from tts_train.training.metrics import read_metrics
from tts_train.training.run import RunFolder
from tts_train.work.train import plan, train
from tts_train.workspace import Workspace

pytestmark = pytest.mark.faults

CARD = "source: test\nlicence: CC0-1.0\nspeaker: joe\nconsent_basis: synthetic voice\nlanguage: en\n"


def digests(folder: Path) -> list[str]:
    return [sha256_file(path) for path in sorted(folder.glob("epochs/epoch-*/weights.safetensors"))]


def test_a_clock_that_is_set_changes_no_weight_and_no_pace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    loop.train(ToyTask(), toy_config(), RunFolder(tmp_path / "whole"))
    real, draw = time.time, random.Random(0)
    monkeypatch.setattr(time, "time", lambda: real() + draw.choice([-1, 1]) * 86_400 * draw.randrange(400))
    run = RunFolder(tmp_path / "set")
    loop.train(ToyTask(), toy_config(), run)
    assert digests(tmp_path / "set") == digests(tmp_path / "whole")
    assert all(0 <= epoch.info["seconds"] < 60 for epoch in run.epochs())
    assert 0 <= read_json(run.path / "status.json")["eta_seconds"] < 60
    assert len(read_metrics(run.metrics, "step")) == 12


def test_a_read_only_disk_is_told_and_the_run_goes_on_elsewhere(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    run = RunFolder(tmp_path / "run")
    loop.train(ToyTask(), toy_config(epochs=1), run)
    before = kills.everything(run.path)

    def body() -> None:
        with pytest.raises(DiskError) as caught:
            loop.train(ToyTask(), toy_config(epochs=2), run)
        assert (caught.value.exit_code, str(run.path) in str(caught.value)) == (disk_faults.DISK, True)

    disk_faults.mounted(run.path, body)
    assert kills.everything(run.path) == before
    assert loop.train(ToyTask(), toy_config(epochs=2), run)["trained"] == [2]


@pytest.fixture
def place(manifest: Path, tmp_path: Path) -> tuple[Workspace, dict[str, Any]]:
    """A workspace with a small dataset of its own, and the settings of a run on it."""
    dataset = tmp_path / "workspace/datasets/joe"
    shutil.copytree(manifest.parent, dataset)
    (dataset / "dataset.yaml").write_text(CARD)
    workspace = Workspace(tmp_path / "workspace")
    config = piper_voices.config(dataset / manifest.name, batch_size=5, epochs=2)
    return workspace, config.frozen()


def trained(workspace: Workspace, config: dict[str, Any]) -> dict[str, Any]:
    return train(config, str(workspace.root), probe=False)


def refused(workspace: Workspace, config: dict[str, Any]) -> TtsTrainError:
    with pytest.raises(TtsTrainError) as caught:
        trained(workspace, config)
    return caught.value


def test_a_dataset_that_changes_under_a_run_is_told_and_costs_nothing(place: tuple[Workspace, dict[str, Any]]) -> None:
    """Gone between plan and training, gone between two epochs, a clip gone, a clip another; then all as it was."""
    workspace, config = place
    dataset, away, run = workspace.datasets / "joe", workspace.root / "away", workspace.runs / "test"
    assert plan(TrainConfig.model_validate(config), workspace)["clips"] == 5
    dataset.rename(away)
    error = refused(workspace, config)
    assert (type(error), str(dataset) in error.message) == (InputUnusable, True)
    assert not (run / "run.json").exists()

    away.rename(dataset)
    trained(workspace, {**config, "epochs": 1})
    first = kills.everything(run / "epochs")
    dataset.rename(away)
    assert isinstance(refused(workspace, config), InputUnusable)
    away.rename(dataset)
    clip = dataset / "clips/duck.flac"
    whole = clip.read_bytes()
    clip.unlink()
    error = refused(workspace, config)
    assert (type(error), "duck.flac" in str(error.problems)) == (ConfigError, True)
    clip.write_bytes((dataset / "clips/cart.flac").read_bytes())
    assert isinstance(refused(workspace, config), ConfigError)
    assert kills.everything(run / "epochs") == first

    clip.write_bytes(whole)
    assert trained(workspace, config)["published"] == [1, 2]
    assert kills.everything(run / "epochs").items() >= first.items()


def test_two_trainings_of_one_run(place: tuple[Workspace, dict[str, Any]]) -> None:
    """The second is refused with the holder's name and changes nothing; a holder that dies leaves no lock."""
    workspace, config = place
    run = workspace.runs / "test"
    told, held = os.pipe()
    pid = os.fork()
    if pid == 0:
        with locked(run / LOCK):
            os.write(held, b".")
            time.sleep(60)
            os._exit(0)
    os.read(told, 1)
    error = refused(workspace, config)
    assert (type(error), f"pid {pid}" in error.message) == (Busy, True)
    assert {path.name for path in run.iterdir()} == {LOCK}
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with locked(run / LOCK):
        pass
