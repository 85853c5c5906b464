"""Model families: what each needs to be trained and to speak. Importing this package loads no model library.

A backend brings two things. A `Task` (training/task.py) is all the training loop has to know; a `Speaker` is the one
way to make it speak, used by probes, `infer` and `serve` alike, so what was judged is what is shipped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from tts_train.errors import ConfigError

if TYPE_CHECKING:
    from tts_train.audio import Audio
    from tts_train.clip import Clip
    from tts_train.config import TrainConfig
    from tts_train.training.task import Task
    from tts_train.workspace import Workspace


@dataclass(frozen=True)
class Spoken:
    """A speaker's answer: the audio and what ended it (a gate reads that)."""

    audio: Audio
    stopped_by: str


class Speaker(Protocol):
    """One published epoch, or the untouched base, ready to speak."""

    @property
    def rate(self) -> int:
        """Sample rate of what `say` returns, Hz."""

    def say(self, text: str, setting: Mapping[str, Any], seed: int) -> Spoken:
        """Speak. The same weights, text, setting, seed and thread count give the same samples."""


class LoadTask(Protocol):
    def __call__(self, config: TrainConfig, clips: Sequence[Clip], workspace: Workspace) -> Task: ...


class LoadSpeaker(Protocol):
    def __call__(self, base: str, epoch_folder: Path | None, threads: int) -> Speaker: ...


class ExportVoice(Protocol):
    def __call__(self, base: str, epoch_folder: Path, out: Path, name: str) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Recipe:
    """Settings a family is known to learn with; `config new` fills them in."""

    lr: float
    batch_size: int
    epochs: int
    warmup_steps: int
    steps: str
    """How many optimizer steps it takes, in words."""


@dataclass(frozen=True)
class Backend:
    """A model family. `home` is the module that holds `load_task` and `load_speaker`."""

    name: str
    environment: str
    summary: str
    recipe: Recipe
    home: str
    cpu_seconds_per_clip: float
    """Training cost of one clip in one epoch on two CPU cores, for estimates."""
    epoch_megabytes: float
    """Size of one published epoch."""
    gpl_packages: tuple[str, ...] = ()
    """GPL packages it cannot work without; `setup --no-gpl` leaves them out."""

    @property
    def load_task(self) -> LoadTask:
        return cast("LoadTask", import_module(self.home).load_task)

    @property
    def load_speaker(self) -> LoadSpeaker:
        """`base` is "packaged" or the absolute path of a voice; `epoch_folder` None speaks with the base."""
        return cast("LoadSpeaker", import_module(self.home).load_speaker)

    @property
    def export_voice(self) -> ExportVoice:
        """Write an epoch as the voice files the family's own programs read."""
        return cast("ExportVoice", import_module(self.home).export_voice)


BACKENDS: dict[str, Backend] = {
    "piper": Backend(
        name="piper",
        environment="skill",
        summary="a Piper VITS voice (16 M weights), fine-tuned on the CPU in minutes",
        recipe=Recipe(
            lr=4e-5,
            batch_size=4,
            epochs=6,
            warmup_steps=10,
            steps="70-150 steps at a constant rate move the voice audibly; 3e-4 mangles words",
        ),
        home="tts_train.backends.piper",
        cpu_seconds_per_clip=0.5,
        epoch_megabytes=63.0,
        gpl_packages=("piper-tts",),
    ),
}


def backend(name: str) -> Backend:
    """A family by name. Raises ConfigError with the nearest names there are."""
    if name in BACKENDS:
        return BACKENDS[name]
    near = get_close_matches(name, BACKENDS, n=1)
    meant = f"did you mean '{near[0]}'? " if near else ""
    raise ConfigError(f"there is no backend '{name}'", hint=f"{meant}one of: {', '.join(sorted(BACKENDS))}")
