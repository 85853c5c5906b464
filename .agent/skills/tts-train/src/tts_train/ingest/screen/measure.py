"""What the screen measures of every clip, and in which order: what is suspicious decides what is asked next."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tts_train.clip import Clip
from tts_train.engine import Engine
from tts_train.errors import UsageError
from tts_train.files import sha256_json
from tts_train.ingest.models import ModelChoice, resolve_model
from tts_train.ingest.screen import scorers
from tts_train.ingest.screen.judge import first_failed, with_measures
from tts_train.ingest.screen.options import ScreenOptions
from tts_train.ingest.screen.receipts import Scorer, scored
from tts_train.quality.clip_measures import text_measures
from tts_train.quality.consistency import consistency
from tts_train.quality.wer import normalise, word_errors

UNSURE = -0.4
"""Mean log probability under which Whisper may have heard another language: one studio voice's clips lay at -0.03 to
-0.56 (2 of 30 below), Spanish ones heard as English at -0.29 to -0.84 (1 of 12 above)."""

WRONG = 0.4
"""Word error rate from which an independent model heard another text."""


@dataclass
class Measured:
    """What was added to each clip's measures, similarities of clips with one text, and seconds per scorer."""

    added: dict[str, dict[str, Any]] = field(default_factory=dict)
    pairs: list[tuple[str, str, float]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Run:
    """What every scorer needs; `hashes` are of the clips' audio."""

    out: Path
    clips: Sequence[Clip]
    hashes: Mapping[str, str]
    options: ScreenOptions
    engine: Engine

    def by_clip(self, scorer: Scorer, clips: Sequence[Clip] | None = None) -> dict[str, Any]:
        """Clip id → value, of clips that `scorer` can take as audio alone."""
        chosen = self.clips if clips is None else clips
        items = {self.hashes[clip.audio_file]: self.out / clip.audio_file for clip in chosen}
        values = scored(self.out, scorer, items, self.engine)
        return {clip.id: values[self.hashes[clip.audio_file]] for clip in chosen}


_Step = Callable[[_Run, Measured], None]


def check_independent(options: ScreenOptions, text_model: str | None) -> None:
    """Raise UsageError when --check-model is the model that wrote the texts (`text_model`, its sha256)."""
    if "wer" in options.scorers and text_model and resolve_model(options.check_model).sha256 == text_model:
        raise UsageError(
            f"--check-model {options.check_model} wrote the texts: it would agree with itself",
            hint="name another Whisper model, such as small.en",
        )


def measured(
    out: Path, clips: Sequence[Clip], hashes: Mapping[str, str], options: ScreenOptions, engine: Engine
) -> Measured:
    """Take the measures that `options` ask for, and the station's where an older station did not take them.

    What costs more is only measured of clips that pass the filters over the station's numbers.
    """
    run = _Run(out, clips, hashes, options, engine)
    found = Measured({clip.id: {} for clip in clips})
    _timed("levels", _levels, run, found)
    cheap = [item for item in options.filters if not item.kind.scorer]
    left = [clip for clip in with_measures(clips, found.added) if first_failed(clip, cheap) is None]
    run = replace(run, clips=left)
    asked = (("speaker", _speakers), ("wer", _wer), ("language", _languages), ("mos", _mos), ("duplicate", _duplicates))
    for name, step in asked:
        if name in options.scorers:
            _timed(name, step, run, found)
    return found


def _timed(name: str, step: _Step, run: _Run, found: Measured) -> None:
    started = time.monotonic()
    step(run, found)
    found.seconds[f"screen {name}"] = round(time.monotonic() - started, 2)


def _levels(run: _Run, found: Measured) -> None:
    bare = [clip for clip in run.clips if "snr_db" not in clip.measures]
    for name, values in run.by_clip(scorers.levels_scorer(), bare).items():
        found.added[name] |= values
    for clip in run.clips:
        if "characters_per_second" not in clip.measures:
            found.added[clip.id] |= text_measures(clip.text, clip.audio_seconds, clip.language)
        # The station's own numbers are of the native rate and stand over these.
        found.added[clip.id] = {
            name: value for name, value in found.added[clip.id].items() if name not in clip.measures
        }


def _speakers(run: _Run, found: Measured) -> None:
    windows = run.by_clip(scorers.speaker_scorer())
    known = [name for name, vectors in windows.items() if vectors is not None]
    judged = consistency([windows[name] for name in known]) or []
    for name, item in zip(known, judged, strict=bool(judged)):
        found.added[name] |= {
            "speaker_similarity": round(item.similarity, 4),
            "speaker_outlier": round(item.outlier, 2),
            "two_speakers": round(item.two_speakers, 2),
        }


def _wer(run: _Run, found: Measured) -> None:
    choice = resolve_model(run.options.check_model)
    for language in sorted({clip.language for clip in run.clips}):
        clips = [clip for clip in run.clips if clip.language == language]
        heard = run.by_clip(scorers.wer_scorer(choice, language, run.engine.jobs), clips)
        for clip in clips:
            text, sure = heard[clip.id]
            errors = word_errors(clip.text, text, language)
            found.added[clip.id] |= {"wer": round(errors.wer, 4), "heard": text, "heard_log_probability": sure}


def _languages(run: _Run, found: Measured) -> None:
    """Ask for the language of clips whose recognition was doubtful."""
    unsure = [clip for clip in run.clips if _is_doubtful({**clip.measures, **found.added[clip.id]})]
    if not unsure:
        return
    choice: ModelChoice = resolve_model(run.options.check_model)
    answers = run.by_clip(scorers.language_scorer(choice, run.engine.jobs), unsure)
    for clip in unsure:
        code, probability = answers[clip.id]
        own = clip.language.split("-", maxsplit=1)[0]
        found.added[clip.id] |= {"heard_language": code, "other_language": 0.0 if code == own else probability}


def _is_doubtful(measures: Mapping[str, Any]) -> bool:
    sure = min(measures.get(name) or 0.0 for name in ("log_probability", "heard_log_probability"))
    return sure < UNSURE or (measures.get("wer") or 0.0) > WRONG


def _mos(run: _Run, found: Measured) -> None:
    for name, score in run.by_clip(scorers.mos_scorer()).items():
        found.added[name]["mos"] = score


def _duplicates(run: _Run, found: Measured) -> None:
    """Compare the audio of clips whose texts have the same words."""
    texts: dict[str, list[Clip]] = {}
    for clip in sorted(run.clips, key=lambda clip: clip.id):
        texts.setdefault(normalise(clip.text, clip.language), []).append(clip)
    groups = {
        sha256_json([run.hashes[clip.audio_file] for clip in group]): group
        for group in texts.values()
        if len(group) > 1
    }
    items = {key: [run.out / clip.audio_file for clip in group] for key, group in groups.items()}
    values = scored(run.out, scorers.duplicate_scorer(), items, run.engine)
    for key, group in groups.items():
        found.pairs += [(group[first].id, group[second].id, value) for first, second, value in values[key]]
