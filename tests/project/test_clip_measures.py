"""The numbers of a clip against sounds made to have them."""

from __future__ import annotations

import numpy as np
import pytest

import asterisk
from tts_train.audio import Audio
from tts_train.quality.clip_measures import clip_measures, edge_seconds, text_measures
from tts_train.quality.levels import frame_levels, loud_level
from tts_train.quality.same_audio import audio_similarity, print_of
from tts_train.quality.snr import snr_db

RATE = 24000


@pytest.fixture(scope="module")
def studio() -> list[Audio]:
    """Twenty-four prompts of one to eight seconds."""
    chosen = [prompt for prompt in asterisk.require() if 1.0 < prompt.seconds < 8.0 and "silence" not in prompt.name]
    chosen = chosen[::12][:24]
    return [Audio(asterisk.read(prompt), asterisk.RATE).at(RATE) for prompt in chosen]


def with_noise(audio: Audio, snr: float, seed: int = 0) -> Audio:
    levels = frame_levels(audio)
    speech = np.mean(10 ** (levels[levels > loud_level(levels) - 30] / 10))
    noise = np.random.default_rng(seed).standard_normal(len(audio.samples)) * np.sqrt(speech / 10 ** (snr / 10))
    return Audio((audio.samples + noise).astype(np.float32), audio.rate)


@pytest.mark.parametrize("snr", [10, 20, 30])
def test_the_noise_of_speech_is_found_within_half_a_decibel(studio: list[Audio], snr: int) -> None:
    found = np.array([snr_db(with_noise(audio, snr)) for audio in studio])
    assert np.abs(found - snr).mean() < 0.5
    assert np.abs(found - snr).max() < 3.0


def test_a_studio_clip_has_more_than_thirty_decibels(studio: list[Audio]) -> None:
    assert min(snr_db(audio) for audio in studio) > 30


def test_noise_does_not_depend_on_level(studio: list[Audio]) -> None:
    noisy = with_noise(studio[0], 20)
    quiet = Audio(noisy.samples * np.float32(0.05), noisy.rate)
    assert snr_db(quiet) == pytest.approx(snr_db(noisy), abs=0.1)


def test_edges_are_what_was_put_there(studio: list[Audio]) -> None:
    for audio in studio[:8]:
        first, last = edge_seconds(audio)
        before, after = np.zeros(RATE // 2, np.float32), np.zeros(RATE, np.float32)
        moved = edge_seconds(Audio(np.concatenate([before, audio.samples, after]), RATE))
        assert moved == pytest.approx((first + 0.5, last + 1.0), abs=0.03)


def test_edges_stand_in_noise(studio: list[Audio]) -> None:
    audio = studio[1]
    padded = Audio(np.concatenate([np.zeros(RATE, np.float32), audio.samples, np.zeros(RATE, np.float32)]), RATE)
    clean, noisy = edge_seconds(padded), edge_seconds(with_noise(padded, 15))
    assert noisy == pytest.approx(clean, abs=0.25)


@pytest.mark.parametrize("samples", [0, 1, 2, 100, 480, 4000, RATE])
@pytest.mark.parametrize("value", [0.0, 0.3])
def test_whatever_the_clip_the_numbers_can_be_written(samples: int, value: float) -> None:
    import json

    audio = Audio(np.full(samples, value, np.float32), RATE)
    found = clip_measures(audio, audio)
    json.dumps(found, allow_nan=False)
    if value == 0.0:
        assert found["silence_ratio"] == 1.0
        assert found["snr_db"] is None
        assert found["loudness_lufs"] is None


def test_loudness_is_of_the_standard() -> None:
    """BS.1770: a 997 Hz sine at 0 dBFS in one channel is -3.01 LUFS, and a meter may be 0.1 off."""
    sine = Audio(np.sin(2 * np.pi * 997 * np.arange(5 * RATE) / RATE).astype(np.float32), RATE)
    assert clip_measures(sine, sine)["loudness_lufs"] == pytest.approx(-3.01, abs=0.1)


def test_pace_counts_spoken_words() -> None:
    # In nineteen eighty four.
    assert text_measures("In 1984", 2.0, "en") == {"characters_per_second": 11.5, "words_per_second": 2.0}
    assert text_measures("x", 0.0, "en") == {"characters_per_second": 0.0, "words_per_second": 0.0}


def test_a_copy_is_known_whatever_was_done_to_it(studio: list[Audio]) -> None:
    for audio in studio[:10]:
        told = print_of(audio)
        quiet = Audio(audio.samples * np.float32(0.2), RATE)
        cut = Audio(audio.samples[2400:-1600], RATE)
        assert audio_similarity(told, print_of(quiet)) > 0.99
        assert audio_similarity(told, print_of(cut)) > 0.97
        assert audio_similarity(told, print_of(with_noise(audio, 22))) > 0.94


def test_a_second_take_of_the_same_words_is_no_copy() -> None:
    takes = {prompt.name: prompt for prompt in asterisk.require()}
    pairs = [
        ("conf-hasleft", "confbridge-has-left"),
        ("conf-muted", "confbridge-muted"),
        ("confbridge-lock-in", "confbridge-lock-out"),
        ("confbridge-menu-exit-in", "confbridge-menu-exit-out"),
        ("from-unknown-caller", "vm-unknown-caller"),
        ("invalid", "pbx-invalid"),
    ]
    for first, second in pairs:
        prints = [print_of(Audio(asterisk.read(takes[name]), asterisk.RATE)) for name in (first, second)]
        assert audio_similarity(*prints) < 0.85
        assert audio_similarity(*prints) == pytest.approx(audio_similarity(*reversed(prints)), abs=1e-6)


def test_silence_is_like_nothing() -> None:
    silent = print_of(Audio(np.zeros(RATE, np.float32), RATE))
    assert 0.0 <= audio_similarity(silent, silent) <= 1.0
