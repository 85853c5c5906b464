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
