"""A published epoch of a Piper voice: all its weights in one safetensors file, tied to the base by its hash."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tts_train.errors import InputUnusable
from tts_train.files import write_synced

if TYPE_CHECKING:
    from torch import Tensor

    from tts_train.backends.piper.model import PiperVits

FILE = "weights.safetensors"
_BASE = "base_sha256"


def save(model: PiperVits, folder: Path, base_sha256: str) -> None:
    """Write float32 weights; the same weights always give the same bytes (a second metadata key would not)."""
    from safetensors.torch import save as serialize

    state = {name: weight.detach().cpu().contiguous() for name, weight in model.state_dict().items()}
    write_synced(folder / FILE, serialize(state, metadata={_BASE: base_sha256}))


def load(folder: Path, base_sha256: str) -> dict[str, Tensor]:
    """Read an epoch. Raises InputUnusable when it is missing, torn, or was made from another base voice."""
    from safetensors import SafetensorError, safe_open

    path = folder / FILE
    if not path.is_file():
        raise InputUnusable(f"{folder} holds no {FILE}", hint="name an epoch folder of a piper run")
    try:
        with safe_open(path, framework="pt") as file:
            base = (file.metadata() or {}).get(_BASE)
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    except SafetensorError as error:
        raise InputUnusable(f"{path} is damaged: {error}", hint="train the epoch again or restore the file") from error
    if base != base_sha256:
        raise InputUnusable(
            f"{path} was trained from another base voice ({str(base)[:12]}) than {base_sha256[:12]}",
            hint="name the base that the run's run.json names",
        )
    return state
