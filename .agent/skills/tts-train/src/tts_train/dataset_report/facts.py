"""A dataset in numbers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tts_train.dataset_report.chapters import chapter_rows
from tts_train.dataset_report.coverage import Coverage, Range, coverage_of, gaps_of
from tts_train.dataset_report.histograms import histogram, summary
from tts_train.dataset_report.measures import MEASURES, Measure
from tts_train.dataset_report.outliers import Outlier, outliers
from tts_train.dataset_report.rows import Dataset, Entry, read_dataset

OUTLIERS = 24
_GAPS, _SHORTEST_GAP = 20, 0.25
"""How many pieces of missing speech are named, and from what length on: a cut takes some milliseconds of every span."""


def dataset_facts(folder: Path) -> dict[str, Any]:
    """Clips, seconds, rejections and measures of a dataset; nothing is written.

    Returns {dataset, clips, audio_seconds, clip_seconds {shortest, longest}, rejected {reason: n}, rejected_seconds
    {reason: s}, unaligned {reason: n}, restored, chapters {title: n}, speakers {name: n}, speaker_seconds, aligned,
    card, coverage, gaps, chapter_table, measures {name: {label, unit, kept, rejected, limits, histogram}}, outliers}.
    `coverage` is None where nobody looked for speech (ready-made clips). Raises ConfigError for a damaged manifest.
    """
    data = read_dataset(folder)
    return facts_of(data, outliers(data.kept, OUTLIERS))


def facts_of(data: Dataset, unlike: Sequence[Outlier]) -> dict[str, Any]:
    """`dataset_facts` of what was read already, with its outliers."""
    seconds = [item.seconds for item in data.kept]
    return {
        "dataset": str(data.folder),
        "clips": len(data.kept),
        "audio_seconds": round(sum(seconds), 1),
        "clip_seconds": {"shortest": min(seconds, default=None), "longest": max(seconds, default=None)},
        "rejected": dict(Counter(item.reason for item in data.rejected).most_common()),
        "rejected_seconds": _seconds_by(data.rejected, "reason"),
        "unaligned": dict(Counter(item.reason for item in data.unaligned).most_common()),
        "restored": sum(item.id in data.restored for item in data.kept),
        "chapters": dict(Counter(item.chapter for item in data.kept if item.chapter)),
        "speakers": dict(Counter(item.speaker for item in data.kept if item.speaker)),
        "speaker_seconds": _seconds_by(data.kept, "speaker"),
        "aligned": data.aligned,
        "card": data.card,
        **_coverage(data),
        "chapter_table": chapter_rows(data),
        "measures": {measure.name: row for measure in MEASURES if (row := _spread(data, measure))},
        "outliers": [_outlier_row(item) for item in unlike],
    }


def _seconds_by(entries: Iterable[Entry], field: str) -> dict[str, float]:
    total: dict[str, float] = defaultdict(float)
    for item in entries:
        if name := getattr(item, field):
            total[name] += item.seconds
    return {name: round(seconds, 1) for name, seconds in sorted(total.items())}


def _coverage(data: Dataset) -> dict[str, Any]:
    if not data.sources:
        return {"coverage": None, "gaps": []}
    kept, rejected = _ranges(data.kept), _ranges(data.rejected)
    total = sum(
        (
            coverage_of([span[:2] for span in source.spans], kept[source.name], rejected[source.name], source.skipped)
            for source in data.sources
        ),
        Coverage(),
    )
    taken = {source.name: [*kept[source.name], *rejected[source.name]] for source in data.sources}
    gaps = gaps_of(data.sources, taken, _SHORTEST_GAP)
    return {"coverage": total.as_row(), "gaps": gaps[:_GAPS]}


def _ranges(entries: Iterable[Entry]) -> dict[str, list[Range]]:
    ranges: dict[str, list[Range]] = defaultdict(list)
    for item in entries:
        ranges[item.source].append((item.start, item.end))
    return ranges


def _spread(data: Dataset, measure: Measure) -> dict[str, Any]:
    """A measure's numbers over kept and rejected clips; empty when no clip has it."""
    kept, rejected = _values(data.kept, measure), _values(data.rejected, measure)
    if not kept and not rejected:
        return {}
    limits = data.limits.get(measure.name, (None, None))
    row: dict[str, Any] = {
        "label": measure.label,
        "unit": measure.unit,
        "kept": summary(kept),
        "rejected": summary(rejected),
        "limits": list(limits),
    }
    if measure.chart:
        # Finer bins than a quarter of what counts as a difference would show chance.
        bins = histogram(kept, rejected, [limit for limit in limits if limit is not None], measure.spread / 4)
        row["histogram"] = {name: list(value) for name, value in vars(bins).items()}
    return row


def _values(entries: Sequence[Entry], measure: Measure) -> list[float]:
    return [value for item in entries if (value := item.value(measure.name)) is not None]


def _outlier_row(item: Outlier) -> dict[str, Any]:
    return {
        "id": item.entry.id,
        "measure": item.measure.name,
        "value": item.value,
        "median": round(item.median, 4),
        "deviations": item.deviations,
    }
