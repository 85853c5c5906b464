"""`ingest-transcript`: clips and texts that exist already become a dataset.

The list comes from anywhere, so every line is checked by itself: a bad one becomes a numbered rejection and never
stops the others, and no name reaches outside the clips' folder.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tts_train.audio import Audio, probe_source, read_audio
from tts_train.clip import Clip, Rejection
from tts_train.dataset import load_card, safe_member
from tts_train.errors import InputUnusable, UsageError
from tts_train.files import locked, sha256_file, sha256_json
from tts_train.ingest import cut, parts
from tts_train.output import progress
from tts_train.quality import levels
from tts_train.workspace import check_name

VERSION = 1
_LINES_PER_PART = 64


@dataclass(frozen=True)
class TranscriptOptions:
    """Limits of a clip; seconds, and the share of clipped samples."""

    min_seconds: float = 1.0
    max_seconds: float = 20.0
    max_clipped_ratio: float = 0.001
    max_silence_ratio: float = 0.7


@dataclass(frozen=True)
class Line:
    """One line of the list that can be worked on."""

    number: int
    audio_file: str
    text: str


class BadLine(Exception):
    """A line that cannot be used: a reason code for machines, a sentence for people."""

    def __init__(self, number: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.number = number
        self.reason = reason
        self.message = message


def read_line(number: int, raw: bytes) -> Line:
    """Parse one line of the list. Raises BadLine for anything but an object with two texts."""
    try:
        row = json.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BadLine(number, "bad-line", f"not UTF-8 text: {error.reason} at byte {error.start}") from error
    except (ValueError, RecursionError) as error:
        raise BadLine(number, "bad-line", f"not JSON: {error}") from error
    if not isinstance(row, dict):
        raise BadLine(number, "bad-line", f"expected a JSON object, got {type(row).__name__}")
    for name in ("audio_file", "text"):
        value = row.get(name)
        if not isinstance(value, str) or not value.strip():
            raise BadLine(number, "bad-line", f"'{name}' must be non-empty text, got {str(value)[:60]!r}")
        if not value.isprintable() and name == "audio_file":
            raise BadLine(number, "outside-folder", "'audio_file' holds control characters")
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise BadLine(number, "bad-line", f"'{name}' holds half a character (a lone surrogate)")
    text = " ".join(str(row["text"]).split())
    if not any(character.isalnum() for character in text):
        raise BadLine(number, "no-words", f"'text' has no letters: {text[:60]!r}")
    return Line(number, str(row["audio_file"]), text)


def read_lines(path: Path) -> tuple[list[Line], list[BadLine]]:
    """The usable lines of a list and the others, both in order; blank lines are skipped."""
    good: list[Line] = []
    bad: list[BadLine] = []
    seen: dict[str, int] = {}
    if not path.is_file():
        raise InputUnusable(f"{path} is not a file", hint="one JSON object per line: audio_file and text")
    for number, raw in enumerate(path.read_bytes().split(b"\n"), 1):
        if not raw.strip():
            continue
        try:
            line = read_line(number, raw)
        except BadLine as error:
            bad.append(error)
            continue
        if line.audio_file in seen:
            told = f"'{line.audio_file}' stands in line {seen[line.audio_file]} already"
            bad.append(BadLine(number, "duplicate", told))
            continue
        seen[line.audio_file] = number
        good.append(line)
    return good, bad


def ingest_transcript(
    clips_folder: Path,
    transcripts: Path,
    out: Path,
    *,
    voice: str | None = None,
    card: Path | None = None,
    language: str | None = None,
    options: TranscriptOptions | None = None,
    max_rejected: float = 0.2,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Build the dataset `out` from a folder of clips and a JSONL list of {audio_file, text}.

    Clips become 24 kHz mono FLAC. Returns {clips, audio_seconds, lines, bad_lines [{line, reason, message}], rejected,
    rejected_seconds, manifest, rejections, timings_seconds, text}. Raises UsageError for a missing folder, ConfigError
    for the card, InputUnusable when no clip is left or more than `max_rejected` of the lines or seconds were rejected.
    """
    options = options or TranscriptOptions()
    if not clips_folder.is_dir():
        raise UsageError(f"{clips_folder} is not a folder", hint="name the folder that holds the clips")
    lines, bad = read_lines(transcripts)
    if dry_run:
        text = f"{len(lines)} usable lines, {len(bad)} bad ones; about {0.05 * len(lines):.0f} s"
        return {"dry_run": True, "lines": len(lines) + len(bad), "bad_lines": _named(bad), "text": text}
    name = check_name(voice or parts.slug(out.resolve().name), "voice")
    parts.place_card(out, card)
    spoken = language or load_card(out).language
    started = time.monotonic()
    with locked(out / ".lock"):
        # The list may be corrected and ingested again: only the parts whose lines or audio changed are worked.
        parts.claim(out, transcripts.name, "transcripts")
        key = sha256_json([VERSION, name, spoken, asdict(options)])
        done, fresh = _work_parts(clips_folder, lines, out, name, spoken, options, key)
        done["part-lines"] = parts.Part(rejections=[_of_bad_line(error, transcripts.name) for error in bad])
        changed = parts.finalise(out, done)
    return _checked_result(out, done, bad, len(lines) + len(bad), bool(fresh or changed), started, max_rejected)


def _work_parts(
    folder: Path, lines: Sequence[Line], out: Path, voice: str, language: str, options: TranscriptOptions, key: str
) -> tuple[dict[str, parts.Part], int]:
    done: dict[str, parts.Part] = {}
    fresh = 0
    groups = [lines[start : start + _LINES_PER_PART] for start in range(0, len(lines), _LINES_PER_PART)]
    ids = _ids(lines)
    for number, group in enumerate(groups):
        name = f"part-{number:05d}"
        part_key = sha256_json([key, [[*asdict(line).values(), _content(folder, line)] for line in group]])
        part = parts.load_part(out, name, part_key)
        if part is None:
            part = parts.Part()
            for line in group:
                _take(part, folder, line, ids[line.number], out, voice, language, options)
            parts.save_part(out, name, part_key, part)
            fresh += 1
            progress(f"ingest-transcript: part {number + 1} of {len(groups)}, {len(part.clips)} clips")
        done[name] = part
    return done, fresh


def _ids(lines: Sequence[Line]) -> dict[int, str]:
    """Line number → clip id from the file's name; the line's number tells files of one name apart."""
    ids: dict[int, str] = {}
    taken: set[str] = set()
    for line in lines:
        name = parts.slug(str(Path(line.audio_file).with_suffix("")))
        ids[line.number] = name if name not in taken else f"{name}-{line.number:06d}"
        taken.add(ids[line.number])
    return ids


def _content(folder: Path, line: Line) -> str:
    try:
        return sha256_file(safe_member(folder, line.audio_file))
    except (InputUnusable, OSError):
        return ""


def _take(
    part: parts.Part,
    folder: Path,
    line: Line,
    name: str,
    out: Path,
    voice: str,
    language: str,
    options: TranscriptOptions,
) -> None:
    """Read, judge and write one clip."""
    try:
        path = safe_member(folder, line.audio_file)
    except InputUnusable as error:
        part.reject(out, _rejection(line, name, "outside-folder", error.message, 0.0), None)
        return
    try:
        rate = probe_source(path).rate
        native = read_audio(path)
    except (InputUnusable, OSError) as error:
        part.reject(out, _rejection(line, name, "unreadable-audio", str(error), 0.0), None)
        return
    audio = native.at(cut.CLIP_RATE)
    measures = cut.measures(native, audio)
    measures["words_per_second"] = round(levels.words_per_second(line.text, audio.seconds, language), 3)
    reason = _unfit(audio, measures, options)
    if reason:
        rejection = _rejection(line, name, reason, "", audio.seconds, measures, f"rejected/{name}.flac")
        part.reject(out, rejection, audio)
        return
    clip = Clip(
        id=name,
        audio_file=f"clips/{name}.flac",
        text=line.text,
        speaker=voice,
        language=language,
        audio_seconds=round(audio.seconds, 4),
        source=line.audio_file,
        start=0.0,
        end=round(audio.seconds, 4),
        measures={**measures, "source_rate": rate},
    )
    part.keep(out, clip, audio)


def _unfit(audio: Audio, measures: dict[str, Any], options: TranscriptOptions) -> str | None:
    if audio.seconds < options.min_seconds:
        return "too-short"
    if audio.seconds > options.max_seconds:
        return "too-long"
    if measures["silence_ratio"] > options.max_silence_ratio:
        return "silent"
    return "clipped" if measures["clipped_ratio"] > options.max_clipped_ratio else None


def _rejection(
    line: Line,
    name: str,
    reason: str,
    message: str,
    seconds: float,
    numbers: dict[str, Any] | None = None,
    file: str = "",
) -> Rejection:
    told = {"message": message} if message else {}
    place = {"line": line.number, "step": "ingest", **(numbers or {}), **told}
    return Rejection(name, reason, line.text, line.audio_file, 0.0, round(seconds, 4), file, place)


def _of_bad_line(error: BadLine, source: str) -> Rejection:
    numbers = {"line": error.number, "step": "ingest", "message": error.message}
    return Rejection(f"line-{error.number:06d}", error.reason, "", source, 0.0, 0.0, "", numbers)


def _named(bad: Sequence[BadLine]) -> list[dict[str, Any]]:
    return [{"line": error.number, "reason": error.reason, "message": error.message} for error in bad]


def _checked_result(
    out: Path,
    done: dict[str, parts.Part],
    bad: Sequence[BadLine],
    lines: int,
    worked: bool,
    started: float,
    max_rejected: float,
) -> dict[str, Any]:
    """The result, or InputUnusable: bad lines have no seconds, so their share of the lines counts as well."""
    clips = [clip for part in done.values() for clip in part.clips]
    rejections = [item for part in done.values() for item in part.rejections]
    kept_seconds = sum(clip.audio_seconds for clip in clips)
    lost_seconds = sum(item.audio_seconds for item in rejections)
    text = f"{len(clips)} of {lines} lines are clips now, {kept_seconds / 60:.1f} min; {len(rejections)} rejected"
    result = {
        "clips": len(clips),
        "audio_seconds": round(kept_seconds, 3),
        "lines": lines,
        "bad_lines": _named(bad),
        "rejected": parts.reasons(rejections),
        "rejected_seconds": round(lost_seconds, 3),
        "manifest": str(out / parts.MANIFEST),
        "rejections": str(out / parts.REJECTIONS),
        "timings_seconds": {"total": round(time.monotonic() - started, 2)},
        "text": text if worked else f"nothing left to do: {text}",
    }
    parts.refuse_if_poor(result, kept_seconds + lost_seconds, max_rejected, out)
    if len(rejections) > max_rejected * lines:
        counts = ", ".join(f"{reason}: {count}" for reason, count in parts.reasons(rejections).items())
        raise InputUnusable(
            f"{len(rejections)} of {lines} lines were rejected ({counts})",
            hint=f"{out / parts.REJECTIONS} names each line with its reason; --max-rejected sets the limit",
        )
    return result
