"""Qwen3-TTS folders for tests without torch: the right files with a handful of numbers in them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tts_train.backends.qwen3.tensor_files import packed

SLOT = 3000
HIDDEN = {"0b6": 4, "1b7": 8}
TABLE = "talker.model.codec_embedding.weight"
OTHER = "talker.codec_head.weight"


def weights(size: str = "0b6", moved: float = 0.0) -> dict[str, np.ndarray]:
    """The talker's two tensors, every number `moved` from the base's."""
    width = HIDDEN[size]
    table = np.arange(3072 * width, dtype=np.float32).reshape(3072, width) % 7
    return {TABLE: table + np.float32(moved), OTHER: np.ones((3, width), np.float32) + np.float32(moved)}


def write_folder(
    folder: Path,
    size: str = "0b6",
    *,
    speakers: Mapping[str, int] | None = None,
    tensors: Mapping[str, np.ndarray] | None = None,
) -> Path:
    """A base, or with `speakers` a custom-voice checkpoint, as the official programs leave it."""
    (folder / "speech_tokenizer").mkdir(parents=True)
    talker = {
        "hidden_size": HIDDEN[size],
        "codec_language_id": {"english": 2050, "german": 2053},
        "spk_id": dict(speakers or {}),
        "spk_is_dialect": dict.fromkeys(speakers or {}, False),
    }
    config: dict[str, Any] = {
        "model_type": "qwen3_tts",
        "tokenizer_type": "qwen3_tts_tokenizer_12hz",
        "tts_model_size": size,
        "tts_model_type": "custom_voice" if speakers else "base",
        "talker_config": talker,
    }
    (folder / "config.json").write_text(json.dumps(config))
    codec = ("speech_tokenizer/config.json", "speech_tokenizer/preprocessor_config.json")
    for name in ("generation_config.json", "tokenizer_config.json", "vocab.json", *codec):
        (folder / name).write_text("{}")
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "speech_tokenizer/model.safetensors").write_bytes(packed({"decoder": np.zeros(3, np.float32)}))
    (folder / "model.safetensors").write_bytes(packed(weights(size) if tensors is None else tensors))
    return folder


def write_output(folder: Path, count: int = 2, speaker: str = "Test_Man", size: str = "0b6") -> Path:
    """What the official fine-tuning script leaves: checkpoint-epoch-0, -1, …, each 0.5 further from the base."""
    for number in range(count):
        moved = weights(size, 0.5 * (number + 1))
        moved[TABLE][SLOT] = 9.0
        write_folder(folder / f"checkpoint-epoch-{number}", size, speakers={speaker: SLOT}, tensors=moved)
    return folder
