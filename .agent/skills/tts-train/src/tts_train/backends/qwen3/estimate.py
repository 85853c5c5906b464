"""What training costs, by arithmetic from config.json: weights, memory, disk, time. Nothing here was seen on a GPU.

Weights are exact (tests count the real classes). The bytes that a layer keeps for its backward pass and the speed of a
CPU core were measured with a layer of each published size, sdpa attention, on a CPU; the rest is multiplied out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tts_train.backends.machine import GB, GIB, GPU_SHARE, GPU_TFLOPS
from tts_train.backends.qwen3.shape import PUBLISHED, Shape, Stack
from tts_train.backends.qwen3.text import HEAD, TAIL
from tts_train.training.batching import cut
from tts_train.training.ranks import BUCKET_BYTES

FP32 = 4
CPU_FLOPS = 75e9
"""One core, float32, forward and backward of one layer of either size: 73 to 76 GFLOP/s."""
_CODEC_GB = 0.7
_ENCODER_WEIGHTS = 8.9e6
"""Speaker encoder of the published sizes; it stands beside each epoch in float32."""
_CONTEXT_GIB = 1.0
"""CUDA context, libraries and fragmentation: a guess."""


@dataclass(frozen=True)
class Variant:
    """What of a base trains."""

    frozen_text: bool = False
    lora_rank: int = 0

    def __str__(self) -> str:
        if self.lora_rank:
            return f"LoRA, rank {self.lora_rank}"
        return "all but the text embedding" if self.frozen_text else "all weights"


@dataclass(frozen=True)
class Load:
    """Work: positions of the talker and audio frames, of an epoch or of one batch."""

    positions: int
    frames: int
    predictor_share: float = 1.0
    """Share of the frames on which the code predictor trains."""


def trainable(shape: Shape, variant: Variant) -> int:
    """Weights with a gradient."""
    if variant.lora_rank:
        return shape.talker.adapters(variant.lora_rank) + shape.predictor.adapters(variant.lora_rank)
    return shape.total - (shape.weights()["text_embedding"] if variant.frozen_text else 0)


def forward_flops(shape: Shape, load: Load) -> float:
    """Floating-point operations of one pass over `load` (attention's own products, a few percent, left out)."""
    weights = shape.weights()
    per_frame = shape.groups * (shape.predictor.matrices + weights["predictor_projection"])
    per_frame += weights["predictor_heads"]
    return 2 * (
        load.positions * (shape.talker.matrices + weights["text_projection"])
        + load.frames * weights["codec_head"]
        + load.frames * load.predictor_share * per_frame
    )


def training_flops(shape: Shape, variant: Variant, epoch: Load) -> float:
    """Operations of an epoch: forward, gradients of the activations and, where whole matrices train, of those."""
    return forward_flops(shape, epoch) * (2 if variant.lora_rank else 3)


def positions(text_tokens: int, frames: int, *, tagged: bool) -> int:
    """Positions of an utterance of so many tokens of text; `tagged`: it names a language. As `layout.length`, which
    needs torch."""
    return HEAD + TAIL + text_tokens + frames + 2 + tagged


def text_tokens(text: str) -> int:
    """About how many tokens a text has. The tokenizer is not in the core environment; 4 bytes a token is near for
    Latin letters and for Chinese."""
    return len(text.encode()) // 4 + 1


def padding(lengths: Sequence[int], batch_size: int) -> float:
    """Share of an epoch's positions that is padding, when clips of like length share a batch."""
    return 1 - sum(lengths) / padded(lengths, batch_size)


def padded(lengths: Sequence[int], batch_size: int) -> int:
    """Positions of an epoch with their padding."""
    return sum(len(batch) * batch[-1] for batch in cut(sorted(lengths), batch_size))


def memory(
    shape: Shape, variant: Variant, *, batch: Load, bfloat16: bool, processes: int = 1, gpu: bool = True
) -> dict[str, float]:
    """GiB that one process of a training takes, by part.

    Exact: float32 weights, gradients, AdamW's two moments; the start weights, from which drift is measured, on the CPU
    only (a GPU's stay in the machine's memory); the pieces in which processes sum gradients. Rough: what a batch keeps
    for its backward pass.
    """
    trained = trainable(shape, variant)
    adapters = trained if variant.lora_rank else 0
    parts = {
        "weights": FP32 * (shape.total + adapters),
        "gradients": FP32 * trained,
        "moments": 2 * FP32 * trained,
        "start_weights": 0 if gpu else FP32 * trained,
        "gradient_buckets": BUCKET_BYTES if processes > 1 else 0,
        "batch": _batch_bytes(shape, batch, bfloat16=bfloat16),
        "context": _CONTEXT_GIB * GIB if gpu else 0,
    }
    rounded = {name: round(value / GIB, 2) for name, value in parts.items()}
    return {**rounded, "total": round(sum(parts.values()) / GIB, 1)}


def training_bytes(config: Mapping[str, Any], *, freeze: Sequence[str] = (), lora_rank: int | None = None) -> int:
    """Bytes of float32 weights, gradients and AdamW's moments for the base that `config` (config.json) describes."""
    shape, variant = Shape.from_config(config), Variant("text_embedding" in freeze, lora_rank or 0)
    trained = trainable(shape, variant)
    adapters = trained if variant.lora_rank else 0
    return FP32 * (shape.total + adapters + 3 * trained)


def _batch_bytes(shape: Shape, batch: Load, *, bfloat16: bool) -> float:
    """What the backward pass needs, and under autocast the bfloat16 copy of every matrix that is multiplied."""
    predicted = batch.frames * batch.predictor_share
    kept = batch.positions * _kept_bytes(shape.talker, bfloat16=bfloat16)
    kept += shape.groups * predicted * _kept_bytes(shape.predictor, bfloat16=bfloat16)
    # Logits, their log-softmax and its gradient, all in float32.
    logits = 3 * FP32 * (batch.frames * shape.codec_vocabulary + predicted * (shape.groups - 1) * shape.codes)
    copies = 2 * (shape.total - shape.weights()["text_embedding"]) if bfloat16 else 0
    return kept + logits + copies


def _kept_bytes(stack: Stack, *, bfloat16: bool) -> float:
    """Bytes that one position keeps for the backward pass, over all layers (measured per layer, see above)."""
    hidden, mlp, attention = stack.hidden, stack.intermediate, stack.heads * stack.head_dim
    per_layer = 26 * hidden + 8 * mlp + 27.5 * attention if bfloat16 else 24 * hidden + 16 * mlp + 32 * attention
    return stack.layers * per_layer


def disk(shape: Shape, variant: Variant, *, epochs: int, save_bytes: int, codec_is_linked: bool) -> dict[str, float]:
    """GB of a run. Epochs hold whole weights (LoRA is merged); the codec is hard-linked where the disk allows it.

    The state for a resume holds the trained weights and two moments, twice while one is being replaced.
    """
    epoch = save_bytes * shape.total + FP32 * _ENCODER_WEIGHTS
    parts = {
        "epochs": epochs * (epoch / GB + (0 if codec_is_linked else _CODEC_GB)),
        "state": 2 * 3 * FP32 * trainable(shape, variant) / GB,
    }
    return {**{name: round(value, 2) for name, value in parts.items()}, "total": round(sum(parts.values()), 2)}


def download_gigabytes(shape: Shape) -> float:
    """Size of a published base: bfloat16 weights, speaker encoder, codec."""
    return 2 * (shape.total + _ENCODER_WEIGHTS) / GB + _CODEC_GB


def minutes(flops: float, *, gpu: str | None, workers: int = 1) -> float:
    """Minutes for `flops` on `workers` GPUs of a class, or CPU threads (gpu None)."""
    speed = GPU_SHARE * GPU_TFLOPS[gpu] * 1e12 if gpu else CPU_FLOPS
    return flops / (speed * workers) / 60


def basis(gpu: str | None, threads: int) -> str:
    """Where `minutes` come from, in words."""
    above = "optimizer, data, validation and probe come on top"
    if gpu is None:
        speed = f"{CPU_FLOPS / 1e9:.0f} GFLOP/s a core (measured with one layer of the published shapes)"
        return f"arithmetic: 6 x weights x positions at {speed}, {threads} thread(s); {above}"
    speed = f"{GPU_SHARE:.0%} of the {GPU_TFLOPS[gpu]} TFLOP/s of the {gpu}"
    return (
        f"arithmetic, not measured: 6 x weights x positions at {speed}; take it as a lower bound, "
        f"small batches reach less and {above}"
    )


VARIANTS = (Variant(), Variant(frozen_text=True), Variant(lora_rank=16))


def table(*, batch: Load) -> list[dict[str, Any]]:
    """The memory of each published size and variant for one batch on a GPU, in bfloat16 arithmetic."""
    return [
        {
            "size": size,
            "trains": str(variant),
            "trainable_millions": round(trainable(shape, variant) / 1e6, 1),
            "gpu_memory_gib": memory(shape, variant, batch=batch, bfloat16=True)["total"],
        }
        for size, shape in PUBLISHED.items()
        for variant in VARIANTS
    ]
