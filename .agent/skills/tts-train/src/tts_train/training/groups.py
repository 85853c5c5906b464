"""Optimizer groups: which weights are decayed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def decay_groups(module: nn.Module, weight_decay: float, betas: tuple[float, float]) -> list[dict[str, Any]]:
    """AdamW groups of the trainable parameters, in the order of the model; an empty group is left out.

    Decay pulls towards zero, which is no harm to a matrix and wrong for a norm's scale, a bias, or the embedding of a
    token that the data never shows.
    """
    from torch import nn

    groups: dict[str, list[nn.Parameter]] = {"decay": [], "no-decay": []}
    for part in module.modules():
        for weight in part.parameters(recurse=False):
            if weight.requires_grad:
                plain = isinstance(part, nn.Embedding) or weight.ndim < 2
                groups["no-decay" if plain else "decay"].append(weight)
    decay = {"decay": weight_decay, "no-decay": 0.0}
    return [
        {"name": name, "params": weights, "weight_decay": decay[name], "betas": betas}
        for name, weights in groups.items()
        if weights
    ]
