"""The training target of XTTS-v2: coqui-tts's own, with its mask put right.

A clip is conditioned on a piece of itself, and the codes of that piece must not be learnt: they could be copied. The
stock forward (coqui-tts 0.28.0, TTS/tts/layers/xtts/gpt.py; coqui-ai/TTS#3388) masks only the last row of a batch, and
counts in mel frames (256 samples) on targets that are codes (1024 samples). So three rows of four are not masked, the
fourth at the wrong place, often over its stop tokens; and at batch size 1 nothing may be left to learn, which is NaN.
Here every row is masked, in codes, and stop tokens never are. Without a mask both give the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from tts_train.backends.xtts.base import CODE_STRIDE, STOPS
from tts_train.errors import InputUnusable

if TYPE_CHECKING:
    from TTS.tts.layers.xtts.gpt import GPT

OBJECTIVE = "xtts-1"
"""Stamped in run.json and checkpoints: losses of another objective do not compare."""
_NONE = -100
"""Target of a position that nothing is learnt from."""


class Utterance(Protocol):
    """What `collate` reads of an example."""

    @property
    def tokens(self) -> Any:
        """Text token ids, without start and stop: a sequence of int, or an integer array."""

    @property
    def codes(self) -> Any:
        """Audio codes, at least as many as `code_count(wav_length)`; more are not read."""

    @property
    def wav_length(self) -> int:
        """Samples at 22.05 kHz."""


class Conditioning(NamedTuple):
    """The piece of a clip that it is conditioned on."""

    mel: Tensor
    """(80, frames) float. The same number of frames for all of a batch: the encoder knows no padding."""
    start: int
    """First sample of the piece in the clip, at 22.05 kHz."""
    end: int
    """Sample behind its last one. As `start`: it is from elsewhere, and nothing is masked."""


@dataclass(frozen=True)
class Batch:
    """Rows padded on the right. What is in the padding is not read."""

    text: Tensor
    """(rows, T) long: text tokens."""
    text_lengths: Tensor
    """(rows,) long"""
    codes: Tensor
    """(rows, C) long: audio codes."""
    code_lengths: Tensor
    """(rows,) long"""
    conditioning: Tensor
    """(rows, 80, frames) float: log-mel, divided by mel_stats."""
    conditioned: Tensor
    """(rows, 2) long: first code of the piece the row is conditioned on, and the one behind its last."""

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on `device`."""
        moved = {field.name: getattr(self, field.name).to(device, non_blocking=True) for field in fields(self)}
        return Batch(**moved)


class Predictions(NamedTuple):
    """What the model says, beside what it should have said (_NONE: nothing)."""

    text: Tensor
    """(rows, text vocabulary, positions) logits."""
    text_targets: Tensor
    """(rows, positions)"""
    mel: Tensor
    """(rows, 1026, positions) logits."""
    mel_targets: Tensor
    """(rows, positions)"""


def code_count(samples: int) -> int:
    """Codes of a clip at 22.05 kHz, as coqui's forward counts them."""
    return -(-samples // CODE_STRIDE)


def nearest_code(sample: int) -> int:
    """The code that begins nearest to a sample: a code belongs to a piece when more than half of it does.

    Rounding both ends the same way lets two pieces that meet share no code: one in both would never be learnt.
    """
    return (sample + CODE_STRIDE // 2) // CODE_STRIDE


def collate(examples: Sequence[Utterance], conditioning: Sequence[Conditioning]) -> Batch:
    """Pad examples, each with the piece it is conditioned on. Raises InputUnusable when an example lacks codes."""
    texts = [torch.as_tensor(example.tokens, dtype=torch.long) for example in examples]
    counts = [code_count(example.wav_length) for example in examples]
    codes = [
        torch.as_tensor(example.codes, dtype=torch.long)[:count]
        for example, count in zip(examples, counts, strict=True)
    ]
    for own, count in zip(codes, counts, strict=True):
        if len(own) < count:
            raise InputUnusable(f"a clip of {count} codes has only {len(own)}", hint="delete the cached codes")
    return Batch(
        text=nn.utils.rnn.pad_sequence(texts, batch_first=True),
        text_lengths=torch.tensor([len(text) for text in texts]),
        codes=nn.utils.rnn.pad_sequence(codes, batch_first=True),
        code_lengths=torch.tensor(counts),
        conditioning=torch.stack([piece.mel for piece in conditioning]).float(),
        conditioned=torch.tensor([(nearest_code(piece.start), nearest_code(piece.end)) for piece in conditioning]),
    )


class Objective(nn.Module):
    """The GPT and its loss.

    text_weight, mel_weight: of the two terms; coqui's are 0.01 and 1.
    mask_conditioning: learn nothing from codes of the piece a row is conditioned on. In training only: validation
        counts every code, as coqui's does, so that its numbers compare whatever the pieces are.
    """

    def __init__(
        self, gpt: GPT, *, text_weight: float = 0.01, mel_weight: float = 1.0, mask_conditioning: bool = True
    ) -> None:
        super().__init__()
        # Under this name its weights are called as in model.pth.
        self.gpt = gpt
        self.text_weight = text_weight
        self.mel_weight = mel_weight
        self.mask_conditioning = mask_conditioning

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Mean cross entropy over all targets of the batch: {"text", "mel"}, weighted, so their sum is the loss.

        The mean is over targets, so a long row weighs more than a short one, as in coqui's.
        """
        said = self.predictions(batch)
        text = functional.cross_entropy(said.text.float(), said.text_targets, ignore_index=_NONE)
        mel = functional.cross_entropy(said.mel.float(), said.mel_targets, ignore_index=_NONE)
        return {"text": self.text_weight * text, "mel": self.mel_weight * mel}

    def predictions(self, batch: Batch) -> Predictions:
        """Teacher-forced logits."""
        gpt = self.gpt
        texts, text_targets, text_read = framed(
            batch.text, batch.text_lengths, start=gpt.start_text_token, stop=gpt.stop_text_token, stops=1
        )
        codes, mel_targets, codes_read = framed(
            batch.codes, batch.code_lengths, start=gpt.start_audio_token, stop=gpt.stop_audio_token, stops=STOPS
        )
        if self.mask_conditioning and self.training:
            mel_targets = without_conditioned(mel_targets, batch)
        text_logits, mel_logits = gpt.get_logits(
            gpt.text_embedding(texts) + gpt.text_pos_embedding(texts),
            gpt.text_head,
            gpt.mel_embedding(codes) + gpt.mel_pos_embedding(codes),
            gpt.mel_head,
            prompt=gpt.get_style_emb(batch.conditioning).transpose(1, 2),
            attn_mask_text=text_read,
            attn_mask_mel=codes_read,
        )
        return Predictions(text_logits, text_targets, mel_logits, mel_targets)


def framed(tokens: Tensor, lengths: Tensor, *, start: int, stop: int, stops: int) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, targets and the positions that may be read, each (rows, T + stops + 1), of padded (rows, T) tokens.

    A row of n tokens reads `start, n tokens, stops - 1 times stop` and has to say `n tokens, stops times stop`.
    """
    places = torch.arange(tokens.shape[1] + stops + 1, device=tokens.device)
    ended = functional.pad(tokens, (0, stops + 1), value=stop).masked_fill(places >= lengths[:, None], stop)
    counted = places < lengths[:, None] + stops
    targets = ended.masked_fill(~counted, _NONE)
    return functional.pad(ended[:, :-1], (1, 0), value=start), targets, counted


def without_conditioned(targets: Tensor, batch: Batch) -> Tensor:
    """Targets without the codes of the piece their row is conditioned on. Stop tokens stay."""
    places = torch.arange(targets.shape[1], device=targets.device)
    first, behind = batch.conditioned.unsqueeze(2).unbind(1)
    hidden = (places >= first) & (places < behind) & (places < batch.code_lengths[:, None])
    return targets.masked_fill(hidden, _NONE)
