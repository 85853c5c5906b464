"""An utterance as the talker reads it, and batches of them.

One position carries a text token and, added to it, a codec token, a whole frame of 16 codes, or the speaker vector. The
order is the one that `Qwen3TTSForConditionalGeneration.generate` builds for a custom voice in non-streaming mode:

    text    head head head | pad … pad  pad      bos | text … eos | pad | pad     pad     …
    codec                  | think tag  speaker  pad | pad  … pad | bos | frame 0 frame 1 …

The tag is `nothink think_bos think_eos`, or with a language `think think_bos language think_eos`. There is no position
for the end of speech: nothing is predicted from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from tts_train.backends.qwen3.text import HEAD, TAIL
from tts_train.errors import InputUnusable

if TYPE_CHECKING:
    from numpy.typing import NDArray

GROUPS = 16
"""Codes per frame."""
NONE = -1
"""Where a position has no code."""


@dataclass(frozen=True)
class SpecialIds:
    """Token ids with a meaning of their own: three of the text vocabulary, the others of the codec's."""

    text_pad: int
    text_bos: int
    text_eos: int
    pad: int
    bos: int
    eos: int
    think: int
    nothink: int
    think_bos: int
    think_eos: int

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Ids from config.json. The library's defaults are another model's, so a missing one is an error.

        Raises InputUnusable naming every id that is missing.
        """
        names = {
            **{f"text_{name}": f"tts_{name}_token_id" for name in ("pad", "bos", "eos")},
            **{name: f"codec_{name}_id" for name in ("pad", "bos", "think", "nothink", "think_bos", "think_eos")},
            "eos": "codec_eos_token_id",
        }
        found = {**config.get("talker_config", {}), **config}
        missing = [key for key in names.values() if not isinstance(found.get(key), int)]
        if missing:
            raise InputUnusable(
                f"config.json names no {', '.join(missing)}", hint="take the base's own config.json, unchanged"
            )
        return cls(**{name: found[key] for name, key in names.items()})


@dataclass(frozen=True)
class Row:
    """One utterance of `frames` frames, the first of them at position `first_frame`."""

    text: Tensor
    """(T,) long: a text token at every position."""
    codec: Tensor
    """(T, 16) long: one token in group 0, a whole frame, or NONE."""
    targets: Tensor
    """(frames + 1,) long: what the positions from `first_frame - 1` on have to predict; the last is the end."""
    speaker_position: int
    first_frame: int
    frames: int


def length(prompt_tokens: int, frames: int, *, tagged: bool) -> int:
    """Positions of an utterance, without building it. `tagged`: it names a language."""
    return prompt_tokens + frames + 2 + tagged


def utterance(prompt_ids: Sequence[int], codes: NDArray[np.int16], ids: SpecialIds, language_id: int | None) -> Row:
    """Lay out a prompt (`TextTokenizer.prompt_ids`) and its codes, (frames, 16).

    `language_id`: one of the base's `codec_language_id`; None is the tag "auto".
    """
    if codes.ndim != 2 or codes.shape[1] != GROUPS or not len(codes):
        raise InputUnusable(f"codes are (frames, {GROUPS}) with one frame or more, not {codes.shape}")
    if language_id is None:
        tag = [ids.nothink, ids.think_bos, ids.think_eos]
    else:
        tag = [ids.think, ids.think_bos, language_id, ids.think_eos]
    spoken = list(prompt_ids[HEAD:-TAIL])
    frames = len(codes)
    # The speaker stands between the tag and a pad; the last text token before the words is their begin.
    before = [*[ids.text_pad] * (len(tag) + 1), ids.text_bos]
    text = [*prompt_ids[:HEAD], *before, *spoken, ids.text_eos, ids.text_pad, *[ids.text_pad] * frames]
    single = [*[NONE] * HEAD, *tag, NONE, ids.pad, *[ids.pad] * (len(spoken) + 1), ids.bos]
    first_frame = len(single)
    codec = torch.full((first_frame + frames, GROUPS), NONE)
    codec[:first_frame, 0] = torch.tensor(single)
    codec[first_frame:] = torch.from_numpy(codes.astype(np.int64))
    return Row(
        text=torch.tensor(text),
        codec=codec,
        targets=torch.cat([codec[first_frame:, 0], torch.tensor([ids.eos])]),
        speaker_position=HEAD + len(tag),
        first_frame=first_frame,
        frames=frames,
    )


@dataclass(frozen=True)
class Batch:
    """Rows of like length, padded on the right to (rows, T).

    Positions are numbers into rows * T, found here once: finding them on a GPU would make it wait.
    """

    text: Tensor
    """(rows, T) long, 0 where padded."""
    codec: Tensor
    """(rows, T) long: the single codec tokens; NONE at frames, at the speaker and where padded."""
    speakers: Tensor
    """(rows, hidden) float: speaker vectors."""
    speaker_positions: Tensor
    """(rows,)"""
    frames: Tensor
    """(F, 16) long: the frames of all rows."""
    frame_positions: Tensor
    """(F,) where each frame is read; it is predicted one position before."""
    target_positions: Tensor
    """(F + rows,) the positions that predict."""
    targets: Tensor
    """(F + rows,) long: first codes of frames, and ends."""

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on `device`."""
        moved = {field.name: getattr(self, field.name).to(device, non_blocking=True) for field in fields(self)}
        return Batch(**moved)


def collate(rows: Sequence[Row], vectors: Sequence[Tensor]) -> Batch:
    """One batch; `vectors` are the rows' speaker vectors, (hidden,) each.

    Nothing marks the padding for attention: it lies behind every real position and attention looks back only.
    """
    text = pad_sequence([row.text for row in rows], batch_first=True)
    single = [row.codec[:, 0].masked_fill(row.codec[:, 1] != NONE, NONE) for row in rows]
    starts = [number * text.shape[1] for number in range(len(rows))]
    read, predicting = [], []
    for row, start in zip(rows, starts, strict=True):
        first = start + row.first_frame
        read.append(torch.arange(first, first + row.frames))
        predicting.append(torch.arange(first - 1, first + row.frames))
    return Batch(
        text=text,
        codec=pad_sequence(single, batch_first=True, padding_value=NONE),
        speakers=torch.stack(list(vectors)),
        speaker_positions=torch.tensor([start + row.speaker_position for row, start in zip(rows, starts, strict=True)]),
        frames=torch.cat([row.codec[row.first_frame :] for row in rows]),
        frame_positions=torch.cat(read),
        target_positions=torch.cat(predicting),
        targets=torch.cat([row.targets for row in rows]),
    )
