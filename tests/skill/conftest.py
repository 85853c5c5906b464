"""What is slow to make, made once for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import piper_voices


@pytest.fixture(scope="session")
def voice() -> Any:
    """The packaged voice, read from its ONNX file."""
    from tts_train.backends.piper import onnx_voice

    return onnx_voice.read("packaged")


@pytest.fixture(scope="session")
def base(voice: Any) -> Any:
    """The packaged voice in torch. Not to be changed: copy it."""
    import torch

    from tts_train.backends.piper import model

    torch.set_num_threads(1)
    return model.build(voice.architecture, voice.weights)


@pytest.fixture(scope="session")
def manifest(voice: Any, base: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of five short clips; alignments made for one test serve the next."""
    return piper_voices.write_dataset(tmp_path_factory.mktemp("dataset"), voice, base)


@pytest.fixture
def load_task(manifest: Path) -> Any:
    """`load_task(**config changes)` gives a fresh task on the five clips."""
    from tts_train.backends import backend
    from tts_train.workspace import Workspace

    def load(**changes: Any) -> Any:
        config = piper_voices.config(manifest, **changes)
        return backend("piper").load_task(config, Workspace(manifest.parent))

    return load


@pytest.fixture(scope="session")
def tiny_xtts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small XTTS-v2 base, and coqui-tts building small models in this process. Not to be changed: copy it."""
    import torch

    import tiny_xtts

    torch.set_num_threads(1)
    with tiny_xtts.shrink():
        yield tiny_xtts.build(tmp_path_factory.mktemp("xtts") / "base")
