"""Vowel formants of marker words, from tracks over the whole clip.

Praat's Burg analysis through parselmouth (GPL, optional): one engine, named in every result and never mixed in a
comparison. The track covers the whole clip on one frame grid: analysing cut-out vowels starts the grid anew for each
and puts the cuts' edges into the analysis window.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tts_train.align.words import AlignedWord, Phone
from tts_train.errors import Unavailable
from tts_train.probe.accent import Vowel

if TYPE_CHECKING:
    from tts_train.audio import Audio

STEP_SECONDS = 0.005
WINDOW_SECONDS = 0.025
FORMANTS = 5
POINTS = (0.20, 0.35, 0.50, 0.65, 0.80)
"""Where in the vowel F1 and F2 are read, as shares of its length."""
CENTRE = slice(1, 4)
"""The points whose median stands for the vowel; the outer ones carry the glide and the neighbours."""
MIN_SECONDS = 0.05
PLAUSIBLE_HZ = ((150.0, 1200.0), (500.0, 3300.0))
"""F1 and F2 outside these are tracking errors in any adult's voice."""

ARPABET_VOWELS = frozenset(("AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW"))
LEXICAL_SETS: dict[str, tuple[str, ...]] = {
    "KIT": ("IH",),
    "DRESS": ("EH",),
    "TRAP": ("AE",),
    "LOT": ("AA", "AO"),
    "STRUT": ("AH",),
    "FOOT": ("UH",),
    "BATH": ("AE", "AA"),
    "CLOTH": ("AO", "AA"),
    "NURSE": ("ER",),
    "FLEECE": ("IY",),
    "FACE": ("EY",),
    "PALM": ("AA",),
    "THOUGHT": ("AO", "AA"),
    "GOAT": ("OW",),
    "GOOSE": ("UW",),
    "PRICE": ("AY",),
    "CHOICE": ("OY",),
    "MOUTH": ("AW",),
    "NEAR": ("IH", "IY"),
    "SQUARE": ("EH",),
    "START": ("AA",),
    "NORTH": ("AO",),
    "FORCE": ("AO",),
    "CURE": ("UH",),
}
"""Vowels by which the aligner's American dictionary writes Wells' sets: they find the syllable that is meant."""
FINAL_SETS = frozenset({"happY", "lettER", "commA"})
"""Sets of unstressed endings: the word's last vowel."""


@dataclass(frozen=True)
class VowelTrack:
    """A vowel in one clip: interval in seconds, F1 and F2 in Hz at POINTS."""

    start: float
    end: float
    f1: tuple[float, ...]
    f2: tuple[float, ...]

    def as_vowel(self, lexical_set: str, word: str) -> Vowel:
        """The vowel's centre as one point."""
        return Vowel(lexical_set, word, statistics.median(self.f1[CENTRE]), statistics.median(self.f2[CENTRE]))


class FormantTracker:
    """Praat's formant analysis with one ceiling for everything that will be compared."""

    def __init__(self, ceiling_hz: int) -> None:
        """Raises Unavailable when parselmouth is not installed."""
        try:
            import parselmouth
        except ImportError as error:
            raise Unavailable(
                "accent measures need praat-parselmouth (GPL), which is not installed",
                hint="run.sh setup project --gpl",
            ) from error
        self._praat = parselmouth
        self.ceiling_hz = ceiling_hz

    @property
    def engine(self) -> dict[str, Any]:
        """What made the numbers, for the result."""
        return {
            "engine": f"praat {self._praat.PRAAT_VERSION} burg",
            "parselmouth": self._praat.__version__,
            "ceiling_hz": self.ceiling_hz,
            "formants": FORMANTS,
            "step_seconds": STEP_SECONDS,
            "window_seconds": WINDOW_SECONDS,
        }

    def vowels(self, audio: Audio, intervals: Sequence[tuple[float, float]]) -> list[VowelTrack | None]:
        """F1 and F2 in each interval (seconds) of a clip; None where it is too short or no formant was found."""
        sound = self._praat.Sound(audio.samples.astype("float64"), audio.rate)
        track = sound.to_formant_burg(
            time_step=STEP_SECONDS,
            max_number_of_formants=FORMANTS,
            maximum_formant=self.ceiling_hz,
            window_length=WINDOW_SECONDS,
        )
        return [_read(track, start, end) for start, end in intervals]


def _read(track: Any, start: float, end: float) -> VowelTrack | None:
    if end - start < MIN_SECONDS - 1e-6:
        return None
    times = [start + (end - start) * point for point in POINTS]
    f1, f2 = (tuple(float(track.get_value_at_time(number, time)) for time in times) for number in (1, 2))
    for values, (low, high) in zip((f1, f2), PLAUSIBLE_HZ, strict=True):
        if any(map(math.isnan, values)) or not all(low <= value <= high for value in values[CENTRE]):
            return None
    return VowelTrack(round(start, 4), round(end, 4), _rounded(f1), _rounded(f2))


def _rounded(values: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(round(value, 1) for value in values)


def marked_vowel(word: AlignedWord, lexical_set: str) -> Phone | None:
    """The phone of `word` that carries the set's vowel; None when the aligner gave no phones.

    The last vowel for happY, lettER and commA; else the first vowel written as the set is in the aligner's dictionary,
    else the first vowel of all (main stress is on the first syllable of most English words).
    """
    vowels = [phone for phone in word.phones if phone.name in ARPABET_VOWELS]
    if not vowels:
        return None
    if lexical_set in FINAL_SETS:
        return vowels[-1]
    written = LEXICAL_SETS.get(lexical_set, ())
    return next((phone for phone in vowels if phone.name in written), vowels[0])
