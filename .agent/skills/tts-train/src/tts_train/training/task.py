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

        The whole loss stands in one forward, so that data parallelism can wrap it. Everything random in it is drawn
        from torch's global generator.
        """

    @property
    def trainable_parameters(self) -> int:
        """Number of weights that training may change."""

    @property
    def report(self) -> dict[str, Any]:
        """What loading found out, for run.json: parity, gain, clips left out and why."""

    def batches(self, epoch: int, seed: int) -> Sequence[Any]:
        """The batches of an epoch: every clip once, in an order that depends on `epoch` and `seed` alone."""

    def param_groups(self) -> list[dict[str, Any]]:
        """Optimizer groups (with a "name" each): the trainable parameters, each once, in a fixed order."""

    def export(self, folder: Path) -> None:
        """Write the epoch's weights into `folder`, the same bytes for the same weights."""

    def load_weights(self, folder: Path) -> None:
        """Start from an epoch that `export` wrote. Raises InputUnusable when it belongs to another base."""

    def state(self) -> dict[str, Any]:
        """What an exact resume needs besides module weights and optimizer, as JSON."""

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take `state()` back. Raises InputUnusable when the data is no longer what the run began with."""
