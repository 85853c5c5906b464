"""Channels are averaged, as every reader of a stereo file expects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tts_train.audio import read_audio


@pytest.mark.parametrize(
    ("left", "right", "mono"), [(0.5, 0.5, 0.5), (0.5, 0.0, 0.25), (0.9, 0.9, 0.9), (0.5, -0.5, 0.0)]
)
def test_stereo_becomes_the_mean_of_its_channels(tmp_path: Path, left: float, right: float, mono: float) -> None:
    samples = np.tile(np.array([left, right], np.float32), (24000, 1))
    soundfile.write(tmp_path / "stereo.wav", samples, 24000, subtype="FLOAT")

    audio = read_audio(tmp_path / "stereo.wav")

    assert len(audio.samples) == 24000
    assert np.abs(audio.samples - mono).max() < 1e-6
