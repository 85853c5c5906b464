"""The numbers that shape a dataset made from a book."""

from __future__ import annotations

from dataclasses import dataclass, field

from tts_train.errors import UsageError
from tts_train.ingest.merge import MergeRule
from tts_train.ingest.speech import SpeechOptions
from tts_train.ingest.transcribe import SHORT_WINDOW_SECONDS, Guards

MIN_SECONDS = 1.5
MAX_SECONDS = 15.0
"""What the screen keeps of a book's clips, unless told otherwise."""

_ANY_PACE = Guards(min_characters_per_second=0.0, max_characters_per_second=1e6)
"""Pace is a number, so the screen judges it; here only Whisper's own doubts count."""


@dataclass(frozen=True)
class IngestOptions:
    """Every number that shapes the clips; a change makes the parts again. `loudness` in LUFS; None leaves it."""

    rule: MergeRule = field(default_factory=MergeRule)
    speech: SpeechOptions = field(default_factory=SpeechOptions)
    guards: Guards = _ANY_PACE
    beam: int = 5
    window: float = SHORT_WINDOW_SECONDS
    compute_type: str = "int8"
    part_seconds: float = 120.0
    loudness: float | None = None


def book_options(
    *,
    max_gap: float,
    target_min: float,
    target_max: float,
    min_sec: float,
    max_sec: float,
    vad_threshold: float,
    beam: int,
    window: float,
    compute_type: str,
    loudness: float | None = None,
) -> IngestOptions:
    """Options from the command line. Raises UsageError when they contradict each other."""
    if not 0 < target_min <= target_max <= max_sec or not 0 < min_sec <= max_sec or max_gap < 0:
        raise UsageError(
            f"lengths contradict: min {min_sec}, target {target_min} to {target_max}, max {max_sec}, gap {max_gap}",
            hint="0 < --target-min <= --target-max <= --max-sec, 0 < --min-sec <= --max-sec, --max-gap >= 0",
        )
    return IngestOptions(
        rule=MergeRule(max_gap, target_min, target_max),
        speech=SpeechOptions(threshold=vad_threshold, release=max(0.01, vad_threshold - 0.15)),
        beam=beam,
        window=window,
        compute_type=compute_type,
        loudness=loudness,
    )
