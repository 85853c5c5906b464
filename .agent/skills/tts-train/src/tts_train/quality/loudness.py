"""Loudness of a clip by ITU-R BS.1770-4."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyloudnorm import Meter

    from tts_train.audio import Audio

BLOCK_SECONDS = 0.4
"""Shorter audio has no loudness: the standard's gate works on blocks of this length."""


def loudness_lufs(audio: Audio) -> float | None:
    """Integrated loudness in LUFS; None under 0.4 s and for silence (all blocks below the gate of -70 LUFS)."""
    import numpy as np

    if audio.seconds < BLOCK_SECONDS:
        return None
    loudness = float(_meter(audio.rate).integrated_loudness(audio.samples.astype(np.float64)))
    return loudness if np.isfinite(loudness) else None


@functools.cache
def _meter(rate: int) -> Meter:
    import pyloudnorm

    return pyloudnorm.Meter(rate, block_size=BLOCK_SECONDS)
