"""The reference recording: the one clip whose speaker vector a fine-tuned Qwen3-TTS speaks with for good.

One per speaker, by quality and then by how typical it is. All rows of a speaker name the same file, which upstream
strongly recommends, and it is 24 kHz mono, which upstream's trainer demands.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tts_train.audio import Audio, probe_source, read_audio, write_audio
from tts_train.backends.qwen3.codec import RATE
from tts_train.backends.qwen3.encode import Unfit, read_fit
from tts_train.clip import Clip
from tts_train.errors import InputUnusable
from tts_train.files import read_json, sha256_file, sha256_json, write_json
from tts_train.quality import levels

VERSION = 1
FOLDER = "references"
MOST_CANDIDATES = 24
"""Clips whose voice is compared; 0.1 s each."""

MIN_SECONDS, ADVISED_SECONDS = 1.0, 3.0
MAX_CLIPPED_RATIO = 0.001


@dataclass(frozen=True)
class Limits:
    """What a clip must be to be taken for a reference; seconds and shares."""

    min_seconds: float
    max_seconds: float
    max_clipped_ratio: float
    max_silence_ratio: float

    def admit(self, item: Candidate) -> bool:
        return (
            self.min_seconds <= item.audio_seconds <= self.max_seconds
            and item.clipped_ratio <= self.max_clipped_ratio
            and item.silence_ratio <= self.max_silence_ratio
        )


STRICT = Limits(4.0, 12.0, 0.0, 0.4)
RELAXED = Limits(ADVISED_SECONDS, 20.0, MAX_CLIPPED_RATIO, 0.6)
"""Taken with a warning when no clip passes STRICT. Beyond it nothing is chosen: the vector is burnt into every epoch,
so a bad one costs the whole training, and a recording of a few good seconds is quickly named with --ref."""

BANDWIDTH_SHARE = 0.9
"""Of the upper quartile's bandwidth: below, a clip sounds duller than most of its speaker's."""


@dataclass(frozen=True)
class Candidate:
    """A converted clip with the measures of its receipt."""

    id: str
    file: Path
    sha256: str
    audio_seconds: float
    clipped_ratio: float
    silence_ratio: float
    bandwidth_hz: float


@dataclass(frozen=True)
class Reference:
    """The chosen recording. `id` is the clip's, "" for a file that was given."""

    id: str
    file: Path
    why: str
    numbers: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def check(path: Path) -> Reference:
    """Judge a recording that was given. Raises InputUnusable when no voice can be known from it."""
    advice = "--ref wants 3 to 12 s of clear speech of the one speaker, not clipped, 16 kHz or more"
    if not path.is_file():
        raise InputUnusable(f"the reference {path} is not a file", hint="check the path")
    try:
        audio = read_fit(path, MIN_SECONDS)
    except Unfit as unfit:
        told = ", ".join(f"{name} {value}" for name, value in unfit.numbers.items())
        raise InputUnusable(f"the reference {path} is {unfit.reason} ({told})", hint=advice) from unfit
    numbers: dict[str, Any] = {
        "audio_seconds": round(audio.seconds, 4),
        "rate": audio.rate,
        "clipped_ratio": round(levels.clipped_ratio(audio), 6),
        "silence_ratio": round(levels.silence_ratio(audio), 4),
        "bandwidth_hz": round(levels.bandwidth_hz(audio)),
    }
    if numbers["clipped_ratio"] > MAX_CLIPPED_RATIO:
        raise InputUnusable(f"the reference {path} is clipped: {numbers['clipped_ratio']:.2%} of it", hint=advice)
    warnings = []
    if audio.seconds < ADVISED_SECONDS:
        warnings.append(f"the reference is {audio.seconds:.1f} s long; {ADVISED_SECONDS:g} s or more are better")
    if numbers["silence_ratio"] > RELAXED.max_silence_ratio:
        warnings.append(f"{numbers['silence_ratio']:.0%} of the reference is silence")
    return Reference("", path, "given with --ref", numbers, tuple(warnings))


def require_possible(clips: Sequence[Clip]) -> None:
    """Raise InputUnusable before hours of work when no clip of a speaker has a length that a reference may have."""
    for speaker in sorted({clip.speaker for clip in clips}):
        seconds = [clip.audio_seconds for clip in clips if clip.speaker == speaker]
        if not any(RELAXED.min_seconds <= value <= RELAXED.max_seconds for value in seconds):
            raise _none_fits(speaker, len(seconds))


def choose(speaker: str, clips: Sequence[Candidate], parts: Path) -> Reference:
    """The best clip of a speaker: limits, then bandwidth, then least silence, then nearest to the voice's centre.

    Depends on the clips' content and ids only. A receipt in `parts` saves choosing again. Raises InputUnusable when no
    clip is good enough.
    """
    limits, fit = next(
        ((limits, fit) for limits in (STRICT, RELAXED) if (fit := _admitted(clips, limits))), (RELAXED, [])
    )
    if not fit:
        raise _none_fits(speaker, len(clips))
    bright = BANDWIDTH_SHARE * float(np.percentile([item.bandwidth_hz for item in fit], 75))
    full = [item for item in fit if item.bandwidth_hz >= bright]
    short_list = sorted(full, key=lambda item: (item.silence_ratio, item.id))[:MOST_CANDIDATES]
    receipt = parts / f"qwen3-reference-{hashlib.sha256(speaker.encode()).hexdigest()[:12]}.json"
    key = sha256_json([VERSION, speaker, len(clips), asdict(limits), [_facts(item) for item in short_list]])
    known = read_json(receipt) if receipt.is_file() else {}
    if known.get("key") != key:
        known = {"key": key, "similarities": _similarities(short_list)}
        write_json(receipt, known)
    similarities: dict[str, float] = known["similarities"]
    if not similarities:
        raise _none_fits(speaker, len(clips))
    best = max(short_list, key=lambda item: (similarities.get(item.id, -2.0), item.id))
    numbers = {
        **{name: value for name, value in _facts(best).items() if name not in {"id", "sha256"}},
        "similarity_to_centre": similarities[best.id],
        "clips": len(clips),
        "passed_limits": len(fit),
        "full_bandwidth": len(full),
        "compared": len(similarities),
    }
    why = (
        f"of {len(clips)} clips {len(fit)} last {limits.min_seconds:g} to {limits.max_seconds:g} s and are clean, "
        f"{len(full)} of them have full bandwidth; among the {len(similarities)} with the least silence it is nearest "
        f"to the centre of the voice (cosine {similarities[best.id]:.3f})"
    )
    wider = (
        f"no clip of {speaker} passed the usual limits for a reference (4 to 12 s, not clipped, little silence); "
        f"{best.id} passed wider ones: listen to it, or name a better recording with --ref"
    )
    return Reference(best.id, best.file, why, numbers, (wider,) if limits is RELAXED else ())


def place(reference: Reference, name: str, folder: Path) -> Path:
    """Where rows of a JSONL in `folder` find the reference as 24 kHz mono: the file itself where it is that and lies
    below `folder`, else a copy in references/, named by `name` and its content."""
    info = probe_source(reference.file)
    file = reference.file.resolve()
    if (info.rate, info.channels) == (RATE, 1) and file.is_relative_to(folder.resolve()):
        return file
    copy = folder / FOLDER / f"{_slug(name)}-{sha256_file(file)[:12]}.wav"
    if not copy.is_file():
        audio: Audio = read_audio(file).at(RATE)
        write_audio(copy, audio)
    return copy


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "speaker"


def _admitted(clips: Sequence[Candidate], limits: Limits) -> list[Candidate]:
    return [item for item in clips if limits.admit(item)]


def _facts(item: Candidate) -> dict[str, Any]:
    return {name: value for name, value in asdict(item).items() if name != "file"}


def _similarities(candidates: Sequence[Candidate]) -> dict[str, float]:
    """id → cosine with the centre of all candidates; those with too little speech are left out."""
    from tts_train.quality import speaker

    vectors = {}
    for item in candidates:
        try:
            vectors[item.id] = speaker.embedding(read_audio(item.file))
        except InputUnusable:
            continue
    if not vectors:
        return {}
    centre = speaker.centroid(list(vectors.values()))
    return {name: round(speaker.similarity(vector, centre), 6) for name, vector in vectors.items()}


def _none_fits(speaker: str, clips: int) -> InputUnusable:
    return InputUnusable(
        f"none of the {clips} clips of {speaker} is fit to be the reference",
        hint=f"--ref FILE: {ADVISED_SECONDS:g} to 12 s of clear speech of {speaker}, not clipped, 16 kHz or more",
    )
