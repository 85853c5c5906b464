"""The speech server over real sockets and processes, with voices that hum: answers, limits, deaths, strangers."""

from __future__ import annotations

import base64
import http.client
import io
import json
import re
import signal
import socket
import subprocess
import sys
import time
import wave
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from humming_server import TESTS, ask, humming, noted, until_noted, voice
from humming_worker import Hummer, SentenceHummer
from tts_train.audio import file_bytes, pcm16
from tts_train.backends import BACKENDS
from tts_train.errors import Busy, Unavailable, UsageError
from tts_train.serve.command import Server, is_loopback, listening_socket, started, token_of
from tts_train.serve.front import Limits

SPEECH = "/v1/audio/speech"
TOKEN = "a token that nobody guesses"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("serve")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    """Two families, two processes: ann speaks sentence by sentence, bob does not."""
    with humming(folder, voice("ann"), voice("bob", "qwen3")) as running:
        yield running


def speech(server: Server, text: str, **fields: Any) -> tuple[int, http.client.HTTPMessage, bytes]:
    wanted = {"model": "tts-1", "voice": "ann", "response_format": "wav", "input": text, **fields}
    return ask(server.url, "POST", SPEECH, wanted)


def error(answer: tuple[int, http.client.HTTPMessage, bytes]) -> tuple[int, str, str | None]:
    told = json.loads(answer[2])["error"]
    assert set(told) == {"message", "type", "param", "code"}
    return answer[0], told["code"], told["param"]


def number(server: Server, name: str) -> float:
    """A metric by its name and label."""
    text = ask(server.url, "GET", "/metrics")[2].decode()
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    assert found, text
    return float(found[1])


def hummed(text: str, *, name: str = "ann", seed: int = 0, **knobs: Any) -> Any:
    family, kind = ("piper", SentenceHummer) if name == "ann" else ("qwen3", Hummer)
    return kind(family, f"{name}.base", {}).say(text, {**BACKENDS[family].knobs, **knobs}, seed).audio


# --- what is spoken


def test_a_wav_is_what_infer_would_write(server: Server) -> None:
    status, headers, body = speech(server, "One. Two.", seed=3, setting={"length_scale": 1.5})

    assert (status, headers["Content-Type"]) == (200, "audio/wav")
    assert body == file_bytes(hummed("One. Two.", seed=3, length_scale=1.5), "WAV")
    assert speech(server, "One. Two.")[2] == file_bytes(hummed("One. Two."), "WAV")


def test_speed_is_a_knob_of_the_family_or_refused(server: Server) -> None:
    assert speech(server, "One.", speed=2.0)[2] == file_bytes(hummed("One.", length_scale=0.5), "WAV")
    assert error(speech(server, "One.", voice="bob", speed=2.0)) == (400, "unsupported_parameter", "speed")


def test_pcm_is_samples_alone(server: Server) -> None:
    assert (
        speech(server, "One.", voice="bob", response_format="pcm")[2]
        == pcm16(hummed("One.", name="bob").samples).tobytes()
    )


def test_the_first_sentence_is_heard_before_the_last_is_spoken(server: Server, folder: Path, tmp_path: Path) -> None:
    go = tmp_path / "go"
    with connected(server, f"One here. [wait {go}] two there.", stream=True) as answer:
        first = answer.read1(1 << 20)
        until_noted(folder, f"say  [wait {go}] two there.")
        go.touch()
        rest = answer.read()

    assert first[4:8] == first[40:44] == b"\xff\xff\xff\xff", "no length is promised"
    assert len(first) > 44
    assert (first + rest)[44:] == pcm16(hummed(f"One here. [wait {go}] two there.").samples).tobytes()


@pytest.mark.parametrize("name", ["ann", "bob"])
def test_events_carry_the_same_audio(server: Server, name: str) -> None:
    body = speech(server, "One. Two.", voice=name, stream_format="sse")[2].decode()
    events = [json.loads(line.removeprefix("data: ")) for line in body.split("\n\n") if line]
    audio = b"".join(base64.b64decode(event["audio"]) for event in events if event["type"] == "speech.audio.delta")

    assert events[-1]["type"] == "speech.audio.done"
    assert audio == speech(server, "One. Two.", voice=name, stream=True)[2]


def test_a_voice_of_one_utterance_is_cut_to_be_streamed_and_where_it_is_long(server: Server, folder: Path) -> None:
    """Otherwise it says the text as a probe's render does."""
    seen = len(noted(folder))
    speech(server, "One here. Two there.", voice="bob")
    speech(server, "Three here. Four there.", voice="bob", stream=True)
    sentence = f"So {'long ' * 60}it is."
    speech(server, f"{sentence} {sentence} {sentence}", voice="bob")

    assert 2 * len(sentence) > 600
    told = ["say One here. Two there.", "say Three here.", "say Four there.", *[f"say {sentence}"] * 3]
    assert noted(folder)[seen:] == told


def test_what_may_be_asked_for(server: Server) -> None:
    voices = json.loads(ask(server.url, "GET", "/v1/audio/voices")[2])["voices"]
    models = json.loads(ask(server.url, "GET", "/v1/models")[2])["data"]

    assert [(item["id"], item["family"], item["language"]) for item in voices] == [
        ("ann", "piper", "en"),
        ("bob", "qwen3", "en"),
    ]
    assert "base" not in json.dumps(voices), "clients are told no paths"
    assert [item["id"] for item in models] == ["tts-train", "ann", "bob"]
    assert json.loads(ask(server.url, "GET", "/v1/models/bob")[2])["id"] == "bob"
    assert speech(server, "One.", model="bob", voice=None)[2] == file_bytes(hummed("One.", name="bob"), "WAV")


# --- what is refused


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"model": "other"}, (404, "model_not_found", "model")),
        ({"voice": "alloy"}, (400, "voice_not_found", "voice")),
        ({"voice": None}, (400, "voice_not_found", "voice")),
        ({"model": "bob"}, (400, "voice_not_found", "voice")),
        ({"input": " "}, (400, "empty_input", "input")),
        ({"input": "a" * 4097}, (413, "string_above_max_length", "input")),
        ({"input": "[wrong]."}, (400, "unspeakable_input", "input")),
        ({"input": "[bug]."}, (500, "internal", None)),
        ({"response_format": "ogg"}, (400, "invalid_value", "response_format")),
        ({"speed": 5}, (400, "invalid_value", "speed")),
        ({"instructions": "shout"}, (400, "unsupported_parameter", "instructions")),
        ({"setting": {"unknown": 1}}, (400, "invalid_setting", "setting")),
        ({"reference": "/etc/passwd"}, (400, "unknown_parameter", "reference")),
    ],
)
def test_a_wrong_request_is_told_as_openai_does(server: Server, fields: Any, expected: Any) -> None:
    assert error(speech(server, fields.get("input", "One."), **fields)) == expected


def test_bodies_addresses_and_methods_that_are_wrong(server: Server) -> None:
    assert error(ask(server.url, "POST", SPEECH, b"{"))[:2] == (400, "invalid_json")
    assert error(ask(server.url, "POST", SPEECH, b" " * 70_000))[:2] == (413, "request_too_large")
    assert error(ask(server.url, "GET", "/v1/elsewhere"))[0] == 404
    assert error(ask(server.url, "GET", SPEECH))[0] == 405


def test_a_request_that_never_ends_is_given_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tts_train.serve.app.BODY_SECONDS", 0.1)
    place = urlsplit(server.url)
    with socket.create_connection((str(place.hostname), place.port or 0), timeout=10) as slow:
        slow.sendall(f"POST {SPEECH} HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: 99\r\n\r\n{{".encode())
        assert slow.recv(4096).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 400),
        ({"Host": "127.0.0.1.evil.example"}, 400),
        ({"Origin": "https://evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Host": "localhost:9000"}, 200),
    ],
)
def test_pages_elsewhere_are_not_answered(server: Server, headers: dict[str, str], status: int) -> None:
    assert ask(server.url, "GET", "/v1/models", headers=headers)[0] == status


def test_a_token_is_asked_of_everybody_and_the_name_is_then_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTS_TRAIN_SERVE_TOKEN", TOKEN)
    with humming(tmp_path, voice("ann"), token=TOKEN) as server:
        for headers in ({}, {"Authorization": f"Bearer {TOKEN}x"}, {"Authorization": TOKEN}):
            assert error(ask(server.url, "GET", "/v1/models", headers=headers))[:2] == (401, "invalid_api_key")
            assert ask(server.url, "GET", "/metrics", headers=headers)[0] == 401
            assert ask(server.url, "POST", SPEECH, {"input": "One."}, headers=headers)[0] == 401
        bearer = {"Authorization": f"Bearer {TOKEN}", "Host": "voice.example"}
        assert ask(server.url, "GET", "/v1/models", headers=bearer)[0] == 200
        page = ask(server.url, "GET", "/")[2].decode()
        assert ask(server.url, "GET", "/health")[0] == 200
    assert 'id="token-row" ><' in page
    assert TOKEN not in page
    assert noted(tmp_path) == ["load ann.base"], "workers know the token"


def test_the_page_needs_nothing_from_elsewhere(server: Server) -> None:
    status, headers, body = ask(server.url, "GET", "/")
    assert status == 200
    assert not re.search(r"(src|href)=\"(?!data:,)", body.decode())
    assert "https://" not in body.decode()
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert 'id="token-row" hidden' in body.decode()


# --- load, deaths and ends


@contextmanager
def connected(server: Server, text: str, **fields: Any) -> Iterator[http.client.HTTPResponse]:
    """An answer whose beginning is there."""
    place = urlsplit(server.url)
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=30)
    wanted = {"input": text, "voice": "ann", "response_format": "wav", **fields}
    connection.request("POST", SPEECH, json.dumps(wanted), {"Content-Type": "application/json"})
    try:
        yield connection.getresponse()
    finally:
        connection.close()


def test_many_at_once_all_get_their_own(server: Server) -> None:
    texts = [f"Number {index} of many." for index in range(64)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda text: speech(server, text), texts))

    assert {status for status, _, _ in answers} == {200}
    assert [body for _, _, body in answers] == [file_bytes(hummed(text), "WAV") for text in texts]
    assert number(server, "tts_train_in_flight") == 0


def test_more_than_may_wait_are_sent_away(tmp_path: Path) -> None:
    go = tmp_path / "go"
    with humming(tmp_path, voice("ann"), queue=2) as server, ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(speech, server, f"[wait {go}] {index}.") for index in range(2)]
        while number(server, "tts_train_in_flight") < 2:
            time.sleep(0.01)
        refused = speech(server, "One.")
        go.touch()
        assert [answer.result()[0] for answer in waiting] == [200, 200]
        assert speech(server, "One.")[0] == 200
        assert number(server, 'tts_train_requests_total{status="429"}') == 1
    assert error(refused)[:2] == (429, "rate_limit_exceeded")
    assert 1 <= int(refused[1]["Retry-After"]) <= 60


def test_a_request_takes_no_longer_than_it_may_and_a_hung_worker_is_replaced(tmp_path: Path) -> None:
    with humming(tmp_path, voice("ann"), seconds=1.0) as server:
        assert error(speech(server, f"[wait {tmp_path / 'never'}]."))[:2] == (504, "timeout")
        # It could not be stopped inside the sentence: its process is killed after as long again.
        until_restarted(server)
        assert speech(server, "One.")[2] == file_bytes(hummed("One."), "WAV")


def until_restarted(server: Server) -> None:
    deadline = time.monotonic() + 20
    restarts = 'tts_train_worker_restarts_total{environment="skill"}'
    while number(server, restarts) < 1 or json.loads(ask(server.url, "GET", "/health")[2])["status"] != "ok":
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_crash_is_told_and_the_next_request_meets_a_new_worker(server: Server) -> None:
    with ThreadPoolExecutor(2) as pool:
        crashed, other = (pool.submit(speech, server, text) for text in ("[crash].", "One."))
        assert error(crashed.result())[:2] == (503, "worker_unavailable")
        assert crashed.result()[1]["Retry-After"]
        assert other.result()[0] == 200
    assert speech(server, "Two.")[2] == file_bytes(hummed("Two."), "WAV")
    assert speech(server, "Two.", voice="bob")[0] == 200
    assert json.loads(ask(server.url, "GET", "/health")[2])["status"] == "ok"


def test_an_error_in_the_middle_of_a_stream_breaks_it_off(server: Server) -> None:
    with connected(server, "One. [bug] two.", stream=True) as answer, pytest.raises(http.client.IncompleteRead):
        answer.read()
    assert number(server, 'tts_train_requests_total{status="500"}') >= 1
    body = speech(server, "One. [bug] two.", stream_format="sse")[2].decode()
    last = json.loads(body.strip().rpartition("data: ")[2])
    assert (last["type"], last["error"]["code"]) == ("error", "internal")


@pytest.mark.parametrize("stream", [True, False])
def test_whoever_leaves_is_not_spoken_to_any_longer(server: Server, folder: Path, tmp_path: Path, stream: bool) -> None:
    go = tmp_path / "go"
    wanted = {"input": f"One. [wait {go}] two. Never {go}.", "voice": "ann", "stream": stream, "response_format": "wav"}
    place = urlsplit(server.url)
    client = http.client.HTTPConnection(str(place.hostname), place.port, timeout=30)
    client.request("POST", SPEECH, json.dumps(wanted), {"Content-Type": "application/json"})
    until_noted(folder, f"say  [wait {go}] two.")
    client.close()
    while number(server, "tts_train_in_flight"):
        time.sleep(0.01)
    go.touch()

    assert speech(server, "After.")[0] == 200
    assert f"say  Never {go}." not in noted(folder)


def test_the_longest_unused_voice_leaves_memory(tmp_path: Path) -> None:
    with humming(tmp_path, voice("ann"), voice("eve"), voice("bob", "qwen3"), keep=2) as server:
        for name in ("ann", "bob", "eve", "bob", "ann"):
            assert speech(server, "One.", voice=name)[0] == 200
        assert number(server, "tts_train_voices_loaded") == 2
    loads = [line.removeprefix("load ") for line in noted(tmp_path) if line.startswith("load")]
    assert loads == ["ann.base", "eve.base", "bob.base", "eve.base", "ann.base"]


def test_a_voice_that_cannot_be_loaded_is_not_the_client_s_fault(tmp_path: Path) -> None:
    with humming(tmp_path, voice("ann"), voice("eve", broken=True), keep=1) as server:
        assert error(speech(server, "One.", voice="eve"))[:2] == (503, "input_unusable")
        assert speech(server, "One.")[0] == 200


@pytest.mark.parametrize("number_of_signal", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_requests_in_flight_finish(tmp_path: Path, number_of_signal: signal.Signals) -> None:
    go = tmp_path / "go"
    command = [sys.executable, "-P", str(TESTS / "humming_server.py"), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout
        url = json.loads(process.stdout.readline())["result"]["url"]
        wanted = {"input": f"[wait {go}] one.", "voice": "ann", "response_format": "wav"}
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(ask, url, "POST", SPEECH, wanted)
            until_noted(tmp_path, f"say [wait {go}] one.")
            process.send_signal(number_of_signal)
            until_refused(url)
            go.touch()
            assert answer.result()[0] == 200
        assert process.wait(20) == 0


def until_refused(url: str) -> None:
    """New requests find no server, or one that sends them away."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if ask(url, "GET", "/health")[0] == 503:
                assert error(ask(url, "POST", SPEECH, {"input": "One."}))[:2] == (503, "stopping")
                return
        except OSError:
            return
        time.sleep(0.05)
    pytest.fail("it still takes requests")


# --- before it starts


def test_other_machines_are_not_let_in_without_a_token() -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "voice.example"):
        with pytest.raises(UsageError, match="no token"):
            started({}, host, 0, token=None, limits=Limits())
    assert all(is_loopback(host) for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost"))


def test_a_token_comes_from_a_file_or_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    assert token_of({"TTS_TRAIN_SERVE_TOKEN": "x" * 16}, file) == TOKEN
    assert token_of({"TTS_TRAIN_SERVE_TOKEN": "x" * 16}, None) == "x" * 16
    assert token_of({}, None) is None
    with pytest.raises(UsageError, match="no good token"):
        token_of({"TTS_TRAIN_SERVE_TOKEN": "short"}, None)


def test_a_taken_port_and_a_worker_that_does_not_start_are_told(tmp_path: Path) -> None:
    with listening_socket("127.0.0.1", 0) as taken, pytest.raises(Busy, match="cannot be had"):
        listening_socket("127.0.0.1", taken.getsockname()[1])
    told = json.dumps({"ok": False, "error": {"kind": "unavailable", "message": "no espeak", "hint": "set up"}})
    for said, expected in ((told, "no espeak"), ("", "exit code 3")):
        command = [sys.executable, "-c", f"print({said!r}); raise SystemExit(3)"]
        with pytest.raises(Unavailable, match=expected):
            started({"ann": voice("ann")}, "127.0.0.1", 0, token=None, limits=Limits(), command=lambda _, c=command: c)


def test_a_streamed_wav_is_one_for_readers_that_do_not_mind_its_length(server: Server) -> None:
    body = speech(server, "One. Two.", stream=True)[2]
    with wave.open(io.BytesIO(body)) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (22050, 1, 2)
        samples = np.frombuffer(sound.readframes(1 << 20), np.int16)
    np.testing.assert_array_equal(samples, pcm16(hummed("One. Two.").samples))
