"""Measures of speech on real readings, each against a change that it must or must not see."""

from __future__ import annotations

import librosa
import numpy as np
import pytest

from tts_train.audio import Audio
from tts_train.errors import InputUnusable
from tts_train.quality import levels
from tts_train.quality.clip_measures import text_measures
from tts_train.quality.mel import mel_distance
from tts_train.quality.speaker import centroid, embedding, similarity, speaker_similarity

Readings = dict[str, tuple[Audio, str]]


def higher_voice(audio: Audio, factor: float = 1.35) -> Audio:
    """The same reading by a smaller speaker: played faster, as if recorded at another rate."""
    return Audio(Audio(audio.samples, round(audio.rate * factor)).at(audio.rate).samples, audio.rate)


def test_mel_distance_ignores_level_silence_and_pace_but_not_the_voice(readings: Readings) -> None:
    audio, _ = readings["bus"]
    quiet = Audio(np.pad(audio.samples * 0.2, 12000), audio.rate)
    slower = Audio(librosa.effects.time_stretch(audio.samples, rate=0.85), audio.rate)

    assert mel_distance(audio, audio) == 0.0
    assert mel_distance(audio, quiet) < 0.5
    assert mel_distance(audio, slower) < 0.5 * mel_distance(audio, higher_voice(audio))
    assert mel_distance(audio, higher_voice(audio)) == pytest.approx(mel_distance(higher_voice(audio), audio), rel=0.02)


def test_mel_distance_refuses_silence(readings: Readings) -> None:
    with pytest.raises(InputUnusable):
        mel_distance(readings["bus"][0], Audio(np.zeros(24000, np.float32), 24000))


def test_speaker_similarity_knows_its_speaker(readings: Readings) -> None:
    targets = [readings[name][0] for name in ("hat", "coffee", "ticket")]
    own, _ = readings["bus"]

    assert speaker_similarity(own, targets) > 0.85
    assert speaker_similarity(higher_voice(own), targets) < speaker_similarity(own, targets) - 0.15
    assert np.linalg.norm(centroid([embedding(own), embedding(targets[0])])) == pytest.approx(1.0)
    assert similarity(embedding(own), embedding(Audio(own.samples * 0.3, own.rate))) > 0.99


def test_a_speaker_embedding_needs_speech() -> None:
    with pytest.raises(InputUnusable):
        embedding(Audio(np.full(4000, 1e-3, np.float32), 16000))


def test_clipping_is_runs_at_full_scale() -> None:
    samples = np.zeros(1000, np.float32)
    samples[100] = samples[200] = 1.0
    peaks = levels.clipped_ratio(Audio(samples, 16000))
    samples[300:310] = -1.0

    assert (peaks, levels.clipped_ratio(Audio(samples, 16000))) == (0.0, 0.01)


def test_silence_ratio(readings: Readings) -> None:
    audio, _ = readings["bus"]
    half = Audio(np.pad(audio.samples, (0, len(audio.samples))), audio.rate)

    assert levels.silence_ratio(audio) < 0.45
    assert levels.silence_ratio(half) == pytest.approx(0.5 + levels.silence_ratio(audio) / 2, abs=0.02)
    assert levels.silence_ratio(Audio(np.zeros(1600, np.float32), 16000)) == 1.0


def test_bandwidth_sees_through_resampling(readings: Readings) -> None:
    audio, _ = readings["bus"]

    assert levels.bandwidth_hz(audio) > 6000
    narrow = audio.at(8000).at(24000)
    in_16_bits = Audio(np.round(narrow.samples * 32767).astype(np.float32) / 32767, 24000)
    assert levels.bandwidth_hz(narrow) < 4300
    assert levels.bandwidth_hz(in_16_bits) < 4300


def test_pace(readings: Readings) -> None:
    assert text_measures("Twenty 2 words", 2.0, "en")["words_per_second"] == 1.5
