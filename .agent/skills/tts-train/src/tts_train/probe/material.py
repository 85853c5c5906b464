"""What a listener can be played: the loudness-matched copies of epochs, target and anchor that hold today.

A copy counts when its file is the one that was written, its render is the one it was made from, and that render is of
the weights that are published now. Anything else is left out: a listener would judge something that is no more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tts_train.files import read_json, sha256_file
from tts_train.probe.render import MEASURES, RENDER, is_stale, render_folder, weights_sha256
from tts_train.training.run import Epoch, RunFolder

MATCHED_VERSION = 1
"""Raised when copies are made in another way: those of two versions are never played against each other."""

TARGET = "target"
ANCHOR = "anchor"
ANCHOR_NOTE = "anchor.json"


@dataclass(frozen=True)
class Stimulus:
    """One matched copy. `source` is "epoch-003", "target" or "anchor"; the latter two have seed 0."""

    source: str
    item: str
    seed: int
    path: Path
    sha256: str
    gain_db: float
    audio_seconds: float
    text: str


def stimuli(run: RunFolder, key: str) -> list[Stimulus]:
    """Every copy under render key `key` that can be played, sorted by source, item and seed.

    Empty when nothing was rendered or measured under the key. Raises InputUnusable for a note that is not JSON.
    """
    place = run.path / "renders" / key
    if not (place / "key.json").is_file():
        return []
    texts: Mapping[str, str] = read_json(place / "key.json")["texts"]
    found = [*_noted(place / TARGET, MEASURES, texts), *_noted(place / ANCHOR, ANCHOR_NOTE, texts)]
    for epoch in (run.epoch(0), *run.epochs()):
        found += _of_epoch(run, key, epoch, texts)
    return sorted(found, key=lambda stimulus: (stimulus.source, stimulus.item, stimulus.seed))


def _of_epoch(run: RunFolder, key: str, epoch: Epoch, texts: Mapping[str, str]) -> Iterator[Stimulus]:
    folder = render_folder(run, key, epoch.number)
    if not (folder / RENDER).is_file() or is_stale(folder, weights_sha256(run, epoch)):
        return
    spoken = {(item["id"], item["seed"]): item["sha256"] for item in read_json(folder / RENDER)["items"]}
    yield from _noted(folder, MEASURES, texts, spoken)


def _noted(
    folder: Path, note: str, texts: Mapping[str, str], spoken: Mapping[tuple[str, int], str] | None = None
) -> Iterator[Stimulus]:
    """The copies that `note` in `folder` lists; `spoken` (item, seed) → hash of the wav each must be made from."""
    if not (folder / note).is_file():
        return
    for item in read_json(folder / note)["items"]:
        copy: Mapping[str, Any] | None = item.get("matched")
        name, seed = item["id"], item["seed"]
        if not copy or copy["version"] != MATCHED_VERSION or name not in texts:
            continue
        if spoken is not None and spoken.get((name, seed)) != copy["source_sha256"]:
            continue
        path = folder / copy["file"]
        if path.is_file() and sha256_file(path) == copy["sha256"]:
            yield Stimulus(
                folder.name, name, seed, path, copy["sha256"], copy["gain_db"], copy["audio_seconds"], texts[name]
            )
