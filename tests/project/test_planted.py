"""One of everything that does not belong into a dataset, among good studio clips: each leaves with its own reason."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

import asterisk
from tts_train.audio import Audio, read_audio, write_audio
from tts_train.ingest.restore import restored
from tts_train.ingest.screen.again import screen_again
from tts_train.ingest.screen.options import screen_options
from tts_train.ingest.take_back import list_rejections, take_back
from tts_train.ingest.transcript import ingest_transcript
from tts_train.quality.levels import frame_levels, loud_level

DEMO = Path(__file__).resolve().parents[2] / "datasets/demo"
GOOD = 36
CARD = "source: Asterisk\nlicence: CC-BY-SA-3.0\nspeaker: Allison\nconsent_basis: licensed\nlanguage: en\n"
FILTERS = ("wer::0.6",)
"""Wrong texts are looked for in this set; that takes an independent recogniser and is no default."""


def encode(path: Path, audio: Audio, codec: str) -> bytes:
    """A lossy file of `audio`; its bytes."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=audio.rate, layout="mono")
        resampler = av.AudioResampler(
            stream.format.name, "mono", audio.rate, frame_size=stream.codec_context.frame_size
        )
        frame = av.AudioFrame.from_ndarray(audio.samples.reshape(1, -1), "fltp", "mono")
        frame.sample_rate = audio.rate
        for ready in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(ready))
        container.mux(stream.encode(None))
    return path.read_bytes()


def noisy(audio: Audio, snr_db: float) -> Audio:
    """White noise so far below the active speech."""
    levels = frame_levels(audio)
    speech = np.mean(10 ** (levels[levels > loud_level(levels) - 30] / 10))
    noise = np.random.default_rng(0).standard_normal(len(audio.samples)) * np.sqrt(speech / 10 ** (snr_db / 10))
    return Audio((audio.samples + noise).astype(np.float32), audio.rate)


def joined(first: Audio, second: Audio) -> Audio:
    pause = np.zeros(first.rate // 4, np.float32)
    return Audio(np.concatenate([first.samples, pause, second.at(first.rate).samples]), first.rate)


def cut_file(path: Path, audio: Audio) -> None:
    write_audio(path, audio)
    path.write_bytes(path.read_bytes()[:-20000])


def write_float(path: Path, audio: Audio, bad: int) -> None:
    samples = audio.samples.copy()
    samples[bad] = np.nan
    soundfile.write(path, samples, audio.rate, subtype="FLOAT")


class Planted:
    """A folder of recordings with a list; `expected` maps planted ids to their reasons."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[dict[str, str]] = []
        self.expected: dict[str, str] = {}

    def add(self, name: str, text: str, fill: Callable[[Path], object], reason: str | None = None) -> None:
        fill(self.folder / name)
        self.rows.append({"audio_file": name, "text": text})
        if reason:
            self.expected[Path(name).stem] = reason

    def write(self) -> Path:
        random.Random(0).shuffle(self.rows)
        place = self.folder / "transcripts.jsonl"
        place.write_text("".join(json.dumps(row) + "\n" for row in self.rows))
        return place


def prompts() -> list[asterisk.Prompt]:
    """Sentences of two to seven seconds, each text once."""
    texts: dict[str, asterisk.Prompt] = {}
    for prompt in asterisk.require():
        if 2.0 < prompt.seconds < 7.0 and "(" not in prompt.text and "..." not in prompt.text:
            texts.setdefault(prompt.text.lower(), prompt)
    return random.Random(1).sample(sorted(texts.values(), key=lambda item: item.name), GOOD + 14)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    folder = tmp_path_factory.mktemp("planted")
    chosen = prompts()
    sounds = [Audio(asterisk.read(prompt), asterisk.RATE) for prompt in chosen]
    plan = Planted(folder)

    def wav(audio: Audio) -> Callable[[Path], object]:
        return lambda path: write_audio(path, audio)

    for prompt, audio in zip(chosen[:GOOD], sounds[:GOOD], strict=True):
        plan.add(f"good-{prompt.name.replace('/', '-')}.wav", prompt.text, wav(audio))
    rest = iter(zip(chosen[GOOD:], sounds[GOOD:], strict=True))

    def plant(name: str, make: Callable[[Audio], Callable[[Path], object]], reason: str) -> None:
        prompt, audio = next(rest)
        plan.add(name, prompt.text, make(audio), reason)

    def half(codec: str) -> Callable[[Audio], Callable[[Path], object]]:
        def fill(audio: Audio) -> Callable[[Path], object]:
            return lambda path: path.write_bytes((whole := encode(path, audio, codec))[: len(whole) * 6 // 10])

        return fill

    plant("noise.wav", lambda audio: wav(noisy(audio, 10)), "noisy")
    plant("clipped.wav", lambda audio: wav(Audio(np.clip(audio.samples * 12, -1, 1), audio.rate)), "clipped")
    plant("telephone.wav", lambda audio: wav(audio.at(8000)), "narrow-band")
    plant("short.wav", lambda audio: wav(Audio(audio.samples[6000:6320], audio.rate)), "too-short")
    plant("silence.wav", lambda audio: wav(Audio(np.zeros_like(audio.samples), audio.rate)), "silent")
    plant("torn-mp3.mp3", half("libmp3lame"), "truncated-audio")
    plant("torn-ogg.ogg", half("libopus"), "truncated-audio")
    plant("cut.wav", lambda audio: lambda path: cut_file(path, audio), "truncated-audio")
    plant("nothing.wav", lambda audio: lambda path: path.write_bytes(b""), "empty-file")
    plant("nan.wav", lambda audio: lambda path: write_float(path, audio, bad=9000), "not-finite")
    other, text = reading("hat")
    plan.add("stranger.wav", text, wav(other), "other-speaker")
    prompt, audio = next(rest)
    plan.add("both.wav", f"{prompt.text} {text}", wav(joined(audio, other)), "two-speakers")
    plan.add("again.wav", chosen[0].text, wav(Audio(sounds[0].samples * 0.5, asterisk.RATE)), "duplicate")
    spanish = Audio(asterisk.read(asterisk.spanish("conf-hasjoin")), asterisk.RATE)
    plan.add("spanish.wav", "Ya está en la conferencia.", wav(spanish), "other-language")
    prompt, audio = next(rest)
    plan.add("wrong.wav", "A lamp that nobody lights gathers more dust than oil.", wav(audio), "wrong-text")
    # Not a fault: a FLAC that is called .wav says the same.
    prompt, audio = next(rest)
    plan.add(
        "good-misnamed.wav", prompt.text, lambda path: soundfile.write(path, audio.samples, audio.rate, format="FLAC")
    )
    return plan


def reading(name: str) -> tuple[Audio, str]:
    rows = [json.loads(line) for line in (DEMO / "heldout/manifest.jsonl").read_text().splitlines()]
    row = next(row for row in rows if row["audio_file"].startswith(name))
    return read_audio(DEMO / "heldout" / row["audio_file"]), row["text"]


@pytest.fixture(scope="module")
def dataset(planted: Planted) -> Path:
    out = planted.folder / "out"
    card = planted.folder / "card.yaml"
    card.write_text(CARD)
    options = screen_options(FILTERS, (), None, station="transcript", min_seconds=1.0, max_seconds=20.0)
    ingest_transcript(planted.folder, planted.write(), out, card=card, screening=options, max_rejected=0.5)
    return out


def test_everything_planted_leaves_with_its_own_reason_and_nothing_good_is_lost(
    planted: Planted, dataset: Path
) -> None:
    rows = [json.loads(line) for line in (dataset / "rejections.jsonl").read_text().splitlines()]
    found = {row["id"]: row["reason"] for row in rows}
    # Which of two copies stays is a matter of their quality: 6 dB are none.
    copies = {name for name, reason in found.items() if reason == "duplicate"}
    assert len(copies) == 1
    expected = {name: reason for name, reason in planted.expected.items() if name != "again"}
    assert {name: reason for name, reason in found.items() if name not in copies} == expected
    kept = [json.loads(line)["id"] for line in (dataset / "train_manifest.jsonl").read_text().splitlines()]
    assert len(kept) == GOOD + 1
    assert all(name.startswith("good-") or name == "again" for name in kept)


def test_a_screens_rejection_has_its_numbers_and_a_playable_clip(dataset: Path) -> None:
    rows = [json.loads(line) for line in (dataset / "rejections.jsonl").read_text().splitlines()]
    screened = [row for row in rows if row["numbers"]["step"] == "screen"]
    assert len(screened) >= 10
    for row in screened:
        numbers = row["numbers"]
        low, high = numbers["min"], numbers["max"]
        assert (low is not None and numbers["value"] < low) or (high is not None and numbers["value"] > high)
        assert read_audio(dataset / row["audio_file"]).seconds == pytest.approx(row["audio_seconds"], abs=0.001)


def test_a_second_screening_measures_nothing_and_changes_nothing(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {name: (dataset / name).read_bytes() for name in ("train_manifest.jsonl", "rejections.jsonl")}

    def refuse(*_: object) -> None:
        raise AssertionError("measured again")

    for name in ("_speakers", "_heard", "_languages", "_similarities", "_levels"):
        monkeypatch.setattr(f"tts_train.ingest.screen.scorers.{name}", refuse)
    result = screen_again(dataset, filters=FILTERS, max_rejected=0.5)
    assert result["text"].startswith("nothing changed")
    assert {name: (dataset / name).read_bytes() for name in before} == before


def test_a_clip_taken_back_stays_through_the_next_screening_and_can_be_given_up(dataset: Path) -> None:
    before = (dataset / "train_manifest.jsonl").read_bytes()
    result = take_back(dataset, ["noise", "stranger"])
    kept = {row["id"]: row for row in map(json.loads, (dataset / "train_manifest.jsonl").read_text().splitlines())}
    assert kept["noise"]["measures"]["restored"] == "noisy"
    assert {"noise", "stranger"} <= kept.keys()
    assert result["clips"] == len(kept)
    screen_again(dataset, filters=FILTERS, max_rejected=0.5)
    assert b'"id": "noise"' in (dataset / "train_manifest.jsonl").read_bytes()
    take_back(dataset, ["noise", "stranger"], undo=True)
    assert (dataset / "train_manifest.jsonl").read_bytes() == before
    assert restored(dataset) == {}
    assert list_rejections(dataset, "noisy")["count"] == 1
