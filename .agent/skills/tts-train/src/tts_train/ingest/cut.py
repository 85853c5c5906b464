"""Cutting clips: windows of the source at its own rate, resampled once, ends in the quiet beside the speech."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tts_train.audio import Audio, stream
from tts_train.ingest.merge import Span, Utterance
from tts_train.quality import levels

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLIP_RATE = 24000
PAD_SECONDS = 0.2
"""A cut lies at most this far from the speech it belongs to."""

_BLOCK_SECONDS = 10.0
_FADE_SECONDS = 0.005
_KEEP_AWAY = 0.03


def windows(path: Path, ranges: Sequence[tuple[float, float]], rate: int) -> Iterator[Audio]:
    """Audio of each (start, end) in seconds, in order, at the source's own `rate`; one pass, one window in memory.

    `ranges` are sorted by start and may overlap a little. The last one may reach beyond the end of the source.
    """
    held: NDArray[np.float32] = np.zeros(0, np.float32)
    base = 0
    blocks = stream(path, None, _BLOCK_SECONDS)
    for start, end in ranges:
        first, last = round(start * rate), round(end * rate)
        held, base = _without_first(held, base, first)
        while base + len(held) < last and (block := next(blocks, None)) is not None:
            held, base = _without_first(np.concatenate([held, block]), base, first)
        yield Audio(held[: last - base], rate)


def _without_first(held: NDArray[np.float32], base: int, first: int) -> tuple[NDArray[np.float32], int]:
    """Drop the samples before number `first`; `base` is the number of held[0]."""
    drop = min(max(first - base, 0), len(held))
    return held[drop:], base + drop


def cut_ends(
    speech: tuple[float, float], limits: tuple[float, float], frames: NDArray[np.float64], origin: float
) -> tuple[float, float]:
    """Where to cut: the quietest 10 ms frame beside `speech` (start, end), at most 0.2 s away and inside `limits`.

    `frames` are levels in dB of 10 ms frames that start at `origin`. All times in seconds of the source.
    """
    earliest = max(speech[0] - PAD_SECONDS, limits[0])
    latest = min(speech[1] + PAD_SECONDS, limits[1])
    start = _quietest(frames, origin, earliest, max(earliest, speech[0] - _KEEP_AWAY))
    end = _quietest(frames, origin, min(latest, speech[1] + _KEEP_AWAY), latest)
    return start, end


def cut_limits(spans: Sequence[Span], utterance: Utterance, chapter: tuple[float, float]) -> tuple[float, float]:
    """How far a cut may go: half the pause to the neighbouring speech, and never over the chapter's border.

    `spans` are all spans of the source, sorted.
    """
    first = bisect_left(spans, utterance.start, key=lambda span: span.start)
    last = first + len(utterance.spans)
    before = (spans[first - 1].end + utterance.start) / 2 if first else chapter[0]
    after = (utterance.end + spans[last].start) / 2 if last < len(spans) else chapter[1]
    return max(before, chapter[0]), min(after, chapter[1])


def _quietest(frames: NDArray[np.float64], origin: float, low: float, high: float) -> float:
    """Middle of the quietest frame between `low` and `high`, as a time rounded to the millisecond."""
    first = max(0, int(np.ceil((low - origin) / levels.FRAME_SECONDS)))
    last = min(len(frames), int((high - origin) / levels.FRAME_SECONDS))
    if last <= first:
        return round(min(max((low + high) / 2, origin), origin + len(frames) * levels.FRAME_SECONDS), 3)
    return round(origin + (first + int(np.argmin(frames[first:last])) + 0.5) * levels.FRAME_SECONDS, 3)


def piece(window: Audio, origin: float, start: float, end: float) -> Audio:
    """The part from `start` to `end` of a window that begins at `origin`, with 5 ms fades against clicks."""
    first, last = round((start - origin) * window.rate), round((end - origin) * window.rate)
    samples = window.samples[max(0, first) : last].copy()
    size = min(round(_FADE_SECONDS * window.rate), len(samples) // 2)
    ramp = np.linspace(0.0, 1.0, size, dtype=np.float32)
    samples[:size] *= ramp
    samples[len(samples) - size :] *= ramp[::-1]
    return Audio(samples, window.rate)
