"""Qwen3-TTS (0.6B and 1.7B): the right training target, proven by parity with generation.

The talker predicts the first code group of each frame, the code predictor the other fifteen. What the official
trainer does otherwise, with thread numbers, is in references/qwen3.md. Model code is the qwen-tts package's
(Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tts_train.backends import Examined
    from tts_train.backends.licences import PackedBase
    from tts_train.backends.qwen3.speaker import Qwen3Speaker
    from tts_train.backends.qwen3.task import Qwen3Task
    from tts_train.config import TrainConfig
    from tts_train.workspace import Workspace

INFERENCE_VERSION = 1


def examine(config: TrainConfig, workspace: Workspace) -> Examined:
    """Everything that can be known before a model library is loaded; see `examination.examine`."""
    from tts_train.backends.qwen3 import examination

    return examination.examine(config, workspace)


def load_task(config: TrainConfig, workspace: Workspace) -> Qwen3Task:
    """Everything to train `config.base` on the codes in `config.dataset`; see `task.load`."""
    from tts_train.backends.qwen3 import task

    return task.load(config, workspace)


def load_speaker(base: str, epoch_folder: Path | None, threads: int, voice: Mapping[str, Any]) -> Qwen3Speaker:
    """A published epoch of `base`, or `base` itself with the run's reference, ready to speak; see `speaker.load`."""
    from tts_train.backends.qwen3 import speaker

    return speaker.load(base, epoch_folder, threads, voice)


def export_voice(_base: str, epoch_folder: Path, out: Path, name: str, _voice: Mapping[str, Any]) -> dict[str, Any]:
    """Copy a published epoch, which is in the official format already, into `out`; see `checkpoint.export_voice`."""
    from tts_train.backends.qwen3 import checkpoint

    return checkpoint.export_voice(epoch_folder, out, name)


def package_base(base: str) -> PackedBase:
    """The licence alone: an epoch carries all it says; see `base.package_base`."""
    from tts_train.backends.qwen3 import base as bases

    return bases.package_base(base)


def adoption() -> Any:
    """How checkpoints of the official script are read (work.adoption.Adoption); see `official`. Light."""
    from tts_train.backends.qwen3 import official

    return official
