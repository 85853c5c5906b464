"""What an alignment is: words and phones in time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tts_train.clip import Word
from tts_train.errors import InputUnusable


@dataclass(frozen=True)
class Phone:
    """One phone (ARPABET, no stress) in seconds from the audio's start."""

    name: str
    start: float
    end: float


@dataclass(frozen=True)
class AlignedWord:
    """One spoken word in seconds from the audio's start.

    `score` is in [0, 1]: e to the mean over the word's frames of the log likelihood ratio to the best state of any
    phone (pocketsphinx), or the mean CTC probability (WhisperX). Compare scores of one aligner only.
    """

    word: str
    start: float
    end: float
    score: float
    phones: tuple[Phone, ...] = ()

    def as_word(self) -> Word:
        return Word(self.word, self.start, self.end, self.score)


@dataclass(frozen=True)
class Alignment:
    """All words of a text, and the numbers by which to trust them."""

    words: tuple[AlignedWord, ...]
    numbers: dict[str, Any] = field(default_factory=dict)


class AlignmentFailed(InputUnusable):
    """The text could not be laid over the audio; `reason` is a rejection code."""

    def __init__(self, reason: str, message: str, numbers: Mapping[str, Any] | None = None) -> None:
        super().__init__(message, hint="listen to the clip and compare it with its text")
        self.reason = reason
        self.numbers = dict(numbers or {})
