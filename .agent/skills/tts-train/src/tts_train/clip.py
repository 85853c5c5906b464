"""The words of a dataset: a clip, its words in time, a rejection."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class Clip:
    """One utterance. Times in seconds; `start`, `end` are places in `source`."""

    id: str
    audio_file: str
    text: str
    speaker: str
    language: str
    audio_seconds: float
    source: str = ""
    start: float = 0.0
    end: float = 0.0
    chapter: str = ""
    measures: dict[str, Any] = field(default_factory=dict)

    def as_row(self) -> dict[str, Any]:
        """The manifest's JSON object."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


@dataclass(frozen=True)
class Word:
    """A word where it is spoken, seconds from the clip's start; `score` is the aligner's, higher is surer."""

    word: str
    start: float
    end: float
    score: float | None = None


@dataclass(frozen=True)
class Rejection:
    """Audio that stays out of the dataset, with the reason, the numbers behind it and a playable clip."""

    id: str
    reason: str
    text: str
    source: str
    start: float
    end: float
    audio_file: str = ""
    numbers: dict[str, Any] = field(default_factory=dict)

    @property
    def audio_seconds(self) -> float:
        return self.end - self.start

    def as_row(self) -> dict[str, Any]:
        """The JSON object of rejections.jsonl."""
        return {
            **{item.name: getattr(self, item.name) for item in fields(self)},
            "audio_seconds": self.audio_seconds,
        }
