"""`align`: words in time for every clip of a manifest, in resumable parts."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tts_train.align.choice import Align, AlignerName, Choice, choose_aligner, load_aligner
from tts_train.align.words import AlignedWord, AlignmentFailed
from tts_train.audio import Audio, read_audio
from tts_train.clip import Clip, Rejection
from tts_train.dataset import audio_path, load_manifest, write_rejections
from tts_train.engine import Engine, Where, engine
from tts_train.errors import InputUnusable, UsageError
from tts_train.files import owned, read_json, read_jsonl, sha256_file, sha256_json, write_json, write_jsonl
from tts_train.output import progress

PART_CLIPS = 64
VERSION = 3
REJECTED_BY = "align"
"""`numbers.step` of a rejection: each step owns its rows of rejections.jsonl and replaces only those."""
_MANIFEST = "train_manifest.jsonl"


@dataclass(frozen=True)
class _Part:
    """Clips of one receipt; `key` is what the receipt must have been made of."""

    receipt: Path
    key: str
    manifest: Path
    clips: tuple[Clip, ...]
    choice: Choice


def align_known_text(audio: Audio, text: str) -> list[AlignedWord]:
    """Words and phones of English `text` as spoken in `audio`, with pocketsphinx.

    Times in seconds from the audio's start. Raises AlignmentFailed when the text cannot be laid over the audio.
    """
    from tts_train.align import pocketsphinx

    return list(pocketsphinx.align(audio, text).words)


def align_manifest(
    manifest: Path,
    out: Path | None = None,
    *,
    aligner: AlignerName = "auto",
    model: str | None = None,
    jobs: int | None = None,
    where: Where = "here",
    max_rejected: float = 0.2,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Write `out` (default train_aligned.jsonl beside the manifest): each clip's row with `words`.

    `manifest` may be the dataset's folder. Clips that cannot be aligned go to rejections.jsonl with a reason. Receipts
    in parts/ make it resumable; the bytes do not depend on `jobs` and `where` (see `engine`). Returns {clips, words,
    aligner, aligner_why, rejected, rejected_seconds, audio_seconds, aligned, guessed_words, timings_seconds, text}.
    Raises InputUnusable, with everything written, when more than `max_rejected` of the seconds or all clips fail.
    """
    manifest = manifest / _MANIFEST if manifest.is_dir() else manifest
    target = out or manifest.with_name("train_aligned.jsonl")
    if target.resolve().parent != manifest.resolve().parent:
        raise UsageError(
            f"{target} is not beside {manifest}",
            hint="audio paths are relative to the manifest's folder: write it there",
        )
    clips = load_manifest(manifest)
    languages = sorted({clip.language for clip in clips})
    if len(languages) > 1:
        raise InputUnusable(f"{manifest} mixes languages: {', '.join(languages)}", hint="one manifest per language")
    choice = choose_aligner(aligner, model, languages[0])
    seconds = sum(clip.audio_seconds for clip in clips)
    if dry_run:
        plan = f"{len(clips)} clips, {seconds / 60:.1f} min of speech, with {choice.name} ({choice.why})"
        return {
            "dry_run": True,
            "clips": len(clips),
            "audio_seconds": round(seconds, 3),
            "aligner": choice.name,
            "text": plan,
        }
    with owned(manifest.parent), engine(jobs, where=where, shared=manifest.parent) as run:
        started = time.monotonic()
        rows, fresh = _aligned_rows(_parts(manifest, clips, choice), run)
        rejections = [Rejection(**row["rejection"]) for row in rows if "rejection" in row]
        kept = [row for row in rows if "rejection" not in row]
        changed = _finalise(manifest, target, clips, kept, rejections)
    result = _result(clips, kept, rejections, choice, manifest, target)
    result["timings_seconds"] = {"align": round(time.monotonic() - started, 2)}
    if not fresh and not changed:
        result["text"] = f"nothing left to do: {result['text']}"
    _refuse_if_poor(result, seconds, max_rejected)
    return result


def _parts(manifest: Path, clips: Sequence[Clip], choice: Choice) -> list[_Part]:
    """The clips in manifest order, some for each receipt."""
    parts = []
    for number, start in enumerate(range(0, len(clips), PART_CLIPS)):
        some = tuple(clips[start : start + PART_CLIPS])
        asked = [[clip.id, clip.text, sha256_file(audio_path(manifest, clip))] for clip in some]
        key = sha256_json([VERSION, choice.name, choice.model, asked])
        parts.append(_Part(manifest.parent / "parts" / f"align-{number:05d}.json", key, manifest, some, choice))
    return parts


def _aligned_rows(parts: Sequence[_Part], run: Engine) -> tuple[list[dict[str, Any]], int]:
    """Outcome of every clip in order, from receipts where they hold; and how many parts were worked now."""
    known = {part.receipt: rows for part in parts if (rows := _known_rows(part)) is not None}
    todo = [part for part in parts if part.receipt not in known]
    started = time.monotonic()
    for count, (part, rows) in enumerate(zip(todo, run.map(_work, todo), strict=True), 1):
        known[part.receipt] = rows
        progress(_eta(count, len(todo), time.monotonic() - started))
    return [row for part in parts for row in known[part.receipt]], len(todo)


def _known_rows(part: _Part) -> list[dict[str, Any]] | None:
    receipt = read_json(part.receipt) if part.receipt.is_file() else {}
    return list(receipt["rows"]) if receipt.get("key") == part.key else None


def _work(part: _Part) -> list[dict[str, Any]]:
    """Align a part's clips and publish its receipt."""
    align = load_aligner(part.choice.name, part.choice.model, part.choice.language)
    rows = [_outcome(align, part.manifest, clip) for clip in part.clips]
    write_json(part.receipt, {"key": part.key, "rows": rows})
    return rows


def _eta(done: int, parts: int, elapsed: float) -> str:
    return f"align: part {done} of {parts}, about {elapsed / done * (parts - done):.0f} s left"


def _outcome(work: Align, manifest: Path, clip: Clip) -> dict[str, Any]:
    try:
        alignment = work(read_audio(audio_path(manifest, clip)), clip.text)
    except AlignmentFailed as error:
        numbers = {**error.numbers, "step": REJECTED_BY, "message": error.message}
        rejection = Rejection(
            clip.id,
            error.reason,
            clip.text,
            clip.source,
            clip.start,
            clip.start + clip.audio_seconds,
            clip.audio_file,
            numbers,
        )
        return {"rejection": asdict(rejection)}
    words = [asdict(word.as_word()) for word in alignment.words]
    return {"id": clip.id, "words": words, "numbers": alignment.numbers}


def _finalise(
    manifest: Path, target: Path, clips: list[Clip], kept: list[dict[str, Any]], rejections: list[Rejection]
) -> bool:
    """Write the aligned manifest and this step's rows of rejections.jsonl; whether anything changed."""
    by_id = {clip.id: clip for clip in clips}
    lines = [
        {**by_id[row["id"]].as_row(), "words": row["words"]} for row in sorted(kept, key=lambda row: str(row["id"]))
    ]
    place = manifest.parent / "rejections.jsonl"
    before = [target.read_bytes() if target.is_file() else b"", place.read_bytes() if place.is_file() else b""]
    write_jsonl(target, lines)
    others = [item for item in _all_rejections(place) if item.numbers.get("step") != REJECTED_BY]
    write_rejections(place, [*others, *rejections])
    return before != [target.read_bytes(), place.read_bytes()]


def rejections_of(place: Path, step: str) -> list[Rejection]:
    """Rows of a rejections.jsonl that `step` wrote (numbers.step); none when there is no such file."""
    return [item for item in _all_rejections(place) if item.numbers.get("step") == step]


def _all_rejections(place: Path) -> list[Rejection]:
    rows = [row for _, row in read_jsonl(place)] if place.is_file() else []
    return [Rejection(**{name: value for name, value in row.items() if name != "audio_seconds"}) for row in rows]


def _result(
    clips: Sequence[Clip],
    kept: list[dict[str, Any]],
    rejections: Sequence[Rejection],
    choice: Choice,
    manifest: Path,
    target: Path,
) -> dict[str, Any]:
    words = sum(len(row["words"]) for row in kept)
    guessed = sorted({word for row in kept for word in row["numbers"].get("guessed_words", [])})
    text = f"{len(kept)} of {len(clips)} clips aligned with {choice.name} ({choice.why}), {words} words"
    return {
        "clips": len(kept),
        "words": words,
        "aligner": choice.name,
        "aligner_why": choice.why,
        "audio_seconds": round(sum(clip.audio_seconds for clip in clips), 3),
        "rejected": dict(sorted(Counter(item.reason for item in rejections).items())),
        "rejected_seconds": round(sum(item.audio_seconds for item in rejections), 3),
        "guessed_words": guessed,
        "aligned": str(target),
        "manifest": str(manifest),
        "text": text,
    }


def _refuse_if_poor(result: dict[str, Any], seconds: float, max_rejected: float) -> None:
    share = result["rejected_seconds"] / seconds
    if result["clips"] and share <= max_rejected:
        return
    raise InputUnusable(
        f"{share:.0%} of the seconds could not be aligned ({result['rejected']}), more than {max_rejected:.0%}",
        hint=f"is the text that of the audio? {Path(result['manifest']).parent / 'rejections.jsonl'} names every clip",
    )
