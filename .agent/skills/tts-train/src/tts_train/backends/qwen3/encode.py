"""One clip to codes: read it, judge it, encode it, and leave a receipt.

A receipt is named by what it was made of: the codec, the device and the audio file's bytes. Order, ids, workers and
interruptions cannot change it, so a conversion that is run again works only on what is new.
"""

from __future__ import annotations

import base64
import hashlib
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tts_train.audio import Audio, AudioFault, probe_source, stream
from tts_train.backends.qwen3.codec import RATE, Codec
from tts_train.backends.qwen3.codes import GROUPS
from tts_train.errors import InputUnusable
from tts_train.files import read_json, sha256_json, write_json
from tts_train.quality import levels

if TYPE_CHECKING:
    from numpy.typing import NDArray

VERSION = 1
MIN_SECONDS = 0.5
"""Six frames. Shorter than a syllable with its pauses: no text fits it, and its padded last frame weighs a lot."""

MAX_SECONDS = 60.0
"""As in the other trainings. One row of a batch sets its memory; a minute without a cut is mostly a whole recording by
mistake. Encoding it takes 1.2 GB."""

MIN_RATE = 16000
"""Below, nothing over 8 kHz was recorded: the voice would learn the telephone."""


class Unfit(Exception):
    """Audio that is left out: a reason code, and the numbers or the message behind it."""

    def __init__(self, reason: str, **numbers: Any) -> None:
        super().__init__(reason)
        self.reason = reason
        self.numbers = numbers


@dataclass(frozen=True)
class Work:
    """One clip to encode; `seconds` are the manifest's."""

    id: str
    audio: Path
    seconds: float
    key: str


@dataclass(frozen=True)
class Outcome:
    """What became of one audio file. `reason` is "" for codes (frames, 16), else why there are none."""

    reason: str
    audio_seconds: float
    encode_seconds: float
    numbers: dict[str, Any] = field(default_factory=dict)
    codes: NDArray[np.int16] = field(default_factory=lambda: np.zeros((0, GROUPS), np.int16), repr=False)


def key_of(codec_sha256: str, device: str, audio_sha256: str) -> str:
    """Names a receipt. The device counts: another one rounds differently, and codes are nearest neighbours."""
    return sha256_json([VERSION, codec_sha256, device, audio_sha256])


def load_outcome(receipts: Path, key: str) -> Outcome | None:
    """The outcome of an earlier run, or None when there is none that is whole."""
    place = _place(receipts, key)
    if not place.is_file():
        return None
    try:
        told = read_json(place)
        packed = base64.b64decode(told.pop("codes"), validate=True)
        if told.pop("key") != key or told.pop("codes_sha256") != hashlib.sha256(packed).hexdigest():
            return None
        return Outcome(**told, codes=np.frombuffer(packed, "<i2").reshape(-1, GROUPS))
    except (InputUnusable, KeyError, ValueError, TypeError, AttributeError):
        return None


def save_outcome(receipts: Path, key: str, outcome: Outcome) -> None:
    """Publish the receipt: from now on this clip is done."""
    packed = outcome.codes.astype("<i2").tobytes()
    write_json(
        _place(receipts, key),
        {
            "key": key,
            "reason": outcome.reason,
            "audio_seconds": outcome.audio_seconds,
            "encode_seconds": outcome.encode_seconds,
            "numbers": outcome.numbers,
            "codes_sha256": hashlib.sha256(packed).hexdigest(),
            "codes": base64.b64encode(packed).decode(),
        },
    )


def encode_clip(codec: Codec, receipts: Path, work: Work) -> Outcome:
    """Encode one clip and save its receipt. Bad audio is an outcome, not an error."""
    started = time.monotonic()
    try:
        audio = read_fit(work.audio)
        codes = codec.encode(audio.at(RATE).samples)
        outcome = Outcome("", round(audio.seconds, 4), round(time.monotonic() - started, 4), _measures(audio), codes)
    except Unfit as unfit:
        seconds = float(unfit.numbers.get("audio_seconds", 0.0))
        outcome = Outcome(unfit.reason, seconds, round(time.monotonic() - started, 4), unfit.numbers)
    save_outcome(receipts, work.key, outcome)
    return outcome


def read_fit(path: Path, min_seconds: float = MIN_SECONDS) -> Audio:
    """The audio of a file at its own rate, mono. Raises Unfit for anything a voice should not learn from."""
    try:
        info = probe_source(path)
        blocks, held = [], 0
        for block in stream(path, None, 10.0):
            blocks.append(block)
            held += len(block)
            if held > MAX_SECONDS * info.rate:
                raise Unfit("too-long", audio_seconds=round(max(info.seconds, held / info.rate), 4), rate=info.rate)
    except AudioFault as fault:
        if fault.reason == "not-finite":
            raise Unfit(fault.reason, audio_seconds=round(info.seconds, 4), rate=info.rate, **fault.numbers) from fault
        raise Unfit("unreadable-audio", message=str(fault)) from fault
    except (InputUnusable, ValueError) as error:
        raise Unfit("unreadable-audio", message=str(error)) from error
    if not held:
        raise Unfit("empty", rate=info.rate)
    audio = Audio(np.concatenate(blocks), info.rate)
    facts = {"audio_seconds": round(audio.seconds, 4), "rate": info.rate}
    if info.rate < MIN_RATE:
        raise Unfit("low-rate", **facts, least=MIN_RATE)
    if audio.seconds < min_seconds:
        raise Unfit("too-short", **facts, least=min_seconds)
    loud = levels.loud_level(levels.frame_levels(audio))
    if loud < levels.SILENT_CLIP_DBFS:
        raise Unfit("silent", **facts, loud_dbfs=round(loud, 1))
    return audio


def _measures(audio: Audio) -> dict[str, Any]:
    """What choosing a reference clip needs, taken while the audio is at hand."""
    return {
        "rate": audio.rate,
        "clipped_ratio": round(levels.clipped_ratio(audio), 6),
        "silence_ratio": round(levels.silence_ratio(audio), 4),
        "bandwidth_hz": round(levels.bandwidth_hz(audio)),
    }


def _place(receipts: Path, key: str) -> Path:
    return receipts / f"{key[:40]}.json"
