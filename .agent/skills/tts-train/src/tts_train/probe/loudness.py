"""Copies to listen to: equally loud, equally trimmed, of one format, so that only the speech tells them apart.

Loudness is ITU-R BS.1770-4's, by pyloudnorm. Nothing else is corrected: what is mangled stays mangled, and there is no
limiter, only a lower gain where peaks would clip.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tts_train.audio import Audio
from tts_train.quality.levels import FRAME_SECONDS, frame_levels

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE = 24000
TARGET_LUFS = -23.0
"""The level of EBU R 128: speech has room for its peaks."""
CEILING_DBTP = -1.0
OVERSAMPLING = 4

SILENT_LUFS = -60.0
"""Quieter than this is no speech: made as loud as the others it would be a hiss that nobody ever heard."""
EDGE_DBFS = -60.0
"""Frames below this are near-silence in the matched copy, where speech peaks around -15."""
EDGE_SECONDS = 0.1

ANCHOR_HZ = 3500.0
"""The low anchor of ITU-R BS.1534-3. Flat to 0.1 dB up to here, 25 dB down at 4 kHz, 50 dB at 4.5 kHz: its limits as
we know them, not checked against a copy of the Recommendation."""
_ANCHOR_STOP_HZ = 4000.0
_ANCHOR_STOP_DB = 60.0

_BLOCK_SECONDS = 0.4


@dataclass(frozen=True)
class Matched:
    """A copy as it is written: 24 kHz, its samples already rounded to 16 bits.

    `trimmed_start_seconds` is what was cut from the start (negative: silence that was put there), so a time t of the
    source is t - trimmed_start_seconds here. Levels are the copy's own.
    """

    audio: Audio
    gain_db: float
    loudness_lufs: float
    true_peak_dbtp: float
    peak_limited: bool
    trimmed_start_seconds: float


def matched(source: Audio) -> Matched | str:
    """The copy of `source` at -23 LUFS, or why there is none.

    Where its true peak would pass -1 dBTP, the copy is quieter instead, and says so (`peak_limited`).
    """
    audio = source.at(RATE)
    loudness = integrated_loudness(audio)
    if loudness < SILENT_LUFS:
        return "there is nothing to hear in it"
    cut, trimmed = _equal_edges(audio, TARGET_LUFS - loudness)
    wanted = TARGET_LUFS - integrated_loudness(cut)
    room = CEILING_DBTP - true_peak_dbtp(cut)
    gain = min(wanted, room)
    copy = _rounded(cut.samples * 10.0 ** (gain / 20.0))
    return Matched(
        copy,
        gain_db=round(gain, 3),
        loudness_lufs=round(integrated_loudness(copy), 2),
        true_peak_dbtp=round(true_peak_dbtp(copy), 2),
        peak_limited=room < wanted,
        trimmed_start_seconds=round(trimmed, 6),
    )


def integrated_loudness(audio: Audio) -> float:
    """Gated loudness in LUFS; -inf for silence. A clip shorter than the standard's 0.4 s is one block."""
    import pyloudnorm

    if not audio.samples.any():
        return float("-inf")
    block = min(_BLOCK_SECONDS, audio.seconds)
    return float(pyloudnorm.Meter(audio.rate, block_size=block).integrated_loudness(audio.samples.astype(np.float64)))


def true_peak_dbtp(audio: Audio) -> float:
    """Highest level between the samples too (4 times oversampled), in dB of full scale; -inf for silence."""
    peak = float(np.abs(audio.at(OVERSAMPLING * audio.rate).samples).max(initial=0.0))
    return float(20.0 * np.log10(peak)) if peak else float("-inf")


def low_anchor(source: Audio) -> Audio:
    """The same reading without what lies above 3.5 kHz, at 24 kHz: known to sound worse, whoever listens.

    A linear-phase filter whose delay is taken out, so that words stay where they were.
    """
    from scipy.signal import firwin, kaiserord, oaconvolve

    audio = source.at(RATE)
    width = _ANCHOR_STOP_HZ - ANCHOR_HZ
    taps, beta = kaiserord(_ANCHOR_STOP_DB, width / (RATE / 2))
    kernel = firwin(taps | 1, ANCHOR_HZ + width / 2, window=("kaiser", beta), fs=RATE)
    filtered = oaconvolve(audio.samples.astype(np.float64), kernel, mode="full")
    delay = len(kernel) // 2
    return Audio(filtered[delay : delay + len(audio.samples)].astype(np.float32), RATE)


def _equal_edges(audio: Audio, gain_db: float) -> tuple[Audio, float]:
    """The audio with 0.1 s before its first and after its last frame that can be heard at `gain_db`; seconds cut first.

    What is missing of the 0.1 s is filled with zeros: a copy that starts at once would be known by that.
    """
    heard = np.flatnonzero(frame_levels(audio) + gain_db > EDGE_DBFS)
    frame, edge = round(RATE * FRAME_SECONDS), round(RATE * EDGE_SECONDS)
    if not len(heard):  # shorter than a frame
        heard = np.zeros(1, int)
    # A rest shorter than a frame belongs to the last frame.
    last = len(audio.samples) if heard[-1] >= len(audio.samples) // frame - 1 else (int(heard[-1]) + 1) * frame
    start, end = int(heard[0]) * frame - edge, last + edge
    inside = audio.samples[max(start, 0) : end]
    before, after = max(-start, 0), max(end - len(audio.samples), 0)
    return Audio(np.pad(inside, (before, after)).astype(np.float32), RATE), start / RATE


def _rounded(samples: NDArray[np.floating]) -> Audio:
    """As 16-bit PCM holds it, so that the levels are those of the file."""
    return Audio((np.round(np.clip(samples, -1.0, 1.0) * 32767.0) / 32767.0).astype(np.float32), RATE)
