"""`screen`: judge a finished dataset again by other filters; nothing is ingested again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tts_train.engine import Where, engine
from tts_train.files import owned
from tts_train.ingest import parts
from tts_train.ingest.finish import SCREENED, Finished, finish, load_screened
from tts_train.ingest.parts import Part
from tts_train.ingest.screen.options import ScreenOptions, Station, screen_options


def screen_again(
    dataset: Path,
    *,
    filters: Sequence[str] = (),
    measure: Sequence[str] = (),
    check_model: str | None = None,
    jobs: int | None = None,
    where: Where = "here",
    max_rejected: float = 0.2,
) -> dict[str, Any]:
    """Screen a dataset with the station's default filters, changed by `filters`; earlier changes are forgotten.

    What was measured before is not measured again. Clips taken back stay. Returns {clips, audio_seconds, rejected
    {reason: n}, rejected_seconds, filters, measured, manifest, rejections, report, timings_seconds, text}. Raises
    UsageError for a filter that is not there, ConfigError for a folder that was not ingested, InputUnusable (with
    everything written) when more than `max_rejected` of the seconds are rejected now.
    """
    parts.all_parts(dataset)  # a folder that is no dataset gets no lock file
    with owned(dataset), engine(jobs, where=where, shared=dataset) as run:
        done, before = parts.all_parts(dataset), load_screened(dataset)
        station, low, high = _origin(dataset, before.options, done)
        options = screen_options(filters, measure, check_model, station=station, min_seconds=low, max_seconds=high)
        finished = finish(dataset, done, options, run, text_model=before.text_model)
    result = _result(dataset, options, finished)
    total = result["audio_seconds"] + result["rejected_seconds"]
    parts.refuse_if_poor(result, total, max_rejected, dataset)
    return result


def _origin(dataset: Path, options: ScreenOptions, done: dict[str, Part]) -> tuple[Station, float, float]:
    """Which station made the dataset, and its limits of length; of one from before there was a screen, the usual."""
    if (dataset / "parts" / SCREENED).is_file():
        return options.station, options.min_seconds, options.max_seconds
    if any("log_probability" in clip.measures for part in done.values() for clip in part.clips):
        return "book", 1.5, 15.0
    return "transcript", 1.0, 20.0


def _result(dataset: Path, options: ScreenOptions, finished: Finished) -> dict[str, Any]:
    rejected = parts.reasons(finished.rejections)
    seconds = sum(clip.audio_seconds for clip in finished.clips)
    told = ", ".join(f"{reason}: {count}" for reason, count in rejected.items()) or "none"
    text = f"{len(finished.clips)} clips stay, {seconds / 60:.1f} min; {len(finished.rejections)} rejected ({told})"
    stale = finished.changed and (dataset / "train_aligned.jsonl").is_file()
    return {
        "clips": len(finished.clips),
        "audio_seconds": round(seconds, 3),
        "rejected": rejected,
        "rejected_seconds": round(sum(item.audio_seconds for item in finished.rejections), 3),
        "filters": {item.name: [item.low, item.high] for item in options.filters},
        "measured": sorted(options.scorers | options.measure),
        "manifest": str(dataset / parts.MANIFEST),
        "rejections": str(dataset / parts.REJECTIONS),
        "report": str(dataset / "report.html"),
        "timings_seconds": finished.seconds,
        "text": (text if finished.changed else f"nothing changed: {text}")
        + (f"\ntrain_aligned.jsonl is of the clips before: run.sh align {dataset}" if stale else ""),
    }
