"""A voice that hums, for tests of shipping: a workspace with its card and base, and epochs rendered by it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import shipping
from finished_run import KEY, workspace_in
from tts_train.audio import Audio
from tts_train.backends import BACKENDS, Spoken
from tts_train.files import sha256_file
from tts_train.probe.keys import Setting
from tts_train.training.run import RunFolder
from tts_train.workspace import Workspace

CARD = "source: a book\nlicence: CC0-1.0\nspeaker: Ann\nconsent_basis: own voice\nlanguage: en-GB\n"
TEXTS = {"passage": "Put the cup on the grass path, and look.", "short": "Put the cup down."}
SETTING = Setting("piper", 2, knobs=BACKENDS["piper"].knobs)
BASE = "bases/joe.onnx"


class Hum:
    """A tone that weights, base, facts, text, knobs and seed decide: what differs in any of them sounds otherwise."""

    rate = 22050

    def __init__(self, base: str, folder: Path, threads: int, voice: Mapping[str, Any]) -> None:
        heard = {name: value for name, value in voice.items() if name != "reference"}
        self.made_of = [sha256_file(Path(base)), sha256_file(folder / "weights.safetensors"), threads, heard]

    def say(self, text: str, setting: Mapping[str, Any], seed: int) -> Spoken:
        known = {name: setting[name] for name in sorted(setting)}
        digest = hashlib.sha256(json.dumps([*self.made_of, text, known, seed]).encode()).digest()
        times = np.arange(self.rate // 20 * len(text.split())) / self.rate
        tone = 0.1 * np.sin(2 * np.pi * (100 + int.from_bytes(digest[:2], "big") / 100) * times)
        return Spoken(Audio(tone.astype(np.float32), self.rate), "duration-predictor")


def humming_workspace(folder: Path) -> Workspace:
    """A workspace with a card, a base voice and no run."""
    workspace = workspace_in(folder)
    (workspace.datasets / "demo/dataset.yaml").write_text(CARD)
    (folder / "bases").mkdir()
    (folder / BASE).write_bytes(b"a graph")
    (folder / f"{BASE}.json").write_text("{}")
    (folder / "bases/MODEL_CARD").write_text("* Language: en_US\n* License: CC0\n* URL: https://example.org/joe\n")
    return workspace


def rendered(run: RunFolder, number: int, place: Workspace, gates: Any = (shipping.GOOD_GATE,)) -> None:
    """One epoch, rendered by Hum and measured."""
    voice = run.voice(place)
    epoch_folder = run.epoch(number).folder
    assert epoch_folder is not None
    hum = Hum(str(place.path(BASE)), epoch_folder, 2, voice)
    heard = {name: value for name, value in voice.items() if name not in ("reference", "speaker")}
    setting = Setting("piper", 2, knobs=SETTING.knobs, voice=heard)
    folder = shipping.render(run, KEY, number, hum, TEXTS, setting)
    shipping.measured(folder, number, gates)
