"""Which aligner does the work."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tts_train.align.whisperx_aligner import load_whisperx, require_model
from tts_train.align.words import Alignment
from tts_train.audio import Audio
from tts_train.errors import Unavailable, UsageError

AlignerName = Literal["auto", "pocketsphinx", "whisperx"]
Align = Callable[[Audio, str], Alignment]


@dataclass(frozen=True)
class Choice:
    """The aligner that does the work, and why it was picked."""

    name: str
    why: str
    model: str | None
    language: str


def choose_aligner(aligner: AlignerName, model: str | None, language: str) -> Choice:
    """Pick an aligner for a language.

    Raises UsageError or Unavailable when the request cannot be met, InputUnusable for a model that would run code.
    """
    english = language.split("-", maxsplit=1)[0] == "en"
    if aligner == "whisperx" and not model:
        raise UsageError(
            "--aligner whisperx needs --model",
            hint="--model FOLDER_OR_NAME of a wav2vec2 CTC model, such as WAV2VEC2_ASR_BASE_960H (downloads 360 MB)",
        )
    if aligner == "pocketsphinx" and model:
        raise UsageError("--model is for --aligner whisperx", hint="leave --model or --aligner pocketsphinx out")
    if model:
        if Path(model).is_dir():
            require_model(Path(model))
        return Choice("whisperx", f"--model {model} was given", model, language)
    if not english:
        raise Unavailable(
            f"the packaged aligner knows English only, not '{language}'",
            hint="--model FOLDER_OR_NAME of a wav2vec2 CTC model for this language",
        )
    why = "asked for" if aligner == "pocketsphinx" else "English, and no --model was given"
    return Choice("pocketsphinx", why, None, language)


@functools.cache
def load_aligner(name: str, model: str | None, language: str) -> Align:
    """The aligner of this process, loaded once."""
    if name == "pocketsphinx":
        from tts_train.align import pocketsphinx

        return pocketsphinx.align
    import torch

    assert model is not None
    # Sums differ with the number of threads: the same bytes for any number of jobs need the same number everywhere.
    torch.set_num_threads(1)
    return load_whisperx(model, language).align
