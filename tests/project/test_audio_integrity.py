"""Torn, damaged and foreign files: each is refused for what it is, whole ones never are."""

from __future__ import annotations

import pickle
import random
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tts_train.audio import Audio, AudioFault, read_audio, stream
from tts_train.integrity import tear_of, wrong_suffix

RATE = 24000
REASONS = ("truncated-audio", "unreadable-audio", "not-audio", "not-finite", "empty-file", "too-long")
Readings = dict[str, tuple[Audio, str]]


def by_sndfile(kind: str, subtype: str) -> Callable[[Path, Audio], None]:
    return lambda path, audio: soundfile.write(path, audio.samples, audio.rate, format=kind, subtype=subtype)


def by_libav(kind: str, codec: str, rate: int, **options: str) -> Callable[[Path, Audio], None]:
    def write(path: Path, audio: Audio) -> None:
        import av

        given = audio.at(rate)
        with av.open(str(path), "w", format=kind, options=options) as container:
            out = container.add_stream(codec, rate=rate, layout="mono")
            frame = av.AudioFrame.from_ndarray(given.samples[None], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = rate, 0
            resampler = av.AudioResampler(out.format.name, "mono", rate, frame_size=out.codec_context.frame_size)
            for piece in [*resampler.resample(frame), *resampler.resample(None)]:
                container.mux(out.encode(piece))
            container.mux(out.encode(None))

    return write


WRITERS = {
    "pcm.wav": by_sndfile("WAV", "PCM_16"),
    "float.wav": by_sndfile("WAV", "FLOAT"),
    "rf64.wav": by_sndfile("RF64", "PCM_16"),
    "a.aiff": by_sndfile("AIFF", "PCM_16"),
    "a.flac": by_sndfile("FLAC", "PCM_16"),
    "vorbis.ogg": by_sndfile("OGG", "VORBIS"),
    "a.opus": by_libav("ogg", "libopus", 48000),
    "sndfile.mp3": by_sndfile("MP3", "MPEG_LAYER_III"),
    "libav.mp3": by_libav("mp3", "libmp3lame", RATE),
    "uncounted.mp3": by_libav("mp3", "libmp3lame", RATE, write_xing="0"),
    "a.m4a": by_libav("ipod", "aac", RATE),
    "fast.m4a": by_libav("ipod", "aac", RATE, movflags="faststart"),
}


@pytest.fixture(scope="module")
def speech(readings: Readings) -> Audio:
    audio = readings["bus"][0]
    return Audio(audio.samples[: 2 * audio.rate], audio.rate)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, speech: Audio) -> Path:
    folder = tmp_path_factory.mktemp("audio")
    for name, write in WRITERS.items():
        write(folder / name, speech)
    return folder


def reason(path: Path) -> str:
    with pytest.raises(AudioFault) as caught:
        read_audio(path)
    assert caught.value.exit_code == 65
    assert caught.value.numbers
    return caught.value.reason


@pytest.mark.parametrize("name", WRITERS)
def test_a_whole_file_is_read_whole(files: Path, name: str) -> None:
    assert read_audio(files / name).seconds == pytest.approx(2.0, abs=0.1)
    assert tear_of(files / name) is None
    assert wrong_suffix(files / name) is None


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("share", [0.02, 0.05, 0.3, 0.6])
def test_a_torn_file_is_refused_however_little_is_missing(files: Path, tmp_path: Path, name: str, share: float) -> None:
    whole = (files / name).read_bytes()
    torn = tmp_path / name
    torn.write_bytes(whole[: len(whole) - round(share * len(whole)) - 1])

    assert reason(torn) == "truncated-audio"


@pytest.mark.parametrize("name", ["pcm.wav", "vorbis.ogg", "a.opus", "libav.mp3", "a.flac", "a.m4a"])
def test_one_byte_is_enough(files: Path, tmp_path: Path, name: str) -> None:
    torn = tmp_path / name
    torn.write_bytes((files / name).read_bytes()[:-1])

    assert reason(torn) == "truncated-audio"


def test_a_long_mp3_may_lack_its_last_frame(files: Path, tmp_path: Path) -> None:
    """Books come so; what counts there is how much is missing."""
    torn = tmp_path / "book.mp3"
    torn.write_bytes((files / "uncounted.mp3").read_bytes()[:-20])
    half = tmp_path / "half.wav"
    half.write_bytes((files / "pcm.wav").read_bytes()[: 24000 * 2])

    assert sum(len(block) for block in stream(torn)) / RATE == pytest.approx(2.0, abs=0.1)
    with pytest.raises(AudioFault, match="promises 96000 bytes"):
        list(stream(half))


def test_headers_that_do_not_know_the_length_are_no_tear(files: Path, tmp_path: Path) -> None:
    whole = bytearray((files / "pcm.wav").read_bytes())
    for size in (0xFFFFFFFF, 0x7FFFFFFF, 0):
        struct.pack_into("<I", whole, whole.index(b"data") + 4, size)
        (tmp_path / "streamed.wav").write_bytes(whole)
        assert read_audio(tmp_path / "streamed.wav").seconds == 2.0


def test_tags_around_an_mp3_are_no_tear(files: Path, tmp_path: Path) -> None:
    tagged = tmp_path / "tagged.mp3"
    front = b"ID3\x03\x00\x00\x00\x00\x01\x00" + bytes(128)
    tagged.write_bytes(front + (files / "uncounted.mp3").read_bytes() + b"TAG" + bytes(125))

    assert tear_of(tagged) is None
    assert read_audio(tagged).seconds == pytest.approx(2.0, abs=0.1)


def test_an_ogg_without_its_last_page_is_torn(files: Path, tmp_path: Path) -> None:
    """libav takes the length from the last page that is there."""
    whole = (files / "a.opus").read_bytes()
    torn = tmp_path / "torn.opus"
    torn.write_bytes(whole[: whole.rindex(b"OggS")])

    assert reason(torn) == "truncated-audio"


@pytest.mark.parametrize("name", ["a.flac", "vorbis.ogg", "a.opus", "a.m4a", "libav.mp3"])
def test_damage_inside_is_noticed(files: Path, tmp_path: Path, name: str) -> None:
    data = bytearray((files / name).read_bytes())
    middle = len(data) // 2
    data[middle : middle + 200] = random.Random(1).randbytes(200)
    (tmp_path / name).write_bytes(data)

    assert reason(tmp_path / name) in {"unreadable-audio", "truncated-audio"}


def test_wrong_bytes_of_a_flac_are_noticed_wherever_they_are(files: Path, tmp_path: Path) -> None:
    """Left to itself libav decodes some of them to something else, and says nothing."""
    whole = (files / "a.flac").read_bytes()
    for place in range(100, len(whole), 977):
        (tmp_path / "a.flac").write_bytes(whole[:place] + b"\x5a" + whole[place + 1 :])
        assert reason(tmp_path / "a.flac") in {"unreadable-audio", "truncated-audio"}


@pytest.mark.parametrize("suffix", ["wav", "mp3", "flac", "ogg", "m4a", "aac", "opus"])
def test_what_is_no_audio(tmp_path: Path, suffix: str) -> None:
    for content, expected in ((b"", "empty-file"), (b"this is no audio\n" * 50, "not-audio")):
        (tmp_path / f"a.{suffix}").write_bytes(content)
        assert reason(tmp_path / f"a.{suffix}") == expected


def test_no_samples_and_samples_that_are_not_finite(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "none.wav", np.zeros(0, np.float32), RATE)
    for value in (np.nan, np.inf, -np.inf):
        soundfile.write(tmp_path / "bad.wav", np.where(np.arange(RATE) == 2400, value, 0.1), RATE, subtype="FLOAT")
        with pytest.raises(AudioFault, match=r"first at 0\.100 s") as caught:
            read_audio(tmp_path / "bad.wav")
        assert caught.value.reason == "not-finite"

    assert reason(tmp_path / "none.wav") == "empty-file"


@pytest.mark.parametrize("name", ["pcm.wav", "libav.mp3", "a.flac", "a.opus", "a.m4a"])
def test_a_wrong_ending_is_noticed_and_the_content_read(files: Path, tmp_path: Path, name: str) -> None:
    wrong = tmp_path / ("a.wav" if name != "pcm.wav" else "a.mp3")
    wrong.write_bytes((files / name).read_bytes())

    assert read_audio(wrong).seconds == pytest.approx(2.0, abs=0.06)
    assert wrong_suffix(wrong) == {"pcm.wav": "wav", "libav.mp3": "mp3", "a.flac": "flac", "a.opus": "ogg"}.get(
        name, "mp4"
    )


def test_a_book_among_clips_is_not_read_into_memory(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.flac", np.zeros(30 * RATE), RATE)

    with pytest.raises(AudioFault) as caught:
        read_audio(tmp_path / "long.flac", longest=10.0)

    assert caught.value.reason == "too-long"
    assert read_audio(tmp_path / "long.flac", longest=30.0).seconds == 30.0


def test_any_damage_is_a_fault_and_never_a_crash(files: Path, tmp_path: Path) -> None:
    chance = random.Random(5)
    sources = [(files / name).read_bytes() for name in WRITERS]
    reasons = set()
    for number in range(150):
        name = list(WRITERS)[number % len(WRITERS)]
        data = bytearray(sources[number % len(WRITERS)])
        for _ in range(chance.choice((1, 5, 40))):
            data[chance.randrange(chance.choice((64, len(data))))] = chance.randrange(256)
        (tmp_path / name).write_bytes(data)
        try:
            assert np.isfinite(read_audio(tmp_path / name, longest=300).samples).all()
        except AudioFault as fault:
            reasons.add(fault.reason)

    assert {"truncated-audio", "unreadable-audio"} <= reasons <= {*REASONS}


def test_a_fault_travels_between_processes() -> None:
    fault = pickle.loads(pickle.dumps(AudioFault("torn", reason="truncated-audio", numbers={"bytes": 7}, hint="try")))

    assert (fault.message, fault.reason, fault.numbers, fault.hint) == ("torn", "truncated-audio", {"bytes": 7}, "try")
