"""OpenAI's own client speaks to the server: it is what most programs will use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from humming_server import humming, until_noted, voice
from humming_worker import Hummer, SentenceHummer
from tts_train.audio import file_bytes, pcm16
from tts_train.backends import BACKENDS

TOKEN = "a token that nobody guesses"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("serve")


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[openai.OpenAI]:
    with (
        humming(folder, voice("ann"), voice("bob", "qwen3"), token=TOKEN, queue=1) as server,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key=TOKEN, max_retries=0) as made,
    ):
        yield made


def hummed(text: str) -> Any:
    return SentenceHummer("piper", "ann.base", {}).say(text, BACKENDS["piper"].knobs, 0).audio


def test_a_wav(client: openai.OpenAI) -> None:
    answer = client.audio.speech.create(model="tts-1", voice="ann", input="One. Two.", response_format="wav")
    assert answer.content == file_bytes(hummed("One. Two."), "WAV")


def test_the_seed_and_the_setting_go_as_extra_fields(client: openai.OpenAI) -> None:
    extra = {"seed": 7, "setting": {"temperature": 0.5}}
    answer = client.audio.speech.create(
        model="tts-1", voice="bob", input="One.", response_format="wav", extra_body=extra
    )
    spoken = Hummer("qwen3", "bob.base", {}).say("One.", {**BACKENDS["qwen3"].knobs, "temperature": 0.5}, 7)
    assert answer.content == file_bytes(spoken.audio, "WAV")


def test_streamed_while_it_is_spoken(client: openai.OpenAI, folder: Path, tmp_path: Path) -> None:
    go = tmp_path / "go"
    text = f"One here. [wait {go}] two there."
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="ann", input=text, response_format="wav", stream_format="audio"
    ) as answer:
        pieces = answer.iter_bytes()
        first = next(pieces)
        until_noted(folder, f"say  [wait {go}] two there.")
        go.touch()
        assert (first + b"".join(pieces))[44:] == pcm16(hummed(text).samples).tobytes()


def test_what_is_served(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["tts-train", "ann", "bob"]
    assert client.models.retrieve("ann").owned_by == "tts-train"


@pytest.mark.parametrize(
    ("asked", "raised", "code"),
    [
        ({"model": "gpt-9"}, openai.NotFoundError, "model_not_found"),
        ({"voice": "alloy"}, openai.BadRequestError, "voice_not_found"),
        ({"input": "[wrong]."}, openai.BadRequestError, "unspeakable_input"),
        ({"input": "x" * 5000}, openai.APIStatusError, "string_above_max_length"),
        ({"input": "[crash]."}, openai.InternalServerError, "worker_unavailable"),
    ],
)
def test_errors_are_the_client_s_own(client: openai.OpenAI, asked: Any, raised: type[Exception], code: str) -> None:
    with pytest.raises(raised) as error:
        client.audio.speech.create(
            **{"model": "tts-1", "voice": "ann", "input": "One.", "response_format": "wav", **asked}
        )
    assert isinstance(error.value, openai.APIStatusError)
    assert error.value.code == code


def test_a_wrong_token_and_a_full_queue(client: openai.OpenAI, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="another").models.list()
    go = tmp_path / "go"
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="ann", input=f"One. [wait {go}] two.", response_format="wav", extra_body={"stream": True}
    ) as answer:
        with pytest.raises(openai.RateLimitError):
            client.audio.speech.create(model="tts-1", voice="ann", input="One.")
        # What the client does by itself: it comes again after the time that it is told.
        waiting = client.with_options(max_retries=4).audio.speech
        go.touch()
        answer.read()
        assert waiting.create(model="tts-1", voice="ann", input="One.", response_format="wav").content


def test_a_stream_that_breaks_off_is_noticed(client: openai.OpenAI) -> None:
    with (
        client.audio.speech.with_streaming_response.create(
            model="tts-1", voice="ann", input="One. [bug] two.", response_format="wav", stream_format="audio"
        ) as answer,
        pytest.raises(Exception, match=r"incomplete|peer closed"),
    ):
        answer.read()
