"""One gain for a whole source: its integrated loudness by ITU-R BS.1770-4, measured as a stream.

Per source and not per clip on purpose: within a take, quiet and loud sentences are how the reader reads, and a gain
per clip would flatten that and lift the noise of the quiet ones. Between takes (files of other days) the level says
nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tts_train.audio import Audio, probe_source, stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

PEAK_DBFS = -1.0
"""No clip is lifted above this; one with a higher peak gets less gain."""

_STEP_SECONDS = 0.1
_STEPS_PER_BLOCK = 4
_ABSOLUTE_GATE = -70.0
_RELATIVE_GATE = -10.0


def source_loudness(path: Path) -> float | None:
    """Integrated loudness of a file in LUFS; None when nothing is above the gate."""
    rate = probe_source(path).rate
    return integrated_loudness(stream(path, None, 10.0), rate)


def integrated_loudness(blocks: Iterable[NDArray[np.float32]], rate: int) -> float | None:
    """LUFS of mono blocks of any length at `rate`: K-weighting, 400 ms blocks every 100 ms, both gates."""
    energies = np.concatenate([np.zeros(0), *_step_energies(blocks, rate)])
    if len(energies) < _STEPS_PER_BLOCK:
        return None
    power = np.convolve(energies, np.ones(_STEPS_PER_BLOCK) / _STEPS_PER_BLOCK, mode="valid")
    power = power[_lufs(power) > _ABSOLUTE_GATE]
    if not len(power):
        return None
    power = power[_lufs(power) > _lufs(power.mean()) + _RELATIVE_GATE]
    return float(_lufs(power.mean()))


def louder(audio: Audio, gain_db: float) -> tuple[Audio, float]:
    """`audio` with the gain that it can take without its peak passing -1 dBFS, and that gain in dB."""
    peak = float(np.abs(audio.samples).max(initial=0.0))
    if peak:
        gain_db = min(gain_db, PEAK_DBFS - 20.0 * float(np.log10(peak)))
    gain_db = round(gain_db, 2)
    return Audio((audio.samples * np.float32(10.0 ** (gain_db / 20.0))).astype(np.float32), audio.rate), gain_db


def _step_energies(blocks: Iterable[NDArray[np.float32]], rate: int) -> Iterable[NDArray[np.float64]]:
    """Mean squares of the K-weighted signal over steps of 100 ms; an unfinished last step is left out."""
    from pyloudnorm.iirfilter import IIRfilter
    from scipy.signal import lfilter

    stages = [
        IIRfilter(4.0, 1 / np.sqrt(2), 1500.0, rate, "high_shelf"),
        IIRfilter(0.0, 0.5, 38.0, rate, "high_pass"),
    ]
    states = [np.zeros(2), np.zeros(2)]
    step = round(_STEP_SECONDS * rate)
    held = np.zeros(0)
    for block in blocks:
        weighted = block.astype(np.float64)
        for index, stage in enumerate(stages):
            weighted, states[index] = lfilter(stage.b, stage.a, weighted, zi=states[index])
        held = np.concatenate([held, weighted])
        whole = len(held) - len(held) % step
        yield np.mean(held[:whole].reshape(-1, step) ** 2, axis=1)
        held = held[whole:]


def _lufs(power: NDArray[np.float64] | float) -> NDArray[np.float64]:
    return np.asarray(-0.691 + 10.0 * np.log10(np.maximum(power, 1e-20)))
