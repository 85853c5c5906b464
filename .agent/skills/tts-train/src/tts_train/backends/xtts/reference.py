"""The recording whose voice a fine-tuned XTTS speaks with: one that was given, or the cleanest clip of the dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tts_train.audio import Audio, read_audio
from tts_train.errors import InputUnusable
from tts_train.output import progress
from tts_train.quality import levels

if TYPE_CHECKING:
    from tts_train.backends.xtts.examples import Example

MIN_SECONDS, MAX_SECONDS = 4.0, 12.0
ADVISED_SECONDS = 3.0
"""A given one may be shorter, with a warning; below a second it is refused."""
MAX_CLIPPED_RATIO = 0.001
MAX_SILENCE_RATIO = 0.4
MOST_MEASURED = 200
BANDWIDTH_SHARE = 0.9
"""Of the upper quartile's bandwidth: below, a clip sounds duller than most."""


@dataclass(frozen=True)
class Reference:
    """`id` is the clip's, "" for a file that was given."""

    id: str
    file: Path
    why: str
    numbers: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Candidate:
    example: Example
    numbers: dict[str, Any]

    @property
    def is_clean(self) -> bool:
        return not self.numbers["clipped_ratio"] and self.numbers["silence_ratio"] <= MAX_SILENCE_RATIO


def given(file: Path) -> Reference:
    """Judge a recording that the config names. Raises InputUnusable when no voice can be known from it."""
    advice = f"xtts.reference wants {ADVISED_SECONDS:g} to {MAX_SECONDS:g} s of clear speech of the one speaker"
    audio = read_audio(file)
    numbers = _measure(audio)
    if audio.seconds < 1 or numbers["silence_ratio"] == 1:
        raise InputUnusable(
            f"the reference {file} is {audio.seconds:.2f} s long, {numbers['silence_ratio']:.0%} of it silence",
            hint=advice,
        )
    warnings = []
    if audio.seconds < ADVISED_SECONDS:
        warnings.append(f"the reference is {audio.seconds:.1f} s long; {ADVISED_SECONDS:g} s or more are better")
    if numbers["clipped_ratio"] > MAX_CLIPPED_RATIO:
        warnings.append(f"{numbers['clipped_ratio']:.2%} of the reference is clipped")
    return Reference("", file, "xtts.reference", numbers, tuple(warnings))


def choose(examples: Sequence[Example]) -> Reference:
    """The clip of 4 to 12 s with full bandwidth, unclipped, that has the least silence; said on stderr.

    Depends on the clips' content and ids alone. Raises InputUnusable when no clip lasts so long.
    """
    fit = sorted(
        (item for item in examples if MIN_SECONDS <= item.audio_seconds <= MAX_SECONDS), key=lambda item: item.id
    )
    if not fit:
        raise InputUnusable(
            f"none of the {len(examples)} clips lasts {MIN_SECONDS:g} to {MAX_SECONDS:g} s, so none can be the "
            "reference that the voice speaks with",
            hint="set xtts.reference to a recording of the speaker",
        )
    measured = [_measured(item) for item in fit[:: -(-len(fit) // MOST_MEASURED)]]
    clean = [item for item in measured if item.is_clean]
    bright = BANDWIDTH_SHARE * float(np.percentile([item.numbers["bandwidth_hz"] for item in clean or measured], 75))
    full = [item for item in clean or measured if item.numbers["bandwidth_hz"] >= bright]
    best = min(full, key=lambda item: (item.numbers["clipped_ratio"], item.numbers["silence_ratio"], item.example.id))
    why = (
        f"of {len(examples)} clips {len(fit)} last {MIN_SECONDS:g} to {MAX_SECONDS:g} s; of {len(measured)} measured "
        f"{len(clean)} are clean, {len(full)} have full bandwidth, and this one has the least silence"
    )
    bad = (
        f"no clip of {MIN_SECONDS:g} to {MAX_SECONDS:g} s is clean (not clipped, at most {MAX_SILENCE_RATIO:.0%} "
        f"silence); {best.example.id} is the least bad: listen to it, or set xtts.reference"
    )
    progress(f"the reference is {best.example.id}: {why}")
    return Reference(best.example.id, best.example.audio_file, why, best.numbers, () if clean else (bad,))


def _measured(example: Example) -> _Candidate:
    # The clip's own file, not what is kept of it: resampling rounds the corners of clipped peaks.
    return _Candidate(example, _measure(read_audio(example.audio_file)))


def _measure(audio: Audio) -> dict[str, Any]:
    return {
        "audio_seconds": round(audio.seconds, 4),
        "clipped_ratio": round(levels.clipped_ratio(audio), 6),
        "silence_ratio": round(levels.silence_ratio(audio), 4),
        "bandwidth_hz": round(levels.bandwidth_hz(audio)),
    }
