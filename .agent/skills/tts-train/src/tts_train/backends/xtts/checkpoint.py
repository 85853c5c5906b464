"""A published epoch of an XTTS voice: the GPT's weights, all that training changes, tied to the base by its hash."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tts_train.backends.epoch_weights import BASE, FILE, read_epoch
from tts_train.errors import ConfigError, DiskError, TtsTrainError

if TYPE_CHECKING:
    from torch import Tensor

GPT = "gpt."
_ALIASES = ("gpt.gpt_inference.", "gpt.gpt.wte.")


def write(folder: Path, gpt_state: Mapping[str, Tensor], base_sha256: str, dtype: str) -> dict[str, Any]:
    """Write `gpt_state` (named as `voice.gpt_state` does) into the existing `folder`; nothing given is changed.

    The same weights give the same bytes. `dtype`: "float32", or "float16" for half the size.

    Returns {dtype, rounding}: ‖round(w) − w‖ / ‖w‖, to be compared with the epoch's drift; 0 in float32. Raises
    TtsTrainError for anything but the GPT's weights, ConfigError when they do not fit float16, DiskError when the disk
    refuses.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    foreign = [name for name in gpt_state if not name.startswith(GPT) or name.startswith(_ALIASES)]
    if foreign or not gpt_state:
        raise TtsTrainError(
            f"an epoch holds the GPT's weights once, not {foreign[0] if foreign else 'nothing'}",
            hint="nothing was published; this is a fault of the trainer, please report it",
        )
    kind = {"float32": torch.float32, "float16": torch.float16}[dtype]
    state = {name: value.detach().to("cpu", kind).contiguous() for name, value in gpt_state.items()}
    rounding = 0.0 if kind == torch.float32 else _rounding(gpt_state, state)
    try:
        save_file(state, folder / FILE, metadata={BASE: base_sha256})
    except SafetensorError as error:
        raise DiskError(f"could not write {folder / FILE}: {error}", hint="check free space and permissions") from error
    return {"dtype": dtype, "rounding": rounding}


def read(folder: Path, base_sha256: str) -> dict[str, Tensor]:
    """The weights of an epoch in the number type they were saved in, mapped from the file.

    Raises InputUnusable when it is missing, torn, or was made from another base.
    """
    hint = "stock coqui-tts rewrites a hub's model.pth in its place when it loads it, so give it a copy"
    return read_epoch(folder, base_sha256, "xtts", hint=hint)


def _rounding(exact: Mapping[str, Tensor], rounded: Mapping[str, Tensor]) -> float:
    there = {name: value.detach().cpu().float() for name, value in exact.items()}
    lost = norm(rounded[name].float() - value for name, value in there.items())
    if not math.isfinite(lost):
        raise ConfigError("these weights do not fit float16", hint="set xtts.save_dtype: float32")
    return lost / norm(there.values()) if lost else 0.0


def norm(tensors: Iterable[Tensor]) -> float:
    """Euclidean norm over all of them, summed in float64."""
    import torch

    return math.hypot(*(float(torch.linalg.vector_norm(value, dtype=torch.float64)) for value in tensors))
