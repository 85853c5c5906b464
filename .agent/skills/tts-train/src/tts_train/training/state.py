"""The rolling full state that makes a resumed run byte-identical to an uninterrupted one.

No random state is kept: every optimizer step seeds all generators from (seed, step), so randomness is a function of
where the run is. Batches are a function of (seed, epoch). What is left is weights, optimizer moments and sums.
"""

from __future__ import annotations

import io
import random
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tts_train.errors import InputUnusable
from tts_train.files import atomic_write_bytes

if TYPE_CHECKING:
    import torch


def seed_step(seed: int, step: int) -> None:
    """Seed Python's, NumPy's and torch's generators for one optimizer step."""
    import numpy as np
    import torch

    mixed = int(np.random.SeedSequence([seed, step]).generate_state(1)[0])
    random.seed(mixed)
    np.random.seed(mixed)  # noqa: NPY002  libraries draw from the global generator
    torch.manual_seed(mixed)


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Replace the state atomically; the old one stays when the disk is full."""
    import torch

    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    atomic_write_bytes(path, buffer.getvalue())


def load_state(path: Path, device: torch.device) -> dict[str, Any] | None:
    """The saved state, or None for a new run. Raises InputUnusable when the file is damaged."""
    import torch

    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        raise InputUnusable(
            f"{path} cannot be read: {error}",
            hint="delete the folder state/ to train this run from its first epoch",
        ) from error
    return state
