"""Text to phonemes to sound."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from tts_train.backends import backend
from tts_train.backends.piper import phonemes
from tts_train.errors import ConfigError, Diverged, InputUnusable, Unavailable

TEXTS = [
    "Dr. Smith paid £3.50 for it, didn't he? “Yes!” she said; then: silence…",
    "One sentence. Another one! A third?\n\nA new paragraph without an end",
    "She said [[ lˈʌk ]] twice. [[pˈɑːθ]] again.",
    "naïve Zürich 東京 42",
]


@pytest.fixture(scope="module")
def speak():
    return backend("piper").load_speaker("packaged", None, 1, {})


@pytest.mark.parametrize("text", TEXTS)
def test_ids_are_piper_s_own(voice, text):
    from piper import PiperVoice

    theirs = PiperVoice.load(str(voice.file))
    expected = [theirs.phonemes_to_ids(sentence) for sentence in theirs.phonemize(text)]

    ours = phonemes.Phonemizer(voice.settings).sentences(text)

    assert [utterance.ids for utterance in ours] == expected


def test_phonemes_without_an_id_are_told():
    utterance = phonemes.sequence(["a", "☃", "b"], {"_": [0], "^": [1], "$": [2], "a": [14], "b": [15]})

    assert utterance == phonemes.Utterance([1, 0, 14, 0, 15, 0, 2], ("☃",))


def test_a_missing_phonemizer_is_unavailable_before_any_work(monkeypatch, load_task):
    monkeypatch.setitem(sys.modules, "piper.phonemize_espeak", None)
    monkeypatch.setattr("tts_train.backends.piper.onnx_voice.read", lambda base: pytest.fail("work was begun"))

    with pytest.raises(Unavailable, match="GPL") as missing:
        backend("piper").load_speaker("packaged", None, 1, {})
    with pytest.raises(Unavailable):
        load_task()

    assert missing.value.exit_code == 69


def test_speech_without_noise_does_not_depend_on_the_seed(speak):
    first, second = (speak.say("Good morning.", {}, seed) for seed in (0, 1))

    assert first.stopped_by == "duration-predictor"
    assert first.audio.rate == 22050
    np.testing.assert_array_equal(first.audio.samples, second.audio.samples)


def test_noise_follows_the_seed_and_leaves_the_global_generator_alone(speak):
    setting = {"noise_scale": 0.5, "noise_w": 0.5}
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first, again, other = (speak.say("Good morning.", setting, seed).audio.samples for seed in (3, 3, 4))

    np.testing.assert_array_equal(first, again)
    assert len(first) != len(other) or not np.array_equal(first, other)
    assert torch.equal(before, torch.get_rng_state())


def test_sentences_are_spoken_one_by_one_with_the_pause_between(speak):
    setting = {"sentence_silence": 0.5}
    one, two, both = (
        speak.say(text, setting, 0).audio.samples for text in ("Good morning.", "Sit down.", "Good morning. Sit down.")
    )

    assert len(both) == len(one) + len(two) + 11025
    np.testing.assert_array_equal(both[: len(one)], one)
    assert not both[len(one) : len(one) + 11025].any()


def test_length_scale_slows_down(speak):
    plain, slow = (speak.say("Good morning.", {"length_scale": scale}, 0).audio.seconds for scale in (1.0, 1.5))

    assert 1.2 < slow / plain < 1.5  # less than the scale: frames are whole, rounded up


def test_a_runaway_is_cut_and_told(speak, monkeypatch):
    predicted = speak._model.log_durations
    monkeypatch.setattr(speak._model, "log_durations", lambda *given: predicted(*given) + 4.0)

    spoken = speak.say("Good morning.", {}, 0)

    assert spoken.stopped_by == "runaway-guard"
    assert spoken.audio.seconds < 10


def test_weights_that_are_not_finite_are_diverged(speak, monkeypatch):
    predicted = speak._model.log_durations
    monkeypatch.setattr(speak._model, "log_durations", lambda *given: predicted(*given) * float("nan"))

    with pytest.raises(Diverged):
        speak.say("Good morning.", {}, 0)


def test_settings_are_checked_all_at_once(speak):
    with pytest.raises(ConfigError) as refused:
        speak.say("Good morning.", {"speed": 1, "noise_w": "much", "length_scale": 0}, 0)

    assert all(name in refused.value.message for name in ("speed", "noise_w", "length_scale"))


@pytest.mark.parametrize("text", ["", "  ", "\n"])
def test_nothing_to_speak(speak, text):
    with pytest.raises(InputUnusable):
        speak.say(text, {}, 0)
