"""The training target of Qwen3-TTS, aligned with generation position by position.

The official trainer's is not: it shifts the talker's labels twice, shifts the code predictor's although its heads are
one per code group, shows the predictor a hidden state that has already read the frame, and leaves out the projection of
text. Its loss falls as nicely as this one; what it learns is not what generation asks for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from tts_train.backends.qwen3.layout import NONE, Batch

if TYPE_CHECKING:
    from qwen_tts.core.models import Qwen3TTSForConditionalGeneration

OBJECTIVE = "qwen3-aligned-1"
"""Stamped in run.json and checkpoints: losses and learning rates of another objective do not compare."""


class Predictions(NamedTuple):
    """What the model says, beside what it should have said."""

    talker: Tensor
    """(N, codec vocabulary) logits."""
    talker_targets: Tensor
    """(N,)"""
    predictor: Tensor
    """(M, 15, 2048) logits for the groups behind the first."""
    predictor_targets: Tensor
    """(M, 15)"""


class Objective(nn.Module):
    """The talker (with its code predictor) and its loss.

    predictor_weight: weight of the code predictor's term beside the talker's.
    subtalker_frames: share of the frames that the predictor is trained on, drawn from torch's global CPU generator
        anew in each forward. Its mean over draws is the loss on all frames. 1.0 draws nothing, nor does eval mode.
    """

    def __init__(
        self, model: Qwen3TTSForConditionalGeneration, *, predictor_weight: float = 0.3, subtalker_frames: float = 1.0
    ) -> None:
        super().__init__()
        # Under this name its weights are called as in the official checkpoints.
        self.talker = model.talker
        self.predictor_weight = predictor_weight
        self.subtalker_frames = subtalker_frames

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Mean cross entropy over what is predicted: {"talker", "code_predictor"}, weighted, so their sum is the loss.

        Every frame weighs the same, in whichever row it stands.
        """
        said = self.predictions(batch)
        predictor = functional.cross_entropy(said.predictor.flatten(0, 1).float(), said.predictor_targets.flatten())
        return {
            "talker": functional.cross_entropy(said.talker.float(), said.talker_targets),
            "code_predictor": self.predictor_weight * predictor,
        }

    def predictions(self, batch: Batch) -> Predictions:
        """Teacher-forced logits at the positions that have a target."""
        codes = self.embed_frames(batch.frames)
        hidden = self.talker.model(inputs_embeds=self.embed(batch, codes), use_cache=False).last_hidden_state
        hidden = hidden.flatten(0, 1)
        chosen = self.choose_frames(len(batch.frames), hidden.device)
        before = self.hidden_before(hidden, batch)
        frames = batch.frames
        if chosen is not None:
            before, codes, frames = before[chosen], codes[chosen], frames[chosen]
        return Predictions(
            *self.talker_predictions(hidden, batch),
            *self.predictor_predictions(before, codes, frames),
        )

    def embed_frames(self, frames: Tensor) -> Tensor:
        """(F, 16) codes → (F, 16, hidden). The first group has the talker's table, each other group one of its own."""
        tables = [self.talker.get_input_embeddings(), *self.talker.code_predictor.get_input_embeddings()]
        return torch.stack([table(frames[:, group]) for group, table in enumerate(tables)], dim=1)

    def embed(self, batch: Batch, codes: Tensor) -> Tensor:
        """What the talker reads, (rows, T, hidden); `codes` are the embedded frames.

        Every position has a text token, so text needs no mask; what is in the padding is never read.
        """
        talker = self.talker
        text = talker.text_projection(talker.get_text_embeddings()(batch.text))
        codec = talker.get_input_embeddings()(batch.codec.clamp_min(0)) * (batch.codec != NONE).unsqueeze(-1)
        flat = codec.flatten(0, 1)
        flat = flat.index_add(0, batch.speaker_positions, batch.speakers.to(flat.dtype))
        flat = flat.index_add(0, batch.frame_positions, codes.sum(1))
        return text + flat.view_as(codec)

    def talker_predictions(self, hidden: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits and targets of first codes and ends. `hidden`: (rows * T, hidden)."""
        return self.talker.codec_head(hidden[batch.target_positions]), batch.targets

    def hidden_before(self, hidden: Tensor, batch: Batch) -> Tensor:
        """(F, hidden): for each frame the state that predicted it, before the frame itself was read."""
        return hidden[batch.frame_positions - 1]

    def predictor_predictions(self, before: Tensor, codes: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and targets of groups 1 to 15, each from the talker's state and the groups before it."""
        predictor = self.talker.code_predictor
        # Under autocast the state may be bfloat16 while embeddings are float32.
        read = torch.cat([before.unsqueeze(1).to(codes.dtype), codes[:, :-1]], dim=1)
        read = predictor.small_to_mtp_projection(read)
        hidden = predictor.model(inputs_embeds=read, use_cache=False).last_hidden_state
        # Position 0 is the talker's state; position i has read groups 0 to i - 1, and head i - 1 predicts group i.
        logits = [head(hidden[:, group]) for group, head in enumerate(predictor.lm_head, start=1)]
        return torch.stack(logits, dim=1), frames[:, 1:]

    def choose_frames(self, count: int, device: torch.device) -> Tensor | None:
        """Which of `count` frames the code predictor is trained on; None: all."""
        if self.subtalker_frames >= 1.0 or not self.training:
            return None
        # On the CPU whatever the device: one seed, one choice.
        return torch.randperm(count)[: max(1, round(count * self.subtalker_frames))].to(device)
