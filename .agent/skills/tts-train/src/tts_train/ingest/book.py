"""`ingest`: an audiobook becomes clips with texts, a manifest and rejections.

Two streaming passes: the first finds speech in the whole source, the second cuts it part by part (a part is some two
minutes of one chapter) at the source's own rate, recognises each clip and writes a receipt. Memory holds one part.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tts_train.audio import Audio, Chapter, SourceInfo, probe_source, stream
from tts_train.clip import Clip, Rejection
from tts_train.dataset import load_card
from tts_train.errors import InputUnusable
from tts_train.files import locked, read_json, require_space, sha256_file, sha256_json, write_json
from tts_train.ingest import cut, parts
from tts_train.ingest.merge import Span, Utterance, merge
from tts_train.ingest.options import IngestOptions
from tts_train.ingest.speech import RATE, speech_probabilities, speech_spans
from tts_train.ingest.transcribe import Heard, ModelChoice, Recogniser, doubt, resolve_model
from tts_train.output import progress
from tts_train.quality import levels
from tts_train.workspace import check_name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VERSION = 1
_BLOCK_SECONDS = 60.0
_MARGIN_SECONDS = 1.0
_TWO_PASS_SPEED = 0.15
"""Seconds of work per second of audio with Whisper base int8 on two cores, for --dry-run."""


def ingest_book(
    audio: Path,
    voice: str,
    out: Path,
    *,
    card: Path | None = None,
    model: str | None = None,
    language: str | None = None,
    options: IngestOptions | None = None,
    threads: int = 0,
    max_rejected: float = 0.2,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Build the dataset folder `out` from `audio`; resumable, and byte-identical when repeated.

    Returns {clips, audio_seconds, speech_seconds, accounted_seconds, coverage, rejected {reason: n}, rejected_seconds,
    chapters, language, model, manifest, rejections, timings_seconds, peak_rss_mib, text}. Raises ConfigError for a
    missing card or another source's folder, Unavailable without a model, InputUnusable when the audio cannot be read
    or (after everything is written) when more than `max_rejected` of the speech was rejected.
    """
    options = options or IngestOptions()
    check_name(voice, "voice")
    info = probe_source(audio)
    if dry_run:
        return _estimate(audio, info)
    parts.place_card(out, card)
    spoken = language or load_card(out).language
    require_space(out, round(info.seconds * cut.CLIP_RATE * 2.2) + 50_000_000)
    with locked(out / ".lock"):
        clock = _Clock()
        digest = sha256_file(audio)
        parts.claim(out, audio.name, digest)
        choice = resolve_model(model)
        spans = _find_speech(audio, out, digest, info.chapters, options)
        clock.lap("speech")
        utterances = merge(spans, options.rule)
        job = _Job(audio, voice, out, spoken, options, info, tuple(spans), choice, threads, clock)
        key = sha256_json([VERSION, audio.name, digest, voice, spoken, asdict(options), choice.sha256])
        done, fresh = _work_parts(job, utterances, key)
        changed = parts.finalise(out, done)
    result = _result(job, done, fresh, changed)
    parts.refuse_if_poor(result, result["speech_seconds"], max_rejected, out)
    return result


class _Clock:
    """Seconds spent per kind of work."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = self._start = time.monotonic()

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._last
        self._last = now

    def report(self) -> dict[str, float]:
        laps = {name: round(value, 2) for name, value in self.seconds.items()}
        return {**laps, "total": round(time.monotonic() - self._start, 2)}


@dataclass(frozen=True)
class _Job:
    """What every part needs to know."""

    audio: Path
    voice: str
    out: Path
    language: str
    options: IngestOptions
    info: SourceInfo
    spans: tuple[Span, ...]
    model: ModelChoice
    threads: int
    clock: _Clock

    def chapter_range(self, number: int) -> tuple[float, float]:
        """Start and end of a chapter in seconds; speech before the first chapter ends where that begins."""
        chapters = self.info.chapters
        following = [chapter.start for chapter in chapters if chapter.index > number]
        start = next((chapter.start for chapter in chapters if chapter.index == number), 0.0)
        return start, min(following, default=float("inf"))

    def chapter_title(self, number: int) -> str:
        return next((chapter.title for chapter in self.info.chapters if chapter.index == number), "")


def _find_speech(
    audio: Path, out: Path, digest: str, chapters: Sequence[Chapter], options: IngestOptions
) -> list[Span]:
    """First pass, or its receipt."""
    borders = [[chapter.index, chapter.start, chapter.end] for chapter in chapters]
    key = sha256_json([VERSION, digest, asdict(options.speech), borders])
    place = out / "parts" / "speech.json"
    known = read_json(place) if place.is_file() else {}
    if known.get("key") == key:
        return [Span(*row) for row in known["spans"]]
    progress(f"ingest: looking for speech in {audio.name}")
    probabilities, seconds = speech_probabilities(stream(audio, RATE, _BLOCK_SECONDS))
    spans = speech_spans(probabilities, seconds, chapters, options.speech)
    if not spans:
        raise InputUnusable(f"{audio} holds no speech", hint="listen to it; --vad-threshold lowers the bar")
    write_json(
        place, {"key": key, "seconds": seconds, "spans": [[span.start, span.end, span.chapter] for span in spans]}
    )
    return spans


def _grouped(utterances: Sequence[Utterance], seconds: float) -> list[list[Utterance]]:
    """Parts: consecutive utterances of one chapter, about `seconds` long."""
    groups: list[list[Utterance]] = []
    for utterance in utterances:
        fits = groups and groups[-1][0].chapter == utterance.chapter and utterance.end - groups[-1][0].start <= seconds
        if fits:
            groups[-1].append(utterance)
        else:
            groups.append([utterance])
    return groups


def _work_parts(job: _Job, utterances: Sequence[Utterance], key: str) -> tuple[dict[str, parts.Part], int]:
    """All parts in order, from receipts where they hold; and how many were worked now."""
    groups = _grouped(utterances, job.options.part_seconds)
    keys = [sha256_json([key, [[item.start, item.end] for item in group]]) for group in groups]
    done = {
        f"part-{number:05d}": parts.load_part(job.out, f"part-{number:05d}", part_key)
        for number, part_key in enumerate(keys)
    }
    todo = [number for number, part in enumerate(done.values()) if part is None]
    if todo:
        if len(todo) < len(groups):
            progress(f"ingest: {len(groups) - len(todo)} of {len(groups)} parts are done already")
        ears = Recogniser(
            job.model,
            job.language,
            beam=job.options.beam,
            compute_type=job.options.compute_type,
            threads=job.threads,
        )
        job.clock.lap("load")
        ranges = [_window_range(groups[number]) for number in todo]
        started = time.monotonic()
        for count, (number, window) in enumerate(
            zip(todo, cut.windows(job.audio, ranges, job.info.rate), strict=True), 1
        ):
            name = f"part-{number:05d}"
            part = _work_part(job, ears, groups[number], window, ranges[count - 1][0])
            parts.save_part(job.out, name, keys[number], part)
            done[name] = part
            left = (time.monotonic() - started) / count * (len(todo) - count)
            progress(f"ingest: part {count} of {len(todo)}, {len(part.clips)} clips, about {left:.0f} s left")
    return {name: part for name, part in done.items() if part is not None}, len(todo)


def _window_range(group: Sequence[Utterance]) -> tuple[float, float]:
    return max(0.0, group[0].start - _MARGIN_SECONDS), group[-1].end + _MARGIN_SECONDS


def _work_part(job: _Job, ears: Recogniser, group: Sequence[Utterance], native: Audio, origin: float) -> parts.Part:
    """Cut, recognise and judge each utterance of a part; `origin` is where `native` begins in the source."""
    resampled = native.at(cut.CLIP_RATE)
    frames = levels.frame_levels(resampled)
    pieces = [_cut(job, utterance, native, resampled, frames, origin) for utterance in group]
    job.clock.lap("cut")
    heard = iter(ears.hear_all([piece.audio for piece in pieces if piece.unfit is None]))
    job.clock.lap("transcribe")
    part = parts.Part()
    for piece in pieces:
        _take(job, part, piece, next(heard) if piece.unfit is None else Heard("", 0.0, 1.0, 0.0))
    job.clock.lap("write")
    return part


@dataclass(frozen=True)
class _Piece:
    """One utterance as audio, with where it was cut and why it is unfit (before anybody listened), if it is."""

    chapter: int
    audio: Audio
    start: float
    end: float
    measures: dict[str, Any]
    unfit: str | None


def _cut(
    job: _Job, utterance: Utterance, native: Audio, resampled: Audio, frames: NDArray[np.float64], origin: float
) -> _Piece:
    limits = cut.cut_limits(job.spans, utterance, job.chapter_range(utterance.chapter))
    start, end = cut.cut_ends(utterance, limits, frames, origin)
    audio = cut.piece(resampled, origin, start, end)
    measures = cut.measures(cut.piece(native, origin, start, end), audio)
    measures["speech_seconds"] = round(utterance.speech_seconds, 3)
    return _Piece(utterance.chapter, audio, start, end, measures, _unfit(audio, measures, job.options))


def _unfit(clip: Audio, measures: dict[str, Any], options: IngestOptions) -> str | None:
    """Reasons that need no ears."""
    if clip.seconds < options.min_seconds:
        return "too-short"
    if clip.seconds > options.max_seconds:
        return "too-long"
    return "clipped" if measures["clipped_ratio"] > options.max_clipped_ratio else None


def _take(job: _Job, part: parts.Part, piece: _Piece, heard: Heard) -> None:
    """Put one utterance into the part, as a clip or as a rejection."""
    reason = piece.unfit or doubt(heard, piece.audio.seconds, job.options.guards)
    name = f"{parts.slug(job.audio.stem)}-c{piece.chapter:03d}-{round(piece.start * 1000):09d}"
    title = job.chapter_title(piece.chapter)
    numbers = {
        **piece.measures,
        "log_probability": heard.log_probability,
        "no_speech": heard.no_speech,
        "compression": heard.compression,
        "words_per_second": round(levels.words_per_second(heard.text, piece.audio.seconds, job.language), 3),
    }
    if reason:
        told = {**numbers, "step": "ingest", "chapter": title}
        file = f"rejected/{name}.flac"
        rejection = Rejection(name, reason, heard.text, job.audio.name, piece.start, piece.end, file, told)
        part.reject(job.out, rejection, piece.audio)
        return
    clip = Clip(
        id=name,
        audio_file=f"clips/{name}.flac",
        text=heard.text,
        speaker=job.voice,
        language=job.language,
        audio_seconds=round(piece.audio.seconds, 4),
        source=job.audio.name,
        start=piece.start,
        end=piece.end,
        chapter=title,
        measures=numbers,
    )
    part.keep(job.out, clip, piece.audio)


def _result(job: _Job, done: dict[str, parts.Part], fresh: int, changed: bool) -> dict[str, Any]:
    clips = [clip for part in done.values() for clip in part.clips]
    rejections = [item for part in done.values() for item in part.rejections]
    speech = [(span.start, span.end) for span in job.spans]
    taken = [(item.start, item.end) for item in clips] + [(item.start, item.end) for item in rejections]
    total = sum(end - start for start, end in speech)
    accounted = cut.covered_seconds(speech, taken)
    seconds = sum(clip.audio_seconds for clip in clips)
    text = (
        f"{len(clips)} clips, {seconds / 60:.1f} min; {len(rejections)} rejected; "
        f"{accounted / total:.2%} of {total / 60:.1f} min of speech accounted for"
    )
    return {
        "clips": len(clips),
        "audio_seconds": round(seconds, 3),
        "speech_seconds": round(total, 3),
        "accounted_seconds": round(accounted, 3),
        "coverage": round(accounted / total, 6),
        "rejected": parts.reasons(rejections),
        "rejected_seconds": round(sum(item.audio_seconds for item in rejections), 3),
        "chapters": [chapter.title for chapter in job.info.chapters],
        "language": job.language,
        "model": {"name": job.model.name, "origin": job.model.origin, "sha256": job.model.sha256},
        "parts": {"all": len(done), "worked_now": fresh},
        "manifest": str(job.out / parts.MANIFEST),
        "rejections": str(job.out / parts.REJECTIONS),
        "timings_seconds": job.clock.report(),
        "peak_rss_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "text": text if fresh or changed else f"nothing left to do: {text}",
    }


def _estimate(audio: Path, info: SourceInfo) -> dict[str, Any]:
    minutes = info.seconds / 60
    megabytes = info.seconds * cut.CLIP_RATE * 2 * 0.55 / 1e6
    text = (
        f"{audio.name}: {minutes:.1f} min, {len(info.chapters)} chapters, {info.rate} Hz {info.codec}; about "
        f"{minutes * _TWO_PASS_SPEED:.1f} min on two cores, {megabytes:.0f} MB of clips, 550 MiB of memory"
    )
    return {
        "dry_run": True,
        "source_seconds": round(info.seconds, 3),
        "chapters": [chapter.title for chapter in info.chapters],
        "estimate": {"minutes": round(minutes * _TWO_PASS_SPEED, 1), "disk_mb": round(megabytes), "memory_mib": 550},
        "text": text,
    }
