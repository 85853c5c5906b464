"""The watermark: found in marked speech and not in plain, at any rate and through a codec; never silently left out."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import perth
import pytest

from tts_train.audio import Audio, pcm16, write_audio
from tts_train.errors import InputUnusable, Unavailable
from tts_train.files import sha256_file
from tts_train.work import watermark

Readings = dict[str, tuple[Audio, str]]


@pytest.fixture
def fresh() -> Iterator[None]:
    """The network as a new process meets it."""
    kept = watermark._network
    watermark._network = watermark.functools.cache(kept.__wrapped__)
    yield
    watermark._network = kept


def snr(plain: Audio, marked: Audio) -> float:
    noise = marked.samples - plain.samples
    return float(10 * np.log10(np.sum(plain.samples**2) / np.sum(noise**2)))


def test_marked_speech_is_told_from_plain(readings: Readings) -> None:
    for name in ("bus", "coffee", "hens"):
        plain, _ = readings[name]
        marked = watermark.mark(plain)

        assert (len(marked.samples), marked.rate, marked.samples.dtype) == (len(plain.samples), plain.rate, np.float32)
        assert watermark.score(plain) < 0.1
        assert watermark.score(marked) > 0.9
        assert 12 < snr(plain, marked) < 25
        assert np.array_equal(watermark.mark(plain).samples, marked.samples)


@pytest.mark.parametrize("rate", [16000, 22050, 24000, 48000])
def test_at_every_rate_of_a_speaker(readings: Readings, rate: int) -> None:
    plain = readings["bus"][0].at(rate)
    marked = watermark.mark(plain)

    assert len(marked.samples) == len(plain.samples)
    assert (watermark.score(plain) < 0.1, watermark.score(marked) > 0.9) == (True, True)


def test_it_survives_mp3(readings: Readings, tmp_path: Path) -> None:
    marked = watermark.mark(readings["coffee"][0])
    path = tmp_path / "said.mp3"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libmp3lame", rate=marked.rate, layout="mono")
        stream.bit_rate = 64_000
        frame = av.AudioFrame.from_ndarray(pcm16(marked.samples)[None], format="s16", layout="mono")
        frame.sample_rate = marked.rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))

    assert watermark.examine(str(path))["marked"] == "yes"


def test_what_of_a_recording_is_marked(readings: Readings, tmp_path: Path) -> None:
    plain = readings["passage"][0]
    rate = plain.rate
    speech = np.resize(plain.samples, 30 * rate)
    middle = watermark.mark(Audio(speech[10 * rate : 20 * rate], rate)).samples
    joined = Audio(np.concatenate([speech[: 10 * rate], middle, speech[20 * rate :], np.zeros(rate // 2)]), rate)
    write_audio(tmp_path / "said.wav", joined)
    write_audio(tmp_path / "plain.flac", Audio(speech, rate))

    told = watermark.examine(str(tmp_path / "said.wav"))
    assert (told["marked"], told["spans"], told["share"]) == ("in part", [[10.0, 20.0]], 0.333)
    assert told["score"] > 0.9
    told = watermark.examine(str(tmp_path / "plain.flac"))
    assert (told["marked"], told["spans"], told["share"]) == ("no", [], 0.0)


def test_what_is_short_or_silent_is_not_guessed(readings: Readings, tmp_path: Path) -> None:
    silence = Audio(np.zeros(22050, np.float32), 22050)
    assert np.array_equal(watermark.mark(silence).samples, silence.samples)
    assert watermark.score(silence) is None
    click = Audio(readings["bus"][0].samples[:300], 22050)
    assert len(watermark.mark(click).samples) == 300
    write_audio(tmp_path / "silence.wav", silence)
    told = watermark.examine(str(tmp_path / "silence.wav"))
    assert (told["marked"], told["score"]) == ("no", None)
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(InputUnusable):
        watermark.examine(str(tmp_path / "text.wav"))


# --- never silently without


def test_a_package_that_switched_itself_off_is_an_error(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perth, "PerthImplicitWatermarker", None)

    with pytest.raises(Unavailable, match="pkg_resources") as caught:
        watermark.mark(Audio(np.zeros(9, np.float32), 22050))
    assert "run.sh setup" in caught.value.hint
    assert caught.value.exit_code == 69


def test_no_package_is_an_error(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "perth", None)

    with pytest.raises(Unavailable, match="resemble-perth"):
        watermark.require()


def package(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another resemble-perth, with the files of the real one."""
    weights = Path(perth.__file__).parent / "perth_net/pretrained/implicit"
    own = folder / "perth_net/pretrained/implicit"
    own.mkdir(parents=True)
    for path in weights.iterdir():
        (own / path.name).symlink_to(path)
    made: list[Any] = []
    stand_in = types.ModuleType("perth")
    stand_in.__file__ = str(folder / "__init__.py")
    stand_in.PerthImplicitWatermarker = lambda: made.append(1)
    monkeypatch.setitem(sys.modules, "perth", stand_in)
    return own


def test_other_weights_are_never_read(fresh: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = package(tmp_path, monkeypatch)
    watermark.require()
    watermark._network.cache_clear()
    (own / "perth_net_999999.pth.tar").write_bytes(b"it would take the highest number")
    with pytest.raises(Unavailable, match="perth_net_999999"):
        watermark.require()
    (own / "perth_net_999999.pth.tar").unlink()
    name = "perth_net_250000.pth.tar"
    (own / name).unlink()
    (own / name).write_bytes(b"a pickle")
    with pytest.raises(Unavailable, match="is not the file"):
        watermark.require()


def test_its_pinned_files_are_those_of_the_package() -> None:
    folder = Path(perth.__file__).parent / "perth_net/pretrained/implicit"

    assert {name: sha256_file(folder / name) for name in watermark._FILES} == watermark._FILES
