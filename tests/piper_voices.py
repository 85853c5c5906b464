"""Small inputs for the piper tests: recordings made by the base voice itself, slowed down and in another room."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tts_train.audio import Audio, write_audio
from tts_train.backends.piper import phonemes
from tts_train.config import TrainConfig

TEXTS = {
    "bread": "Fresh bread and butter.",
    "cart": "The cart went down to the mill.",
    "duck": "A duck swam by.",
    "hill": "She ran up the hill, and then she sat down.",
    "rain": "Rain again.",
}


def record(voice: Any, model: Any, text: str, pace: float = 1.3) -> np.ndarray:
    """The base voice reading `text` slowly, an octave of treble gone: another sound, the same words; (n,) float32."""
    phonemizer = phonemes.Phonemizer(voice.settings)
    ids = [number for sentence in phonemizer.sentences(text) for number in sentence.ids]
    samples = model.speak(torch.tensor(ids), length_scale=pace)[0].numpy()
    return np.convolve(samples, np.ones(3) / 3, "same").astype(np.float32)


def write_dataset(folder: Path, voice: Any, model: Any, texts: dict[str, str] = TEXTS, level: float = 0.5) -> Path:
    """A manifest with one clip per text; returns its path."""
    rows = []
    for name, text in texts.items():
        samples = record(voice, model, text) * np.float32(level)
        write_audio(folder / "clips" / f"{name}.flac", Audio(samples, voice.rate))
        row = {"id": name, "audio_file": f"clips/{name}.flac", "text": text, "speaker": "joe", "language": "en-US"}
        rows.append({**row, "audio_seconds": len(samples) / voice.rate})
    manifest = folder / "train_manifest.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return manifest


def config(manifest: Path, **changes: Any) -> TrainConfig:
    fixed = {"voice": "test", "run": "test", "backend": "piper", "dataset": str(manifest)}
    return TrainConfig.model_validate({**fixed, "epochs": 1, "batch_size": 2, "lr": 1e-4, "threads": 1, **changes})
