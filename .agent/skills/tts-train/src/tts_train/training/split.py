"""Clips held out of training, to measure what the voice has not seen."""

from __future__ import annotations

import hashlib
from collections.abc import Collection

from tts_train.errors import ConfigError


def held_out(ids: Collection[str], count: int, seed: int) -> set[str]:
    """`count` of `ids`, by a hash of each: neither their order nor clips that join later reshuffle the choice.

    Raises ConfigError when nothing would be left to train on.
    """
    if count == 0:
        return set()
    distinct = set(ids)
    if count >= len(distinct):
        raise ConfigError(
            f"validation_clips {count} leaves nothing of {len(distinct)} clips to train on",
            hint=f"at most {max(len(distinct) - 1, 0)}; a tenth of the clips is plenty",
        )
    return set(sorted(distinct, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())[:count])
