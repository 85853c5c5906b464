"""`ingest-transcript`: clips and texts that exist already become a dataset.

The list comes from anywhere, so every line is checked by itself: a bad one becomes a numbered rejection and never
stops the others, and no name reaches outside the clips' folder. What cannot be a clip is rejected here; whether a clip
is good enough is the screen's matter (ingest/screen).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from tts_train.clip import Rejection
from tts_train.engine import Engine, Where, engine
from tts_train.errors import InputUnusable, UsageError
from tts_train.files import owned, sha256_json
from tts_train.ingest import batches, parts
from tts_train.ingest.batches import Batch, Job
from tts_train.ingest.clock import Clock
from tts_train.ingest.finish import Finished, finish
from tts_train.ingest.lines import BadLine
from tts_train.ingest.lists import Listed, as_rows, read_list
from tts_train.ingest.screen.options import ScreenOptions, screen_options
from tts_train.output import progress
from tts_train.workspace import check_name

MIN_SECONDS, MAX_SECONDS = 1.0, 20.0
_LINES = "part-lines"
_SECONDS_PER_LINE = 0.07


def ingest_transcript(
    clips_folder: Path,
    transcripts: Path,
    out: Path,
    *,
    voice: str | None = None,
    speaker: str | None = None,
    card: Path | None = None,
    language: str | None = None,
    screening: ScreenOptions | None = None,
    jobs: int | None = None,
    where: Where = "here",
    max_rejected: float = 0.2,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Build the dataset `out` from a folder of recordings and a list of their texts (see lists.read_list).

    Clips become 24 kHz mono FLAC; the bytes do not depend on `jobs` and `where` (see `engine`). Returns {clips,
    audio_seconds, list {kind, detail, skipped}, lines, bad_lines [{line, reason, message}], rejected, rejected_seconds,
    manifest, rejections, report, timings_seconds, peak_rss_mib, text}. Raises UsageError for a missing folder or an
    open choice of speaker, ConfigError for the card, InputUnusable when no clip is left or more than `max_rejected` of
    the lines or seconds were rejected.
    """
    if not clips_folder.is_dir():
        raise UsageError(f"{clips_folder} is not a folder", hint="name the folder that holds the clips")
    listed = read_list(transcripts, clips_folder, speaker)
    if dry_run:
        return _outlook(listed)
    name = check_name(voice or parts.slug(out.resolve().name), "voice")
    known = parts.card_of(out, card)
    job = Job(clips_folder, out, name, language or known.language)
    clock = Clock()
    with owned(out), engine(jobs, where=where, shared=out) as run:
        # The list may be corrected and ingested again: only the parts whose lines or audio changed are worked.
        parts.claim(out, transcripts.name, "transcripts")
        parts.place_card(out, card)
        done, fresh = _work(job, batches.plan(job, listed.lines), run)
        done[_LINES] = _rejected_lines(out, listed.bad, transcripts.name)
        clock.lap("clips")
        finished = finish(out, done, screening or _screening(), run)
        clock.lap("finish")
        peak = run.peak_rss_mib()
    result = _result(out, listed, finished, clock, worked=bool(fresh))
    result["peak_rss_mib"] = peak
    _refuse_if_poor(out, result, finished, max_rejected)
    return result


def _screening() -> ScreenOptions:
    return screen_options((), (), None, station="transcript", min_seconds=MIN_SECONDS, max_seconds=MAX_SECONDS)


def _work(job: Job, planned: Sequence[Batch], run: Engine) -> tuple[dict[str, parts.Part], int]:
    """All parts, from receipts where they hold; and how many were worked now."""
    done = {batch.name: parts.load_part(job.out, batch.name, batch.key) for batch in planned}
    todo = [batch for batch in planned if done[batch.name] is None]
    if todo and len(todo) < len(planned):
        progress(f"ingest-transcript: {len(planned) - len(todo)} of {len(planned)} parts are done already")
    started = time.monotonic()
    worked = run.map(partial(batches.work_batch, job), batches.with_audio(job, todo))
    for count, (name, part) in enumerate(worked, 1):
        done[name] = part
        left = (time.monotonic() - started) / count * (len(todo) - count)
        progress(f"ingest-transcript: part {count} of {len(todo)}, {len(part.clips)} clips, about {left:.0f} s left")
    return {name: part for name, part in done.items() if part is not None}, len(todo)


def _rejected_lines(out: Path, bad: Sequence[BadLine], source: str) -> parts.Part:
    """A part without audio; its receipt lets the manifest be made again from receipts alone."""
    part = parts.Part(rejections=[_of_bad_line(error, source) for error in bad])
    parts.save_part(out, _LINES, sha256_json([asdict(item) for item in part.rejections]), part)
    return part


def _of_bad_line(error: BadLine, source: str) -> Rejection:
    numbers = {"line": error.number, "step": "ingest", "message": error.message}
    return Rejection(f"line-{error.number:06d}", error.reason, "", source, 0.0, 0.0, "", numbers)


def _outlook(listed: Listed) -> dict[str, Any]:
    told = f"{len(listed.lines)} usable lines, {len(listed.bad)} bad ones ({listed.detail})"
    return {
        "dry_run": True,
        "lines": listed.count,
        "list": _about(listed),
        "bad_lines": as_rows(listed.bad),
        "text": f"{told}; about {_SECONDS_PER_LINE * len(listed.lines):.0f} s",
    }


def _about(listed: Listed) -> dict[str, Any]:
    return {"kind": listed.kind, "detail": listed.detail, "skipped": listed.skipped}


def _result(out: Path, listed: Listed, finished: Finished, clock: Clock, *, worked: bool) -> dict[str, Any]:
    clips, rejections = finished.clips, finished.rejections
    seconds = sum(clip.audio_seconds for clip in clips)
    text = (
        f"{len(clips)} of {listed.count} lines are clips now, {seconds / 60:.1f} min; {len(rejections)} rejected "
        f"({listed.detail})"
    )
    return {
        "clips": len(clips),
        "audio_seconds": round(seconds, 3),
        "list": _about(listed),
        "lines": listed.count,
        "bad_lines": as_rows(listed.bad),
        "rejected": parts.reasons(rejections),
        "rejected_seconds": round(sum(item.audio_seconds for item in rejections), 3),
        "manifest": str(out / parts.MANIFEST),
        "rejections": str(out / parts.REJECTIONS),
        "report": str(out / "report.html"),
        "timings_seconds": {**clock.report(), **finished.seconds},
        "text": text if worked or finished.changed else f"nothing left to do: {text}",
    }


def _refuse_if_poor(out: Path, result: dict[str, Any], finished: Finished, max_rejected: float) -> None:
    """Raise InputUnusable: bad lines have no seconds, so their share of the lines counts as well."""
    parts.refuse_if_poor(result, result["audio_seconds"] + result["rejected_seconds"], max_rejected, out)
    rejected, lines = len(finished.rejections), result["lines"]
    if rejected > max_rejected * lines:
        counts = ", ".join(f"{reason}: {count}" for reason, count in result["rejected"].items())
        raise InputUnusable(
            f"{rejected} of {lines} lines were rejected ({counts})",
            hint=f"{out / parts.REJECTIONS} names each line with its reason; --max-rejected sets the limit",
        )
