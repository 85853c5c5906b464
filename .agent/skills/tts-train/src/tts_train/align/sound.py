"""Word edges beside pauses, moved to where the sound begins and ends.

A hidden Markov model takes a silence before a stop for the stop's closure, and a first phone that its dictionary lacks
for silence. Next to a pause the level of the sound knows better; between words without a pause nothing is moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tts_train.align.words import AlignedWord

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tts_train.audio import Audio

HOP_SECONDS = 0.005
FRAME_SECONDS = 0.01
PAUSE_SECONDS = 0.1
"""Shorter silences may be the closure of a stop, which belongs to the word."""

REACH_SECONDS = 0.2
"""Sound at most this far outside its word is taken in."""

SHORTEST_PHONE = 0.02
QUIET_DB = (40.0, 30.0)
"""Quiet is at least the second and at most the first number of dB below the clip's loud frames, by its noise floor."""

OVER_FLOOR_DB = 6.0


def snap_to_sound(audio: Audio, words: Sequence[AlignedWord]) -> tuple[AlignedWord, ...]:
    """The same words; edges beside pauses lie where sound starts and ends, and so do the outer phones' edges.

    Order is kept and no word grows into its neighbour. Scores stay: they belong to the frames that were scored.
    """
    quiet = _quiet_frames(audio)
    found: list[AlignedWord] = []
    for index, word in enumerate(words):
        before = found[-1].end if found else 0.0
        after = words[index + 1].start if index + 1 < len(words) else audio.seconds
        start = _onset(quiet, word, before)
        found.append(_moved(word, start, _offset(quiet, word, after)))
    return tuple(found)


def _quiet_frames(audio: Audio) -> NDArray[np.bool_]:
    """Whether each frame of FRAME_SECONDS, HOP_SECONDS apart, is quiet; shape (frames,)."""
    size, hop = round(FRAME_SECONDS * audio.rate), round(HOP_SECONDS * audio.rate)
    if len(audio.samples) < size:
        return np.zeros(0, np.bool_)
    frames = np.lib.stride_tricks.sliding_window_view(audio.samples, size)[::hop]
    level = 10.0 * np.log10(np.mean(np.square(frames, dtype=np.float64), axis=1) + 1e-12)
    floor, loud = np.percentile(level, [5, 95])
    return level < np.clip(floor + OVER_FLOOR_DB, loud - QUIET_DB[0], loud - QUIET_DB[1])


def _onset(quiet: NDArray[np.bool_], word: AlignedWord, before: float) -> float:
    """Where the word's sound starts: later over a pause that it swallowed, earlier over sound that it missed."""
    first = min(round(word.start / HOP_SECONDS), len(quiet))
    if (swallowed := _after_pause(quiet, first, round(_latest_start(word) / HOP_SECONDS))) is not None:
        return swallowed * HOP_SECONDS
    earliest = round(max(before, word.start - REACH_SECONDS) / HOP_SECONDS)
    at = first
    while at > earliest and not quiet[at - 1]:
        at -= 1
    return min(word.start, at * HOP_SECONDS) if earliest < at < first else word.start


def _after_pause(quiet: NDArray[np.bool_], first: int, latest: int) -> int | None:
    """The frame after the last pause that reaches past `first` and ends by `latest`; None without one."""
    end = min(latest, len(quiet) - 1)
    while end > first:
        if quiet[end - 1] and not quiet[end]:
            begin = end
            while begin > 0 and quiet[begin - 1]:
                begin -= 1
            if (end - begin) * HOP_SECONDS >= PAUSE_SECONDS:
                return end
        end -= 1
    return None


def _offset(quiet: NDArray[np.bool_], word: AlignedWord, after: float) -> float:
    """Where the word's sound ends: later over sound that it missed. A decaying end is not cut short."""
    last = round(word.end / HOP_SECONDS)
    latest = min(len(quiet), round(min(after, word.end + REACH_SECONDS) / HOP_SECONDS))
    at = last
    while at < latest and not quiet[at]:
        at += 1
    return max(word.end, at * HOP_SECONDS) if last < at < latest else word.end


def _latest_start(word: AlignedWord) -> float:
    """How late the word may start: its first phone keeps a little."""
    return max(word.start, (word.phones[0].end if word.phones else word.end) - SHORTEST_PHONE)


def _moved(word: AlignedWord, start: float, end: float) -> AlignedWord:
    start, end = round(start, 4), round(end, 4)
    if (start, end) == (word.start, word.end) or not word.phones:
        return replace(word, start=start, end=end)
    phones = list(word.phones)
    phones[0] = replace(phones[0], start=start)
    phones[-1] = replace(phones[-1], end=end)
    return replace(word, start=start, end=end, phones=tuple(phones))
