"""Where a run computes and in which number type. Weights, gradients and optimizer are float32 everywhere."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from tts_train.config import TrainConfig
from tts_train.errors import Unavailable

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Compute:
    """What `device: auto` and `precision: auto` turned into."""

    device: Literal["cpu", "cuda"]
    precision: Literal["float32", "bfloat16"]
    threads: int
    """CPU threads of each process: `threads` of the config, shared out."""

    def as_json(self) -> dict[str, object]:
        return asdict(self)

    def place(self, rank: int) -> torch.device:
        """The device of process `rank`: a GPU each."""
        import torch

        return torch.device("cuda", rank) if self.device == "cuda" else torch.device("cpu")

    def autocast(self) -> AbstractContextManager[object]:
        """For the forward: products in bfloat16, sums and losses in float32."""
        import torch

        return torch.autocast(self.device, torch.bfloat16) if self.precision == "bfloat16" else nullcontext()


@dataclass(frozen=True)
class Gpus:
    """What the machine has."""

    count: int
    bfloat16: bool


def resolve(config: TrainConfig, gpus: Gpus | None = None) -> Compute:
    """Decide device and precision. `gpus` None asks torch.

    Raises Unavailable when the config asks for a GPU, or for more GPUs, or for a number type that is not there.
    """
    threads = max(1, config.threads // config.processes)
    if config.device == "cpu":
        return Compute("cpu", "bfloat16" if config.precision == "bfloat16" else "float32", threads)
    there = gpus or _gpus()
    if config.device == "auto" and there.count == 0:
        return Compute("cpu", "bfloat16" if config.precision == "bfloat16" else "float32", threads)
    if there.count == 0:
        raise Unavailable(
            "device is cuda, but torch sees no GPU",
            hint="check nvidia-smi and CUDA_VISIBLE_DEVICES, or set device: cpu",
        )
    if there.count < config.processes:
        raise Unavailable(
            f"{config.processes} processes need a GPU each, torch sees {there.count}",
            hint=f"set processes: {there.count}; the recipe stays the same",
        )
    if config.precision == "bfloat16" and not there.bfloat16:
        raise Unavailable("this GPU does not compute in bfloat16", hint="set precision: float32, or auto")
    wanted = there.bfloat16 if config.precision == "auto" else config.precision == "bfloat16"
    return Compute("cuda", "bfloat16" if wanted else "float32", threads)


def _gpus() -> Gpus:
    import torch

    if not torch.cuda.is_available():
        return Gpus(0, bfloat16=False)
    return Gpus(torch.cuda.device_count(), torch.cuda.is_bf16_supported(including_emulation=False))
