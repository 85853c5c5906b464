"""Matched copies: levels with known answers, edges, what is never corrected, and the low anchor's filter."""

from __future__ import annotations

import numpy as np
import pytest

from tts_train.audio import Audio, write_audio
from tts_train.probe.loudness import (
    EDGE_SECONDS,
    RATE,
    Matched,
    integrated_loudness,
    low_anchor,
    matched,
    true_peak_dbtp,
)
from tts_train.quality.levels import frame_levels


def _speech(seconds: float = 2.0, rate: int = 22050, level: float = 0.1, seed: int = 0) -> Audio:
    """Noise in syllables: four a second, with the crest factor of speech."""
    time = np.arange(int(seconds * rate)) / rate
    noise = np.random.default_rng(seed).standard_normal(len(time))
    smooth = np.convolve(noise, np.ones(8) / 8, mode="same")
    return Audio((level * smooth * (0.55 - 0.45 * np.cos(2 * np.pi * 4 * time))).astype(np.float32), rate)


def _silence(seconds: float, rate: int = 22050) -> np.ndarray:
    return np.zeros(int(seconds * rate), np.float32)


def _copy(audio: Audio) -> Matched:
    made = matched(audio)
    assert isinstance(made, Matched)
    return made


def test_loudness_and_true_peak_of_tones_with_known_answers() -> None:
    """BS.1770-4: a full-scale sine of 997 Hz in one channel is -3.01 LUFS. Sampled at a quarter of the rate and 45
    degrees off, a sine's samples stay 3.01 dB below its true peak."""
    time = np.arange(48000 * 2) / 48000
    sine = Audio(np.sin(2 * np.pi * 997 * time).astype(np.float32), 48000)
    assert integrated_loudness(sine) == pytest.approx(-3.01, abs=0.05)
    assert integrated_loudness(Audio(sine.samples * np.float32(0.1), 48000)) == pytest.approx(-23.01, abs=0.05)
    between = Audio((0.5 * np.sin(np.pi / 2 * np.arange(24000) + np.pi / 4)).astype(np.float32), RATE)
    assert 20 * np.log10(np.abs(between.samples).max()) == pytest.approx(-9.03, abs=0.01)
    assert true_peak_dbtp(between) == pytest.approx(-6.02, abs=0.1)


@pytest.mark.parametrize("level", [0.006, 0.05, 0.4])
@pytest.mark.parametrize("rate", [16000, 22050, 44100])
def test_every_copy_is_equally_loud_whatever_came_in(level: float, rate: int) -> None:
    made = _copy(_speech(rate=rate, level=level))
    assert made.audio.rate == RATE
    assert made.loudness_lufs == pytest.approx(-23.0, abs=0.05)
    assert integrated_loudness(made.audio) == pytest.approx(-23.0, abs=0.05)
    assert not made.peak_limited
    assert made.true_peak_dbtp <= -1.0


def test_the_gain_is_what_was_done_to_the_samples() -> None:
    audio = _speech(rate=RATE)
    made = _copy(audio)
    start = round(made.trimmed_start_seconds * RATE)
    inside = audio.samples[max(start, 0) : max(start, 0) + 20000] * 10 ** (made.gain_db / 20)
    assert made.audio.samples[max(-start, 0) :][:20000] == pytest.approx(inside, abs=2e-4)


def test_peaks_that_would_clip_make_the_copy_quieter_and_are_never_cut() -> None:
    audio = _speech(level=0.02)
    audio.samples[20000] = 0.9
    made = _copy(audio)
    assert made.peak_limited
    assert made.true_peak_dbtp == pytest.approx(-1.0, abs=0.02)
    assert made.loudness_lufs < -23.5
    assert np.abs(made.audio.samples).max() < 0.9


@pytest.mark.parametrize(("before", "after"), [(0.0, 0.0), (0.02, 1.5), (0.7, 0.3), (3.0, 0.0)])
def test_silence_at_the_edges_is_alike_and_times_can_be_carried_over(before: float, after: float) -> None:
    speech = _speech().samples
    speech[0] = speech[-1] = 0.2
    audio = Audio(np.concatenate([_silence(before), speech, _silence(after)]), 22050)
    made = _copy(audio)
    assert made.audio.seconds == pytest.approx(2.0 + 2 * EDGE_SECONDS, abs=0.021)
    loud = np.flatnonzero(np.abs(made.audio.samples) > 0.1 * 10 ** (made.gain_db / 20))
    assert loud[0] / RATE == pytest.approx(EDGE_SECONDS, abs=0.0105)
    assert loud[0] / RATE == pytest.approx(before - made.trimmed_start_seconds, abs=0.001)


def test_what_is_mangled_stays_mangled() -> None:
    """A hole in the middle, a hiss before and a drone after the words are all kept; only near-silence goes."""
    hiss = 0.001 * np.random.default_rng(1).standard_normal(11025).astype(np.float32)
    drone = (0.001 * np.sin(np.arange(22050) * 0.05)).astype(np.float32)
    parts = [_silence(0.5), hiss, _speech(1.0).samples, _silence(1.0), _speech(1.0).samples, drone, _silence(0.5)]
    made = _copy(Audio(np.concatenate(parts), 22050))
    assert made.audio.seconds == pytest.approx(0.5 + 1 + 1 + 1 + 1 + 2 * EDGE_SECONDS, abs=0.021)
    levels = frame_levels(made.audio)
    assert (levels < -90).sum() == pytest.approx(100 + 2 * 10, abs=3), "the hole and the two edges"


def test_silence_and_hiss_that_nobody_heard_have_no_copy() -> None:
    noise = np.random.default_rng(0).standard_normal(44100).astype(np.float32)
    for samples in (_silence(1.0), 3e-5 * noise, 5e-4 * noise):
        assert matched(Audio(samples, 22050)) == "there is nothing to hear in it"


def test_a_clip_shorter_than_the_standard_s_block_is_matched() -> None:
    made = _copy(_speech(0.15))
    assert made.audio.seconds == pytest.approx(0.15 + 2 * EDGE_SECONDS, abs=0.011)
    assert -26 < made.loudness_lufs <= -22.9
    assert isinstance(matched(_speech(0.004)), Matched)


def test_the_same_reading_gives_the_same_bytes(tmp_path) -> None:
    for name in ("one.wav", "two.wav"):
        write_audio(tmp_path / name, _copy(_speech()).audio)
    assert (tmp_path / "one.wav").read_bytes() == (tmp_path / "two.wav").read_bytes()


def test_the_anchor_s_filter_is_bs_1534_s_and_moves_nothing() -> None:
    """Flat to 0.1 dB up to 3.5 kHz, 25 dB down at 4 kHz and 50 dB at 4.5 kHz."""
    click = np.zeros(RATE, np.float32)
    click[RATE // 2] = 1.0
    answer = low_anchor(Audio(click, RATE)).samples
    gain = 20 * np.log10(np.abs(np.fft.rfft(answer)) + 1e-12)
    assert np.abs(gain[20:3501]).max() < 0.1
    assert gain[4000:].max() < -25
    assert gain[4500:].max() < -50
    assert int(np.argmax(answer)) == RATE // 2
    assert len(answer) == RATE
