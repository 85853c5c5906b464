"""The weights under training: what a state keeps, how far they moved, their hash."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tts_train.errors import ConfigError, InputUnusable

if TYPE_CHECKING:
    import torch


class TrainedWeights:
    """The trained parameters of a module by name, and its persistent buffers. Frozen weights are the base's."""

    def __init__(self, module: torch.nn.Module, groups: Sequence[Mapping[str, Any]]) -> None:
        """`groups` are the optimizer's. Raises ConfigError when nothing trains, or not in float32."""
        self.parameters: list[torch.nn.Parameter] = [parameter for group in groups for parameter in group["params"]]
        if not self.parameters:
            raise ConfigError("nothing to train: no parameter requires a gradient", hint="name the parts to train")
        names = {id(parameter): name for name, parameter in module.named_parameters()}
        _require_float32({names[id(parameter)]: parameter for parameter in self.parameters})
        shared = {name for name, _ in module.named_parameters(remove_duplicate=False)}
        buffers = {name: value for name, value in module.state_dict().items() if name not in shared}
        self.tensors: dict[str, torch.Tensor] = {
            **{names[id(parameter)]: parameter.detach() for parameter in self.parameters},
            **buffers,
        }
        """What a state keeps; these share memory with the module."""
        self._start: list[torch.Tensor] = []

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.tensors.values())

    def load(self, saved: Mapping[str, torch.Tensor]) -> None:
        """Take saved tensors back. Raises InputUnusable unless names and shapes are exactly those of this module."""
        import torch

        problems = [f"{name} is missing" for name in sorted(self.tensors.keys() - saved.keys())]
        problems += [f"{name} is unknown" for name in sorted(saved.keys() - self.tensors.keys())]
        problems += [
            f"{name} is {tuple(saved[name].shape)}, not {tuple(tensor.shape)}"
            for name, tensor in self.tensors.items()
            if name in saved and saved[name].shape != tensor.shape
        ]
        if problems:
            raise InputUnusable(
                f"the saved state belongs to another model: {'; '.join(problems[:5])} ({len(problems)} in all)",
                hint="restore the base and the parts to train, or give the new run its own name (run: …)",
            )
        with torch.no_grad():
            for name, tensor in self.tensors.items():
                tensor.copy_(saved[name])

    def remember_start(self) -> None:
        """Keep a copy, in the machine's memory and not the GPU's, to measure `drift` from."""
        self._start = [parameter.detach().to("cpu", copy=True) for parameter in self.parameters]

    def drift(self) -> float:
        """How far the trained weights moved: ‖w - w₀‖ / ‖w₀‖ over all trained parameters."""
        import torch

        pairs = zip(self.parameters, self._start, strict=True)
        moved = torch.stack([(now.detach().cpu() - before).norm() for now, before in pairs])
        whole = torch.stack([before.norm() for before in self._start])
        return float(moved.norm() / whole.norm())

    def sha256(self) -> str:
        """Hash of names and bytes."""
        digest = hashlib.sha256()
        for name, tensor in self.tensors.items():
            digest.update(name.encode())
            digest.update(tensor.cpu().contiguous().flatten().view(_bytes()).numpy())
        return digest.hexdigest()


def _require_float32(parameters: Mapping[str, torch.nn.Parameter]) -> None:
    import torch

    wrong = [f"{name} is {tensor.dtype}" for name, tensor in parameters.items() if tensor.dtype != torch.float32]
    if wrong:
        raise ConfigError(
            f"trained weights must be float32: {', '.join(wrong[:3])} ({len(wrong)} in all)",
            hint="small updates vanish in shorter numbers; precision: bfloat16 shortens the arithmetic alone",
        )


def _bytes() -> torch.dtype:
    import torch

    return torch.uint8
