"""Model families: what each needs to be trained and to speak. Importing this package loads no model library.

A backend brings two things. A `Task` (training/task.py) is all the training loop has to know; a `Speaker` is the one
way to make it speak, used by probes, `infer` and `serve` alike, so what was judged is what is shipped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

from tts_train.errors import ConfigError

if TYPE_CHECKING:
    from tts_train.audio import Audio
    from tts_train.backends.licences import PackedBase
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


@runtime_checkable
class SpeaksInParts(Speaker, Protocol):
    """A speaker that need not finish a text before its beginning can be heard."""

    def parts(self, text: str, setting: Mapping[str, Any], seed: int) -> Iterator[Spoken]:
        """Speak sentence by sentence. Joined, the parts are the very samples of `say`; the pauses are in them."""


def joined(parts: Iterator[Spoken], ordinary: str) -> Spoken:
    """The parts of a text (at least one) as one answer; `stopped_by` is the first that is not the `ordinary` end."""
    import numpy as np

    from tts_train.audio import Audio

    spoken = list(parts)
    stopped_by = next((part.stopped_by for part in spoken if part.stopped_by != ordinary), ordinary)
    return Spoken(Audio(np.concatenate([part.audio.samples for part in spoken]), spoken[0].audio.rate), stopped_by)


@dataclass(frozen=True)
class Examined:
    """What can be said of a training before any model library is loaded."""

    clips: int
    audio_seconds: float
    estimate: Mapping[str, Any]
    """`minutes`, `disk_gigabytes`, `basis`, and what else the family knows."""
    warnings: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


class Examine(Protocol):
    def __call__(self, config: TrainConfig, workspace: Workspace) -> Examined: ...


class LoadTask(Protocol):
    def __call__(self, config: TrainConfig, workspace: Workspace) -> Task: ...


class LoadSpeaker(Protocol):
    def __call__(self, base: str, epoch_folder: Path | None, threads: int, voice: Mapping[str, Any]) -> Speaker: ...


class ExportVoice(Protocol):
    def __call__(
        self, base: str, epoch_folder: Path, out: Path, name: str, voice: Mapping[str, Any]
    ) -> dict[str, Any]: ...


class PackageBase(Protocol):
    def __call__(self, base: str) -> PackedBase: ...


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
    """A model family. `home` is the module that holds `examine`, `load_task`, `load_speaker`, `export_voice` and
    `package_base`."""

    name: str
    environment: str
    summary: str
    recipe: Recipe
    home: str
    knobs: Mapping[str, Any] = field(default_factory=dict)
    """How the family speaks a probe."""
    samples: bool = True
    """Whether a seed changes what it says. One render of a family that samples is one throw of the dice."""
    gpl_packages: tuple[str, ...] = ()
    """GPL packages it cannot work without; `setup --no-gpl` leaves them out."""

    @property
    def default_seeds(self) -> tuple[int, ...]:
        """Seeds of a probe that names none: two where the family samples, so that no epoch is judged by one throw."""
        return (0, 1) if self.samples else (0,)

    @property
    def examine(self) -> Examine:
        """Check what a config names and estimate what training costs; light enough for the core environment.

        Raises ConfigError with every problem at once, InputUnusable when there is nothing to train on.
        """
        return cast("Examine", import_module(self.home).examine)

    @property
    def load_task(self) -> LoadTask:
        return cast("LoadTask", import_module(self.home).load_task)

    @property
    def load_speaker(self) -> LoadSpeaker:
        """`base` as `base_of` gives it; `epoch_folder` None speaks with the base; `voice` is run.json's."""
        return cast("LoadSpeaker", import_module(self.home).load_speaker)

    @property
    def export_voice(self) -> ExportVoice:
        """Write an epoch as the voice files the family's own programs read."""
        return cast("ExportVoice", import_module(self.home).export_voice)

    @property
    def package_base(self) -> PackageBase:
        """What of `base` (as `base_of` gives it) an epoch needs to speak, and its licence; copies nothing.

        Works in the family's environment. Raises what finding the base raises.
        """
        return cast("PackageBase", import_module(self.home).package_base)

    @property
    def pickles(self) -> frozenset[str]:
        """Names of a base's files that are pickles: the family reads them as plain weights, running no code."""
        return frozenset(getattr(import_module(self.home), "PICKLES", ()))

    @property
    def replaced_classes(self) -> frozenset[str]:
        """module.name of classes in those pickles whose instances it replaces by something empty."""
        return frozenset(getattr(import_module(self.home), "CONFIG_CLASSES", ()))

    @property
    def inference_version(self) -> int:
        """Raised by a family whose way of speaking changes; older renders are then not compared with new ones."""
        return int(getattr(import_module(self.home), "INFERENCE_VERSION", 1))


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
        # Without noise the same weights give the same samples whatever the seed.
        knobs={"noise_scale": 0.0, "noise_w": 0.0, "length_scale": 1.0, "sentence_silence": 0.2},
        samples=False,
        gpl_packages=("piper-tts",),
    ),
    "qwen3": Backend(
        name="qwen3",
        environment="project",
        summary="Qwen3-TTS 0.6B or 1.7B (ten languages), fine-tuned on a GPU",
        recipe=Recipe(
            lr=1e-5,
            batch_size=8,
            epochs=6,
            warmup_steps=20,
            steps="a few hundred steps; rates are advice for the right target, not measured here on real weights",
        ),
        home="tts_train.backends.qwen3",
        knobs={
            "temperature": 0.9,
            "top_k": 50,
            "top_p": 1.0,
            "repetition_penalty": 1.05,
            "subtalker_temperature": 0.9,
            "subtalker_top_k": 50,
            "subtalker_top_p": 1.0,
        },
    ),
    "xtts": Backend(
        name="xtts",
        environment="skill",
        summary="XTTS-v2 (441 M weights, 17 languages), fine-tuned on a GPU; the weights are for non-commercial use",
        recipe=Recipe(
            lr=5e-6,
            batch_size=4,
            epochs=6,
            warmup_steps=20,
            steps="a few hundred steps at a constant 5e-6, coqui's own rate; not measured here on real weights",
        ),
        home="tts_train.backends.xtts",
        knobs={
            "temperature": 0.75,
            "length_penalty": 1.0,
            "repetition_penalty": 5.0,
            "top_k": 50,
            "top_p": 0.85,
            "do_sample": True,
            "speed": 1.0,
            "gpt_cond_len": 30,
            "gpt_cond_chunk_len": 4,
            "max_ref_length": 30,
            "sentence_silence": 0.2,
            "batched": False,
        },
    ),
}


def backend(name: str) -> Backend:
    """A family by name. Raises ConfigError with the nearest names there are."""
    if name in BACKENDS:
        return BACKENDS[name]
    near = get_close_matches(name, BACKENDS, n=1)
    meant = f"did you mean '{near[0]}'? " if near else ""
    raise ConfigError(f"there is no backend '{name}'", hint=f"{meant}one of: {', '.join(sorted(BACKENDS))}")


def base_of(config: TrainConfig, workspace: Workspace) -> str:
    """The base as a family takes it: an absolute path when it is one in the workspace, else the name as written."""
    path = workspace.path(config.base)
    return str(path) if path.exists() else config.base
