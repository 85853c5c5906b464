"""Measuring on a disk that fails at any call: the same measures, copies and pictures after the same again.

What is heard and measured is kept from one run before the forks; copies and pictures are made each time.
"""

from __future__ import annotations

import copy
import shutil
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

import disk_faults
import kills
from system_calls import unsynced
from tts_train.audio import Audio, write_audio
from tts_train.backends import backend
from tts_train.config import TrainConfig
from tts_train.files import sha256_file, sweep, write_json, write_synced
from tts_train.probe import measure
from tts_train.probe.keys import render_key, write_key
from tts_train.probe.measure import measure_run
from tts_train.probe.probe import load_probe
from tts_train.probe.readings import Instruments, Reading
from tts_train.probe.render import render_folder
from tts_train.training.run import RunFolder

pytestmark = pytest.mark.faults

CONFIG = {"voice": "v", "run": "r", "backend": "piper", "dataset": "none", "epochs": 1, "lr": 1e-5, "threads": 1}
ITEM = "bus"
TARGET = Path(__file__).parents[2] / "datasets/demo/heldout/manifest.jsonl"
Readings = dict[str, tuple[Audio, str]]


@pytest.fixture
def rendered(readings: Readings, tmp_path: Path) -> tuple[Path, str]:
    """A workspace with a render of base and one epoch, the target's own reading; and the key."""
    place = tmp_path / "made"
    run = RunFolder(place / "artifacts/tts/r")
    run.start(TrainConfig.model_validate(CONFIG), {})
    info = {"epoch": 1, "step": 1, "sum_lr": 0.0, "drift": 0.0}
    run.publish(1, lambda folder: write_synced(folder / "weights.safetensors", b"w"), info)
    audio, text = readings[ITEM]
    (place / "probe.yaml").write_text(f"name: tiny\nlanguage: en\nitems:\n  - {{id: {ITEM}, text: {text!r}}}\n")
    key = render_key(load_probe(place / "probe.yaml"), backend("piper"), 1)
    write_key(run.path / "renders" / key.name, key)
    for number in (0, 1):
        folder = render_folder(run, key.name, number)
        file = folder / f"{ITEM}.wav"
        write_audio(file, Audio(audio.samples[number * 100 :], audio.rate))
        item = {"id": ITEM, "seed": 0, "file": file.name, "audio_seconds": audio.seconds, "rate": audio.rate}
        items = [{**item, "stopped_by": "end", "sha256": sha256_file(file)}]
        weights = run.epoch(number).weights_sha256
        write_json(folder / "render.json", {"epoch": number, "weights_sha256": weights, "items": items})
    return place, key.name


def test_measuring(rendered: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, key = rendered

    def work(place: Path) -> None:
        """As probe_run does, in the lock that it holds."""
        sweep(place / "artifacts/tts/r/renders")
        measure_run(str(place), "r", key, [1], str(TARGET), str(place / "probe.yaml"))

    def outcome(place: Path) -> dict[str, object]:
        files = kills.everything(place / "artifacts/tts/r/renders")
        # Numbers are written before copies and pictures are made, and again with them.
        return {name: content for name, content in files.items() if not _first_of_two(name, content)}

    def prepare(place: Path) -> Any:
        return shutil.copytree(made, place)

    _remember(monkeypatch)
    prepare(tmp_path / "warm")
    work(tmp_path / "warm")
    monkeypatch.setattr(measure, "_reference", lambda _target: None)
    faults = ["kill", "full", "short"] if kills.EXHAUSTIVE else ["kill"]
    seen = disk_faults.sweep("probe: measure", work, outcome, tmp_path, prepare=prepare, faults=faults, coarser=8)
    names = {name.partition("/")[2] for name in outcome(tmp_path / "whole/it")}
    assert {"anchor/anchor.json", "target/measures.json", "epoch-001/measures.json"} < names
    assert {f"epoch-001/matched/{ITEM}.wav", f"epoch-000/matched/{ITEM}.wav"} < names
    assert unsynced(seen.calls) == []


def _first_of_two(name: str, content: bytes) -> bool:
    return name.endswith("measures.json") and b'"pictures"' not in content


def _remember(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was heard and measured once is not heard and measured again in this process and its forks."""
    known: dict[tuple[str, str], dict[str, Any]] = {}
    real_hear, real_measure = Instruments.hear, Instruments.measure

    def place(reading: Reading) -> tuple[str, str]:
        return reading.path.parent.name, reading.item

    def hear(self: Instruments, readings: list[Reading]) -> list[Future[str]]:
        return [] if all(place(reading) in known for reading in readings) else real_hear(self, readings)

    def measured(self: Instruments, reading: Reading, heard: Any, reference: Any) -> dict[str, Any]:
        if place(reading) not in known:
            known[place(reading)] = real_measure(self, reading, heard, reference)
        return copy.deepcopy(known[place(reading)])

    monkeypatch.setattr(Instruments, "hear", lambda self, readings: hear(self, readings) or [None] * len(readings))
    monkeypatch.setattr(Instruments, "measure", measured)
