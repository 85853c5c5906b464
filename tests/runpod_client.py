"""`run.sh train-runpod` and `run.sh cloud reap` against the fake RunPod, with the pauses of a cloud made short."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fake_runpod import KEY, FakeRunPod, variables
from tts_train.cloud import api, bundle, follow, pods, rental
from tts_train.cloud.plan import Wish
from tts_train.masking import masked_values
from tts_train.output import answer_of
from tts_train.workspace import Workspace, skill_root

if TYPE_CHECKING:
    import pytest

CARD = "source: s\nlicence: l\nspeaker: kumo\nconsent_basis: synthetic voice\nlanguage: en\n"
SECRET = "hf_PlantedPlantedPlantedPlanted02"
PAUSES = {
    (api, "PATIENCE_SECONDS"): 4.0,
    (pods, "LATE_SECONDS"): 0.2,
    (pods, "END_TRIES"): 3,
    (follow, "POLL_SECONDS"): 0.5,
    (follow, "FETCH_SECONDS"): 0.3,
    (follow, "SILENT_SECONDS"): 20.0,
    (follow, "START_SECONDS"): 60.0,
}
_START = """
import sys
from pathlib import Path
sys.path[:0] = [{source!r}, {scripts!r}]
from tts_train.cloud import api, bundle, follow, pods
for module, name, value in {pauses!r}:
    setattr(sys.modules[module], name, value)
if {skill!r}:
    bundle.skill_root = lambda: Path({skill!r})
import {script} as command
from tts_train.output import run_command
run_command(command.main)
"""
Answer = tuple[int, dict[str, Any]]


@dataclass
class Client:
    """A user with a workspace, and the account to rent from. `skill`: what the pods get, None: the real one."""

    place: Path
    runpod: FakeRunPod
    skill: Path | None
    config: str = "configs/tts/ann.yaml"

    def start(self, script: str, *arguments: str | Path, key: str | None = KEY) -> subprocess.Popen[str]:
        """A process of its own, which signals can be sent to."""
        root = skill_root()
        pauses = [(module.__name__, name, value) for (module, name), value in PAUSES.items()]
        code = _START.format(
            source=str(root / "src"), scripts=str(root / "scripts"), script=script, pauses=pauses,
            skill=str(self.skill or ""),
        )  # fmt: skip
        own = {name: value for name, value in os.environ.items() if not name.startswith("RUNPOD")}
        own |= variables(self.runpod, key) | {"HF_TOKEN": SECRET}
        with (self.place / "said.txt").open("a") as said:
            return subprocess.Popen(
                [sys.executable, "-P", "-c", code, *map(str, arguments)],
                cwd=self.place, env=own, stdout=subprocess.PIPE, stderr=said, text=True, start_new_session=True,
            )  # fmt: skip

    def training(self, *more: str | Path, key: str | None = KEY) -> subprocess.Popen[str]:
        caps = ["--max-hours", "1", "--max-price", "0.5"]
        return self.start("train_runpod", self.config, *caps, *more, key=key)

    def train(self, *, dry_run: bool = False, key_file: Path | None = None, **wish: Any) -> Answer:
        """train-runpod to its end, in this process: its code and its one JSON object."""
        place, wanted = Workspace(self.place), Wish(**{"max_hours": 1.0, "max_price": 0.5, **wish})
        path = self.place / self.config
        return self._answer(lambda: rental.train_on_runpod(path, place, wanted, key_file=key_file, dry_run=dry_run))

    def reap(self, *, everywhere: bool = False, dry_run: bool = False) -> Answer:
        place = Workspace(self.place)
        return self._answer(lambda: rental.reap(place, key_file=None, everywhere=everywhere, dry_run=dry_run))

    def _answer(self, work: Callable[[], dict[str, Any]]) -> Answer:
        answer, code = answer_of("cloud", work)
        print(answer, file=sys.stderr)
        return code, masked_values(answer)

    @property
    def run(self) -> Path:
        return self.place / "artifacts/tts/ann"

    def weights(self) -> dict[str, bytes]:
        return {path.parent.name: path.read_bytes() for path in sorted(self.run.glob("epochs/*/weights.safetensors"))}

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in sorted(self.place.glob("artifacts/cloud/*/record.json"))]


def answered(process: subprocess.Popen[str]) -> Answer:
    stdout, _ = process.communicate(timeout=120)
    return process.returncode, json.loads(stdout)


def kill(process: subprocess.Popen[str]) -> None:
    """kill -9: it can clean up nothing."""
    process.kill()
    process.communicate()


def until(what: Callable[[], Any], seconds: float = 60.0) -> Any:
    """What becomes true in the end."""
    deadline = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)
    return value


def shorten(monkeypatch: pytest.MonkeyPatch, runpod: FakeRunPod, skill: Path | None) -> None:
    """Short pauses, the fake account and its ssh for what runs in this process."""
    for (module, name), value in PAUSES.items():
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(api.time, "sleep", lambda seconds: _sleep(min(seconds, 0.3)))
    if skill is not None:
        monkeypatch.setattr(bundle, "skill_root", lambda: skill)
    for name, value in {**variables(runpod), "HF_TOKEN": SECRET}.items():
        monkeypatch.setenv(name, value)


_sleep = time.sleep


def write_workspace(place: Path, epochs: int = 2) -> Path:
    """A training that the stand-in on the pods does in two seconds."""
    for name in ("configs/tts", "datasets/ann/clips"):
        (place / name).mkdir(parents=True)
    (place / "datasets/ann/dataset.yaml").write_text(CARD)
    row = {"id": "a", "audio_file": "clips/a.flac", "text": "Hello.", "speaker": "kumo", "language": "en"}
    (place / "datasets/ann/train_manifest.jsonl").write_text(json.dumps({**row, "audio_seconds": 1.0}) + "\n")
    (place / "datasets/ann/clips/a.flac").write_bytes(b"fLaC")
    config = {"voice": "ann", "run": "ann", "backend": "piper", "dataset": "datasets/ann/train_manifest.jsonl"}
    (place / "configs/tts/ann.yaml").write_text(json.dumps({**config, "epochs": epochs, "lr": 1e-5}))
    return place
