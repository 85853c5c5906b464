"""The rolling full state that makes a resumed run byte-identical to an uninterrupted one.

No random state is kept: every batch seeds all generators from (seed, step, place in the step), so randomness is a
function of where the run is. Batches are a function of (seed, epoch). What is left is weights, optimizer moments and
sums.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tts_train.errors import InputUnusable
from tts_train.files import atomic_write_stream

FORMAT = 2
"""1 kept frozen weights too and had no number."""
VALIDATION = 2**32 - 1
"""Stands for the step where held-out batches are seeded: the same numbers after every epoch."""


def seed_batch(seed: int, step: int, index: int = 0) -> None:
    """Seed Python's, NumPy's and torch's generators for batch `index` of optimizer step `step`.

    The same whichever process computes it. (NumPy pads with zeros: index 0 is what seeding by (seed, step) gave.)
    """
    import numpy as np
    import torch

    mixed = int(np.random.SeedSequence([seed, step, index]).generate_state(1)[0])
    random.seed(mixed)
    np.random.seed(mixed)  # noqa: NPY002  libraries draw from the global generator
    torch.manual_seed(mixed)


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Replace the state atomically; the old one stays when the disk is full. Streams: a state can be 20 GB."""
    import torch

    atomic_write_stream(path, lambda file: torch.save({"format": FORMAT, **state}, file))


def load_state(path: Path) -> dict[str, Any] | None:
    """The saved state, mapped from the file, on the CPU; None for a new run.

    Raises InputUnusable when the file is damaged or an earlier version's.
    """
    import torch

    if not path.is_file():
        return None
    again = "delete the folder state/ to train this run from its first epoch"
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:
        raise InputUnusable(f"{path} cannot be read: {error}", hint=again) from error
    if state.get("format") != FORMAT:
        raise InputUnusable(f"{path} was written by another version of tts-train", hint=again)
    return state
