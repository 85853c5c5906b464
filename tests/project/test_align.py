"""`align`: words for a manifest, what cannot be aligned, and which aligner does it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tts_train.align import AlignmentFailed, align_manifest, choose_aligner
from tts_train.align import manifest as work
from tts_train.align.text import spoken_words
from tts_train.audio import Audio, write_audio
from tts_train.clip import Clip, Rejection
from tts_train.dataset import write_manifest, write_rejections
from tts_train.errors import InputUnusable, Unavailable, UsageError

Readings = dict[str, tuple[Audio, str]]
ITEMS = ("bus", "coffee", "hat", "park", "smoke", "ticket")


@pytest.fixture
def manifest(tmp_path: Path, readings: Readings) -> Path:
    """Six clips, one ("park") with the text of another, and one older rejection of ingest."""
    clips = []
    for name in ITEMS:
        audio, text = readings[name]
        write_audio(tmp_path / f"clips/{name}.flac", audio)
        wrong = readings["hook"][1]
        clips.append(
            Clip(
                name,
                f"clips/{name}.flac",
                wrong if name == "park" else text,
                "kumo",
                "en-GB",
                round(audio.seconds, 4),
                "book",
                0.0,
                audio.seconds,
            )
        )
    write_manifest(tmp_path / "train_manifest.jsonl", clips)
    write_rejections(
        tmp_path / "rejections.jsonl", [Rejection("old", "too-short", "", "book", 0.0, 0.5, "", {"step": "ingest"})]
    )
    return tmp_path / "train_manifest.jsonl"


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_words_are_added_and_the_wrong_text_is_rejected(manifest: Path, readings: Readings) -> None:
    result = align_manifest(manifest)

    aligned = {row["id"]: row for row in rows(manifest.with_name("train_aligned.jsonl"))}
    assert sorted(aligned) == sorted(set(ITEMS) - {"park"})
    assert [word["word"] for word in aligned["bus"]["words"]] == readings["bus"][1].replace(",", "").rstrip(".").split()
    assert aligned["bus"]["text"] == readings["bus"][1]
    assert {"word", "start", "end", "score"} == set(aligned["bus"]["words"][0])
    rejected = {row["id"]: row["reason"] for row in rows(manifest.with_name("rejections.jsonl"))}
    assert rejected["old"] == "too-short"
    assert rejected["park"] in {"text-does-not-fit", "alignment-failed"}
    assert (result["clips"], result["aligner"], sum(result["rejected"].values())) == (5, "pocketsphinx", 1)


def test_it_resumes_and_ends_with_nothing_left_to_do(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "PART_CLIPS", 2)
    align_manifest(manifest)
    results = [manifest.with_name(name) for name in ("train_aligned.jsonl", "rejections.jsonl")]
    before = [path.read_bytes() for path in results]
    (manifest.parent / "parts/align-00001.json").unlink()
    results[0].unlink()

    align_manifest(manifest)
    monkeypatch.setattr(work, "_pocketsphinx", None)
    result = align_manifest(manifest)

    assert [path.read_bytes() for path in results] == before
    assert result["text"].startswith("nothing left to do")


def test_too_much_rejected_fails_with_everything_written(manifest: Path) -> None:
    with pytest.raises(InputUnusable):
        align_manifest(manifest, max_rejected=0.05)

    assert len(rows(manifest.with_name("train_aligned.jsonl"))) == 5


def test_the_choice_of_aligner() -> None:
    assert choose_aligner("auto", None, "en-GB").name == "pocketsphinx"
    assert choose_aligner("auto", "some/model", "en").name == "whisperx"
    with pytest.raises(Unavailable, match="English only"):
        choose_aligner("auto", None, "de")
    with pytest.raises(UsageError, match="--model"):
        choose_aligner("whisperx", None, "en")
    with pytest.raises(UsageError):
        choose_aligner("pocketsphinx", "some/model", "en")


def test_output_elsewhere_is_refused(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="beside"):
        align_manifest(manifest, tmp_path / "other" / "aligned.jsonl")


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    from tts_train.align.whisperx_aligner import load_whisperx

    with pytest.raises(Unavailable, match=r"config\.json"):
        load_whisperx(str(tmp_path), "en")


def test_whisperx_with_a_tiny_model(tmp_path: Path, readings: Readings) -> None:
    """Random weights: the times mean nothing, but all words come back, offline, and a failure is noticed."""
    import torch
    from transformers import (
        Wav2Vec2Config,
        Wav2Vec2CTCTokenizer,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ForCTC,
        Wav2Vec2Processor,
    )

    from tts_train.align.whisperx_aligner import load_whisperx

    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ"]
    (tmp_path / "vocab.json").write_text(json.dumps({letter: index for index, letter in enumerate(letters)}))
    tokenizer = Wav2Vec2CTCTokenizer(
        str(tmp_path / "vocab.json"), unk_token="<unk>", pad_token="<pad>", word_delimiter_token="|"
    )
    extractor = Wav2Vec2FeatureExtractor(sampling_rate=16000, do_normalize=True, return_attention_mask=False)
    Wav2Vec2Processor(feature_extractor=extractor, tokenizer=tokenizer).save_pretrained(tmp_path)
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    convolution = {"conv_dim": (16,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
    Wav2Vec2ForCTC(Wav2Vec2Config(vocab_size=len(letters), pad_token_id=0, **shape, **convolution)).save_pretrained(
        tmp_path
    )
    aligner = load_whisperx(str(tmp_path), "en-GB")
    audio, _ = readings["bus"]

    found = aligner.align(audio, "It cost £13.60 in all.")

    assert [word.word for word in found.words] == spoken_words("It cost £13.60 in all.")
    assert "thirteen" in [word.word for word in found.words]
    assert all(0 <= word.start <= word.end <= audio.seconds for word in found.words)
    with pytest.raises(AlignmentFailed):
        aligner.align(Audio(audio.samples[:4000], audio.rate), "far too many words for a sixth of a second of audio")


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ([], "alignment-failed"),
        ([{"word": "two", "start": 0.1, "end": 0.2, "score": 0.5}], "words-missing"),
        ([{"word": "two", "start": 0.1, "end": 0.2, "score": 0.5}, {"word": "words"}], "words-missing"),
    ],
)
def test_whisperx_failing_in_silence_is_noticed(
    monkeypatch: pytest.MonkeyPatch, readings: Readings, found: list[dict[str, Any]], reason: str
) -> None:
    """WhisperX answers a failure with a segment that has no words, or words without times."""
    import whisperx

    from tts_train.align.whisperx_aligner import WhisperXAligner

    monkeypatch.setattr(whisperx, "align", lambda *_: {"segments": [{"words": found}]})

    with pytest.raises(AlignmentFailed) as caught:
        WhisperXAligner(None, {"language": "en"}, "en").align(readings["bus"][0], "two words")

    assert caught.value.reason == reason
