"""What a rank does in the tests of GPU locks: it takes its card, which has a made-up name."""

from __future__ import annotations

from typing import Any

from tts_train.training import gpus, ranks


def take() -> dict[str, Any]:
    """Hold the card of this rank's number; returns that."""
    number = ranks._seat[0].rank
    gpus.gpu_name = lambda index: f"GPU-fake-{index}"
    with gpus.gpu_held("cuda", number):
        return {"rank": number}
