"""Checks of a dataset against what is known to be true (worker entries, project environment)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tts_train.dataset import load_manifest


def manifest_wer(manifest: str, text: str) -> dict[str, Any]:
    """WER of a manifest's texts, in reading order, against the true text of its source.

    Lines of `text` that open with '# ' are chapter titles; they are spoken, so they count.
    """
    from tts_train.quality.wer import word_errors

    clips = sorted(load_manifest(Path(manifest)), key=lambda clip: (clip.source, clip.start))
    truth = " ".join(line.removeprefix("# ") for line in Path(text).read_text(encoding="utf-8").splitlines())
    errors = word_errors(truth, " ".join(clip.text for clip in clips))
    return {"wer": round(errors.wer, 4), "words": errors.words, "errors": errors.errors}
