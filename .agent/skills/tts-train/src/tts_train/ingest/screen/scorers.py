"""The work that screening costs: functions of modules, so that every process of an engine can do it."""

from __future__ import annotations

import base64
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tts_train.audio import Audio, read_audio
from tts_train.errors import InputUnusable
from tts_train.ingest.models import ModelChoice
from tts_train.ingest.screen.receipts import Scorer
from tts_train.ingest.transcribe import Recogniser
from tts_train.quality.clip_measures import clip_measures
from tts_train.quality.mos import MOS_VERSION, mos
from tts_train.quality.same_audio import audio_similarity, print_of
from tts_train.quality.speaker import window_embeddings

if TYPE_CHECKING:
    from numpy.typing import NDArray

LENGTHS_OF_COPIES = 1.25
"""A copy may have lost or gained a quarter at its ends; further apart are two readings."""


def levels_scorer() -> Scorer:
    """The cheap measures, for datasets whose station did not take them."""
    return Scorer("levels", "1", _levels)


def speaker_scorer() -> Scorer:
    """float16 window embeddings, shape (windows, 256); None for less than half a second of speech."""
    return Scorer("speaker", "resemblyzer-0.1.4/1", _speakers, _vectors)


def mos_scorer() -> Scorer:
    """DistillMOS, 1 to 5."""
    return Scorer("mos", MOS_VERSION, _mos)


def wer_scorer(choice: ModelChoice, language: str, workers: int) -> Scorer:
    """What another model hears: [text, log probability]."""
    # One thread each where there are several processes: the engine's jobs share the cores.
    work = functools.partial(_heard, choice, language, 0 if workers == 1 else 1)
    return Scorer("heard", f"{choice.sha256}/{language}/1", work)


def language_scorer(choice: ModelChoice, workers: int) -> Scorer:
    """[language, probability] by Whisper's own detection."""
    work = functools.partial(_languages, choice, 0 if workers == 1 else 1)
    return Scorer("language", f"{choice.sha256}/1", work)


def duplicate_scorer() -> Scorer:
    """Similarity of every two clips of a group: [[first, second, similarity]], places in the group."""
    return Scorer("duplicate", "1", _similarities)


def _levels(paths: Sequence[Path]) -> list[Any]:
    rows = []
    for path in paths:
        clip = read_audio(path)
        rows.append(clip_measures(clip, clip))
    return rows


def _speakers(paths: Sequence[Path]) -> list[Any]:
    return [_speaker(path) for path in paths]


def _speaker(path: Path) -> str | None:
    try:
        vectors = window_embeddings(read_audio(path))
    except InputUnusable:
        return None
    return base64.b64encode(vectors.astype("<f2").tobytes()).decode()


def _vectors(value: str | None) -> NDArray[np.float16] | None:
    return None if value is None else np.frombuffer(base64.b64decode(value), "<f2").reshape(-1, 256)


def _mos(paths: Sequence[Path]) -> list[Any]:
    return [mos(read_audio(path)) for path in paths]


def _heard(choice: ModelChoice, language: str, threads: int, paths: Sequence[Path]) -> list[Any]:
    ears = _recogniser(choice, language, threads)
    return [[heard.text, heard.log_probability] for heard in ears.hear_all([read_audio(path) for path in paths])]


def _languages(choice: ModelChoice, threads: int, paths: Sequence[Path]) -> list[Any]:
    ears = _recogniser(choice, "en", threads)
    return [list(ears.detect_language(read_audio(path))) for path in paths]


@functools.cache
def _recogniser(choice: ModelChoice, language: str, threads: int) -> Recogniser:
    return Recogniser(choice, language, threads=threads)


def _similarities(groups: Sequence[Sequence[Path]]) -> list[Any]:
    return [_pairs([read_audio(path) for path in group]) for group in groups]


def _pairs(audios: Sequence[Audio]) -> list[list[float]]:
    prints = [print_of(audio) for audio in audios]
    return [
        [first, second, round(audio_similarity(prints[first], prints[second]), 4)]
        for second in range(len(prints))
        for first in range(second)
        if max(len(prints[first]), len(prints[second]))
        <= LENGTHS_OF_COPIES * min(len(prints[first]), len(prints[second]))
    ]
