"""`ingest`: an audiobook becomes clips with texts, a manifest and rejections.

Two streaming passes over each source: the first finds speech, the second cuts it part by part (a part is some two
minutes of one chapter) at the source's own rate, recognises each clip and writes a receipt. This process reads, the
engine's workers do the rest. Memory holds one part per worker. Then the screen judges all clips by their numbers.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from tts_train.clip import Rejection
from tts_train.engine import Engine, Where, engine
from tts_train.errors import InputUnusable
from tts_train.files import owned, require_space, sha256_file, sha256_json, write_json
from tts_train.ingest import cut, parts
from tts_train.ingest.clock import Clock
from tts_train.ingest.finish import finish
from tts_train.ingest.first_pass import Found, first_pass
from tts_train.ingest.language import check_language
from tts_train.ingest.models import resolve_model
from tts_train.ingest.options import MAX_SECONDS, MIN_SECONDS, IngestOptions
from tts_train.ingest.outcome import Built, estimate, result_of
from tts_train.ingest.plan import PartPlan, Plan, plan_parts
from tts_train.ingest.screen.measure import check_independent
from tts_train.ingest.screen.options import ScreenOptions, screen_options
from tts_train.ingest.second_pass import Task, read_pieces, work_part
from tts_train.ingest.segments import Segment, read_segments
from tts_train.ingest.selection import Selection, select
from tts_train.ingest.sources import Fault, Source, claim_sources, find_sources
from tts_train.memory import big_blocks_kept, return_big_blocks
from tts_train.output import progress
from tts_train.workspace import check_name

VERSION = 2


def ingest_book(
    audio: Path | Sequence[Path],
    voice: str,
    out: Path,
    *,
    card: Path | None = None,
    model: str | None = None,
    language: str | None = None,
    options: IngestOptions | None = None,
    screening: ScreenOptions | None = None,
    segments: Path | None = None,
    chapters: str | None = None,
    skip_first: float = 0.0,
    skip_last: float = 0.0,
    jobs: int | None = None,
    where: Where = "here",
    threads: int = 0,
    max_rejected: float = 0.2,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Build the dataset folder `out` from recordings; resumable, and byte-identical when repeated.

    With any `jobs` and `threads` of each, and `where` they work (see `engine`).

    Returns {clips, audio_seconds, speech_seconds, accounted_seconds, skipped_seconds, coverage, rejected {reason: n},
    rejected_seconds, sources, chapters, language, model, manifest, rejections, report, timings_seconds, peak_rss_mib,
    text}. Raises UsageError for a path or chapter that is not there, ConfigError for a missing card or another book's
    folder, Unavailable without a model, InputUnusable when nothing can be read, the book is in another language, or
    (after everything is written) more than `max_rejected` of the speech was rejected.
    """
    options, screening = options or IngestOptions(), screening or _screening()
    check_name(voice, "voice")
    return_big_blocks()
    sources, faults = find_sources([audio] if isinstance(audio, Path) else audio)
    selection = select(sources, chapters=chapters, skip_first=skip_first, skip_last=skip_last)
    if dry_run:
        return estimate(sources, faults, selection, jobs or 1, recognises=segments is None)
    known = parts.card_of(out, card)
    spoken = language or known.language
    require_space(out, round(sum(source.info.seconds for source in sources) * cut.CLIP_RATE * 2.2) + 50_000_000)
    threads = threads or (1 if where == "ray" else _threads_for(jobs or 1))
    with owned(out), engine(jobs, where=where, shared=out, threads=threads) as run:
        clock = Clock()
        digests = [sha256_file(source.path) for source in sources]
        claim_sources(out, sources, digests)
        parts.place_card(out, card)
        choice = resolve_model(model) if segments is None else None
        # Before the hours of work, not after them.
        check_independent(screening, choice.sha256 if choice else None)
        found, damaged = first_pass(sources, digests, out, options.speech, run, loudness=options.loudness is not None)
        faults += damaged
        clock.lap("speech")
        task = Task(out, voice, spoken, options, choice, threads)
        lines, bad = read_segments(segments, found) if segments else (None, [])
        plan = _planned(task, found, digests, selection, lines)
        done, fresh = _work_parts(task, sources, digests, plan, run, clock, detect=language is None)
        done["part-sources"] = _only_rejected(out, "part-sources", [_of_fault(*each) for each in enumerate(faults, 1)])
        done["part-lines"] = _only_rejected(out, "part-lines", bad)
        write_json(out / "parts" / "skipped.json", plan.skipped)
        with big_blocks_kept():
            finished = finish(out, done, screening, run, text_model=choice.sha256 if choice else None)
        clock.lap("finish")
        built = Built(task, found, faults, plan, finished, (len(plan.parts), fresh), run.peak_rss_mib())
    result = result_of(built, clock.report())
    parts.refuse_if_poor(result, built.usable_seconds, max_rejected, out)
    if len(bad) > max_rejected * (len(bad) + len(lines or ())):
        # Bad lines have no seconds that could be counted.
        raise InputUnusable(
            f"{len(bad)} lines of {segments} cannot be used; the limit is {max_rejected:.0%}",
            hint=f"{out / parts.REJECTIONS} names each with its reason; --max-rejected sets the limit",
        )
    return result


def _screening() -> ScreenOptions:
    return screen_options((), (), None, station="book", min_seconds=MIN_SECONDS, max_seconds=MAX_SECONDS)


def _threads_for(jobs: int) -> int:
    """The cores, eight at most, shared out among the jobs."""
    return max(1, min(os.cpu_count() or 1, 8) // jobs)


def _planned(
    task: Task, found: Sequence[Found], digests: Sequence[str], selection: Selection, lines: Sequence[Segment] | None
) -> Plan:
    model = task.model.sha256 if task.model else None
    plan = plan_parts(
        found,
        selection,
        task.options.rule,
        task.options.part_seconds,
        key=sha256_json([VERSION, task.voice, task.language, asdict(task.options), model]),
        digests=dict(enumerate(digests)),
        segments=lines,
        lufs=task.options.loudness,
    )
    if not plan.parts:
        raise InputUnusable("nothing is left after --chapters, --skip-first and --skip-last", hint="skip less")
    return plan


def _work_parts(
    task: Task,
    sources: Sequence[Source],
    digests: Sequence[str],
    plan: Plan,
    run: Engine,
    clock: Clock,
    *,
    detect: bool,
) -> tuple[dict[str, parts.Part], int]:
    """All parts in order, from receipts where they hold; and how many were worked now."""
    known = {part.name: parts.load_part(task.out, part.name, part.key) for part in plan.parts}
    todo = [part for part in plan.parts if known[part.name] is None]
    if todo and len(todo) < len(known):
        progress(f"ingest: {len(known) - len(todo)} of {len(known)} parts are done already")
    if todo and task.model and detect:
        check_language(task, plan.parts, sources, digests, run)
        clock.lap("language")
    pace = _Pace(todo)
    for worked in run.map(partial(work_part, task), read_pieces(sources, todo)):
        known[worked.plan.name] = worked.part
        clock.add(worked.seconds)
        progress(f"ingest: {pace.after(worked.plan)}, {len(worked.part.clips)} clips")
    clock.skip()
    return {name: part for name, part in known.items() if part is not None}, len(todo)


class _Pace:
    """How far the second pass is, by speech, since parts differ in length."""

    def __init__(self, todo: Sequence[PartPlan]) -> None:
        self._parts = len(todo)
        self._all = sum(item.speech_seconds for part in todo for item in part.items)
        self._done, self._count, self._started = 0.0, 0, time.monotonic()

    def after(self, part: PartPlan) -> str:
        self._count += 1
        self._done += sum(item.speech_seconds for item in part.items)
        left = (time.monotonic() - self._started) / self._done * (self._all - self._done)
        return f"part {self._count} of {self._parts}, about {max(0.0, left):.0f} s left"


def _only_rejected(out: Path, name: str, rejections: list[Rejection]) -> parts.Part:
    """A part without audio; its receipt lets the manifest be made again from receipts alone."""
    part = parts.Part(rejections=rejections)
    parts.save_part(out, name, sha256_json([asdict(item) for item in rejections]), part)
    return part


def _of_fault(number: int, fault: Fault) -> Rejection:
    numbers = {"step": "ingest", "message": fault.message}
    return Rejection(f"source-{number:05d}", fault.reason, "", fault.name, 0.0, round(fault.seconds, 4), "", numbers)
