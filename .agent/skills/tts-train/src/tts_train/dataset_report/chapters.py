"""What each chapter gave, for the report's table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from tts_train.dataset_report.coverage import Range, Source, coverage_of
from tts_train.dataset_report.rows import Dataset, Entry

Place = tuple[str, int | str]
"""A source's name, and in it a chapter's number where it is known from the source, else the title its clips carry."""


def chapter_rows(data: Dataset) -> list[dict[str, Any]]:
    """A row for every chapter of every source, in their order; empty when nothing has chapters.

    Returns [{source, chapter, clips, audio_seconds, rejected, rejected_seconds, coverage}]; `coverage` is None for
    ready-made clips.
    """
    sources = {source.name: source for source in data.sources}
    kept, rejected = _by_place(data.kept, sources), _by_place(data.rejected, sources)
    places = [place for source in data.sources for place in _places(source)]
    first = {place: min(item.start for item in found) for given in (rejected, kept) for place, found in given.items()}
    places += sorted(set(first).difference(places), key=lambda place: (place[0], first[place], str(place[1])))
    rows = [_row(place, kept[place], rejected[place], sources.get(place[0])) for place in places]
    titled = any(row["chapter"] for row in rows)
    return [row for row in rows if row["clips"] or row["rejected"] or row["coverage"]] if titled else []


def _places(source: Source) -> list[Place]:
    numbers = sorted({span.chapter for span in source.spans} | {chapter[0] for chapter in source.chapters})
    return [(source.name, number) for number in numbers]


def _by_place(entries: Iterable[Entry], sources: dict[str, Source]) -> dict[Place, list[Entry]]:
    found: dict[Place, list[Entry]] = defaultdict(list)
    for item in entries:
        source = sources.get(item.source)
        # By time: two chapters of a book may have one title.
        found[item.source, _number_at(source, (item.start + item.end) / 2) if source else item.chapter].append(item)
    return found


def _number_at(source: Source, seconds: float) -> int:
    return max((number for number, _, start, _ in source.chapters if start <= seconds), default=0)


def _row(place: Place, kept: list[Entry], rejected: list[Entry], source: Source | None) -> dict[str, Any]:
    title, coverage = place[1], None
    if source:
        title = next((name for number, name, _, _ in source.chapters if number == place[1]), "")
        spans: list[Range] = [span[:2] for span in source.spans if span.chapter == place[1]]
        first, second = ([(item.start, item.end) for item in entries] for entries in (kept, rejected))
        coverage = coverage_of(spans, first, second, source.skipped).as_row()
    return {
        "source": place[0],
        "chapter": title,
        "clips": len(kept),
        "audio_seconds": round(sum(item.seconds for item in kept), 1),
        "rejected": len(rejected),
        "rejected_seconds": round(sum(item.seconds for item in rejected), 1),
        "coverage": coverage,
    }
