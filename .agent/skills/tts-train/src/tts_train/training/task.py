"""What one model family brings to the training loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch


class Task(Protocol):
    """One family under training. The loop owns optimizer, schedule, clipping, epochs and state."""

    @property
    def module(self) -> torch.nn.Module:
        """`module(batch)` gives {term: scalar loss}; weights are applied, so the sum is the whole loss.

        The whole loss stands in one forward: the loop wraps it in the run's number type. It moves the batch to the
        module's own device, draws everything random from the global generators (seeded for every batch), and changes
        no buffer: processes that train together see other batches.
        """

    @property
    def trainable_parameters(self) -> int:
        """Number of weights that training may change."""

    @property
    def report(self) -> dict[str, Any]:
        """What loading found out, for run.json: parity, gain, clips left out and why."""

    def batches(self, epoch: int, seed: int) -> Sequence[Any]:
        """The batches of an epoch: every clip once, in an order that depends on `epoch` and `seed` alone.

        The loop asks for each batch once, by its number, in the process that computes it.
        """

    def validation_batches(self) -> Sequence[Any]:
        """Held-out clips, in `batches()` of no epoch, always the same; empty when the config holds none out."""

    def param_groups(self) -> list[dict[str, Any]]:
        """Optimizer groups (with a "name" each): the trainable parameters, each once, in a fixed order.

        A group may have `betas` and `weight_decay` of its own, and `lr_scale` (of the run's learning rate; 1).
        """

    def export(self, folder: Path) -> Mapping[str, Any] | None:
        """Write the epoch's weights into `folder`, the same bytes for the same weights.

        Returns facts for epoch.json; `weights` names the file when it is not weights.safetensors.
        """

    def load_weights(self, folder: Path) -> None:
        """Start from an epoch that `export` wrote. Raises InputUnusable when it belongs to another base."""

    def state(self) -> dict[str, Any]:
        """What an exact resume needs besides module weights and optimizer, as JSON."""

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take `state()` back. Raises InputUnusable when the data is no longer what the run began with."""
