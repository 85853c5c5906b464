"""Channels are averaged, as every reader of a stereo file expects."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tts_train.audio import read_audio

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("left", "right", "mono"), [(0.5, 0.5, 0.5), (0.5, 0.0, 0.25), (0.9, 0.9, 0.9), (0.5, -0.5, 0.0)]
)
def test_stereo_becomes_the_mean_of_its_channels(tmp_path: Path, left: float, right: float, mono: float) -> None:
    samples = np.tile(np.array([left, right], np.float32), (24000, 1))
    soundfile.write(tmp_path / "stereo.wav", samples, 24000, subtype="FLOAT")

    audio = read_audio(tmp_path / "stereo.wav")

    assert len(audio.samples) == 24000
    assert np.abs(audio.samples - mono).max() < 1e-6


SIGNALS_WHILE_READING = """
import random, signal, sys, time
from pathlib import Path
from tts_train.audio import read_audio
from tts_train.signals import interrupt_the_work, received

path = Path(sys.argv[1])
whole = read_audio(path).samples
began = time.perf_counter()
for _ in range(5):
    read_audio(path)
seconds = (time.perf_counter() - began) / 5
places = random.Random(1)
came = lost = 0
for _ in range(600):
    interrupt_the_work()
    signal.signal(signal.SIGALRM, signal.getsignal(signal.SIGTERM))
    try:
        signal.setitimer(signal.ITIMER_REAL, places.uniform(1e-4, 0.8 * seconds))
        assert (read_audio(path).samples == whole).all()
        signal.setitimer(signal.ITIMER_REAL, 0)
        lost += received() is not None
    except KeyboardInterrupt:
        came += 1
print(came, lost)
"""


def test_a_signal_while_a_file_is_read_is_not_lost() -> None:
    reading = min((ROOT / "datasets/demo/heldout").rglob("*.flac"))
    command = [sys.executable, "-P", "-c", SIGNALS_WHILE_READING, str(reading)]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    came, lost = map(int, said.split())
    assert lost == 0
    assert came > 100
