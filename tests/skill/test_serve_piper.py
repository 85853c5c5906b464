"""What the speech server's worker says with a real Piper voice: the render's samples, in every format, part by part."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tts_train.audio import Audio, file_bytes, write_audio
from tts_train.backends import BACKENDS, SpeaksInParts
from tts_train.backends.piper import speaker
from tts_train.errors import InputUnusable, Unavailable
from tts_train.serve import sound
from tts_train.serve.voices import Voice
from tts_train.serve.worker import Voices
from tts_train.work import watermark

TEXT = "Good luck. Look! Why not?"
KNOBS = BACKENDS["piper"].knobs


@pytest.fixture(scope="module")
def voices() -> Iterator[Voices]:
    threads = torch.get_num_threads()
    yield Voices()
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def joe() -> Any:
    return speaker.load("packaged", None, 1)


@pytest.fixture(scope="module")
def said(joe: Any) -> Audio:
    audio: Audio = joe.say(TEXT, KNOBS, 0).audio
    return audio


def asked(voices: Voices, **changes: Any) -> tuple[list[bytes], dict[str, Any]]:
    """The audio of one request, message by message, and how it ended."""
    voice = Voice("joe", "piper", "packaged", None, {}, 1, dict(KNOBS), 0, "0" * 64, confirmed=True)
    request = {"op": "speak", "id": 1, "voice": voice.as_message(), "text": TEXT, "seed": 0, "knobs": dict(KNOBS)}
    heard: list[tuple[Mapping[str, Any], bytes]] = []
    message = {**request, "format": "wav", "stream": False, "watermark": False, **changes}
    voices.handle(message, lambda told, data: heard.append((told, data)))
    return [data for told, data in heard if told["kind"] == "audio"], dict(heard[-1][0])


def test_a_whole_wav_is_the_file_that_a_render_is(voices: Voices, joe: Any, tmp_path: Path) -> None:
    write_audio(tmp_path / "render.wav", joe.say(TEXT, KNOBS, 0).audio)

    parts, end = asked(voices)

    assert b"".join(parts) == (tmp_path / "render.wav").read_bytes()
    assert (end["kind"], end["stopped_by"]) == ("done", "duration-predictor")


@pytest.mark.parametrize("noise", [0.0, 0.6])
def test_parts_are_the_samples_of_the_whole(joe: Any, noise: float) -> None:
    """With noise, random numbers go on from sentence to sentence; the caller's stay as they were."""
    knobs = {**KNOBS, "noise_scale": noise, "noise_w": noise}
    assert isinstance(joe, SpeaksInParts)
    before = torch.get_rng_state()
    parts = []
    for part in joe.parts(TEXT, knobs, 5):
        parts.append(part.audio.samples)
        assert torch.equal(torch.get_rng_state(), before)
        torch.rand(3)  # somebody else's
        before = torch.get_rng_state()

    with torch.random.fork_rng(), torch.inference_mode():
        torch.manual_seed(5)
        sentences = [joe._sentence(utterance, knobs)[0] for utterance in joe._phonemizer.sentences(TEXT)]
    pause = np.zeros(round(KNOBS["sentence_silence"] * joe.rate), np.float32)
    expected = [sentences[0], *(np.concatenate([pause, samples]) for samples in sentences[1:])]

    assert len(parts) == len(expected) == 3
    assert all(np.array_equal(part, samples) for part, samples in zip(parts, expected, strict=True))
    np.testing.assert_array_equal(np.concatenate(parts), joe.say(TEXT, knobs, 5).audio.samples)


def test_nothing_to_speak_is_told_before_any_part(joe: Any) -> None:
    with pytest.raises(InputUnusable, match="nothing to speak"):
        list(joe.parts(" ", KNOBS, 0))


@pytest.mark.parametrize("kind", sound.MEDIA_TYPES)
@pytest.mark.parametrize("stream", [False, True])
def test_every_format_is_heard_as_it_was_said(voices: Voices, said: Audio, kind: str, stream: bool) -> None:
    parts, _ = asked(voices, format=kind, stream=stream)

    assert sum(bool(part) for part in parts) > 1 or not stream
    data = b"".join(parts)
    if kind in ("wav", "flac"):
        heard = decoded(data)
        assert heard.rate == said.rate
        np.testing.assert_array_equal(heard.samples, decoded(file_bytes(said, "WAV")).samples)
        return
    heard = Audio(np.frombuffer(data, "<i2") / np.float32(32767), 24000) if kind == "pcm" else decoded(data)
    # Encoders begin and end with some silence of their own.
    assert heard.seconds == pytest.approx(said.seconds, abs=0.12)
    assert likeness(heard, said) > (0.999 if kind == "pcm" else 0.97)


def decoded(data: bytes) -> Audio:
    """By PyAV, whatever the container promises."""
    import av

    with av.open(io.BytesIO(data)) as container:
        resampler = av.AudioResampler("flt", "mono")
        frames = [made for frame in container.decode(audio=0) for made in resampler.resample(frame)]
        return Audio(np.concatenate([frame.to_ndarray()[0] for frame in frames]), container.streams.audio[0].rate)


def likeness(heard: Audio, said: Audio) -> float:
    """Correlation at the best of all delays, at 16 kHz."""
    one, two = heard.at(16000).samples, said.at(16000).samples
    size = 1 << (len(one) + len(two)).bit_length()
    product = np.fft.irfft(np.fft.rfft(one, size) * np.conj(np.fft.rfft(two, size)))
    return float(product.max() / np.sqrt((one**2).sum() * (two**2).sum()))


def test_a_cancelled_request_ends_before_its_next_sentence(voices: Voices) -> None:
    heard: list[Mapping[str, Any]] = []

    def send(message: Mapping[str, Any], _data: bytes) -> None:
        heard.append(message)
        voices.cancelled = 7

    asked(voices)  # loaded
    voice = Voice("joe", "piper", "packaged", None, {}, 1, dict(KNOBS), 0, "0" * 64, confirmed=True).as_message()
    request = {"op": "speak", "id": 7, "voice": voice, "text": TEXT, "seed": 0, "knobs": dict(KNOBS)}
    voices.handle({**request, "format": "wav", "stream": True, "watermark": False}, send)

    assert [message["kind"] for message in heard] == ["audio", "done"]
    assert heard[-1]["cancelled"]


def test_every_part_is_marked_or_nothing_is_said(voices: Voices, joe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mark itself is tested with `infer`; here it only turns the sound upside down."""

    def missing() -> None:
        raise Unavailable("no package", hint="set up")

    monkeypatch.setattr(watermark, "require", missing)
    parts, end = asked(voices, watermark=True)
    assert (parts, end["kind"], end["stage"]) == ([], "error", "load")

    monkeypatch.setattr(watermark, "require", lambda: None)
    monkeypatch.setattr(watermark, "mark", lambda audio: Audio(-audio.samples, audio.rate))
    said = joe.say(TEXT, KNOBS, 0).audio
    assert b"".join(asked(voices, watermark=True)[0]) == file_bytes(Audio(-said.samples, said.rate), "WAV")
