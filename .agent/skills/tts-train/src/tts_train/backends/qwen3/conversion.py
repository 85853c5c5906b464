"""What a conversion has to do, found out before any model library is loaded: its plan, and what it will cost."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tts_train.backends.qwen3 import reference
from tts_train.backends.qwen3.codec import codec_sha256, find_codec
from tts_train.backends.qwen3.codes import FRAMES_PER_SECOND
from tts_train.backends.qwen3.encode import Outcome, Work, key_of, load_outcome
from tts_train.clip import Clip
from tts_train.dataset import audio_path
from tts_train.errors import InputUnusable, Unavailable
from tts_train.files import sha256_file

RECEIPTS = "parts/qwen3-codes"

REAL_TIMES_PER_CORE = 6.5
"""Seconds of audio per second of one core, measured on an encoder of the published size with random weights."""

_BYTES_PER_FRAME = 43 + 90 + 32
"""In a receipt, in the JSONL, in the cache."""

_BYTES_PER_CLIP = 4096
_MIB_LOADED, _MIB_PER_WORKER = 1600, 300

Device = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class Plan:
    """What is asked for, found out before any model library is loaded. `works` has one entry per clip, by id."""

    manifest: Path
    out: Path
    clips: tuple[Clip, ...]
    codec: Path
    codec_sha256: str
    works: Mapping[str, Work]
    done: dict[str, Outcome]
    """By key, from receipts."""

    @property
    def receipts(self) -> Path:
        return self.manifest.parent / RECEIPTS

    @property
    def left(self) -> list[Work]:
        """What no receipt answers, each audio file once, longest first."""
        new = {work.key: work for work in self.works.values() if work.key not in self.done}
        return sorted(new.values(), key=lambda work: (-work.seconds, work.id))


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def make_plan(manifest: Path, out: Path, clips: Sequence[Clip], codec: Path, codec_hash: str, device: Device) -> Plan:
    """Hash every clip and look for its receipt."""
    works = {}
    for clip in clips:
        audio = audio_path(manifest, clip)
        works[clip.id] = Work(clip.id, audio, clip.audio_seconds, key_of(codec_hash, device, sha256_file(audio)))
    receipts = manifest.parent / RECEIPTS
    done = {key: outcome for key in {work.key for work in works.values()} if (outcome := load_outcome(receipts, key))}
    return Plan(manifest, out, tuple(clips), codec, codec_hash, works, done)


def estimate(
    manifest: Path,
    out: Path,
    clips: Sequence[Clip],
    tokenizer: str,
    device: Device,
    workers: int,
    given: reference.Reference | None,
) -> dict[str, Any]:
    """What a conversion would do and cost; no model library is loaded and nothing is written."""
    warnings = list(given.warnings) if given else []
    works, done = [], {}
    try:
        codec = find_codec(tokenizer, download=False)
        plan = make_plan(manifest, out, clips, codec, codec_sha256(codec), device)
        works, done = plan.left, plan.done
        ready = sum(work.key in done for work in plan.works.values())
        seconds = sum(work.seconds for work in works)
    except Unavailable as error:
        warnings.append(f"{error.message} ({error.hint}): what is done already is not known")
        ready, seconds = 0, sum(clip.audio_seconds for clip in clips)
    try:
        if given is None:
            reference.require_possible(clips)
    except InputUnusable as error:
        warnings.append(f"{error.message}: {error.hint}")
    speed, basis = _speed(list(done.values()), device)
    at_once = min(workers, cores())
    minutes = round(seconds / (speed * at_once) / 60, 1) if speed else None
    megabytes = round(bytes_needed(clips) / 1e6)
    told = f"about {minutes} min with {workers} workers" if minutes is not None else "for an unknown time"
    text = (
        f"{len(clips)} clips of {manifest.name}, {ready} of them done already; {seconds / 60:.1f} min of audio to "
        f"encode, {told} ({basis}); {megabytes} MB of disk"
    )
    return {
        "dry_run": True,
        "manifest": str(manifest),
        "out": str(out),
        "clips": len(clips),
        "audio_seconds": round(sum(clip.audio_seconds for clip in clips), 3),
        "done_clips": ready,
        "left_seconds": round(seconds, 3),
        "speakers": sorted({clip.speaker for clip in clips}),
        "estimate": {
            "minutes": minutes,
            "disk_megabytes": megabytes,
            "memory_mib": _MIB_LOADED + _MIB_PER_WORKER * workers,
            "basis": basis,
        },
        "warnings": warnings,
        "text": "\n".join([text, *(f"warning: {warning}" for warning in warnings)]),
    }


def _speed(done: Sequence[Outcome], device: Device) -> tuple[float | None, str]:
    """Seconds of audio per second of one worker, and how that is known."""
    made = [outcome for outcome in done if not outcome.reason]
    spent, audio = sum(item.encode_seconds for item in made), sum(item.audio_seconds for item in made)
    if spent > 0:
        speed = audio / spent
        return speed, f"measured: {len(made)} clips were encoded here, at {speed:.1f} times real time per worker"
    if device == "cuda":
        return None, "no GPU was measured"
    return REAL_TIMES_PER_CORE, (
        f"{REAL_TIMES_PER_CORE:g} times real time per core, measured on another machine with an encoder of Mimi's size "
        "and random weights; the published codec was not timed"
    )


def bytes_needed(clips: Sequence[Clip]) -> int:
    """Disk that receipts, the JSONL and its cache take."""
    frames = sum(clip.audio_seconds for clip in clips) * FRAMES_PER_SECOND
    return round(frames * _BYTES_PER_FRAME) + _BYTES_PER_CLIP * len(clips)
