"""Whether two clips of one text are the same recording, or the text read twice.

A copy keeps its timing whatever was done to its level, bandwidth or edges; a reader never says a line twice with the
same timing. So the two spectrograms are laid over each other at every lag, without any stretching.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tts_train.quality.ge2e import HOP, RATE, mel_power

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tts_train.audio import Audio

FLOOR_DB = 50.0
LEAST_OVERLAP = 0.7
"""Share of the shorter clip that has to lie over the other."""

FRAME_SECONDS = HOP / RATE


def print_of(audio: Audio) -> NDArray[np.float32]:
    """What is compared: mel bands in dB down to 50 dB below the peak, each without its mean, shape (frames, 40)."""
    power = mel_power(audio.at(RATE).samples)
    level = 10.0 * np.log10(np.maximum(power, 1e-12))
    floored = np.maximum(level, level.max() - FLOOR_DB)
    centred: NDArray[np.float32] = (floored - floored.mean(axis=0)).astype(np.float32)
    return centred


def audio_similarity(left: NDArray[np.float32], right: NDArray[np.float32]) -> float:
    """Correlation of two prints at the best lag, 0 to 1; symmetric. 1 for the same recording at another level."""
    count = len(left) + len(right)
    size = 1 << (count - 1).bit_length()

    def summed(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
        """Sum over bands and overlap of first * second, for each lag of `second`; index is the lag, wrapped."""
        spectra = np.fft.rfft(first, size, axis=0) * np.conj(np.fft.rfft(second, size, axis=0))
        return np.fft.irfft(spectra.sum(axis=1), size)

    product = summed(left, right)
    energy = summed(left**2, np.ones_like(right)) * summed(np.ones_like(left), right**2)
    overlap = summed(np.ones_like(left[:, :1]), np.ones_like(right[:, :1]))
    enough = overlap >= LEAST_OVERLAP * min(len(left), len(right)) - 0.5
    correlation = np.where(enough, product / np.sqrt(np.maximum(energy, 1e-6)), 0.0)
    return float(np.clip(correlation.max(), 0.0, 1.0))
