"""The cheap numbers of every clip, taken when it is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tts_train.align.text import spoken_words
from tts_train.quality import levels
from tts_train.quality.loudness import loudness_lufs
from tts_train.quality.snr import snr_db

if TYPE_CHECKING:
    from tts_train.audio import Audio

EDGE_BELOW_DB = 30.0
"""Speech begins with the first frame this close to the clip's loud frames, and well above its noise."""

EDGE_ABOVE_NOISE_DB = 6.0


def clip_measures(native: Audio, clip: Audio) -> dict[str, Any]:
    """Numbers about a clip's sound: bandwidth and clipping from the source's own rate, the rest from the clip.

    `native` may be empty or a few samples long; what cannot be said of it is None. Nothing is raised.
    """
    leading, trailing = edge_seconds(clip)
    loudness, noise = loudness_lufs(clip), snr_db(clip)
    return {
        "source_rate": native.rate,
        "bandwidth_hz": round(levels.bandwidth_hz(native)),
        "clipped_ratio": round(levels.clipped_ratio(native), 6),
        "silence_ratio": round(levels.silence_ratio(clip), 4),
        "peak_dbfs": round(levels.peak_dbfs(clip), 2),
        "rms_dbfs": round(levels.rms_dbfs(clip), 2),
        "loudness_lufs": None if loudness is None else round(loudness, 2),
        "snr_db": None if noise is None else round(noise, 1),
        "leading_seconds": round(leading, 3),
        "trailing_seconds": round(trailing, 3),
    }


def text_measures(text: str, seconds: float, language: str) -> dict[str, Any]:
    """Pace of a text as it is spoken ("50" is fifty): characters, spaces among them, and words per second of audio."""
    words = spoken_words(text, language)
    if seconds <= 0:
        return {"characters_per_second": 0.0, "words_per_second": 0.0}
    return {
        "characters_per_second": round(len(" ".join(words)) / seconds, 3),
        "words_per_second": round(len(words) / seconds, 3),
    }


def edge_seconds(audio: Audio) -> tuple[float, float]:
    """Seconds before the first and after the last speech; the whole clip, twice, when it is silent.

    Levels are of 10 ms frames, the middle of three, so that one click is no speech.
    """
    frames = levels.frame_levels(audio)
    loud = levels.loud_level(frames)
    if loud < levels.SILENT_CLIP_DBFS or len(frames) < 3:
        return audio.seconds, audio.seconds
    steady = np.median(np.lib.stride_tricks.sliding_window_view(np.pad(frames, 1, mode="edge"), 3), axis=1)
    floor = float(np.percentile(steady, 5)) + EDGE_ABOVE_NOISE_DB
    # Without a pause the quietest frames are speech: the noise can lie at most 10 dB under the loud frames then.
    speech = np.flatnonzero(steady > max(loud - EDGE_BELOW_DB, min(floor, loud - 10.0)))
    if not len(speech):
        return audio.seconds, audio.seconds
    first, last = int(speech[0]), int(speech[-1]) + 1
    return first * levels.FRAME_SECONDS, max(0.0, audio.seconds - last * levels.FRAME_SECONDS)
