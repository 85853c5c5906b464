"""What `ingest` tells: before the work, and after it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tts_train.clip import Clip, Rejection
from tts_train.dataset_report.coverage import Coverage, coverage_of
from tts_train.ingest import cut, parts
from tts_train.ingest.finish import Finished
from tts_train.ingest.first_pass import Found
from tts_train.ingest.plan import Plan
from tts_train.ingest.second_pass import Task
from tts_train.ingest.selection import Selection
from tts_train.ingest.sources import Fault, Source

_READING, _RECOGNISING = 0.02, 0.2
"""CPU seconds per second of audio: both passes, and Whisper base int8 (its own 30 s windows); for --dry-run."""

_FLAC_SHARE = 0.55
_MIB_READING, _MIB_PER_JOB = 200, 350


@dataclass(frozen=True)
class Built:
    """A finished build."""

    task: Task
    found: Sequence[Found]
    faults: Sequence[Fault]
    plan: Plan
    finished: Finished
    parts: tuple[int, int]
    """All, and worked just now."""
    peak_rss_mib: int

    @property
    def coverage(self) -> Coverage:
        """What became of the speech of all sources."""
        return sum((self._of_source(item) for item in self.found), Coverage())

    @property
    def usable_seconds(self) -> float:
        """Speech that could have become clips, and what unreadable sources promised."""
        return self.coverage.speech - self.coverage.skipped + sum(fault.seconds for fault in self.faults)

    def _of_source(self, item: Found) -> Coverage:
        name = item.source.name
        skipped = [(start, end) for start, end, _ in self.plan.skipped.get(name, ())]
        return coverage_of(
            [(span.start, span.end) for span in item.spans],
            _places(name, self.finished.clips),
            _places(name, self.finished.rejections),
            skipped,
        )


def result_of(built: Built, timings: dict[str, float]) -> dict[str, Any]:
    """The command's JSON result."""
    task, finished, coverage = built.task, built.finished, built.coverage
    everything, fresh = built.parts
    seconds = sum(clip.audio_seconds for clip in finished.clips)
    skipped = f" ({coverage.skipped / 60:.1f} min skipped)" if coverage.skipped else ""
    text = (
        f"{len(finished.clips)} clips, {seconds / 60:.1f} min; {len(finished.rejections)} rejected; "
        f"{coverage.share:.2%} of {coverage.speech / 60:.1f} min of speech accounted for{skipped}"
    )
    model = task.model
    return {
        "clips": len(finished.clips),
        "audio_seconds": round(seconds, 3),
        "speech_seconds": round(coverage.speech, 3),
        "accounted_seconds": round(coverage.speech - coverage.missing, 3),
        "skipped_seconds": round(coverage.skipped, 3),
        "coverage": round(coverage.share, 6),
        "rejected": parts.reasons(finished.rejections),
        "rejected_seconds": round(sum(item.audio_seconds for item in finished.rejections), 3),
        "sources": [item.source.name for item in built.found],
        "chapters": [chapter.title for item in built.found for chapter in item.source.chapters],
        "language": task.language,
        "model": {"name": model.name, "origin": model.origin, "sha256": model.sha256} if model else None,
        "parts": {"all": everything, "worked_now": fresh},
        "manifest": str(task.out / parts.MANIFEST),
        "rejections": str(task.out / parts.REJECTIONS),
        "report": str(task.out / "report.html"),
        "timings_seconds": {**timings, **finished.seconds},
        "peak_rss_mib": built.peak_rss_mib,
        "text": text if fresh or finished.changed else f"nothing left to do: {text}",
    }


def estimate(
    sources: Sequence[Source], faults: Sequence[Fault], selection: Selection, jobs: int, *, recognises: bool
) -> dict[str, Any]:
    """What there is and what it would cost; chapters with the numbers that --chapters takes."""
    minutes = sum(source.info.seconds for source in sources) / 60
    wanted = sum(_wanted_seconds(source, selection) for source in sources) / 60
    cores = min(os.cpu_count() or 1, max(jobs, 8))
    work = (minutes * _READING + (wanted * _RECOGNISING if recognises else 0.0)) / cores
    megabytes = wanted * 60 * cut.CLIP_RATE * 2 * _FLAC_SHARE / 1e6
    memory = _MIB_READING + _MIB_PER_JOB * (jobs if recognises or jobs > 1 else 0)
    rows = [_row(source, selection) for source in sources]
    return {
        "dry_run": True,
        "source_seconds": round(minutes * 60, 3),
        "sources": rows,
        "unreadable": [{"source": fault.name, "reason": fault.reason, "message": fault.message} for fault in faults],
        "chapters": [chapter.title for source in sources for chapter in source.chapters],
        "estimate": {"minutes": round(work, 1), "disk_mb": round(megabytes), "memory_mib": memory},
        "text": _told(rows, faults, f"about {work:.1f} min, {megabytes:.0f} MB of clips, {memory} MiB of memory"),
    }


def _row(source: Source, selection: Selection) -> dict[str, Any]:
    info = source.info
    chapters = [
        {
            "number": chapter.index,
            "title": chapter.title,
            "start": round(chapter.start, 3),
            "end": round(chapter.end, 3),
            "skipped": selection.chapters is not None and chapter.index not in selection.chapters,
        }
        for chapter in source.chapters
    ]
    return {
        "source": source.name,
        "seconds": round(info.seconds, 3),
        "rate": info.rate,
        "codec": info.codec,
        "chapters": chapters,
    }


def _told(rows: Sequence[dict[str, Any]], faults: Sequence[Fault], cost: str) -> str:
    lines = []
    for row in rows:
        lines.append(f"{row['source']}: {row['seconds'] / 60:.1f} min, {row['rate']} Hz {row['codec']}")
        for chapter in row["chapters"]:
            minutes = (chapter["end"] - chapter["start"]) / 60
            skipped = "  (skipped)" if chapter["skipped"] else ""
            lines.append(f"  {chapter['number']:4d}  {minutes:7.1f} min  {chapter['title']}{skipped}")
    lines += [f"{fault.name}: {fault.message}" for fault in faults]
    return "\n".join([*lines, cost])


def _wanted_seconds(source: Source, selection: Selection) -> float:
    chosen = selection.chapters
    seconds = sum(item.end - item.start for item in source.chapters if chosen is None or item.index in chosen)
    return max(0.0, seconds - selection.skip_first - selection.skip_last)


def _places(name: str, items: Sequence[Clip] | Sequence[Rejection]) -> list[tuple[float, float]]:
    return [(item.start, item.end) for item in items if item.source == name]
