"""Real speech for this folder's tests: the committed demo book and the same voice's held-out readings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tts_train.audio import Audio, read_audio

DEMO = Path(__file__).resolve().parents[2] / "datasets/demo"


@pytest.fixture(scope="session")
def readings() -> dict[str, tuple[Audio, str]]:
    """Item → (audio, true text) of the held-out readings."""
    rows = [json.loads(line) for line in (DEMO / "heldout/manifest.jsonl").read_text().splitlines()]
    return {row["id"]: (read_audio(DEMO / "heldout" / row["audio_file"]), row["text"]) for row in rows}


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Qwen3-TTS Base of 0.6B's shape. Not to be changed: copy it."""
    from tiny_qwen3 import build

    return build(tmp_path_factory.mktemp("qwen3") / "tiny-0.6B-Base", "0b6")


@pytest.fixture(scope="session")
def tiny_base_17(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Qwen3-TTS Base of 1.7B's shape. Not to be changed: copy it."""
    from tiny_qwen3 import build

    return build(tmp_path_factory.mktemp("qwen3") / "tiny-1.7B-Base", "1b7")
