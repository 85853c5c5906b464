"""`align`: words in time for every clip of a manifest, in resumable parts."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from tts_train.align.words import AlignedWord, Alignment, AlignmentFailed
from tts_train.audio import Audio, read_audio
from tts_train.clip import Clip, Rejection
from tts_train.dataset import audio_path, load_manifest, write_rejections
from tts_train.errors import InputUnusable, Unavailable, UsageError
from tts_train.files import locked, read_json, read_jsonl, sha256_file, sha256_json, write_json, write_jsonl
from tts_train.output import progress

AlignerName = Literal["auto", "pocketsphinx", "whisperx"]
Align = Callable[[Audio, str], Alignment]
PART_CLIPS = 64
VERSION = 1
REJECTED_BY = "align"
INGEST = "ingest"
"""`numbers.step` of a rejection: each step owns its rows of rejections.jsonl and replaces only those."""


@dataclass(frozen=True)
class Choice:
    """The aligner that does the work, and why it was picked."""

    name: str
    why: str
    load: Callable[[], Align]


def align_known_text(audio: Audio, text: str) -> list[AlignedWord]:
    """Words and phones of English `text` as spoken in `audio`, with pocketsphinx.

    Times in seconds from the audio's start. Raises AlignmentFailed when the text cannot be laid over the audio.
    """
    from tts_train.align import pocketsphinx

    return list(pocketsphinx.align(audio, text).words)


def choose_aligner(aligner: AlignerName, model: str | None, language: str) -> Choice:
    """Pick an aligner for a language. Raises UsageError or Unavailable when the request cannot be met."""
    english = language.split("-", maxsplit=1)[0] == "en"
    if aligner == "whisperx" and not model:
        raise UsageError(
            "--aligner whisperx needs --model",
            hint="--model FOLDER_OR_NAME of a wav2vec2 CTC model, such as WAV2VEC2_ASR_BASE_960H (downloads 360 MB)",
        )
    if aligner == "pocketsphinx" and model:
        raise UsageError("--model is for --aligner whisperx", hint="leave --model or --aligner pocketsphinx out")
    if model:
        return Choice("whisperx", f"--model {model} was given", lambda: _whisperx(model, language))
    if not english:
        raise Unavailable(
            f"the packaged aligner knows English only, not '{language}'",
            hint="--model FOLDER_OR_NAME of a wav2vec2 CTC model for this language",
        )
    why = "asked for" if aligner == "pocketsphinx" else "English, and no --model was given"
    return Choice("pocketsphinx", why, _pocketsphinx)


def align_manifest(
    manifest: Path,
    out: Path | None = None,
    *,
    aligner: AlignerName = "auto",
    model: str | None = None,
    max_rejected: float = 0.2,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Write `out` (default train_aligned.jsonl beside the manifest): each clip's row with `words`.

    Clips that cannot be aligned go to rejections.jsonl with a reason. Receipts in parts/ make it resumable. Returns
    {clips, words, aligner, aligner_why, rejected, rejected_seconds, audio_seconds, aligned, guessed_words,
    timings_seconds, text}. Raises InputUnusable, with everything written, when more than `max_rejected` of the seconds
    or all clips fail.
    """
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
    with locked(manifest.parent / ".lock"):
        started = time.monotonic()
        rows, fresh = _aligned_rows(manifest, clips, choice, model)
        rejections = [Rejection(**row["rejection"]) for row in rows if "rejection" in row]
        kept = [row for row in rows if "rejection" not in row]
        changed = _finalise(manifest, target, clips, kept, rejections)
    result = _result(clips, kept, rejections, choice, manifest, target)
    result["timings_seconds"] = {"align": round(time.monotonic() - started, 2)}
    if not fresh and not changed:
        result["text"] = f"nothing left to do: {result['text']}"
    _refuse_if_poor(result, seconds, max_rejected)
    return result


def _pocketsphinx() -> Align:
    from tts_train.align import pocketsphinx

    return pocketsphinx.align


def _whisperx(model: str, language: str) -> Align:
    from tts_train.align.whisperx_aligner import load_whisperx

    return load_whisperx(model, language).align


def _aligned_rows(
    manifest: Path, clips: list[Clip], choice: Choice, model: str | None
) -> tuple[list[dict[str, Any]], int]:
    """Outcome of every clip in manifest order, from receipts where they hold; and how many parts were worked now."""
    rows: list[dict[str, Any]] = []
    work: Align | None = None
    fresh = 0
    parts = [clips[start : start + PART_CLIPS] for start in range(0, len(clips), PART_CLIPS)]
    started = time.monotonic()
    for number, part in enumerate(parts):
        receipt = manifest.parent / "parts" / f"align-{number:05d}.json"
        hashes = [sha256_file(audio_path(manifest, clip)) for clip in part]
        asked = [[clip.id, clip.text, digest] for clip, digest in zip(part, hashes, strict=True)]
        key = sha256_json([VERSION, choice.name, model, asked])
        known = read_json(receipt) if receipt.is_file() else {}
        if known.get("key") != key:
            work = work or choice.load()
            known = {"key": key, "rows": [_outcome(work, manifest, clip) for clip in part]}
            write_json(receipt, known)
            fresh += 1
            progress(_eta(number + 1, len(parts), time.monotonic() - started))
        rows += known["rows"]
    return rows, fresh


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
    write_rejections(place, [*rejections_of(place, INGEST), *rejections])
    return before != [target.read_bytes(), place.read_bytes()]


def rejections_of(place: Path, step: str) -> list[Rejection]:
    """Rows of a rejections.jsonl that `step` wrote (numbers.step); none when there is no such file."""
    if not place.is_file():
        return []
    rows = [row for _, row in read_jsonl(place) if row["numbers"].get("step") == step]
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
