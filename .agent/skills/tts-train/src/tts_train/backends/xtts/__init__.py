"""XTTS-v2: coqui-tts's own model, trained by our loop on our data. What its stock trainer does otherwise is in
references/xtts.md. Model code is coqui-tts's (MPL-2.0); the weights' licence is Coqui's CPML, for non-commercial use.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tts_train.backends import Examined
    from tts_train.backends.licences import PackedBase
    from tts_train.backends.xtts.speaker import XttsSpeaker
    from tts_train.backends.xtts.task import XttsTask
    from tts_train.config import TrainConfig
    from tts_train.workspace import Workspace

INFERENCE_VERSION = 1
PICKLES = ("model.pth", "dvae.pth", "mel_stats.pth")
"""coqui's own files of a base, read by `voice.read_pickle`, which refuses whatever is not a plain weight."""
CONFIG_CLASSES = (
    "TTS.config.shared_configs.BaseDatasetConfig",
    "TTS.tts.configs.xtts_config.XttsArgs",
    "TTS.tts.configs.xtts_config.XttsAudioConfig",
    "TTS.tts.configs.xtts_config.XttsConfig",
    "TTS.tts.models.xtts.XttsArgs",
    "TTS.tts.models.xtts.XttsAudioConfig",
)
"""Classes whose instances the hub's model.pth holds beside the weights, where they were when it was written. They are
replaced by something empty when it is read."""


def examine(config: TrainConfig, workspace: Workspace) -> Examined:
    """Everything that can be known before a model library is loaded; see `examination.examine`."""
    from tts_train.backends.xtts import examination

    return examination.examine(config, workspace)


def load_task(config: TrainConfig, workspace: Workspace) -> XttsTask:
    """Everything to train `config.base` on `config.dataset`; see `task.load`."""
    from tts_train.backends.xtts import task

    return task.load(config, workspace)


def load_speaker(base: str, epoch_folder: Path | None, threads: int, voice: Mapping[str, Any]) -> XttsSpeaker:
    """A published epoch of `base`, or `base` itself, conditioned on the run's reference; see `speaker.load`."""
    from tts_train.backends.xtts import speaker

    return speaker.load(base, epoch_folder, threads, voice)


def export_voice(base: str, epoch_folder: Path, out: Path, name: str, voice: Mapping[str, Any]) -> dict[str, Any]:
    """Write a published epoch as a folder that stock coqui-tts loads; see `export.export_voice`."""
    from tts_train.backends.xtts import export

    return export.export_voice(base, epoch_folder, out, name, voice)


def package_base(base: str) -> PackedBase:
    """The whole base: an epoch is the GPT alone, and tied to all its files by their hash; see `base.package_base`."""
    from tts_train.backends.xtts import base as bases

    return bases.package_base(base)


def adoption() -> Any:
    """How checkpoints of coqui's trainer are read (work.adoption.Adoption); see `foreign`. Light."""
    from tts_train.backends.xtts import foreign

    return foreign
