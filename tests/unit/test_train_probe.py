"""What a probe may do to the training that asked for it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tts_train.config import TrainConfig
from tts_train.errors import Stopped, TtsTrainError, Unavailable
from tts_train.work import train
from tts_train.workspace import Workspace

CONFIG = TrainConfig.model_validate({"voice": "a", "backend": "piper", "dataset": "m", "epochs": 1, "lr": 1e-5})


def probing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: TtsTrainError) -> dict[str, object]:
    def fails(*_arguments: object, **_named: object) -> None:
        raise error

    monkeypatch.setattr(train, "probe_run", fails)
    return train._probe(CONFIG, Workspace(tmp_path), None)


def test_a_probe_that_fails_is_reported_and_fails_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told = probing(monkeypatch, tmp_path, Unavailable("no recogniser", hint="install it"))

    assert told["failed"] == {"kind": "unavailable", "message": "no recogniser", "hint": "install it"}
    assert told["try"] == "run.sh probe a-piper"


def test_a_signal_during_the_probe_stops_the_training_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        probing(monkeypatch, tmp_path, Stopped(signal.SIGTERM, "stopped"))
