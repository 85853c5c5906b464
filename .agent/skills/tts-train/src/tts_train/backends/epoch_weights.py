"""Published epochs that are one safetensors file, tied to the base they were trained from by its hash."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tts_train.errors import InputUnusable

if TYPE_CHECKING:
    from torch import Tensor

FILE = "weights.safetensors"
BASE = "base_sha256"
"""The only metadata key: the order of several is random, and so would the file's bytes be."""


def read_epoch(folder: Path, base_sha256: str, family: str, *, hint: str = "") -> dict[str, Tensor]:
    """The weights of an epoch of `family` ("piper", "xtts") in the number type they were saved in.

    Raises InputUnusable when the file is missing, torn, or was made from another base; `hint` says what else may be
    the cause of the last.
    """
    from safetensors import SafetensorError, safe_open

    path = folder / FILE
    if not path.is_file():
        raise InputUnusable(f"{folder} holds no {FILE}", hint=f"name an epoch folder of a run of {family}")
    try:
        with safe_open(path, framework="pt") as file:
            base = (file.metadata() or {}).get(BASE)
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    except SafetensorError as error:
        raise InputUnusable(f"{path} is damaged: {error}", hint="train the epoch again or restore the file") from error
    if base != base_sha256:
        raise InputUnusable(
            f"{path} was trained from another base voice ({str(base)[:12]}) than {base_sha256[:12]}",
            hint="; ".join(["name the base that the run's run.json names", *([hint] if hint else [])]),
        )
    return state
