"""Decoding, resampling and writing audio. Everything is mono float32 in [-1, 1].

Decoding streams through PyAV, which bundles its codecs, so no ffmpeg binary is needed and a twenty-hour book never
stands in memory. "It decoded" proves nothing (libsndfile repairs a half WAV in silence): the decoded length is
compared with what the container promised.
"""

from __future__ import annotations

import io
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tts_train.errors import InputUnusable
from tts_train.files import atomic_write_bytes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SUFFIXES = {".wav": "WAV", ".flac": "FLAC"}
"""What is written, by the file's ending."""

LENGTH_TOLERANCE = 0.01
"""A decoded length may differ from the container's by this share (and by half a second) before it counts as torn."""


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


@dataclass(frozen=True)
class Chapter:
    """A chapter mark of an audiobook; start and end in seconds."""

    index: int
    title: str
    start: float
    end: float


@dataclass(frozen=True)
class SourceInfo:
    """What a container says about its audio, before decoding."""

    seconds: float
    rate: int
    channels: int
    codec: str
    chapters: tuple[Chapter, ...]


def probe_source(path: Path) -> SourceInfo:
    """Read the header. Raises InputUnusable when there is no audio in it."""
    import av

    _require_file(path)
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise InputUnusable(f"{path} holds no audio stream", hint="name an audio file")
            stream = container.streams.audio[0]
            # 0: what libav says of any text in a file called .flac; none at all: a codec that it does not know.
            if not getattr(stream, "rate", 0):
                raise InputUnusable(f"{path} names no sample rate: it is no audio", hint="name an audio file")
            duration = container.duration / av.time_base if container.duration else 0.0
            chapters = tuple(
                Chapter(
                    index,
                    str(mark["metadata"].get("title", f"Chapter {index}")),
                    float(mark["start"] * mark["time_base"]),
                    float(mark["end"] * mark["time_base"]),
                )
                for index, mark in enumerate(container.chapters(), 1)
            )
            return SourceInfo(duration, stream.rate, stream.channels, stream.codec.name, chapters)
    except av.FFmpegError as error:
        raise InputUnusable(
            f"{path} could not be read as audio: {error}", hint="convert it or record it again"
        ) from error


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


def stream(path: Path, rate: int | None = None, block_seconds: float = 60.0) -> Iterator[NDArray[np.float32]]:
    """Decode `path` in blocks of exactly `block_seconds` (the last one shorter), mono at `rate` (None: native).

    Resampling runs through one soxr stream, so blocks join without seams. Raises InputUnusable when the file does
    not decode, or decodes to another length than its container promised.
    """
    import av
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

    try:
        for samples in _decoded(path):
            decoded += len(samples)
            yield from blocks(resampler.resample_chunk(samples) if resampler else samples, last=False)
    except av.FFmpegError as error:
        raise InputUnusable(
            f"{path} stops decoding after {decoded / info.rate:.1f} s: {error}",
            hint="restore the file from its source",
        ) from error
    tail = resampler.resample_chunk(np.zeros(0, np.float32), last=True) if resampler else np.zeros(0, np.float32)
    yield from blocks(tail, last=True)
    _check_length(path, decoded / info.rate, info.seconds)


def read_audio(path: Path, rate: int | None = None) -> Audio:
    """The whole of a short file. Use `stream` for books."""
    import numpy as np

    native = rate or probe_source(path).rate
    blocks = list(stream(path, native, block_seconds=600.0))
    if not blocks:
        raise InputUnusable(f"{path} holds no samples", hint="record it again")
    samples = np.concatenate(blocks)
    if not np.isfinite(samples).all():
        raise InputUnusable(f"{path} holds samples that are not finite", hint="write it again as PCM")
    return Audio(samples, native)


def write_audio(path: Path, audio: Audio) -> None:
    """Write 16-bit WAV or FLAC (by suffix) atomically; the same samples always give the same bytes."""
    import numpy as np
    import soundfile

    kind = SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise InputUnusable(f"{path}: audio is written as {' or '.join(SUFFIXES)}", hint="change the file's ending")
    pcm = np.round(np.clip(audio.samples, -1.0, 1.0) * 32767.0).astype(np.int16)
    buffer = io.BytesIO()
    soundfile.write(buffer, pcm, audio.rate, format=kind, subtype="PCM_16")
    atomic_write_bytes(path, buffer.getvalue())


def _decoded(path: Path) -> Iterator[NDArray[np.float32]]:
    """Mono float32 chunks at the native rate; channels are averaged."""
    import av
    import numpy as np

    with av.open(str(path)) as container:
        audio = container.streams.audio[0]
        # Not "mono" here: libswresample keeps the power, and two equal channels come out 3 dB louder, above full scale.
        planar = av.AudioResampler("fltp", audio.layout.name, audio.rate)
        for frame in container.decode(audio):
            for channels in planar.resample(frame):
                yield channels.to_ndarray().mean(axis=0, dtype=np.float32)
        for channels in planar.resample(None):
            yield channels.to_ndarray().mean(axis=0, dtype=np.float32)


def _check_length(path: Path, decoded: float, promised: float) -> None:
    if promised and abs(decoded - promised) > max(0.5, LENGTH_TOLERANCE * promised):
        raise InputUnusable(
            f"{path} decodes to {decoded:.1f} s but promises {promised:.1f} s: it is cut or damaged",
            hint="restore the file from its source",
        )


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise InputUnusable(f"{path} is not a file", hint="check the path")
