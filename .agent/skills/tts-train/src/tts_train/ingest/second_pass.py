"""The second pass: cut, recognise and write the clips of one part. What runs here runs in any process alike."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from tts_train.audio import Audio
from tts_train.clip import Clip, Rejection
from tts_train.ingest import cut, parts
from tts_train.ingest.clock import Clock
from tts_train.ingest.loudness import louder
from tts_train.ingest.models import ModelChoice
from tts_train.ingest.options import IngestOptions
from tts_train.ingest.plan import Item, PartPlan
from tts_train.ingest.sources import Source
from tts_train.ingest.transcribe import Heard, Recogniser, doubt
from tts_train.memory import big_blocks_kept
from tts_train.quality import levels
from tts_train.quality.clip_measures import clip_measures, text_measures


@dataclass(frozen=True)
class Task:
    """What every part needs to know. Without a `model` the plan's items bring their texts."""

    out: Path
    voice: str
    language: str
    options: IngestOptions
    model: ModelChoice | None
    threads: int


@dataclass(frozen=True)
class Piece:
    """A part and its decoded window, mono at the source's own rate."""

    plan: PartPlan
    native: Audio


@dataclass(frozen=True)
class Worked:
    """A part that is done now, and where the time went."""

    plan: PartPlan
    part: parts.Part
    seconds: dict[str, float]


@dataclass(frozen=True)
class _Cut:
    """One utterance as audio, with where it was cut."""

    audio: Audio
    start: float
    end: float
    measures: dict[str, Any]
    text: str | None


def read_pieces(sources: Sequence[Source], todo: Sequence[PartPlan]) -> Iterator[Piece]:
    """Windows of the parts in order: one streaming pass over each source that has any, one window in memory."""
    by_number = {source.number: source for source in sources}
    for number, group in groupby(todo, key=lambda plan: plan.source):
        source, plans = by_number[number], list(group)
        windows = cut.windows(source.path, [plan.window for plan in plans], source.info.rate)
        for plan, native in zip(plans, windows, strict=True):
            yield Piece(plan, native)


def work_part(task: Task, piece: Piece) -> Worked:
    """Make the clips and rejections of a part and publish its receipt."""
    clock = Clock()
    cuts = _cuts(piece)
    clock.lap("cut")
    heard = _hear(task, cuts, clock)
    part = parts.Part()
    for item, words in zip(cuts, heard, strict=True):
        _take(task, part, piece.plan, item, words)
    parts.save_part(task.out, piece.plan.name, piece.plan.key, part)
    clock.lap("write")
    return Worked(piece.plan, part, clock.seconds)


@functools.cache
def ears(model: ModelChoice, language: str, options: IngestOptions, threads: int) -> Recogniser:
    """The recogniser of this process, loaded once."""
    return Recogniser(
        model,
        language,
        beam=options.beam,
        compute_type=options.compute_type,
        threads=threads,
        window=options.window,
    )


def ears_of(task: Task) -> Recogniser:
    """The recogniser that a task asks for."""
    assert task.model is not None
    return ears(task.model, task.language, task.options, task.threads)


def _hear(task: Task, cuts: Sequence[_Cut], clock: Clock) -> list[Heard | None]:
    if task.model is None:
        return [None] * len(cuts)
    recogniser = ears_of(task)
    clock.lap("load")
    with big_blocks_kept():
        heard = recogniser.hear_all([item.audio for item in cuts])
    clock.lap("transcribe")
    return list(heard)


def _cuts(piece: Piece) -> list[_Cut]:
    origin = piece.plan.window[0]
    resampled = piece.native.at(cut.CLIP_RATE)
    frames = levels.frame_levels(resampled)
    found = []
    for item in piece.plan.items:
        start, end = cut.cut_ends((item.start, item.end), item.limits, frames, origin)
        audio = cut.piece(resampled, origin, start, end)
        found.append(_measured(piece, item, audio, start, end))
    return found


def _measured(piece: Piece, item: Item, audio: Audio, start: float, end: float) -> _Cut:
    told: dict[str, Any] = {"speech_seconds": item.speech_seconds}
    if piece.plan.gain_db is not None:
        audio, told["gain_db"] = louder(audio, piece.plan.gain_db)
    native = cut.piece(piece.native, piece.plan.window[0], start, end)
    return _Cut(audio, start, end, {**clip_measures(native, audio), **told}, item.text)


def _take(task: Task, part: parts.Part, plan: PartPlan, item: _Cut, heard: Heard | None) -> None:
    """Put one utterance into the part: as a clip, or as a rejection when no believable text belongs to it."""
    name = f"{parts.slug(plan.stem)}-c{plan.chapter:03d}-{round(item.start * 1000):09d}"
    text = heard.text if heard else item.text or ""
    reason = doubt(heard, item.audio.seconds, task.options.guards) if heard else None
    numbers = {**item.measures, **_doubts(heard), **text_measures(text, item.audio.seconds, task.language)}
    if reason:
        told = {**numbers, "step": "ingest", "chapter": plan.title}
        file = f"rejected/{name}.flac"
        rejection = Rejection(name, reason, text, plan.source_name, item.start, item.end, file, told)
        part.reject(task.out, rejection, item.audio)
        return
    clip = Clip(
        id=name,
        audio_file=f"clips/{name}.flac",
        text=text,
        speaker=task.voice,
        language=task.language,
        audio_seconds=round(item.audio.seconds, 4),
        source=plan.source_name,
        start=item.start,
        end=item.end,
        chapter=plan.title,
        measures=numbers,
    )
    part.keep(task.out, clip, item.audio)


def _doubts(heard: Heard | None) -> dict[str, float]:
    if heard is None:
        return {}
    return {
        "log_probability": heard.log_probability,
        "no_speech": heard.no_speech,
        "compression": heard.compression,
    }
