"""Pickles that libraries bring or fetch."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import torch

from tts_train import environments
from tts_train.align.whisperx_aligner import load_whisperx
from tts_train.errors import InputUnusable
from tts_train.pickles import SUFFIXES, require_harmless


class Bomb:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.marker}",)


def test_every_pickle_that_comes_with_a_package_passes() -> None:
    """After a change of locks: a new one that calls something must be looked at, then listed with the reason."""
    site = Path(sysconfig.get_path("purelib"))
    found = [path for path in site.rglob("*") if path.suffix in SUFFIXES and path.parent != site and path.is_file()]
    require_harmless(path for path in found if not {"test", "tests"} & set(path.relative_to(site).parts))


def test_a_model_that_torchaudio_fetched_runs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.hub reads it with weights_only=False; the variable of run.sh's programs stands against that."""
    cache = tmp_path / "hub/checkpoints"
    cache.mkdir(parents=True)
    torch.save(Bomb(tmp_path / "ran"), cache / "wav2vec2_fairseq_base_ls960_asr_ls960.pth")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    monkeypatch.setenv(name, environments._program_environment([])[name])
    with pytest.raises(InputUnusable, match="is refused"):
        load_whisperx("WAV2VEC2_ASR_BASE_960H", "en")
    assert not (tmp_path / "ran").exists()
