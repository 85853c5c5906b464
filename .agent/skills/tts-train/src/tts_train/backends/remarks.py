"""Advice that holds for every family that is trained on a GPU."""

from __future__ import annotations

from collections.abc import Iterator

from tts_train.config import TrainConfig


def on_cpu(config: TrainConfig, *, is_real: bool) -> Iterator[str]:
    """Of a training on the CPU; `is_real`: with a model of published size."""
    if config.precision == "bfloat16":
        yield "precision bfloat16 on a CPU is mostly slower than float32, and coarser"
    if is_real:
        yield "no GPU: compare the estimate's minutes with minutes_elsewhere first; piper voices train in minutes here"


def padding(config: TrainConfig, share: float, clips: int) -> Iterator[str]:
    """Of batches that are padded much."""
    if share > 0.1:
        yield (
            f"{share:.0%} of the positions are padding although clips of like length share a batch: "
            f"{clips} clips are few for batch_size {config.batch_size}, or one is far longer than the rest"
        )
