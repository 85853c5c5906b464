"""Spectral distance between two readings of the same text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tts_train.audio import Audio
from tts_train.errors import InputUnusable

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE = 22050
HOP = 256
WINDOW = 2048
"""Twice the usual: with 1024, where the frames happen to fall alone makes 1.5 dB, with 2048 it is 1.1 dB."""
BANDS = 80
TOP_HZ = 8000
FLOOR_DB = 60.0
SPEECH_DB = 35.0
"""Frames further below the loud ones are silence: cut at both ends, and no part of the level."""
BAND_SHARE = 0.25
"""Readings of one text may run this share of the length apart; it also bounds the memory of the alignment."""


def mel_distance(left: Audio, right: Audio) -> float:
    """Mean distance in dB per mel band along the best time alignment (DTW); 0 for identical readings.

    Level is taken out (each reading is set to the same mean over its speech), leading and trailing silence is cut,
    and pace is absorbed by the alignment. Symmetric. Raises InputUnusable for audio without speech.
    """
    import librosa

    first, second = log_mel(left), log_mel(right)
    share = max(BAND_SHARE, 1.2 * abs(first.shape[1] - second.shape[1]) / max(first.shape[1], second.shape[1]))
    wide = min(1.0, share)
    cost, path = librosa.sequence.dtw(first, second, metric="euclidean", global_constraints=wide < 1.0, band_rad=wide)
    # Euclidean over bands / sqrt(bands) = root mean square difference of one frame.
    return float(cost[-1, -1] / len(path) / np.sqrt(BANDS))


def log_mel(audio: Audio) -> NDArray[np.float64]:
    """Mel spectrogram in dB, shape (80, frames): peak-relative floor of 60 dB, mean level over speech frames at 0."""
    import librosa

    samples = audio.at(RATE).samples
    power = librosa.feature.melspectrogram(y=samples, sr=RATE, n_fft=WINDOW, hop_length=HOP, n_mels=BANDS, fmax=TOP_HZ)
    level = 10.0 * np.log10(np.maximum(power, 1e-10))
    frames = level.mean(axis=0)
    loud = np.percentile(frames, 95) if level.size else -100.0
    if loud <= -90.0:
        raise InputUnusable("the audio holds no speech to compare", hint="listen to it")
    floored = np.maximum(level, level.max() - FLOOR_DB)
    speech = np.flatnonzero(frames > loud - SPEECH_DB)
    inner = floored[:, speech[0] : speech[-1] + 1]
    centred: NDArray[np.float64] = inner - inner[:, speech - speech[0]].mean()
    return centred
