"""What training costs, by arithmetic from config.json: weights, memory, disk, time. Nothing here was seen on a GPU.

Weights are exact (a test counts the real class). The bytes that the backward pass needs and the speed of a CPU core
were measured with layers of the published width on a CPU; the rest is multiplied out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tts_train.backends.machine import GB, GIB, GPU_SHARE, GPU_TFLOPS
from tts_train.backends.xtts.base import CODE_STRIDE, SAMPLE_RATE, STOPS
from tts_train.training.batching import cut
from tts_train.training.ranks import BUCKET_BYTES

if TYPE_CHECKING:
    from tts_train.backends.xtts.base import Base

FP32 = 4
LATENTS = 32
"""Positions in front of each text: what the perceiver makes of the conditioning piece."""
MEL_TOKENS = 1026
MEL_FRAMES = 517
"""Of a conditioning piece, always padded to 6 s."""
CPU_FLOPS = 69e9
"""One core, float32, forward and backward: transformer and conditioning encoder alike."""
_BANDS = 80
_BLOCKS = 6
"""Attention blocks of the conditioning encoder."""
_PERCEIVER_LAYERS, _PERCEIVER_WIDTH = 2, 512
_REST = 22.4e6 + 51.6e6
"""Weights of vocoder, speaker encoder and DVAE: they never change."""
_CONTEXT_GIB = 1.0
"""CUDA context, libraries and fragmentation: a guess."""


@dataclass(frozen=True)
class Shape:
    """The GPT of an XTTS-v2, conditioning encoder and perceiver included: all that is trained."""

    layers: int
    width: int
    heads: int
    text_tokens: int
    """Of the vocabulary."""
    text_positions: int
    mel_positions: int

    @classmethod
    def of(cls, base: Base) -> Shape:
        """Raises KeyError, TypeError or ValueError for a config.json that lacks something."""
        sizes, arguments = base.sizes, base.config["model_args"]
        # What coqui-tts adds to the two maxima.
        text, mel = int(arguments["gpt_max_text_tokens"]) + 2, int(arguments["gpt_max_audio_tokens"]) + 3
        return cls(sizes.layers, sizes.width, sizes.heads, sizes.text_tokens, text, mel)

    def weights(self) -> dict[str, int]:
        """Number of weights by part, as coqui's GPT names its parts."""
        width, inner = self.width, int(self.width * 4 * 2 / 3)
        attention = 4 * _PERCEIVER_WIDTH * width
        feed_forward = 2 * inner * (width + 1) + (inner + 1) * width
        return {
            "conditioning_encoder": (_BANDS + 1) * width + _BLOCKS * (4 * width**2 + 6 * width),
            "conditioning_perceiver": (LATENTS + 1) * width + _PERCEIVER_LAYERS * (attention + feed_forward),
            "text_embedding": self.text_tokens * width,
            "mel_embedding": MEL_TOKENS * width,
            "gpt": self.layers * (12 * width**2 + 13 * width) + 2 * width,
            "text_pos_embedding": self.text_positions * width,
            "mel_pos_embedding": self.mel_positions * width,
            "final_norm": 2 * width,
            "text_head": self.text_tokens * (width + 1),
            "mel_head": MEL_TOKENS * (width + 1),
        }

    @property
    def total(self) -> int:
        return sum(self.weights().values())

    @property
    def matrices(self) -> int:
        """Weights of the transformer that multiply every position."""
        return 12 * self.layers * self.width**2


PUBLISHED = Shape(layers=30, width=1024, heads=16, text_tokens=6681, text_positions=404, mel_positions=608)


@dataclass(frozen=True)
class Load:
    """Work: so many clips with so many positions, padding included, of an epoch or of one batch."""

    clips: int
    positions: int


def codes(seconds: float) -> int:
    """Audio codes of a clip."""
    return -(-round(seconds * SAMPLE_RATE) // CODE_STRIDE)


def positions(text_tokens: int, seconds: float) -> int:
    """Positions of an utterance: latents, text with start and stop, codes with start and stops."""
    return LATENTS + text_tokens + 2 + codes(seconds) + STOPS + 1


def text_tokens(text: str) -> int:
    """About how many tokens a text has; the tokenizer is not in the core environment. Every space is one."""
    return len(text) // 2 + 1


def padded(lengths: Sequence[int], batch_size: int) -> int:
    """Positions of an epoch with their padding, when clips of like length share a batch."""
    return sum(len(batch) * batch[-1] for batch in cut(sorted(lengths), batch_size))


def padding(lengths: Sequence[int], batch_size: int) -> float:
    """Share of an epoch's positions that is padding."""
    return 1 - sum(lengths) / padded(lengths, batch_size)


def training_flops(shape: Shape, load: Load) -> float:
    """Operations of forward and backward (attention's own products and embeddings, a few percent, left out)."""
    weights = shape.weights()
    heads = (MEL_TOKENS + shape.text_tokens) / 2 * shape.width  # a position has one of the two
    per_clip = MEL_FRAMES * weights["conditioning_encoder"] + LATENTS * weights["conditioning_perceiver"]
    per_clip += MEL_FRAMES * _PERCEIVER_LAYERS * 2 * _PERCEIVER_WIDTH * shape.width
    return 6 * (load.positions * (shape.matrices + heads) + load.clips * per_clip)


def memory(shape: Shape, *, batch: Load, bfloat16: bool, processes: int = 1, gpu: bool = True) -> dict[str, float]:
    """GiB that one process of a training takes, by part.

    Exact: float32 weights, gradients, AdamW's two moments; the start weights, from which drift is measured, on the CPU
    only; the pieces in which processes sum gradients. Rough: what a batch keeps for its backward pass.
    """
    parts = {
        "weights": FP32 * shape.total,
        "gradients": FP32 * shape.total,
        "moments": 2 * FP32 * shape.total,
        "start_weights": 0 if gpu else FP32 * shape.total,
        "gradient_buckets": BUCKET_BYTES if processes > 1 else 0,
        "batch": batch_bytes(shape, batch, bfloat16=bfloat16),
        "context": _CONTEXT_GIB * GIB if gpu else 0,
    }
    rounded = {name: round(value / GIB, 2) for name, value in parts.items()}
    return {**rounded, "total": round(sum(parts.values()) / GIB, 1)}


def batch_bytes(shape: Shape, batch: Load, *, bfloat16: bool) -> float:
    """What the backward pass needs, and under autocast the bfloat16 copy of every matrix.

    Measured on a CPU, where attention keeps its probabilities and dropout's mask; a GPU's kernels may keep less.
    """
    kept: float = shape.layers * batch.positions * (70 if bfloat16 else 120) * shape.width
    kept += shape.layers * batch.positions * 12 * shape.heads * batch.positions / max(batch.clips, 1)
    # The conditioning encoder's softmax is float32 whatever the rest is.
    conditioning = _BLOCKS * FP32 * MEL_FRAMES * (shape.heads * MEL_FRAMES + 9 * shape.width)
    logits = 3 * FP32 * batch.positions * (MEL_TOKENS + shape.text_tokens) / 2
    copies = 2 * shape.total if bfloat16 else 0
    return kept + batch.clips * conditioning + logits + copies


def disk(shape: Shape, *, epochs: int, save_bytes: int, audio_seconds: float) -> dict[str, float]:
    """GB of a run: epochs hold the GPT alone; the state for a resume its weights and two moments, twice while one is
    being replaced; samples of the clips are kept beside the dataset."""
    parts = {
        "epochs": epochs * save_bytes * shape.total / GB,
        "state": 2 * 3 * FP32 * shape.total / GB,
        "samples": 2 * SAMPLE_RATE * audio_seconds / GB,
    }
    return {**{name: round(value, 2) for name, value in parts.items()}, "total": round(sum(parts.values()), 2)}


def download_gigabytes(shape: Shape) -> float:
    """Size of a base in float32."""
    return FP32 * (shape.total + _REST) / GB


def minutes(flops: float, *, gpu: str | None, workers: int = 1) -> float:
    """Minutes for `flops` on `workers` GPUs of a class, or CPU threads (gpu None)."""
    speed = GPU_SHARE * GPU_TFLOPS[gpu] * 1e12 if gpu else CPU_FLOPS
    return flops / (speed * workers) / 60


def basis(gpu: str | None, threads: int) -> str:
    """Where `minutes` come from, in words."""
    above = "optimizer, data, validation and probe come on top"
    if gpu is None:
        speed = f"{CPU_FLOPS / 1e9:.0f} GFLOP/s a core (measured with layers of the published width)"
        return f"arithmetic: 6 x weights x positions at {speed}, {threads} thread(s); {above}"
    return (
        f"arithmetic, not measured: 6 x weights x positions at {GPU_SHARE:.0%} of the {GPU_TFLOPS[gpu]} TFLOP/s of "
        f"the {gpu}; take it as a lower bound, small batches reach less and {above}"
    )


def table() -> list[dict[str, Any]]:
    """GPU memory of the published size by batch size and clip length."""
    rows = []
    for size in (1, 2, 4, 8):
        row: dict[str, Any] = {"batch_size": size}
        for seconds in (4.0, 8.0, 11.6):
            load = Load(size, size * positions(round(8 * seconds), seconds))
            for name in ("float32", "bfloat16"):
                found = memory(PUBLISHED, batch=load, bfloat16=name == "bfloat16")
                row[f"{seconds:g} s, {name}"] = found["total"]
        rows.append(row)
    return rows
