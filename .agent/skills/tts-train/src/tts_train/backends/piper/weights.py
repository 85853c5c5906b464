"""A published epoch of a Piper voice: all its weights in one safetensors file, tied to the base by its hash."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tts_train.backends.epoch_weights import BASE, FILE, read_epoch
from tts_train.files import write_synced

if TYPE_CHECKING:
    from torch import Tensor

    from tts_train.backends.piper.model import PiperVits


def save(model: PiperVits, folder: Path, base_sha256: str) -> None:
    """Write float32 weights; the same weights always give the same bytes (a second metadata key would not)."""
    from safetensors.torch import save as serialize

    state = {name: weight.detach().cpu().contiguous() for name, weight in model.state_dict().items()}
    write_synced(folder / FILE, serialize(state, metadata={BASE: base_sha256}))


def load(folder: Path, base_sha256: str) -> dict[str, Tensor]:
    """Read an epoch. Raises InputUnusable when it is missing, torn, or was made from another base voice."""
    return read_epoch(folder, base_sha256, "piper")
