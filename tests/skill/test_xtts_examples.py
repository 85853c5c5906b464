"""Clips become examples by coqui-tts's rules, said aloud: reasons, caches, codes, conditioning, the reference."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from tts_train.audio import Audio, write_audio
from tts_train.backends.xtts import base as bases
from tts_train.backends.xtts import codes, examples, reference, sealed, text
from tts_train.backends.xtts.examples import Conditioner, Corpus, Example
from tts_train.backends.xtts.objective import collate
from tts_train.backends.xtts.voice import Voice, load_voice
from tts_train.config import XttsSettings
from tts_train.errors import ConfigError, InputUnusable, Unavailable
from tts_train.files import atomic_write_bytes
from tts_train.training.batching import bucketed

RATE = 22050


@pytest.fixture(scope="module")
def voice(tiny_xtts: Path) -> Voice:
    return load_voice(bases.describe(tiny_xtts, "tiny"))


def sound(seconds: float, seed: int = 0, rate: int = 24000, level: float = 0.2) -> Audio:
    """Noise that comes and goes three times a second, so that its codes differ."""
    generator = np.random.default_rng(seed)
    time = np.arange(int(seconds * rate)) / rate
    tones = sum(np.sin(2 * np.pi * generator.uniform(100, 4000) * time) for _ in range(4))
    loud = (0.6 + 0.4 * np.sin(6 * np.pi * time)) * (tones / 4 + generator.normal(0, 0.3, len(time)))
    return Audio(np.clip(level * loud, -1, 1).astype(np.float32), rate)


def write_clips(folder: Path, clips: dict[str, Any], **changes: dict[str, Any]) -> Path:
    """A manifest of `{id: Audio or bytes}`, every text the same unless changed."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, (name, content) in enumerate(clips.items()):
        file = folder / f"{name}.wav"
        if isinstance(content, bytes):
            file.write_bytes(content)
        else:
            write_audio(file, content)
        seconds = content.seconds if isinstance(content, Audio) else 1.0
        row = {"id": name, "audio_file": file.name, "text": f"the cat sat {'on' * number}.", "speaker": "ann"}
        rows.append({**row, "language": "en-GB", "audio_seconds": seconds, **changes.get(name, {})})
    manifest = folder / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return manifest


@pytest.fixture
def good(tmp_path: Path) -> Path:
    seconds = (1.3, 4.4, 2.1, 0.8, 3.0)
    return write_clips(tmp_path / "data", {f"c{at}": sound(value, at) for at, value in enumerate(seconds)})


@pytest.fixture
def build(voice: Voice) -> Callable[..., Corpus]:
    def built(manifest: Path, used: Voice | None = None, **settings: Any) -> Corpus:
        return examples.build(manifest, used or voice, XttsSettings(**settings))

    return built


def test_every_reason_is_told_with_numbers_and_line(
    tmp_path: Path, build: Callable[..., Corpus], capsys: pytest.CaptureFixture[str]
) -> None:
    broken = {
        "a-good": sound(1.0),
        "b-long": sound(3.5),
        "c-short": sound(0.4),
        "d-text": sound(1.0, 1),
        "e-sign": sound(1.0, 2),
        "f-torn": b"RIFF, and then nothing",
        "g-still": Audio(np.zeros(24000, np.float32), 24000),
        "h-nan": b"",
        "i-number": sound(1.0, 3),
        "j-quote": sound(1.0, 4),
    }
    texts = {
        "d-text": "a " * 30,
        "e-sign": "Straße, ☃ and [more].",
        "i-number": f"so many: {10**400}.",
        "j-quote": '"',
    }
    manifest = write_clips(tmp_path, broken, **{name: {"text": value} for name, value in texts.items()})
    samples = sound(1.0).samples.copy()
    samples[100] = np.nan
    soundfile.write(tmp_path / "h-nan.wav", samples, 24000, subtype="FLOAT")

    corpus = build(manifest, max_wav_seconds=3.0, max_text_tokens=40)

    assert [example.id for example in corpus.examples] == ["a-good"]
    told = {item.id: item for item in corpus.rejected}
    assert {name: item.reason for name, item in told.items()} == {
        "b-long": "too-long",
        "c-short": "too-short",
        "d-text": "text-too-long",
        "e-sign": "unknown-token",
        "f-torn": "unreadable",
        "g-still": "silent",
        "h-nan": "unreadable",
        "i-number": "unreadable-text",
        "j-quote": "unreadable-text",
    }
    assert [item.line for item in corpus.rejected] == list(range(2, 11))
    assert told["b-long"].numbers == {"audio_seconds": 3.5, "limit": 3.0}
    assert told["c-short"].numbers == {"audio_seconds": 0.4, "limit": 0.5}
    assert told["d-text"].numbers == {"tokens": 60, "limit": 40}
    assert told["e-sign"].numbers["characters"] == ["[ (U+005B)", "] (U+005D)", "ß (U+00DF)", "☃ (U+2603)"]
    assert "not finite" in told["h-nan"].numbers["message"]
    assert told["g-still"].numbers["loudest_dbfs"] == -120
    assert corpus.counts == {**dict.fromkeys(set(corpus.counts), 1), "unreadable": 2, "unreadable-text": 2}
    said = capsys.readouterr().err
    assert "left out e-sign (manifest.jsonl:5): unknown-token" in said
    assert "☃ (U+2603)" in said
    assert set(corpus.counts) == set(examples.REASONS)


def test_the_limits_are_coquis_own() -> None:
    """11.6 s are max_wav_length 255995 of its recipe."""
    assert XttsSettings().max_wav_seconds * RATE == pytest.approx(255995, rel=0.001)
    assert XttsSettings().max_text_tokens == 200


def test_a_clip_the_base_could_not_say_again_is_too_long(
    tmp_path: Path, voice: Voice, build: Callable[..., Corpus]
) -> None:
    """The small base has 106 codes."""
    manifest = write_clips(tmp_path, {"a": sound(4.9), "b": sound(5.0)})

    corpus = build(manifest)

    assert voice.base.sizes.max_codes == 106
    assert [example.id for example in corpus.examples] == ["a"]
    assert corpus.rejected[0].numbers == {"audio_seconds": 5.0, "limit": 4.92}
    assert len(list((tmp_path / "parts/xtts").glob("wave-*"))) == 1


def test_nothing_left_is_refused_with_every_line(tmp_path: Path, build: Callable[..., Corpus]) -> None:
    manifest = write_clips(tmp_path, {"a": sound(0.3), "b": sound(1.0)}, b={"text": "☃"})

    with pytest.raises(InputUnusable, match="none of the 2 clips") as caught:
        build(manifest)

    assert caught.value.exit_code == 65
    assert "too-short 1, unknown-token 1" in caught.value.message
    problems = [str(problem) for problem in caught.value.problems]
    assert problems[0].startswith(f"{manifest}:1: a: too-short")
    assert problems[1].startswith(f"{manifest}:2: b: unknown-token")


def test_languages_are_the_bases_tags(good: Path, build: Callable[..., Corpus], voice: Voice) -> None:
    assert {example.language for example in build(good).examples} == {"en"}
    spanish = build(good, language="es").examples[0]
    assert spanish.language == "es"
    assert spanish.tokens[0] == voice.tokenizer.tokenizer.token_to_id("[es]")
    with pytest.raises(ConfigError, match="no language 'tlh'"):
        build(good, language="tlh")


def test_a_language_whose_package_is_missing_is_unavailable(voice: Voice, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(_text: str, _language: str) -> list[int]:
        raise ImportError("Chinese requires: pypinyin")

    monkeypatch.setattr(voice.tokenizer, "encode", without)
    with pytest.raises(Unavailable, match="romanised with pypinyin"):
        text.tokens(voice.tokenizer, "你好", "zh-cn")


def test_tokens_are_coquis(good: Path, build: Callable[..., Corpus], voice: Voice) -> None:
    rows = [json.loads(line) for line in good.read_text().splitlines()]

    for example, row in zip(build(good).examples, rows, strict=True):
        assert list(example.tokens) == voice.tokenizer.encode(row["text"], "en")


def test_samples_at_the_models_rate_are_the_files_own(tmp_path: Path, build: Callable[..., Corpus]) -> None:
    from TTS.tts.models.xtts import load_audio

    manifest = write_clips(tmp_path, {"a": sound(1.0, rate=RATE)})

    example = build(manifest).examples[0]

    stock = load_audio(str(tmp_path / "a.wav"), RATE)
    assert torch.equal(codes.as_float(sealed.read(example.wave)), stock[0])
    assert example.wav_length == stock.shape[1]


def stock_codes(voice: Voice, waves: list[torch.Tensor]) -> torch.Tensor:
    """Codes as coqui's trainer computes them: clips in one batch, padded with silence to the longest."""
    encoder = codes.Encoder(voice.base, voice.mel_stats)
    batch = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True)[:, None]
    found: torch.Tensor = encoder._dvae.get_codebook_indices(encoder._mel(batch))
    return found


def test_kept_codes_are_those_of_a_padded_batch(good: Path, build: Callable[..., Corpus], voice: Voice) -> None:
    corpus = build(good)
    waves = [codes.as_float(sealed.read(example.wave)) for example in corpus.examples]

    batched = stock_codes(voice, [*waves, torch.zeros(5 * RATE)])

    for row, example in zip(batched[:-1], corpus.examples, strict=True):
        assert row[: len(example.codes)].tolist() == example.codes.tolist(), example.id
    assert len({code for example in corpus.examples for code in example.codes.tolist()}) > 20


def test_only_the_end_of_a_batchs_longest_clip_has_other_codes(
    good: Path, build: Callable[..., Corpus], voice: Voice
) -> None:
    """Behind it stock has nothing, which sounds loud to the encoder: that is why silence is put there here."""
    differ = 0
    for example in build(good).examples:
        alone = stock_codes(voice, [codes.as_float(sealed.read(example.wave))])[0].tolist()
        kept = example.codes.tolist()
        assert alone[: len(kept) - 8] == kept[:-8]
        differ += sum(one != other for one, other in zip(alone, kept, strict=False))

    assert differ > 0


def test_the_silence_behind_a_clip_is_enough_and_no_more(
    good: Path, build: Callable[..., Corpus], voice: Voice, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = build(good)
    encoder = codes.Encoder(voice.base, voice.mel_stats)
    waves = [sealed.read(example.wave) for example in corpus.examples]
    kept = [encoder.codes(wave).tolist() for wave in waves]

    monkeypatch.setattr(codes, "SILENCE", 50 * 1024)
    assert [encoder.codes(wave).tolist() for wave in waves] == kept
    monkeypatch.setattr(codes, "SILENCE", 1024)
    assert [encoder.codes(wave).tolist() for wave in waves] != kept


def test_codes_do_not_depend_on_threads(good: Path, build: Callable[..., Corpus], voice: Voice) -> None:
    example = build(good).examples[1]
    encoder = codes.Encoder(voice.base, voice.mel_stats)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert np.array_equal(encoder.codes(sealed.read(example.wave)), example.codes)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


class _Counting:
    """Counts what is encoded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.encoded = 0
        original = codes.Encoder.codes

        def counted(encoder: codes.Encoder, samples: Any) -> Any:
            self.encoded += 1
            return original(encoder, samples)

        monkeypatch.setattr(codes.Encoder, "codes", counted)

    def take(self) -> int:
        taken, self.encoded = self.encoded, 0
        return taken


def test_caches_are_made_once_and_by_content(
    good: Path, tmp_path: Path, build: Callable[..., Corpus], voice: Voice, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = _Counting(monkeypatch)
    first = build(good)
    assert made.take() == 5
    again = build(good)
    assert made.take() == 0
    assert [example.key for example in again.examples] == [example.key for example in first.examples]
    assert all(
        np.array_equal(one.codes, other.codes) for one, other in zip(first.examples, again.examples, strict=True)
    )

    write_audio(good.parent / "c2.wav", sound(2.1, seed=77))
    changed = build(good)
    assert made.take() == 1
    assert [one.key == other.key for one, other in zip(first.examples, changed.examples, strict=True)] == [
        *(True, True, False, True, True)
    ]

    for name in (bases.DVAE, bases.MEL_STATS):
        folder = tmp_path / f"other-{name}"
        folder.mkdir()
        for file in voice.base.folder.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        value = torch.load(folder / name, weights_only=True)
        if name == bases.DVAE:
            value["codebook.embed"] = value["codebook.embed"].flip(1)
        else:
            value = value * 1.5
        torch.save(value, folder / name)
        other = load_voice(bases.describe(folder, "other"))
        moved = build(good, other)
        assert made.take() == 5, name
        assert not np.array_equal(moved.examples[1].codes, changed.examples[1].codes)
    build(good)
    assert made.take() == 0


@pytest.mark.parametrize("kind", ["wave", "codes"])
@pytest.mark.parametrize("harm", ["cut", "one bit", "emptied", "foreign"])
def test_a_torn_cache_file_is_noticed_and_made_anew(
    kind: str, harm: str, good: Path, build: Callable[..., Corpus], capsys: pytest.CaptureFixture[str]
) -> None:
    before = build(good)
    example = before.examples[0]
    pattern = f"{kind}-*.npy"
    file = example.wave if kind == "wave" else min((good.parent / "parts/xtts").glob(pattern))
    data = bytearray(file.read_bytes())
    if harm == "one bit":
        data[150] ^= 1
    file.write_bytes({"cut": bytes(data[:-40]), "emptied": b"", "foreign": b"x" * 500}.get(harm, bytes(data)))
    if kind == "wave":
        with pytest.raises(InputUnusable, match="is torn"):
            Conditioner(torch.ones(80)).draw(example)

    after = build(good)

    assert f"{file} is torn: made anew" in capsys.readouterr().err
    for one, other in zip(before.examples, after.examples, strict=True):
        assert one.key == other.key
        assert np.array_equal(one.codes, other.codes)
    assert "torn" not in (build(good), capsys.readouterr().err)[1]


def test_kept_arrays_are_plain_npy_files(tmp_path: Path) -> None:
    values = np.arange(-5, 1000, dtype=np.int16)
    sealed.write(tmp_path / "a.npy", values)
    first = (tmp_path / "a.npy").read_bytes()
    sealed.write(tmp_path / "a.npy", values)

    assert (tmp_path / "a.npy").read_bytes() == first
    assert np.array_equal(np.load(tmp_path / "a.npy"), values)
    with pytest.raises(InputUnusable, match="cannot be read"):
        sealed.read(tmp_path / "none.npy")


def test_a_foreign_dvae_is_refused_by_name(voice: Voice, tmp_path: Path) -> None:
    state = torch.load(voice.base.folder / bases.DVAE, weights_only=True)
    del state["encoder.0.0.weight"]
    torch.save(state, tmp_path / bases.DVAE)

    with pytest.raises(InputUnusable, match=r"encoder\.0\.0\.weight"):
        codes.Encoder(replace(voice.base, folder=tmp_path), voice.mel_stats)
    atomic_write_bytes(tmp_path / bases.DVAE, b"no weights")
    with pytest.raises(InputUnusable, match=r"dvae\.pth"):
        codes.Encoder(replace(voice.base, folder=tmp_path), voice.mel_stats)


def test_an_epoch_is_every_clip_once(good: Path, build: Callable[..., Corpus]) -> None:
    corpus = build(good)

    def order(epoch: int, seed: int) -> list[tuple[int, ...]]:
        numbers = range(len(corpus.examples))
        return bucketed(numbers, lambda at: corpus.examples[at].positions, size=2, bucket=8, epoch=epoch, seed=seed)

    assert sorted(at for batch in order(1, 0) for at in batch) == [0, 1, 2, 3, 4]
    assert order(1, 0) == order(1, 0)
    assert len({tuple(order(epoch, 0)) for epoch in range(8)}) > 1


def test_the_mel_of_a_piece_is_coquis(good: Path, tmp_path: Path, build: Callable[..., Corpus], voice: Voice) -> None:
    """coqui's own function cuts the fixed piece alike, and its spectrogram gives the same mel."""
    from TTS.tts.layers.tortoise.arch_utils import TorchMelSpectrogram
    from TTS.tts.layers.xtts.trainer import dataset

    stock_mel = TorchMelSpectrogram(
        filter_length=2048, sampling_rate=RATE, mel_norm_file=str(voice.base.folder / bases.MEL_STATS)
    )
    conditioner = Conditioner(voice.mel_stats)
    for example in build(good).examples:
        file = tmp_path / f"{example.id}.wav"
        soundfile.write(file, sealed.read(example.wave), RATE, subtype="PCM_16")
        piece, _, places = dataset.get_prompt_slice(str(file), 132300, 66150, RATE, is_eval=True)
        fixed = conditioner.fixed(example)
        assert [fixed.start, fixed.end] == places
        assert torch.equal(fixed.mel, stock_mel(piece)[0])
        drawn = conditioner.draw(example)
        heard = sealed.read(example.wave)[drawn.start : drawn.end].astype(np.float32) / 32768
        padded = torch.from_numpy(np.pad(heard, (0, 132300 - len(heard))))
        assert torch.equal(drawn.mel, stock_mel(padded[None])[0])


def test_conditioning_leaves_every_code_to_be_learnt_and_follows_the_seed(
    good: Path, build: Callable[..., Corpus], voice: Voice
) -> None:
    corpus = build(good)
    conditioner = Conditioner(voice.mel_stats)

    def draws(seed: int) -> list[tuple[int, int]]:
        torch.manual_seed(seed)
        pieces = [conditioner.draw(example) for example in corpus.examples for _ in range(12)]
        assert {piece.mel.shape for piece in pieces} == {torch.Size([80, 517])}
        return [(piece.start, piece.end) for piece in pieces]

    found = draws(5)
    assert found == draws(5)
    assert found != draws(6)
    owners = [example for example in corpus.examples for _ in range(12)]
    for (start, end), example in zip(found, owners, strict=True):
        assert 0 < end - start <= example.wav_length // 2
        assert start == 0 or end == example.wav_length
    for number in range(len(corpus.examples)):
        pieces = found[12 * number : 12 * (number + 1)]
        assert {start == 0 for start, _ in pieces} == {True, False}, "both ends are drawn"


def test_a_piece_is_at_most_the_longest(monkeypatch: pytest.MonkeyPatch, voice: Voice, tmp_path: Path) -> None:
    """Neither the shortest nor the longest piece is out of reach, nor the clip's last sample."""
    sealed.write(tmp_path / "w.npy", np.zeros(3 * examples.MAX_CONDITIONING, np.int16))
    samples = 3 * examples.MAX_CONDITIONING
    long = Example("x", "", (), np.zeros(130, np.int16), samples, tmp_path / "w.npy", "en", tmp_path)
    asked: list[tuple[int, int]] = []

    def highest(low: int, high: int, _size: Any) -> torch.Tensor:
        asked.append((low, high))
        return torch.tensor(high - 1)

    monkeypatch.setattr(examples.torch, "randint", highest)
    piece = Conditioner(voice.mel_stats).draw(long)

    assert asked == [(66150, 132301), (0, 2)]
    assert (piece.start, piece.end) == (samples - 132300, samples)


def test_examples_fit_the_objective(good: Path, build: Callable[..., Corpus], voice: Voice) -> None:
    corpus = build(good)
    conditioner = Conditioner(voice.mel_stats)

    batch = collate(corpus.examples, [conditioner.fixed(example) for example in corpus.examples])

    assert batch.code_lengths.tolist() == [len(example.codes) for example in corpus.examples]
    assert batch.conditioning.shape == (5, 80, 517)


def test_the_reference_is_the_cleanest_clip_of_usable_length(
    tmp_path: Path, build: Callable[..., Corpus], capsys: pytest.CaptureFixture[str]
) -> None:
    clipped = Audio(np.clip(9 * sound(4.5, 1).samples, -1, 1), 24000)
    paused = Audio(np.concatenate([sound(3.2, 2).samples, np.zeros(30000, np.float32)]), 24000)
    dull = sound(4.5, 3, rate=8000)
    kinds = {"a-clipped": clipped, "b-paused": paused, "c-dull": dull, "d-best": sound(4.5, 4), "e-short": sound(2, 5)}
    corpus = build(write_clips(tmp_path, kinds))

    chosen = reference.choose(corpus.examples)

    assert chosen.id == "d-best"
    assert chosen.file == tmp_path / "d-best.wav"
    assert chosen.warnings == ()
    assert "of 5 clips 4 last 4 to 12 s; of 4 measured 3 are clean, 2 have full bandwidth" in chosen.why
    assert chosen.numbers["audio_seconds"] == 4.5
    assert "the reference is d-best" in capsys.readouterr().err
    assert reference.choose(corpus.examples[::-1]) == chosen


def test_without_a_clean_clip_the_least_bad_is_taken_with_a_warning(
    tmp_path: Path, build: Callable[..., Corpus]
) -> None:
    loud = {f"c{gain}": Audio(np.clip(gain * sound(4.5, 1).samples, -1, 1), 24000) for gain in (9, 30)}
    corpus = build(write_clips(tmp_path, loud))

    chosen = reference.choose(corpus.examples)

    assert chosen.id == "c9"
    assert "least bad" in chosen.warnings[0]


def test_without_a_clip_of_usable_length_a_reference_must_be_given(
    tmp_path: Path, build: Callable[..., Corpus]
) -> None:
    corpus = build(write_clips(tmp_path, {"a": sound(2.0)}))

    with pytest.raises(InputUnusable, match="none of the 1 clips lasts 4 to 12 s") as caught:
        reference.choose(corpus.examples)

    assert "xtts.reference" in caught.value.hint


def test_a_given_reference_is_judged(tmp_path: Path) -> None:
    for name, audio in {
        "good": sound(5.0),
        "short": sound(2.0),
        "tiny": sound(0.5),
        "still": Audio(np.zeros(90000, np.float32), 24000),
        "loud": Audio(np.clip(30 * sound(5.0).samples, -1, 1), 24000),
    }.items():
        write_audio(tmp_path / f"{name}.wav", audio)

    assert reference.given(tmp_path / "good.wav").warnings == ()
    assert "2.0 s long" in reference.given(tmp_path / "short.wav").warnings[0]
    assert "clipped" in reference.given(tmp_path / "loud.wav").warnings[0]
    for name in ("tiny", "still"):
        with pytest.raises(InputUnusable, match="is 0.50 s long" if name == "tiny" else "100% of it silence"):
            reference.given(tmp_path / f"{name}.wav")
