"""Which weights an epoch has now: what was said of others is stale."""

from __future__ import annotations

from collections.abc import Mapping

from tts_train.errors import ConfigError, InputUnusable
from tts_train.probe.render import weights_sha256
from tts_train.training.run import RunFolder
from tts_train.workspace import Workspace


def present_weights(workspace: Workspace, run: str) -> dict[int, str]:
    """Epoch → hash of its weights, the base's under 0. Empty for a run that is gone or cannot be read."""
    try:
        folder = RunFolder(workspace.run(run))
        return {epoch.number: weights_sha256(folder, epoch) for epoch in (folder.epoch(0), *folder.epochs())}
    except (InputUnusable, ConfigError):
        return {}


def is_stale(epoch: int, weights: str | None, present: Mapping[int, str]) -> bool:
    """Whether something was said of other weights than the epoch has now; nothing is said against what is not known."""
    return weights is not None and present.get(epoch, weights) != weights
