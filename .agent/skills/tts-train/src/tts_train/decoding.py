"""Opening and decoding audio with PyAV, and what can be wrong with a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from tts_train.errors import InputUnusable
from tts_train.integrity import container_of, tear_of
from tts_train.signals import raise_received

if TYPE_CHECKING:
    import av
    import numpy as np
    from numpy.typing import NDArray

_GUESSED = frozenset({"aac", "ac3", "amr", "dts", "eac3", "mp3", "mpegvideo", "truehd"})
"""Formats without an index: libav guesses their length from the first frames' bit rate."""


class AudioFault(InputUnusable):
    """Audio that cannot be used. `reason` is a rejection code, `numbers` what speaks for it.

    Reasons: empty-file, not-audio, truncated-audio, unreadable-audio (damaged inside), not-finite, too-long.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str = "unreadable-audio",
        numbers: Mapping[str, Any] | None = None,
        hint: str = "restore the file from its source",
    ) -> None:
        super().__init__(message, hint=hint)
        self.reason, self.numbers = reason, dict(numbers or {})


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
    promised_seconds: float | None = None
    """What the audio must decode to; None when the container can only guess."""


def probe_source(path: Path) -> SourceInfo:
    """Read the header. Raises AudioFault when there is no audio in it."""
    import av

    _require_file(path)
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            if not container.streams.audio:
                _refuse(path, "it holds no audio stream")
            stream = container.streams.audio[0]
            # 0: what libav says of any text in a file called .flac; none at all: a codec that it does not know.
            if not getattr(stream, "rate", 0) or not stream.channels:
                _refuse(path, "it names no sample rate or no channel")
            chapters = tuple(
                Chapter(
                    index,
                    str(mark["metadata"].get("title", f"Chapter {index}")),
                    float(mark["start"] * mark["time_base"]),
                    float(mark["end"] * mark["time_base"]),
                )
                for index, mark in enumerate(container.chapters(), 1)
            )
            duration = container.duration / av.time_base if container.duration else 0.0
            promised = _promised_seconds(container, stream)
            return SourceInfo(duration, stream.rate, stream.channels, stream.codec.name, chapters, promised)
    except av.FFmpegError as error:
        _refuse(path, str(error))


def _promised_seconds(container: av.container.InputContainer, stream: av.AudioStream) -> float | None:
    """The audio stream's own length: a film's pictures or an m4b's chapter track may go on after it."""
    if container.format.name in _GUESSED or not stream.duration:
        return None
    return float(stream.duration * stream.time_base)


def _refuse(path: Path, told: str) -> NoReturn:
    """Say why a file does not open as audio: nothing in it, torn, damaged, or something else altogether."""
    size = path.stat().st_size
    numbers: dict[str, Any] = {"bytes": size}
    if not size:
        raise AudioFault(f"{path} is empty", reason="empty-file", numbers=numbers)
    kind, tear = container_of(path), tear_of(path)
    if tear:
        raise AudioFault(f"{path} is cut off: {tear.message}", reason="truncated-audio", numbers=numbers)
    if kind:
        raise AudioFault(f"{path} could not be read as {kind}: {told}", numbers=numbers)
    raise AudioFault(f"{path} is no audio: {told}", reason="not-audio", numbers=numbers, hint="name an audio file")


def decoded_chunks(path: Path) -> Iterator[NDArray[np.float32]]:
    """Mono float32 chunks at the native rate; channels are averaged.

    Raises AudioFault where decoding stops (truncated-audio when nothing after that place decodes) and for samples that
    are not finite.
    """
    import av

    before = rate = 0
    try:
        for samples, rate in _frames(path):
            _require_finite(path, samples, before, rate)
            before += len(samples)
            yield samples
            # PyAV 18.1 drops what is raised while it makes an error of libav's "no frame yet": 36 of 1,000 signals.
            raise_received()
        raise_received()
    except av.FFmpegError as error:
        raise _stopped(path, before / (rate or 1), error, "unreadable-audio") from error


def _frames(path: Path) -> Iterator[tuple[NDArray[np.float32], int]]:
    """(mono samples, rate), frame by frame. Raises AudioFault, or what libav makes of a frame unlike the others."""
    import av
    import numpy as np

    failed: AudioFault | None = None
    seconds = 0.0
    with av.open(str(path), metadata_errors="replace") as container:
        audio = container.streams.audio[0]
        rate = audio.rate
        if audio.codec.name == "flac":
            # A frame with a wrong checksum is left out then, and the length tells; otherwise it comes as noise.
            audio.codec_context.options = {"err_detect": "crccheck+explode"}
        # Not "mono" here: libswresample keeps the power, and two equal channels come out 3 dB louder, above full scale.
        planar = av.AudioResampler("fltp", audio.layout.name, rate)
        for packet in container.demux(audio):
            try:
                frames = packet.decode()
            except av.FFmpegError as error:
                failed = failed or _stopped(path, seconds, error, "truncated-audio")
                continue
            if frames and failed:
                failed.reason = "unreadable-audio"
                raise failed
            for frame in frames:
                seconds += frame.samples / rate
                for channels in planar.resample(frame):
                    yield channels.to_ndarray().mean(axis=0, dtype=np.float32), rate
        if failed:
            raise failed
        for channels in planar.resample(None):
            yield channels.to_ndarray().mean(axis=0, dtype=np.float32), rate


def _stopped(path: Path, seconds: float, error: Exception, reason: str) -> AudioFault:
    numbers = {"decoded_seconds": round(seconds, 3)}
    return AudioFault(f"{path} stops decoding after {seconds:.1f} s: {error}", reason=reason, numbers=numbers)


def _require_finite(path: Path, samples: NDArray[np.float32], before: int, rate: int) -> None:
    import numpy as np

    finite = np.isfinite(samples)
    if not finite.all():
        place = (before + int(np.argmin(finite))) / rate
        raise AudioFault(
            f"{path} holds samples that are not finite, the first at {place:.3f} s",
            reason="not-finite",
            numbers={"first_seconds": round(place, 4)},
            hint="write it again as PCM",
        )


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise InputUnusable(f"{path} is not a file", hint="check the path")
