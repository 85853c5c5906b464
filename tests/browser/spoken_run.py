"""A finished run whose renders are tone-per-word clips: what is heard on a page can be told by its frequency.

Copies are trimmed, as the probe's are: words in measures.json are `TRIMMED` seconds later than in the clip.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from tones import SPOKEN, TEXT, Clip, clip

from finished_run import KEY, workspace_in
from playable_run import make_playable
from tts_train.files import read_json, write_json
from tts_train.training.run import RunFolder
from tts_train.workspace import Workspace

PACES = {"target": 1.0, "epoch-000": 1.15, "epoch-001": 0.85, "epoch-002": 1.3, "epoch-003": 0.95}
"""Source → pace; its place here is the number of its tag tone."""
TEXTS = {"passage": TEXT, "short": " ".join(SPOKEN[:5]) + "."}
TRIMMED = 0.2
PROBE = f"""\
name: tones
language: en
items:
  - {{id: passage, text: "{TEXT}"}}
  - {{id: short, text: "{TEXTS["short"]}"}}
markers:
  - {{set: BATH, words: [last], expected: short}}
  - {{set: GOAT, words: [slow, road], expected: "[o:]"}}
  - {{set: KIT, words: [with], role: control}}
"""
_DOT = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


def spoken_run(folder: Path, run: str = "demo") -> tuple[Workspace, RunFolder]:
    """A workspace in `folder` with one run of three epochs that speak TEXTS in tones; epoch 3 failed a gate."""
    workspace = workspace_in(folder)
    (folder / "configs/probes/small.yaml").write_text(PROBE)
    made = make_playable(workspace, run, epochs=3, texts=TEXTS)
    for number, (source, pace) in enumerate(PACES.items()):
        place = made.path / "renders" / KEY / source
        note = read_json(place / "measures.json")
        for item in note["items"]:
            _speak(place, item, clip(number, pace, words=len(TEXTS[item["id"]].split())))
        if source == "epoch-003":
            note["gates"][1] |= {"passed": False, "detail": "WER 31.0%; mangled: slow → snow"}
        write_json(place / "measures.json", note)
    return workspace, made


def _speak(place: Path, item: dict, clip: Clip) -> None:
    (place / item["matched"]["file"]).write_bytes(clip.wav)
    item["matched"] |= {
        "sha256": hashlib.sha256(clip.wav).hexdigest(),
        "audio_seconds": clip.seconds,
        "trimmed_start_seconds": TRIMMED,
    }
    item["words"] = [
        {"word": word["word"], "start": word["start"] + TRIMMED, "end": word["end"] + TRIMMED} for word in clip.words
    ]
    item["pictures"] = {kind: f"{item['id']}.{kind}.png" for kind in ("waveform", "mel")}
    for name in item["pictures"].values():
        (place / name).write_bytes(_DOT)
