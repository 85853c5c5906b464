"""What planning a Qwen3-TTS training reads, made without model libraries: a base's files, a manifest with codes."""

from __future__ import annotations

import json
import struct
import wave
from pathlib import Path
from typing import Any

from tiny_qwen3 import SPECIALS, _config

CARD = "source: made up\nlicence: CC0-1.0\nspeaker: ann\nconsent_basis: synthetic voice\nlanguage: en\n"


def write_base(folder: Path, size: str = "0b6", kind: str = "base") -> Path:
    """A folder with all the files of a Qwen3-TTS; the weights are one number, whole as a file."""
    config = _config(size, 2, 1, {token: place for place, token in enumerate((*SPECIALS, "assistant"))})
    (folder / "speech_tokenizer").mkdir(parents=True)
    for name in ("generation_config.json", "tokenizer_config.json", "vocab.json"):
        (folder / name).write_text("{}")
    for name in ("config.json", "preprocessor_config.json"):
        (folder / "speech_tokenizer" / name).write_text("{}")
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "config.json").write_text(json.dumps({**config, "tts_model_type": kind}))
    for name in ("model.safetensors", "speech_tokenizer/model.safetensors"):
        header = json.dumps({"talker.x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
        (folder / name).write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    return folder


def write_wav(path: Path, seconds: float = 2.0) -> None:
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, 24000, 0, "NONE", ""))
        sound.writeframes(bytes(2 * int(24000 * seconds)))


def row(number: int, **changes: Any) -> dict[str, Any]:
    """Line `number` of a manifest (from 1): 20 to 29 frames, English, Ann. A change to None leaves the key out."""
    good = {
        "id": f"clip-{number:02d}",
        "audio": "clip.wav",
        "text": f"Put kettle number {number} on.",
        "ref_audio": "ref.wav",
        "audio_codes": [[number] * 16] * (20 + number % 10),
        "speaker": "ann",
        "language": "en",
    }
    return {key: value for key, value in {**good, **changes}.items() if value is not None}


def write_manifest(folder: Path, rows: list[dict[str, Any]]) -> Path:
    """A dataset folder with its card, two recordings and a manifest with codes."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.yaml").write_text(CARD)
    write_wav(folder / "clip.wav")
    write_wav(folder / "ref.wav")
    path = folder / "train_manifest_qwen3.jsonl"
    path.write_text("".join(json.dumps(item) + "\n" for item in rows))
    return path
