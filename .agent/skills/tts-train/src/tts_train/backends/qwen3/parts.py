"""Which weights of a Qwen3-TTS are trained, how they are decayed, and under which names they are published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tts_train.errors import ConfigError, InputUnusable
from tts_train.training.groups import decay_groups

if TYPE_CHECKING:
    from tts_train.backends.qwen3.objective import Objective
    from tts_train.config import LoraSettings

BETAS = (0.9, 0.999)
"""Adam's."""

ADAPTED = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""Layers that get adapters, in the talker and in the code predictor alike."""

_ADAPTER = "default"


def prepare(objective: Objective, freeze: Sequence[str], lora: LoraSettings | None) -> None:
    """Say what is trained: all, all but the frozen parts, or low-rank adapters alone (drawn from the global generator).

    Call it once, before the optimizer is made. Raises ConfigError for a part there is none of.
    """
    parts = {"text_embedding": objective.talker.model.text_embedding}
    unknown = sorted(set(freeze) - parts.keys())
    if unknown:
        raise ConfigError(f"there is no part {', '.join(unknown)} to freeze", hint=f"one of: {', '.join(parts)}")
    objective.requires_grad_(True)
    for name in freeze:
        parts[name].requires_grad_(False)
    if lora is None:
        return
    from peft import LoraConfig, inject_adapter_in_model

    adapters = LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=list(ADAPTED), bias="none"
    )
    inject_adapter_in_model(adapters, objective, adapter_name=_ADAPTER)


def param_groups(objective: Objective, weight_decay: float) -> list[dict[str, Any]]:
    """Optimizer groups of the trainable parameters; see `decay_groups`."""
    return decay_groups(objective, weight_decay, BETAS)


@torch.no_grad()
def merged_state(objective: Objective) -> dict[str, Tensor]:
    """The weights under their official names ("talker.…"), float32 on the CPU, adapters merged.

    Copies: the model under training goes on unchanged, and changing one does not change the other.
    """
    merged = {}
    for name, weight, layer in _official(objective):
        merged[name] = weight.to("cpu", torch.float32, copy=True)
        if layer is not None:
            down, up = layer.lora_A[_ADAPTER].weight.float(), layer.lora_B[_ADAPTER].weight.float()
            merged[name] += (layer.scaling[_ADAPTER] * (up @ down)).cpu()
    return merged


@torch.no_grad()
def load_merged(objective: Objective, weights: Mapping[str, Tensor]) -> None:
    """Start from official weights; adapters begin anew, so that `merged_state` then gives `weights` back.

    Raises InputUnusable, with the model unchanged, when the names or shapes are another architecture's.
    """
    live = {name: (weight, layer) for name, weight, layer in _official(objective)}
    wrong = sorted(live.keys() ^ weights.keys())
    wrong += [name for name in live.keys() & weights.keys() if live[name][0].shape != weights[name].shape]
    if wrong:
        raise InputUnusable(
            f"the weights belong to another architecture: {len(wrong)} tensors differ, such as {wrong[0]}",
            hint="start from an epoch of the same base (0.6B or 1.7B)",
        )
    for name, (weight, layer) in live.items():
        weight.copy_(weights[name])
        if layer is not None:
            layer.lora_B[_ADAPTER].weight.zero_()


def _official(objective: Objective) -> Iterator[tuple[str, Tensor, Any]]:
    """(official name, live weight, the layer whose adapter belongs to it or None), in the order of the model."""
    modules = dict(objective.named_modules())
    for name, weight in objective.state_dict().items():
        owner, adapted, rest = name.rpartition(".base_layer.")
        if adapted:
            yield f"{owner}.{rest}", weight, modules[owner] if rest == "weight" else None
        elif ".lora_" not in name:
            yield name, weight, None
