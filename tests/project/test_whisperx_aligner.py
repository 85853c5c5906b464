"""Alignment with WhisperX, offline: a tiny real model, and all that a model or its data can lack."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from urllib.error import URLError

import huggingface_hub
import nltk
import pytest
import torch
import transformers

import tiny_wav2vec2
from tts_train.align import AlignmentFailed
from tts_train.align.text import spoken_words
from tts_train.align.whisperx_aligner import WhisperXAligner, load_whisperx
from tts_train.audio import Audio
from tts_train.errors import Unavailable

Readings = dict[str, tuple[Audio, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_wav2vec2.build(tmp_path_factory.mktemp("wav2vec2") / "tiny")


@pytest.fixture
def aligner(folder: Path) -> WhisperXAligner:
    return load_whisperx(str(folder), "en-GB")


def test_all_words_come_back_with_numbers_written_out(aligner: WhisperXAligner, readings: Readings) -> None:
    audio, _ = readings["bus"]

    found = aligner.align(audio, "It cost £13.60 in all.")

    assert [word.word for word in found.words] == spoken_words("It cost £13.60 in all.")
    assert "thirteen" in [word.word for word in found.words]
    assert all(0 <= word.start <= word.end <= audio.seconds for word in found.words)


def test_a_text_too_long_for_its_audio_is_noticed(aligner: WhisperXAligner, readings: Readings) -> None:
    audio, _ = readings["bus"]

    with pytest.raises(AlignmentFailed):
        aligner.align(Audio(audio.samples[:4000], audio.rate), "far too many words for a sixth of a second of audio")


def test_nltk_data_is_neither_needed_nor_fetched(
    aligner: WhisperXAligner, readings: Readings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """WhisperX would download punkt_tab; without a network it fails there."""
    monkeypatch.setattr(nltk.data, "path", [])
    monkeypatch.setattr(nltk, "download", lambda *_, **__: pytest.fail("something is downloaded"))

    found = aligner.align(*readings["bus"])

    assert [word.word for word in found.words] == spoken_words(readings["bus"][1])
    assert nltk.data.path == []


@pytest.mark.parametrize("lost", ["config.json", "vocab.json", "model.safetensors", "preprocessor_config.json"])
def test_what_a_model_folder_lacks_is_named(folder: Path, tmp_path: Path, lost: str) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / lost).unlink()

    with pytest.raises(Unavailable) as caught:
        load_whisperx(str(copy), "en")

    assert lost in caught.value.message
    assert str(copy) in caught.value.message


@pytest.mark.parametrize("name", ["WAV2VEC2_ASR_BASE_960H", "someone/wav2vec2-base-960h"])
def test_a_name_without_a_network_says_what_to_do(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(transformers.utils.hub, "_is_offline_mode", True)

    with pytest.raises(Unavailable) as caught:
        load_whisperx(name, "en")

    assert name in caught.value.message
    assert "folder" in (caught.value.hint or "")
    assert "pocketsphinx" in (caught.value.hint or "")


def test_a_damaged_model_is_unavailable(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "model.safetensors").write_bytes(b"torn")

    with pytest.raises(Unavailable, match="could not be loaded"):
        load_whisperx(str(copy), "en")


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

    monkeypatch.setattr(whisperx, "align", lambda *_: {"segments": [{"words": found}]})

    with pytest.raises(AlignmentFailed) as caught:
        WhisperXAligner(None, {"language": "en"}, "en").align(readings["bus"][0], "two words")

    assert caught.value.reason == reason
