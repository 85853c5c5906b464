"""The clips of the page as data for its script, within a limit of size: rejected clips first, then the kept ones."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tts_train.dataset_report.audio_links import AudioLinks
from tts_train.dataset_report.measures import BY_FILTER, BY_NAME, MEASURES, Measure
from tts_train.dataset_report.outliers import Outlier
from tts_train.dataset_report.reasons import REASONS
from tts_train.dataset_report.rows import ALIGN, Dataset, Entry

ROW_BYTES = 12_000_000
"""Of rows in a page: some 40,000 clips. Half of it at most is for rejected ones."""
EMBED_BYTES = 24_000_000
"""Of audio inside a page (a third more as text): what still goes through a mail."""
_TEXT = 400


@dataclass
class Listing:
    """`document` is the script's data; `audio` the embedded clips as data: addresses."""

    document: dict[str, Any]
    audio: list[str] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    """Section → what was left out of it, in words; "page": of the audio inside."""


def listing(data: Dataset, ranked: Sequence[Outlier], base: Path, *, embed: bool) -> Listing:
    """Rows for a page that lies in the folder `base`."""
    lost = sorted([*data.rejected, *data.unaligned], key=lambda item: (item.source, item.start, item.id))
    writer = _Rows(data, base, embed=embed)
    rejected = writer.within(lost, ROW_BYTES // 2)
    unlike = [writer.row(item.entry, _why_unlike(item)) for item in ranked]
    kept = writer.within(sorted(data.kept, key=lambda item: (item.source, item.start, item.id)), ROW_BYTES)
    made = Listing(
        {
            "dataset": data.name,
            "measures": [[item.name, item.label, item.unit, item.digits, item.scale] for item in writer.columns],
            "places": list(writer.places),
            "reasons": {row[6]: REASONS[row[6]] for row in rejected if row[6] in REASONS},
            "rejected": rejected,
            "outliers": unlike,
            "kept": kept,
        },
        list(writer.links.embedded.values()),
    )
    made.notes = {
        "rejected": _cut(rejected, lost, "rejections.jsonl"),
        "clips": _cut(kept, data.kept, "train_manifest.jsonl"),
    }
    if embed:
        total = len({item.audio_file for item in (*lost, *data.kept) if writer.links.exists(item.audio_file)})
        inside = f"{len(made.audio):,} of {total:,} clips"
        rest = "" if len(made.audio) == total else "; the others play only beside the dataset"
        made.notes["page"] = f"The audio of {inside} is inside this page{rest}."
    return made


def _cut(shown: Sequence[Any], every: Sequence[Any], file: str) -> str:
    if len(shown) == len(every):
        return ""
    return f"Only the first {len(shown):,} of {len(every):,} clips are listed here; {file} names all."


class _Rows:
    """Entries as lists: [id, audio, text, seconds, place, start, mark, why, flags, [measures…]].

    `audio` is an address relative to the page, "#n" for an embedded clip, or empty; `mark` the reason, or the reason it
    had been rejected for before somebody took it back.
    """

    def __init__(self, data: Dataset, base: Path, *, embed: bool) -> None:
        self.data = data
        self.columns = [
            item for item in MEASURES[1:] if any(item.name in row.measures for row in (*data.kept, *data.rejected))
        ]
        self.places: dict[str, int] = {}
        self.recordings = {source.name for source in data.sources}
        self._left = ROW_BYTES
        self.links = AudioLinks(data.folder, base, EMBED_BYTES if embed else 0)

    def within(self, entries: Iterable[Entry], limit: int) -> list[list[Any]]:
        """Rows in order until they would take more than `limit` bytes, or more than is left of all."""
        rows: list[list[Any]] = []
        left = min(limit, self._left)
        for item in entries:
            row = self.row(item)
            left -= (size := len(json.dumps(row)) + 1)
            if left < 0:
                break
            self._left -= size
            rows.append(row)
        return rows

    def row(self, item: Entry, told: str = "") -> list[Any]:
        mark = item.reason or self.data.restored.get(item.id, "")
        values = [
            None if (value := item.measures.get(column.name)) is None else round(value, 4) for column in self.columns
        ]
        text = item.text if len(item.text) <= _TEXT else f"{item.text[:_TEXT]}…"
        place = self.places.setdefault(_place(item), len(self.places))
        address = self.links.address(item.audio_file)
        flags = int(bool(address) and item.restorable and bool(item.reason))
        return [
            item.id,
            address,
            text,
            round(item.seconds, 2),
            place,
            item.start if item.start or item.source in self.recordings else None,
            mark,
            told or why(item),
            flags,
            values,
        ]


def _place(item: Entry) -> str:
    return " · ".join(part for part in (item.source if item.source != item.audio_file else "", item.chapter) if part)


def why(item: Entry) -> str:
    """The number that decided, or what was said, of a rejected clip."""
    numbers, told = item.measures, item.told
    parts = []
    if name := told.get("filter", ""):
        parts.append(_against_limits(name, numbers.get("value"), numbers.get("min"), numbers.get("max")))
    if twin := told.get("duplicate_of"):
        parts.append(f"like {twin}")
    if "line" in numbers:
        parts.append(f"line {numbers['line']:.0f}")
    if told.get("step") == ALIGN:
        parts.append("stays in the manifest, without word times")
    parts.append(told.get("message", ""))
    return "; ".join(part for part in parts if part)[:_TEXT]


def _against_limits(name: str, value: float | None, low: float | None, high: float | None) -> str:
    measure = BY_FILTER.get(name) or BY_NAME.get(name) or Measure(name, name, digits=2)
    if value is None:
        return measure.label
    if low is not None and value < low:
        limit, asked = low, "at least {} is asked for"
    elif high is not None and value > high:
        limit, asked = high, "at most {} is allowed"
    else:
        return f"{measure.label} {measure.shown(value)}"
    # 0.996 s against 1.0 s: as many digits as it takes to see why.
    more = next((more for more in range(4) if measure.shown(value, more=more) != measure.shown(limit, more=more)), 0)
    return f"{measure.label} {measure.shown(value, more=more)}, {asked.format(measure.shown(limit))}"


def _why_unlike(item: Outlier) -> str:
    measure = item.measure
    side = "above" if item.value > item.median else "below"
    number, middle = measure.shown(item.value), measure.shown(item.median)
    return f"{measure.label} {number}: {item.deviations:.1f} deviations {side} the median of {middle}"
