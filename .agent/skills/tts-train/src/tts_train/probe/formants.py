"""Vowel formants of marker words, from tracks over the whole clip.

Burg's linear prediction as Praat does it, through one of two engines: parselmouth, which is Praat itself (GPL,
optional), else praatfan (MIT), its clean-room reimplementation in Python. The engine is named in every result and
results of two engines are never compared. How near they are, on 88 marker vowels in 55 s of base, trained and real
speech (praatfan 0.1.13 against Praat 6.1.38): the same frames; centres differ by 0.1 Hz in F1 and 0.2 Hz in F2 in the
median, by 1.0 and 7.6 Hz at most; single points by up to 7 and 129 Hz, where F2 jumps between two candidates. praatfan
takes about 1 s of CPU per second of speech, 100 times as long.

The track covers the whole clip on one frame grid: analysing cut-out vowels starts the grid anew for each and puts the
cuts' edges into the analysis window.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from tts_train.align.words import AlignedWord, Phone
from tts_train.errors import Unavailable
from tts_train.probe.accent import Point, Vowel

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
        """The vowel's centre as one point, and its ends where they are no tracking errors."""
        centre = statistics.median(self.f1[CENTRE]), statistics.median(self.f2[CENTRE])
        return Vowel(lexical_set, word, *centre, onset=self._end(0), offset=self._end(-1))

    def _end(self, index: int) -> Point | None:
        point = self.f1[index], self.f2[index]
        return point if _plausible(point) else None


class Track(Protocol):
    """Formants over time, as both engines give them."""

    def get_value_at_time(self, number: int, time: float, /) -> float | None:
        """Frequency in Hz of formant 1, 2, ... at a time in seconds; NaN or None where there is none."""


@dataclass(frozen=True)
class Engine:
    """A formant analysis: its name and versions for the result, and what makes a track of samples and their rate."""

    names: Mapping[str, str]
    track: Callable[[Any, int, int], Track]


def praat() -> Engine:
    """Praat through parselmouth. Raises ImportError when it is not installed."""
    import parselmouth

    def track(samples: Any, rate: int, ceiling_hz: int) -> Track:
        return parselmouth.Sound(samples, rate).to_formant_burg(
            time_step=STEP_SECONDS,
            max_number_of_formants=FORMANTS,
            maximum_formant=ceiling_hz,
            window_length=WINDOW_SECONDS,
        )

    return Engine({"engine": f"praat {parselmouth.PRAAT_VERSION} burg", "parselmouth": parselmouth.__version__}, track)


def praatfan() -> Engine:
    """praatfan's own Python code, whatever other back ends it finds. Raises ImportError when it is not installed."""
    import praatfan
    from praatfan.sound import Sound

    def track(samples: Any, rate: int, ceiling_hz: int) -> Track:
        return Sound(samples, rate).to_formant_burg(
            time_step=STEP_SECONDS,
            max_num_formants=FORMANTS,
            max_formant_hz=ceiling_hz,
            window_length=WINDOW_SECONDS,
        )

    return Engine({"engine": f"praatfan {praatfan.__version__} burg"}, track)


ENGINES = (praat, praatfan)
"""In order of preference."""


class FormantTracker:
    """One engine with one ceiling for everything that will be compared."""

    def __init__(self, ceiling_hz: int, engines: Sequence[Callable[[], Engine]] = ENGINES) -> None:
        """The first of `engines` that is installed. Raises Unavailable when none is."""
        self._engine = _first(engines)
        self.ceiling_hz = ceiling_hz

    @property
    def engine(self) -> dict[str, Any]:
        """What made the numbers, for the result."""
        return {
            **self._engine.names,
            "ceiling_hz": self.ceiling_hz,
            "formants": FORMANTS,
            "step_seconds": STEP_SECONDS,
            "window_seconds": WINDOW_SECONDS,
        }

    def vowels(self, audio: Audio, intervals: Sequence[tuple[float, float]]) -> list[VowelTrack | None]:
        """F1 and F2 in each interval (seconds) of a clip; None where it is too short or no formant was found."""
        if not intervals:
            return []
        track = self._engine.track(audio.samples.astype("float64"), audio.rate, self.ceiling_hz)
        return [_read(track, start, end) for start, end in intervals]


def _first(engines: Sequence[Callable[[], Engine]]) -> Engine:
    for engine in engines:
        try:
            return engine()
        except ImportError:
            continue
    raise Unavailable(
        "accent measures need praat-parselmouth (GPL) or praatfan (MIT), and neither is installed",
        hint="run.sh setup project installs praatfan; run.sh setup project --gpl also Praat, which is faster",
    )


def _read(track: Track, start: float, end: float) -> VowelTrack | None:
    if end - start < MIN_SECONDS - 1e-6:
        return None
    times = [start + (end - start) * point for point in POINTS]
    f1, f2 = (tuple(_hertz(track.get_value_at_time(number, time)) for time in times) for number in (1, 2))
    if any(map(math.isnan, (*f1, *f2))) or not all(map(_plausible, zip(f1[CENTRE], f2[CENTRE], strict=True))):
        return None
    return VowelTrack(round(start, 4), round(end, 4), _rounded(f1), _rounded(f2))


def _hertz(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _plausible(point: Point) -> bool:
    return all(low <= value <= high for value, (low, high) in zip(point, PLAUSIBLE_HZ, strict=True))


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
