"""Signal-to-noise ratio of a clip from the clip alone.

Noise is what stays when speech pauses: in each band of the spectrum the quietest frames of the clip, because speech
leaves every band free for a moment even when it never stops altogether. Measured on 76 studio prompts (1-18 s) with
white noise added at 10, 20 and 30 dB below the active speech: see tests/project/test_clip_measures.py for the error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tts_train.quality.levels import SILENT_CLIP_DBFS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tts_train.audio import Audio

WINDOW_SECONDS = 0.032
LOWEST_HZ = 60
"""Hum and rumble below do not count: high-pass filters take them away, and no voice is there."""

GROUP = 8
QUIET_SHARE = 0.05
QUIET_TO_MEAN = 0.5
"""The 5 % quietest frames of eight bins together lie at this share of steady noise's mean power."""

ACTIVE_DB = 30.0
MIN_SECONDS = 1.0
"""A word like "million" never pauses: such clips read 13 to 27 dB in a recording of 31 to 60 dB."""

MOST_DB = 60.0
LEAST_DB = -10.0


def snr_db(audio: Audio) -> float | None:
    """Active speech power over noise power in dB, between -10 and 60; None for silence and under a second."""
    bands = _band_powers(audio)
    if bands is None:
        return None
    total = bands.sum(axis=1)
    loud = float(np.percentile(total, 95))
    if loud <= 10 ** (SILENT_CLIP_DBFS / 10):
        return None
    active = float(total[total > loud * 10 ** (-ACTIVE_DB / 10)].mean())
    noise = float(np.quantile(bands, QUIET_SHARE, axis=0).sum()) / QUIET_TO_MEAN
    ratio = max(active - noise, 1e-9 * active) / max(noise, 1e-9 * active)
    return float(np.clip(10.0 * np.log10(ratio), LEAST_DB, MOST_DB))


def _band_powers(audio: Audio) -> NDArray[np.float64] | None:
    """Power (as mean square of the signal) of bands of eight bins, shape (frames, bands)."""
    size = round(audio.rate * WINDOW_SECONDS)
    if audio.seconds < MIN_SECONDS:
        return None
    frames = np.lib.stride_tricks.sliding_window_view(audio.samples, size)[:: size // 2]
    window = np.hanning(size)
    power = np.abs(np.fft.rfft(frames * window, axis=1)) ** 2 * (2.0 / (size * float(np.sum(window**2))))
    first = int(np.ceil(LOWEST_HZ * WINDOW_SECONDS))
    whole = (power.shape[1] - first) // GROUP * GROUP
    bands: NDArray[np.float64] = power[:, first : first + whole].reshape(len(power), -1, GROUP).sum(axis=2)
    return bands
