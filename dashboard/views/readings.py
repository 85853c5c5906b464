"""What can be heard of a run, text by text, and where it cannot, why; read from the notes beside the renders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tts_train.files import read_json
from tts_train.probe.material import MATCHED_VERSION, TARGET, Stimulus
from tts_train.probe.probe import Probe
from tts_train.probe.render import MEASURES, RENDER, is_stale, render_folder, weights_sha256
from tts_train.review.record.trials import epoch_of
from tts_train.review.sessions.sheets import bare
from tts_train.training.run import RunFolder

Word = tuple[str, float | None, float | None]
"""A spoken word, its start and its end in seconds of the copy that is played; None where nobody knows."""
Place = tuple[str, str, int]
"""Source, item and seed of a reading."""


@dataclass(frozen=True)
class Reading:
    """What measuring noted of one item as one source spoke it."""

    words: tuple[Word, ...] = ()
    waveform: Path | None = None
    mel: Path | None = None
    pictured: tuple[float, float] | None = None
    """Seconds of the copy at the pictures' left and right edge: they show the render, whose edges are longer."""
    why_silent: str = ""
    """Why there is no copy to play, when measuring could make none."""


@dataclass(frozen=True)
class Clip:
    """One copy to play, with what is known of it."""

    stimulus: Stimulus
    reading: Reading

    @property
    def source(self) -> str:
        return self.stimulus.source

    @property
    def words(self) -> list[dict[str, Any]]:
        """In the player's form."""
        return [{"word": word, "start": start, "end": end} for word, start, end in self.reading.words]


def read_readings(renders: Path) -> dict[Place, Reading]:
    """Every reading noted under one render key. Raises InputUnusable for a note that is not JSON."""
    found: dict[Place, Reading] = {}
    for note in sorted(renders.glob(f"*/{MEASURES}")):
        for item in read_json(note)["items"]:
            found[note.parent.name, item["id"], item["seed"]] = _reading(note.parent, item)
    return found


def items_of(playable: Sequence[Stimulus], probe: Probe | None) -> list[str]:
    """Items that an epoch speaks, in the probe's order; those it no longer has come last."""
    spoken = {stimulus.item for stimulus in playable if epoch_of(stimulus.source) is not None}
    known = [item.id for item in probe.items] if probe else []
    return [item for item in known if item in spoken] + sorted(spoken - set(known))


def seeds_of(playable: Sequence[Stimulus], item: str) -> list[int]:
    """Seeds with which epochs speak an item."""
    return sorted({one.seed for one in playable if one.item == item and epoch_of(one.source) is not None})


def clips_of(playable: Sequence[Stimulus], readings: Mapping[Place, Reading], item: str, seed: int) -> list[Clip]:
    """The real speaker if there is one, then the base and the epochs in order, all of one item.

    The real speaker spoke it once, whatever the seed; the low anchor is for blind sessions.
    """
    chosen = [one for one in playable if one.item == item and one.source == TARGET]
    epochs = [one for one in playable if one.item == item and one.seed == seed and epoch_of(one.source) is not None]
    chosen += sorted(epochs, key=lambda one: epoch_of(one.source) or 0)
    return [Clip(one, readings.get((one.source, one.item, one.seed), Reading())) for one in chosen]


def silent_epochs(
    run: RunFolder, key: str, playable: Sequence[Stimulus], readings: Mapping[Place, Reading], item: str, seed: int
) -> list[tuple[int, str]]:
    """Epochs that cannot be heard, with the reason: a listener must not take them for epochs that are not there."""
    there = {one.source for one in playable if one.item == item and one.seed == seed}
    epochs = (run.epoch(0), *run.epochs())
    missing = [epoch for epoch in epochs if f"epoch-{epoch.number:03d}" not in there]
    return [
        (epoch.number, _why(render_folder(run, key, epoch.number), weights_sha256(run, epoch), readings, item, seed))
        for epoch in missing
    ]


def written_words(text: str, spoken: Sequence[Word]) -> list[str]:
    """The text as one string per spoken word: as it is written where that is one to one, else as it is spoken."""
    written = text.split()
    if not spoken or [bare(word) for word in written] == [bare(word) for word, _, _ in spoken]:
        return written
    return [word for word, _, _ in spoken]


def _reading(folder: Path, item: Mapping[str, Any]) -> Reading:
    copy, pictures = item.get("matched") or {}, item.get("pictures") or {}
    cut = float(copy.get("trimmed_start_seconds", 0.0))
    words = [(word["word"], _moved(word["start"], cut), _moved(word["end"], cut)) for word in item.get("words") or []]
    why = "" if copy else str(item.get("not_matched") or "measuring made no copy of it")
    if copy and copy["version"] != MATCHED_VERSION:
        why = "its copy was made by another version of this product"
    shown = {kind: _picture(folder, pictures, kind) for kind in ("waveform", "mel")}
    span = (-cut, float(item["audio_seconds"]) - cut) if "audio_seconds" in item else None
    return Reading(tuple(words), **shown, pictured=span, why_silent=why)


def _moved(time: float | None, cut: float) -> float | None:
    """A time of the render in its copy, whose edges were trimmed."""
    return None if time is None else round(max(0.0, time - cut), 4)


def _picture(folder: Path, pictures: Mapping[str, Any], kind: str) -> Path | None:
    path = folder / pictures[kind] if kind in pictures else None
    return path if path and path.is_file() else None


def _why(folder: Path, weights: str, readings: Mapping[Place, Reading], item: str, seed: int) -> str:
    if not (folder / RENDER).is_file():
        return "not rendered yet"
    if is_stale(folder, weights):
        return "its render is stale: the weights were trained again since"
    if not (folder / MEASURES).is_file():
        return "rendered, but not measured yet"
    reading = readings.get((folder.name, item, seed))
    if reading is None:
        return "it was not rendered with this text and seed"
    return reading.why_silent or "its copy is not the one that was made"
