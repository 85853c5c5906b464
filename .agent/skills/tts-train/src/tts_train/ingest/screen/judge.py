"""One reason for each clip left out. Pure: it decides from measures and filters, and touches no file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tts_train.clip import Clip, Rejection
from tts_train.ingest.screen.options import Filter

SCREEN = "screen"
"""`numbers.step` of what the screen rejected."""

DUPLICATE = "duplicate"
Pairs = Sequence[tuple[str, str, float]]
"""(clip id, clip id, similarity) of clips with the same text."""


@dataclass(frozen=True)
class Failed:
    """The first filter that a clip failed, and by what value."""

    filter: Filter
    reason: str
    value: float


def first_failed(clip: Clip, filters: Iterable[Filter]) -> Failed | None:
    """The first of `filters` that the clip's measures fail; a missing measure fails none."""
    for item in filters:
        kind = item.kind
        value = clip.audio_seconds if kind.key == "audio_seconds" else clip.measures.get(kind.key)
        if value is None or kind.name == DUPLICATE:
            continue
        if item.low is not None and value < item.low:
            return Failed(item, kind.low, value)
        if item.high is not None and value > item.high:
            return Failed(item, kind.high, value)
    return None


def judged(
    clips: Sequence[Clip], filters: Sequence[Filter], pairs: Pairs, restored: Mapping[str, str]
) -> tuple[list[Clip], list[Rejection]]:
    """Clips that stay and rejections of the others.

    `restored` maps ids that stay whatever a filter says to the reason they were once rejected for; the clip tells it.
    """
    failed = {clip.id: fault for clip in clips if (fault := first_failed(clip, filters))}
    limit = next((item for item in filters if item.name == DUPLICATE and item.high is not None), None)
    passed = [clip for clip in clips if clip.id not in failed and clip.id not in restored]
    copies = _copies(passed, pairs, limit.high) if limit and limit.high is not None else {}
    kept: list[Clip] = []
    rejections: list[Rejection] = []
    for clip in clips:
        fault = failed.get(clip.id)
        if clip.id in copies and limit:
            original, similarity = copies[clip.id]
            clip = replace(  # noqa: PLW2901  the same clip, told more of
                clip, measures={**clip.measures, "duplicate_of": original, "duplicate_similarity": similarity}
            )
            fault = Failed(limit, limit.kind.high, similarity)
        if clip.id in restored:
            kept.append(replace(clip, measures={**clip.measures, "restored": restored[clip.id]}))
        elif fault is None:
            kept.append(clip)
        else:
            rejections.append(_rejection(clip, fault))
    return kept, rejections


def _copies(clips: Sequence[Clip], pairs: Pairs, limit: float) -> dict[str, tuple[str, float]]:
    """Id → (the better clip that it repeats, similarity). The best of a group stays."""
    alike: dict[str, dict[str, float]] = {}
    for first, second, similarity in pairs:
        if similarity > limit:
            alike.setdefault(first, {})[second] = similarity
            alike.setdefault(second, {})[first] = similarity
    copies: dict[str, tuple[str, float]] = {}
    stays: set[str] = set()
    for clip in sorted((clip for clip in clips if clip.id in alike), key=_worse):
        original = next((other for other in sorted(alike[clip.id]) if other in stays), None)
        if original is None:
            stays.add(clip.id)
        else:
            copies[clip.id] = (original, alike[clip.id][original])
    return copies


def _worse(clip: Clip) -> tuple[float, float, float, str]:
    """Sort key, the best clip first: by MOS, bandwidth and noise as far as they are known, then by id."""
    measures = clip.measures
    mos, bandwidth, snr = (float(measures.get(name) or 0.0) for name in ("mos", "bandwidth_hz", "snr_db"))
    # Copies differ by fractions in all of them: only differences that can be heard decide.
    return -round(mos, 1), -round(bandwidth / 1000), -round(snr / 3), clip.id


def _rejection(clip: Clip, fault: Failed) -> Rejection:
    limits = {"filter": fault.filter.name, "value": fault.value, "min": fault.filter.low, "max": fault.filter.high}
    numbers: dict[str, Any] = {**clip.measures, "step": SCREEN, "chapter": clip.chapter, **limits}
    place = (clip.source, clip.start, clip.end)
    return Rejection(clip.id, fault.reason, clip.text, *place, clip.audio_file, numbers)


def with_measures(clips: Iterable[Clip], added: Mapping[str, Mapping[str, Any]]) -> list[Clip]:
    """The clips with what the screen measured besides the station."""
    return [replace(clip, measures={**clip.measures, **added.get(clip.id, {})}) for clip in clips]
