"""DistillMOS on real speech: order and length, not absolute numbers."""

from __future__ import annotations

import numpy as np
import pytest

import asterisk
from tts_train.audio import Audio
from tts_train.quality.mos import mos


@pytest.fixture(scope="module")
def studio() -> dict[str, Audio]:
    names = ("agent-alreadyon", "conf-muted", "vm-nobodyavail")
    return {
        prompt.name: Audio(asterisk.read(prompt), asterisk.RATE)
        for prompt in asterisk.require()
        if prompt.name in names
    }


def noisy(audio: Audio) -> Audio:
    power = np.mean(audio.samples**2) / 10**1.5
    noise = np.random.default_rng(0).standard_normal(len(audio.samples)) * np.sqrt(power)
    return Audio((audio.samples + noise).astype(np.float32), audio.rate)


def test_noise_costs_more_than_a_point(studio: dict[str, Audio]) -> None:
    for audio in studio.values():
        clean = mos(audio)
        assert 3.9 < clean <= 5.0
        assert mos(noisy(audio)) < clean - 1.0


def test_a_short_clip_is_not_worse_for_being_short(studio: dict[str, Audio]) -> None:
    short, long = studio["conf-muted"], studio["agent-alreadyon"]
    assert short.seconds < 1.5
    assert long.seconds > 5
    assert mos(short) == pytest.approx(mos(long), abs=0.4)


def test_level_plays_no_part(studio: dict[str, Audio]) -> None:
    audio = studio["conf-muted"]
    assert mos(Audio(audio.samples * np.float32(0.1), audio.rate)) == pytest.approx(mos(audio), abs=0.02)


def test_silence_has_no_score() -> None:
    assert mos(Audio(np.zeros(16000, np.float32), 16000)) is None
    assert mos(Audio(np.zeros(0, np.float32), 16000)) is None
