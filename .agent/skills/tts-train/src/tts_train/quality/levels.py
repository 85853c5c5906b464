"""Level, silence, clipping and bandwidth of a clip."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tts_train.audio import Audio

if TYPE_CHECKING:
    from numpy.typing import NDArray

FRAME_SECONDS = 0.01
SILENCE_BELOW_DB = 40.0
"""A frame is silent when it lies this far below the loud frames of the same clip."""

SILENT_CLIP_DBFS = -60.0
FULL_SCALE = 0.999
CLIPPED_RUN = 3
BANDWIDTH_FLOOR_DB = 60.0


def frame_levels(audio: Audio) -> NDArray[np.float64]:
    """RMS level in dBFS of each 10 ms frame, shape (frames,); a rest shorter than a frame is left out."""
    size = round(audio.rate * FRAME_SECONDS)
    frames = len(audio.samples) // size
    blocks = audio.samples[: frames * size].astype(np.float64).reshape(frames, size)
    return 10.0 * np.log10(np.mean(blocks**2, axis=1) + 1e-12)


def loud_level(levels: NDArray[np.float64]) -> float:
    """The level speech peaks at: the 95th percentile of frame levels, in dBFS."""
    return float(np.percentile(levels, 95)) if len(levels) else -120.0


def silence_ratio(audio: Audio) -> float:
    """Share of 10 ms frames that are silent relative to the clip's own loud frames; 1.0 for a silent clip."""
    levels = frame_levels(audio)
    loud = loud_level(levels)
    if loud < SILENT_CLIP_DBFS:
        return 1.0
    return float(np.mean(levels < loud - SILENCE_BELOW_DB))


def clipped_ratio(audio: Audio) -> float:
    """Share of samples in runs of at least three at full scale: a single full-scale peak is not clipping."""
    over = np.abs(audio.samples) >= FULL_SCALE
    if not over.any():
        return 0.0
    edges = np.flatnonzero(np.diff(np.concatenate([[0], over.view(np.int8), [0]])))
    runs = edges[1::2] - edges[::2]
    return float(runs[runs >= CLIPPED_RUN].sum() / len(over))


def bandwidth_hz(audio: Audio) -> float:
    """Highest frequency within 60 dB of the loudest part of the long-term spectrum.

    Tells a 64 kb/s book or a telephone line from studio sound after both were resampled to the same rate.
    """
    size = 2048
    if len(audio.samples) < size:
        return 0.0
    starts = range(0, len(audio.samples) - size + 1, size // 2)
    window = np.hanning(size)
    power = np.zeros(size // 2 + 1)
    for start in starts:
        power += np.abs(np.fft.rfft(audio.samples[start : start + size] * window)) ** 2
    level = 10.0 * np.log10(power / len(starts) + 1e-20)
    # Smooth over about 200 Hz, so that one stray bin does not count as sound. Edges are repeated: a zero beyond them
    # would be 0 dB, the loudest of all, and every 16-bit recording would reach up to half its rate.
    width = max(1, round(200 * size / audio.rate)) | 1
    smooth = np.convolve(np.pad(level, width // 2, mode="edge"), np.ones(width) / width, mode="valid")
    present = np.flatnonzero(smooth > smooth.max() - BANDWIDTH_FLOOR_DB)
    return float(present[-1] * audio.rate / size)


def peak_dbfs(audio: Audio) -> float:
    """Highest absolute sample in dBFS."""
    return float(20.0 * np.log10(np.abs(audio.samples).max(initial=0.0) + 1e-9))


def rms_dbfs(audio: Audio) -> float:
    """RMS level of the whole clip in dBFS."""
    return (
        float(10.0 * np.log10(np.mean(audio.samples.astype(np.float64) ** 2) + 1e-12)) if len(audio.samples) else -120.0
    )
