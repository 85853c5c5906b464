"""Ask whether environments are ready, and have them set up."""

from __future__ import annotations

from tts_train import installation
from tts_train.environments import LaunchError, is_current
from tts_train.errors import from_json


def ensure(*names: str) -> None:
    """Set the named environments up where they are missing or stale. Raises EnvironmentMissing when that fails."""
    for name in names:
        try:
            installation.set_up(name)
        except LaunchError as error:
            raise from_json(error.as_json()["error"]) from error


def ready(*names: str) -> bool:
    """Whether all of them can be used as they are."""
    return all(is_current(name) for name in names)
