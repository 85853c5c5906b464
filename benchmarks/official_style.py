"""The usual way to prepare data for Qwen3-TTS and to take a training step, as the named baseline of qwen3.py.

Written from the behaviour that references/qwen3.md lists, in the shape most trainers have: 32 unsorted clips per codec
call, codes as JSON lists, the reference's mel and speaker vector anew in every step, random order, everything computed
at every padded position, the loss shifted as the installed qwen-tts package shifts it. The text projection, which is
often missing, is there: without it a 0.6B model cannot be run at all.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from qwen_tts.core.models.modeling_qwen3_tts import mel_spectrogram
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

ENCODE_BATCH = 32
SPEAKER_POSITION = 6


def encode(codec: Any, waves: Sequence[np.ndarray]) -> list[Tensor]:
    """Codes of `waves` (24 kHz), in the order they came."""
    codes: list[Tensor] = []
    for start in range(0, len(waves), ENCODE_BATCH):
        codes += codec.encode(list(waves[start : start + ENCODE_BATCH]), sr=24000).audio_codes
    return codes


def read_manifest(path: Path) -> list[dict[str, Any]]:
    """All rows, codes as lists of lists."""
    return [json.loads(line) for line in path.read_text().splitlines()]


@dataclass
class Item:
    text: Tensor
    codec: Tensor
    mel: Tensor


def item(prompt: Sequence[int], row: dict[str, Any], ids: Any, wave: np.ndarray) -> Item:
    """One clip: (T,) text tokens, (T, 16) codes or one token in group 0, (1, frames, 128) mel of its reference."""
    codes = torch.tensor(row["audio_codes"], dtype=torch.long)
    spoken, frames = list(prompt[3:-5]), len(codes)
    text = [*prompt[:3], *[ids.text_pad] * 4, ids.text_bos, *spoken, ids.text_eos, *[ids.text_pad] * (frames + 1)]
    tag = [ids.nothink, ids.think_bos, ids.think_eos, ids.pad, ids.pad]
    single = [ids.pad] * 3 + tag + [ids.pad] * (len(spoken) + 1) + [ids.bos]
    codec = torch.zeros(len(single) + frames, 16, dtype=torch.long)
    codec[: len(single), 0] = torch.tensor(single)
    codec[len(single) :] = codes
    return Item(torch.tensor(text), codec, reference_mel(wave))


def reference_mel(wave: np.ndarray) -> Tensor:
    samples = torch.from_numpy(wave)[None]
    sizes = {"n_fft": 1024, "num_mels": 128, "sampling_rate": 24000, "hop_size": 256, "win_size": 1024}
    return mel_spectrogram(samples, **sizes, fmin=0, fmax=12000).transpose(1, 2)


def loss(model: Any, items: Sequence[Item]) -> Tensor:
    """Forward as the usual trainer does it: every position, every frame, both losses as the package computes them."""
    talker = model.talker
    text = pad_sequence([one.text for one in items], batch_first=True)
    codec = pad_sequence([one.codec for one in items], batch_first=True)
    lengths = torch.tensor([len(one.text) for one in items])
    there = torch.arange(text.shape[1])[None] < lengths[:, None]
    frame = torch.zeros_like(there)
    labels = torch.full_like(text, -100)
    for row, one in enumerate(items):
        first = int((one.codec[:, 1:] != 0).any(1).nonzero()[0])
        frame[row, first : len(one.text)] = True
        labels[row, first : len(one.text)] = one.codec[first:, 0]
    with torch.no_grad():
        speakers = model.speaker_encoder(torch.cat([one.mel for one in items])).detach()
    embedded = talker.model.codec_embedding(codec[:, :, 0]) * there.unsqueeze(-1)
    embedded[:, SPEAKER_POSITION] = speakers
    embedded = embedded + talker.text_projection(talker.model.text_embedding(text)) * there.unsqueeze(-1)
    for group in range(1, 16):
        table = talker.code_predictor.get_input_embeddings()[group - 1]
        embedded = embedded + table(codec[:, :, group]) * frame.unsqueeze(-1)
    said = talker(
        inputs_embeds=embedded[:, :-1],
        attention_mask=there[:, :-1].long(),
        labels=labels[:, 1:],
        output_hidden_states=True,
    )
    hidden = said.hidden_states[0][-1][frame[:, 1:]]
    _, predictor = talker.forward_sub_talker_finetune(codec[frame], hidden)
    return said.loss + 0.3 * predictor
