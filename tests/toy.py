"""A Task so small that a whole run takes a fraction of a second: real torch, dropout and all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from tts_train.config import TrainConfig
from tts_train.files import write_synced

CLIPS = 12


def toy_config(**changes: Any) -> TrainConfig:
    settings = {
        "voice": "toy",
        "run": "toy",
        "backend": "piper",
        "dataset": "none",
        "epochs": 2,
        "batch_size": 2,
        "lr": 1e-2,
        "threads": 1,
        "schedule": {"warmup_steps": 2},
    }
    return TrainConfig.model_validate({**settings, **changes})


class _Regression(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(8, 16), torch.nn.Dropout(0.3), torch.nn.Tanh(), torch.nn.Linear(16, 8)
        )

    def forward(self, batch: torch.Tensor) -> dict[str, torch.Tensor]:
        error = self.layers(batch) - batch.roll(1, dims=1)
        return {"square": error.square().mean(), "absolute": 0.1 * error.abs().mean()}


class ToyTask:
    """Learns to shift vectors; `restored` is the state it got back."""

    trainable_parameters = 280

    def __init__(self, poison_step: int | None = None, held_out: int = 0) -> None:
        self.report: dict[str, Any] = {}
        torch.manual_seed(0)
        self.module = _Regression()
        self.data = torch.randn(CLIPS, 8)
        self.restored: Mapping[str, Any] | None = None
        self.poison_step = poison_step
        self.held_out = torch.randn(held_out, 8)

    def validation_batches(self) -> list[torch.Tensor]:
        return list(self.held_out.split(2)) if len(self.held_out) else []

    def batches(self, epoch: int, seed: int) -> list[torch.Tensor]:
        order = torch.randperm(CLIPS, generator=torch.Generator().manual_seed(seed * 1000 + epoch)).tolist()
        batches = [self.data[order[start : start + 2]] for start in range(0, CLIPS, 2)]
        if self.poison_step is not None and epoch == 2:
            batches[self.poison_step] = batches[self.poison_step] * float("nan")
        return batches

    def param_groups(self) -> list[dict[str, Any]]:
        return [{"name": "all", "params": list(self.module.parameters())}]

    def export(self, folder: Path) -> None:
        tensors = {name: value.contiguous() for name, value in self.module.state_dict().items()}
        write_synced(folder / "weights.safetensors", save(tensors))

    def load_weights(self, folder: Path) -> None:
        raise AssertionError("the toy starts from nothing")

    def state(self) -> dict[str, Any]:
        return {"clips": CLIPS}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.restored = state
