"""What people are given besides numbers: loudness-matched copies, pictures, and the low anchor of a blind session.

Copies are made from a reading's bytes alone and note its hash, so one whose reading changed is made again, one that is
whole is kept, and a missing one never makes anything be measured again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tts_train.audio import read_audio, write_audio
from tts_train.files import read_json, sha256_file, write_json
from tts_train.output import progress
from tts_train.probe import pictures
from tts_train.probe.loudness import ANCHOR_HZ, low_anchor, matched
from tts_train.probe.material import ANCHOR_NOTE, MATCHED_VERSION

if TYPE_CHECKING:
    from tts_train.audio import Audio
    from tts_train.probe.probe import Probe
    from tts_train.probe.readings import Reading

MATCHED = "matched"
"""Folder of the copies, beside the note that lists them."""

Item = dict[str, Any]
"""An item of measures.json or anchor.json."""


def furnish(folder: Path, items: Sequence[Item], readings: Sequence[Reading], texts: Container[str]) -> None:
    """Give each of measures.json's `items` its copy and pictures in `folder`, made where they are not whole.

    Sets `matched`, `not_matched` (why there is no copy, else None) and `pictures`. A clip that reads none of the
    probe's `texts` (item ids) gets neither: nothing is played against it.
    """
    sources = {(reading.item, reading.seed): reading.path for reading in readings}
    started, made = time.monotonic(), 0
    for item in items:
        if item["id"] not in texts:
            item.update(matched=None, not_matched="it reads no item of the probe", pictures=None)
            continue
        source = sources[item["id"], item["seed"]]
        # A render's name tells its seed; the target's clips have names of their own.
        name = source.stem if source.parent == folder else item["id"]
        digest, audio = sha256_file(source), _Once(source)
        item.update(_copy(folder, name, item, digest, audio))
        item["pictures"] = _pictures(folder, name, item, digest, audio)
        made += audio.used
    if made:
        progress(f"{folder.name}: {made} matched copies and pictures in {time.monotonic() - started:.1f} s")


def write_anchor(folder: Path, probe: Probe, target: Sequence[Reading], base: Sequence[Reading]) -> None:
    """The low anchor of every item: the target's clip, or else the base's first render, without its highs.

    anchor.json lists {id, seed 0, made_from, matched, not_matched}, as measures.json does.
    """
    path = folder / ANCHOR_NOTE
    known = {item["id"]: item for item in read_json(path)["items"]} if path.is_file() else {}
    own, others = _first(target), _first(base)
    items: list[Item] = []
    for item in probe.items:
        source = own.get(item.id) or others[item.id]
        audio = _Once(source, low_anchor)
        copy = _copy(folder, item.id, known.get(item.id, {}), sha256_file(source), audio)
        items.append({"id": item.id, "seed": 0, "made_from": "target" if item.id in own else "base", **copy})
    note = {"cutoff_hz": ANCHOR_HZ, "items": items}
    if not path.is_file() or read_json(path) != note:
        write_json(path, note)


class _Once:
    """A reading, decoded when it is first asked for."""

    def __init__(self, path: Path, change: Callable[[Audio], Audio] | None = None) -> None:
        self._path, self._change = path, change
        self._audio: Audio | None = None

    @property
    def used(self) -> bool:
        return self._audio is not None

    def __call__(self) -> Audio:
        if self._audio is None:
            audio = read_audio(self._path)
            self._audio = self._change(audio) if self._change else audio
        return self._audio


def _copy(folder: Path, name: str, known: Mapping[str, Any], source_sha256: str, audio: _Once) -> dict[str, Any]:
    """The item's `matched` and `not_matched`: as `known` while its file is the one that was written, else made."""
    file = f"{MATCHED}/{name}.wav"
    whole = {"file": file, "source_sha256": source_sha256, "version": MATCHED_VERSION}
    old = known.get("matched")
    if old and old.items() >= whole.items() and _is(folder / file, old["sha256"]):
        return {"matched": old, "not_matched": None}
    made = matched(audio())
    if isinstance(made, str):
        (folder / file).unlink(missing_ok=True)
        return {"matched": None, "not_matched": made}
    write_audio(folder / file, made.audio)
    levels = {name: value for name, value in vars(made).items() if name != "audio"}
    facts = {"audio_seconds": round(made.audio.seconds, 4), "sha256": sha256_file(folder / file)}
    return {"matched": {**whole, **levels, **facts}, "not_matched": None}


def _pictures(folder: Path, name: str, known: Mapping[str, Any], source_sha256: str, audio: _Once) -> dict[str, Any]:
    whole = {"source_sha256": source_sha256, "version": pictures.VERSION}
    old = known.get("pictures")
    if old and old.items() >= whole.items() and all((folder / old[part]).is_file() for part in ("waveform", "mel")):
        return dict(old)
    return {**whole, **pictures.write(folder, name, audio())}


def _is(path: Path, sha256: str) -> bool:
    return path.is_file() and sha256_file(path) == sha256


def _first(readings: Sequence[Reading]) -> dict[str, Path]:
    """Item → its first reading."""
    return {reading.item: reading.path for reading in reversed(readings)}
