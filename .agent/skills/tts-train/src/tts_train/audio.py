"""Decoding, resampling and writing audio. Everything is mono float32 in [-1, 1].

Decoding streams through PyAV, which bundles its codecs, so no ffmpeg binary is needed and a twenty-hour book never
stands in memory. "It decoded" proves nothing (libsndfile repairs a half WAV in silence): the container's structure is
checked (integrity.py), and the decoded length is compared with what the container promised.
"""

from __future__ import annotations

import io
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tts_train.decoding import AudioFault, Chapter, SourceInfo, decoded_chunks, probe_source
from tts_train.errors import InputUnusable
from tts_train.files import atomic_write_bytes
from tts_train.integrity import tear_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "SUFFIXES",
    "Audio",
    "AudioFault",
    "Chapter",
    "SourceInfo",
    "file_bytes",
    "header_seconds",
    "pcm16",
    "probe_source",
    "read_audio",
    "stream",
    "write_audio",
]

SUFFIXES = {".wav": "WAV", ".flac": "FLAC"}
"""What is written, by the file's ending."""

LENGTH_TOLERANCE = 0.01
"""A long recording may lack this share of its length (or half a second) before it counts as torn."""

_SLACK = {LENGTH_TOLERANCE: 0.5, 0.0: 0.2}
"""Tolerance → seconds. 0.2: measured 0.01 to 0.04 s between what AAC, Opus and Vorbis promise and decode to."""

_LOSSLESS_SLACK = 0.005


@dataclass(frozen=True)
class Audio:
    """Mono samples, float32 in [-1, 1], shape (n,), at `rate` Hz."""

    samples: NDArray[np.float32]
    rate: int

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate

    def at(self, rate: int) -> Audio:
        """The same audio at another rate (soxr, very high quality)."""
        if rate == self.rate:
            return self
        import soxr

        return Audio(soxr.resample(self.samples, self.rate, rate, quality="VHQ"), rate)


def header_seconds(path: Path) -> float | None:
    """Length by the header of a WAV or FLAC file, without a library; None for what this cannot read."""
    with path.open("rb") as file:
        start = file.read(26)
    if start[:4] == b"fLaC" and len(start) == 26:
        rate = int.from_bytes(start[18:21], "big") >> 4
        samples = int.from_bytes(start[21:26], "big") & ((1 << 36) - 1)
        return samples / rate if rate and samples else None
    try:
        with wave.open(str(path)) as sound:
            return sound.getnframes() / sound.getframerate()
    except (wave.Error, EOFError):
        return None


def stream(
    path: Path, rate: int | None = None, block_seconds: float = 60.0, *, tolerance: float = LENGTH_TOLERANCE
) -> Iterator[NDArray[np.float32]]:
    """Decode `path` in blocks of exactly `block_seconds` (the last one shorter), mono at `rate` (None: native).

    Resampling runs through one soxr stream, so blocks join without seams. Raises AudioFault when the file does not
    decode, holds samples that are not finite, or (after the last block) lacks more than `tolerance` of its length.
    """
    import numpy as np
    import soxr

    info = probe_source(path)
    target = rate or info.rate
    resampler = (
        soxr.ResampleStream(info.rate, target, 1, dtype="float32", quality="VHQ") if target != info.rate else None
    )
    block = int(block_seconds * target)
    pending: list[NDArray[np.float32]] = []
    held = decoded = 0

    def blocks(samples: NDArray[np.float32], last: bool) -> Iterator[NDArray[np.float32]]:
        nonlocal pending, held
        pending.append(samples)
        held += len(samples)
        if held < block and not last:
            return
        joined = np.concatenate(pending)
        whole = len(joined) - len(joined) % block
        for start in range(0, whole, block):
            yield joined[start : start + block]
        rest = joined[whole:]
        pending, held = [rest], len(rest)
        if last and len(rest):
            yield rest

    for samples in decoded_chunks(path):
        decoded += len(samples)
        yield from blocks(resampler.resample_chunk(samples) if resampler else samples, last=False)
    tail = resampler.resample_chunk(np.zeros(0, np.float32), last=True) if resampler else np.zeros(0, np.float32)
    yield from blocks(tail, last=True)
    _require_whole(path, decoded / info.rate, info, tolerance)


def read_audio(path: Path, rate: int | None = None, *, longest: float | None = None) -> Audio:
    """The whole of a short file, of which nothing may be missing. Use `stream` for books.

    Raises AudioFault as `stream` does, for a file without samples, and for one of more than `longest` seconds (before
    the rest of it is decoded).
    """
    import numpy as np

    native = rate or probe_source(path).rate
    blocks, seconds = [], 0.0
    for block in stream(path, native, block_seconds=min(longest or 600.0, 600.0), tolerance=0.0):
        blocks.append(block)
        seconds += len(block) / native
        if longest is not None and seconds > longest:
            told = f"{path} is longer than {longest:g} s"
            raise AudioFault(told, reason="too-long", numbers={"longest": longest}, hint="cut it into clips")
    if not blocks:
        raise AudioFault(f"{path} holds no samples", reason="empty-file", numbers={"bytes": path.stat().st_size})
    return Audio(np.concatenate(blocks), native)


def write_audio(path: Path, audio: Audio) -> None:
    """Write 16-bit WAV or FLAC (by suffix) atomically; the same samples always give the same bytes."""
    kind = SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise InputUnusable(f"{path}: audio is written as {' or '.join(SUFFIXES)}", hint="change the file's ending")
    atomic_write_bytes(path, file_bytes(audio, kind))


def file_bytes(audio: Audio, kind: str) -> bytes:
    """A 16-bit file of `kind` WAV or FLAC; the same samples always give the same bytes."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, pcm16(audio.samples), audio.rate, format=kind, subtype="PCM_16")
    return buffer.getvalue()


def pcm16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """The samples as 16-bit integers; what is beyond full scale is clipped."""
    import numpy as np

    return np.round(np.clip(samples, -1.0, 1.0) * 32767.0).astype(np.int16)


def _require_whole(path: Path, decoded: float, info: SourceInfo, tolerance: float) -> None:
    """Less than was promised is missing audio; more is a header that does not know."""
    numbers: dict[str, Any] = {"decoded_seconds": round(decoded, 4)}
    tear = tear_of(path)
    if tear and tear.share > tolerance:
        raise AudioFault(f"{path} is cut off: {tear.message}", reason="truncated-audio", numbers=numbers)
    lossless = info.codec == "flac" or info.codec.startswith("pcm_")
    slack = _LOSSLESS_SLACK if lossless and not tolerance else _SLACK.get(tolerance, 0.5)
    promised = info.promised_seconds
    if promised and promised - decoded > max(slack, tolerance * promised):
        raise AudioFault(
            f"{path} decodes to {decoded:.2f} s but promises {promised:.2f} s: it is cut or damaged",
            reason="truncated-audio",
            numbers={**numbers, "promised_seconds": round(promised, 4)},
        )
