"""Clips in which it can be heard what plays: every word is its own tone, every source adds a quiet tag tone.

Word k is 200 + 60 k Hz in every source, the tag of source i is 4000 + 200 i Hz, and each source has a pace of its own.
A spectrum then tells which word of which source came out of the loudspeaker, whatever the page claims.
"""

from __future__ import annotations

import io
import wave
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE = 24000
TEXT = "Last summer I took the slow road to market with my father by train."
SPOKEN = TEXT.split()


def word_hz(word: int) -> float:
    return 200.0 + 60.0 * word


def tag_hz(source: int) -> float:
    return 4000.0 + 200.0 * source


@dataclass(frozen=True)
class Clip:
    """A WAV file and where its words are, seconds."""

    wav: bytes
    words: list[dict[str, Any]]
    seconds: float


def clip(source: int, pace: float = 1.0, words: int = len(SPOKEN), dropped: tuple[int, ...] = ()) -> Clip:
    """A word takes about 0.25 s at pace 1; a dropped one 10 ms. Words lie close together, as in speech."""
    random = np.random.default_rng(source)
    parts: list[NDArray[np.float64]] = [_noise(random, 0.12 * pace)]
    times = []
    at = len(parts[0])
    for k in range(words):
        seconds = 0.01 if k in dropped else 0.25 * pace * random.uniform(0.8, 1.2)
        count = int(seconds * RATE)
        time = np.arange(count) / RATE
        tone = 0.3 * np.sin(2 * np.pi * word_hz(k) * time) + 0.04 * np.sin(2 * np.pi * tag_hz(source) * time)
        edge = np.minimum(1.0, np.minimum(np.arange(count), count - np.arange(count)) / (0.004 * RATE))
        times.append({"word": SPOKEN[k], "start": round(at / RATE, 4), "end": round((at + count) / RATE, 4)})
        parts += [tone * edge, _noise(random, 0.02)]
        at += count + len(parts[-1])
    parts.append(_noise(random, 0.15 * pace))
    # Noise everywhere: what is silent in a recording was then never in a clip, so it is a gap of the player.
    samples = np.concatenate(parts)
    samples = samples + 0.002 * random.standard_normal(len(samples))
    return Clip(_wav(samples), times, len(samples) / RATE)


def loudest_hz(samples: NDArray[np.floating[Any]], rate: float, low: float = 100.0, high: float = 3000.0) -> float:
    """The frequency of the strongest component between `low` and `high` Hz, to a fraction of a bin."""
    size = 1 << max(16, len(samples).bit_length())
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), size))
    hz = np.fft.rfftfreq(size, 1.0 / rate)
    return float(hz[np.argmax(np.where((hz >= low) & (hz <= high), spectrum, 0.0))])


def longest_gap(samples: NDArray[np.floating[Any]], rate: float) -> float:
    """Seconds of the longest run of digital silence."""
    sounding = np.flatnonzero(np.abs(samples) > 1e-5)
    return float(np.max(np.diff(sounding), initial=1) - 1) / rate


def _noise(random: np.random.Generator, seconds: float) -> NDArray[np.float64]:
    return 0.002 * random.standard_normal(int(seconds * RATE))


def _wav(samples: NDArray[np.float64]) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((np.clip(samples, -1.0, 1.0) * 32767).astype("<i2").tobytes())
    return buffer.getvalue()
