"""What a family brings so that another program's checkpoints of it can be adopted into a run."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from tts_train.backends import BACKENDS, Backend
from tts_train.errors import UsageError


class Checkpoint(Protocol):
    """A checkpoint that another program wrote, checked and not yet copied."""

    @property
    def weights(self) -> Path: ...

    @property
    def speaker(self) -> str:
        """What its voice is called, for names."""

    @property
    def size(self) -> str:
        """Of the model, in words."""

    @property
    def base(self) -> str:
        """The model it was most likely trained from."""

    @property
    def room(self) -> int:
        """Bytes that a copy takes."""

    def voice(self, language: str | None, base: Any) -> dict[str, Any]:
        """run.json's `voice`, without the reference."""

    def own_reference(self) -> tuple[str, bytes]:
        """(name, content) of the file to speak as when no reference is named."""

    def take(self, target: Path, *, link: bool, base_sha256: str) -> dict[str, Any]:
        """Bring it into `target`. Returns facts for epoch.json."""


class Adoption(Protocol):
    """What a family's home module gives as `adoption()`: how another program's checkpoints of it are read."""

    IN_CORE: bool
    """Whether that works without a model library, or only in the family's environment."""
    PROGRAM: str
    OWN_REFERENCE: str
    """A sentence for runs that speak as `own_reference`."""

    def read_checkpoints(self, folder: Path) -> Mapping[int, Any]:
        """Epoch → Checkpoint, one or more. Raises InputUnusable for what is none, ConfigError for several trainings."""

    def local_base(self, name: str) -> Any:
        """The base on this machine; None when epochs can speak without it and it is not there."""

    def base_sha256(self, base: Any) -> str: ...

    def drift(self, checkpoint: Any, base: Any) -> float:
        """‖w − w₀‖ / ‖w₀‖. Raises InputUnusable when it was not trained from this base."""


def adoption(family: Backend) -> Adoption:
    homes = {name: import_module(known.home) for name, known in BACKENDS.items()}
    if hasattr(homes[family.name], "adoption"):
        found: Adoption = homes[family.name].adoption()
        return found
    able = sorted(name for name, home in homes.items() if hasattr(home, "adoption"))
    raise UsageError(
        f"no other program's checkpoints of {family.name} can be adopted",
        hint=f"run.sh runs adopt DIR --backend {' or '.join(able)}",
    )
