"""A finished run that can be listened to: renders and matched copies as the probe leaves them, the sounds made up."""

from __future__ import annotations

import hashlib
import struct
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finished_run import CONSTANT, KEY, make_run, write_measures
from tts_train.files import read_json, write_json
from tts_train.probe.material import MATCHED_VERSION
from tts_train.probe.render import weights_sha256
from tts_train.training.run import RunFolder
from tts_train.workspace import Workspace

TEXTS = {
    "passage": "Put the cup on the grass path, and look at the running water.",
    "one": "The bath was full.",
    "two": "Good butter costs more.",
    "three": "Come back after lunch.",
    "four": "He took a look.",
}
RATE = 24000


def make_playable(
    workspace: Workspace,
    run: str = "demo",
    *,
    epochs: int = 6,
    seeds: Sequence[int] = (0,),
    target: bool = True,
    texts: dict[str, str] = TEXTS,
) -> RunFolder:
    """`run` with epochs 0 to `epochs`, every item with every seed, the low anchor, and by default the real speaker."""
    folder = make_run(workspace, run, CONSTANT, epochs=epochs)
    write_json(folder.path / "renders" / KEY / "key.json", {"texts": texts, "seeds": list(seeds)})
    for number in range(epochs + 1):
        render_epoch(folder, number, seeds=seeds, texts=texts)
    for source, note in (("target", "measures.json"), ("anchor", "anchor.json")):
        if target or source == "anchor":
            place = folder.path / "renders" / KEY / source
            write_json(place / note, {"items": [_spoken(place, item, 0, 1) for item in texts]})
    return folder


def render_epoch(run: RunFolder, number: int, *, seeds: Sequence[int] = (0,), texts: dict[str, str] = TEXTS) -> None:
    """render.json, measures.json and copies of one epoch, by its present weights."""
    place = run.path / "renders" / KEY / f"epoch-{number:03d}"
    items = [_spoken(place, item, seed, len(seeds)) for item in texts for seed in seeds]
    weights = weights_sha256(run, run.epoch(number))
    rendered = [{"id": item["id"], "seed": item["seed"], "sha256": item["matched"]["source_sha256"]} for item in items]
    write_json(place / "render.json", {"epoch": number, "weights_sha256": weights, "items": rendered})
    write_measures(run, number, CONSTANT, items=items)


def retrain(run: RunFolder, number: int) -> None:
    """Other weights under the same epoch number; what was rendered and said is stale from here on."""
    path = run.path / "epochs" / f"epoch-{number:03d}" / "epoch.json"
    write_json(path, {**read_json(path), "weights_sha256": "f" * 64})


def _spoken(place: Path, item: str, seed: int, seeds: int) -> dict[str, Any]:
    name = f"{item}.wav" if seeds == 1 else f"{item}.seed-{seed}.wav"
    path = place / "matched" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(f"{place.name} {item} {seed}".encode()).digest()
    seconds = 20.0 if item == "passage" else 1.0 + digest[0] / 256
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        # A few milliseconds of a sound of its own stand for the length that is noted.
        file.writeframes(b"".join(struct.pack("<h", value * 64) for value in digest * 2))
    copy = {
        "file": f"matched/{name}",
        "version": MATCHED_VERSION,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "source_sha256": digest.hex(),
        "gain_db": digest[1] / 64,
        "audio_seconds": seconds,
    }
    return {"id": item, "seed": seed, "matched": copy}
