"""What the second pass will do: parts of some two minutes of one chapter, each with a key of all it depends on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import count
from typing import Any

from tts_train.files import sha256_json
from tts_train.ingest import cut
from tts_train.ingest.first_pass import Found
from tts_train.ingest.merge import MergeRule, Span, Utterance, merge
from tts_train.ingest.segments import Segment
from tts_train.ingest.selection import CHAPTER, Selection

_MARGIN_SECONDS = 1.0

Pair = tuple[Utterance, str | None]
"""An utterance, and its text if that is known already."""


@dataclass(frozen=True)
class Item:
    """One utterance to cut. `limits` are how far its cuts may go; `text` is None when it has to be recognised."""

    start: float
    end: float
    limits: tuple[float, float]
    speech_seconds: float
    text: str | None = None


@dataclass(frozen=True)
class PartPlan:
    """Neighbouring utterances of one chapter; `source` is the source's number, `gain_db` what its loudness asks for."""

    name: str
    source: int
    source_name: str
    stem: str
    chapter: int
    title: str
    items: tuple[Item, ...]
    gain_db: float | None = None
    key: str = ""

    @property
    def window(self) -> tuple[float, float]:
        """The stretch of the source that is decoded for it, seconds."""
        return max(0.0, self.items[0].start - _MARGIN_SECONDS), self.items[-1].end + _MARGIN_SECONDS


@dataclass(frozen=True)
class Plan:
    """All parts to work, in order, and the speech that is left out on purpose: name → [[start, end, why]]."""

    parts: list[PartPlan]
    skipped: dict[str, list[tuple[float, float, str]]]


def plan_parts(
    found: Sequence[Found],
    selection: Selection,
    rule: MergeRule,
    part_seconds: float,
    *,
    key: str,
    digests: Mapping[int, str],
    segments: Sequence[Segment] | None = None,
    lufs: float | None = None,
) -> Plan:
    """Parts of all sources. They are numbered before chapters are left out, so another choice keeps their receipts.

    `key` stands for options that all parts share, `digests` for the sources by number. With `segments` the utterances
    are these, one clip each, and not what the merge `rule` makes of the speech.
    """
    plan = Plan([], {})
    numbers = count()
    for item in found:
        skipped = [(span.start, span.end, why) for span in item.spans if (why := selection.skips(span, item.seconds))]
        if skipped:
            plan.skipped[item.source.name] = skipped
        pairs, neighbours = _spoken(item, selection, rule) if segments is None else _given(item, selection, segments)
        for group in _grouped(pairs, part_seconds):
            part = _part(f"part-{next(numbers):05d}", item, group, neighbours, lufs)
            if selection.chapters is None or part.chapter in selection.chapters:
                plan.parts.append(replace(part, key=sha256_json([key, digests[part.source], _content(part)])))
    return plan


def _spoken(item: Found, selection: Selection, rule: MergeRule) -> tuple[list[Pair], Sequence[Span]]:
    """Utterances of the speech that was found, texts to come; and all spans that may lie beside them."""
    within = [span for span in item.spans if selection.skips(span, item.seconds) in (None, CHAPTER)]
    return [(utterance, None) for utterance in merge(within, rule)], item.spans


def _given(item: Found, selection: Selection, segments: Sequence[Segment]) -> tuple[list[Pair], Sequence[Span]]:
    """One utterance for each segment of this source."""
    own = [(Span(line.start, line.end, line.chapter), line) for line in segments if line.source == item.source.number]
    wanted = [(span, line) for span, line in own if selection.skips(span, item.seconds) in (None, CHAPTER)]
    return [(Utterance((span,)), line.text) for span, line in wanted], [span for span, _ in own]


def _content(part: PartPlan) -> dict[str, Any]:
    return {name: value for name, value in asdict(part).items() if name not in ("name", "key", "source")}


def _grouped(pairs: Sequence[Pair], seconds: float) -> list[list[Pair]]:
    """Consecutive utterances of one chapter, about `seconds` long together."""
    groups: list[list[Pair]] = []
    for utterance, text in pairs:
        first = groups[-1][0][0] if groups else None
        if first and first.chapter == utterance.chapter and utterance.end - first.start <= seconds:
            groups[-1].append((utterance, text))
        else:
            groups.append([(utterance, text)])
    return groups


def _part(
    name: str,
    found: Found,
    group: Sequence[Pair],
    neighbours: Sequence[Span],
    lufs: float | None,
) -> PartPlan:
    source = found.source
    number = group[0][0].chapter
    first, last = source.borders(number)
    borders = (first, min(last, found.seconds))
    items = tuple(
        Item(
            utterance.start,
            utterance.end,
            cut.cut_limits(neighbours, utterance, borders),
            round(utterance.speech_seconds, 3),
            text,
        )
        for utterance, text in group
    )
    gain = round(lufs - found.lufs, 2) if lufs is not None and found.lufs is not None else None
    return PartPlan(
        name, source.number, source.name, source.path.stem, number, source.chapter(number).title, items, gain
    )
