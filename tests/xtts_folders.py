"""Folders that look like an XTTS-v2: real settings, files of weights with a few bytes in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SPECIALS = ("[STOP]", "[UNK]", "[SPACE]", "[en]", "[de]", "[zh-cn]", "[START]")
MODEL_ARGS = {
    "gpt_layers": 30,
    "gpt_n_model_channels": 1024,
    "gpt_n_heads": 16,
    "gpt_max_audio_tokens": 605,
    "gpt_max_text_tokens": 402,
    "gpt_num_audio_tokens": 1026,
    "gpt_start_audio_token": 1024,
    "gpt_stop_audio_token": 1025,
    "gpt_use_perceiver_resampler": True,
    "gpt_code_stride_len": 1024,
    "gpt_number_text_tokens": 10,
    "input_sample_rate": 22050,
    "output_sample_rate": 24000,
}


def write_folder(folder: Path, **changes: Any) -> Path:
    """The files of a base with a few bytes in them. `changes`: of model_args; None leaves a key out."""
    folder.mkdir(parents=True)
    args = {key: value for key, value in {**MODEL_ARGS, **changes}.items() if value is not None}
    (folder / "config.json").write_text(json.dumps({"model_args": args, "languages": ["en", "de", "zh-cn", "xx"]}))
    vocab = {token: number for number, token in enumerate([*SPECIALS, "a", "b", "c"])}
    added = [{"id": vocab[token], "content": token} for token in SPECIALS]
    (folder / "vocab.json").write_text(json.dumps({"added_tokens": added, "model": {"vocab": vocab}}))
    for name in ("model.pth", "dvae.pth", "mel_stats.pth"):
        (folder / name).write_bytes(name.encode())
    return folder
