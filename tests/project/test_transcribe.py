"""Recognition in short windows: the words of Whisper's own window, which hears again where the short one fails."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tts_train.audio import Audio
from tts_train.errors import UsageError
from tts_train.ingest import transcribe
from tts_train.ingest.models import resolve_model
from tts_train.ingest.transcribe import FULL_WINDOW_SECONDS, SHORT_WINDOW_SECONDS, Heard, Recogniser, suspect
from tts_train.quality.wer import total, word_errors

Readings = dict[str, tuple[Audio, str]]


@pytest.fixture(scope="module")
def ears() -> Recogniser:
    return Recogniser(resolve_model(), "en", threads=1)


@pytest.fixture
def windows(ears: Recogniser, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, float]]:
    """(beam, window) of every decoding from here on."""
    asked: list[tuple[int, float]] = []
    decode = ears._decode

    def noted(mono: Audio, beam: int, window: float) -> Heard:
        asked.append((beam, window))
        return decode(mono, beam, window)

    monkeypatch.setattr(ears, "_decode", noted)
    return asked


def test_a_short_window_hears_the_words_of_the_long_one(
    ears: Recogniser, readings: Readings, windows: list[tuple[int, float]]
) -> None:
    chosen = [readings[name] for name in ("bus", "coffee", "hat", "ticket", "smoke", "hook")]

    short = [ears.hear(audio) for audio, _ in chosen]
    asked = {window for _, window in windows}
    long = [ears._decode(audio.at(16000), 5, FULL_WINDOW_SECONDS) for audio, _ in chosen]

    assert asked == {SHORT_WINDOW_SECONDS}
    assert errors([text for _, text in chosen], short) <= errors([text for _, text in chosen], long) + 1


def errors(texts: Sequence[str], heard: Sequence[Heard]) -> int:
    return total([word_errors(text, item.text) for text, item in zip(texts, heard, strict=True)]).errors


def test_a_text_that_repeats_itself_is_heard_again_in_the_long_window(
    ears: Recogniser, readings: Readings, windows: list[tuple[int, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = ears._decode

    def stuttering(mono: Audio, beam: int, window: float) -> Heard:
        heard = noted(mono, beam, window)
        spoilt = f"{heard.text} {heard.text}"
        return heard if window == FULL_WINDOW_SECONDS else Heard(spoilt, heard.log_probability, heard.no_speech, 1.5)

    monkeypatch.setattr(ears, "_decode", stuttering)
    audio, text = readings["bus"]

    heard = ears.hear(audio)

    assert windows == [(5, SHORT_WINDOW_SECONDS), (5, FULL_WINDOW_SECONDS)]
    assert word_errors(text, heard.text).errors == 0


@pytest.mark.parametrize(
    ("text", "seconds", "expected"),
    [
        ("Press star to cancel. Press star to cancel.", 2.0, True),
        ("90 AM 90 AM", 2.0, True),
        ("No, no, not that one.", 2.0, True),
        ("Press star to cancel.", 2.0, False),
        ("The theatre in the inn.", 2.0, False),
        ("50.", 1.5, False),
        ("More words than anyone could say in a fifth of a second.", 0.2, True),
        ("", 1.0, True),
    ],
)
def test_what_a_short_window_may_have_spoilt(text: str, seconds: float, expected: bool) -> None:
    assert suspect(Heard(text, -0.2, 0.1, 1.0), seconds) is expected


def test_clips_heard_together_are_heard_as_alone(ears: Recogniser, readings: Readings) -> None:
    chosen = [readings[name][0] for name in ("bus", "hat")]

    assert ears.hear_all(chosen) == [ears.hear(audio) for audio in chosen]


def test_the_language_is_heard_whatever_was_expected(ears: Recogniser, readings: Readings) -> None:
    german = Recogniser(resolve_model(), "de-AT", threads=1)

    code, probability = german.detect_language(readings["coffee"][0])

    assert (german.language, code) == ("de", "en")
    assert probability > 0.8


def test_an_unknown_language_is_named_before_any_work() -> None:
    with pytest.raises(UsageError, match="'tlh'"):
        Recogniser(resolve_model(), "tlh", threads=1)


def test_long_audio_is_split_at_pauses(ears: Recogniser, readings: Readings, windows: list[tuple[int, float]]) -> None:
    import numpy as np

    names = [name for name in readings if name != "hook"][:12]
    rate = readings["bus"][0].rate
    pause = np.zeros(rate // 2, np.float32)
    joined = Audio(np.concatenate([part for name in names for part in (readings[name][0].samples, pause)]), rate)
    assert joined.seconds > transcribe.WINDOW_SECONDS

    heard = ears.hear(joined)

    assert len(windows) >= 2
    assert all(window <= FULL_WINDOW_SECONDS + transcribe.TAIL_SECONDS for _, window in windows)
    assert word_errors(" ".join(readings[name][1] for name in names), heard.text).wer < 0.1
