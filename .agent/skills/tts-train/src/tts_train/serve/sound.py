"""Samples to the formats that clients ask for, as they come. Runs in the workers: their environments have PyAV."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any, Protocol

from tts_train.audio import Audio, file_bytes, pcm16

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MEDIA_TYPES = {
    "wav": "audio/wav",
    "flac": "audio/flac",
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "pcm": "audio/pcm",
}
PCM_RATE = 24000
"""Hz. Of pcm, which has no header to say so: OpenAI's clients count on it. Opus knows no 22050 Hz."""
_CODECS: dict[str, tuple[str, str, int]] = {
    "flac": ("flac", "flac", 0),
    "mp3": ("mp3", "libmp3lame", 96_000),
    "opus": ("ogg", "libopus", 48_000),
    "aac": ("adts", "aac", 96_000),
}
"""Container, codec, bits per second (0: lossless). Speech in mono is transparent at these rates."""
_UNKNOWN = 0xFFFFFFFF
"""A length that is not known yet, in a WAV header."""


class Encoder(Protocol):
    """One answer's bytes, piece by piece."""

    def feed(self, samples: NDArray[np.float32]) -> bytes:
        """What the samples complete; may be nothing."""

    def finish(self) -> bytes:
        """The rest."""


def encoder(kind: str, rate: int, *, whole: bool) -> Encoder:
    """For samples at `rate` Hz. `whole`: all comes with `finish`, and what has a header tells the true length there.

    wav and flac keep the samples as `infer` writes them, a whole wav to the byte.
    """
    if kind == "wav":
        return _Wav(rate, whole=whole)
    if kind == "pcm":
        return _Pcm(rate)
    return _Encoded(kind, rate, whole=whole)


class _Wav:
    def __init__(self, rate: int, *, whole: bool) -> None:
        self._rate = rate
        self._held: list[NDArray[np.float32]] | None = [] if whole else None
        self._begun = False

    def feed(self, samples: NDArray[np.float32]) -> bytes:
        if self._held is not None:
            self._held.append(samples)
            return b""
        header = b"" if self._begun else _open_wav_header(self._rate)
        self._begun = True
        return header + pcm16(samples).tobytes()

    def finish(self) -> bytes:
        import numpy as np

        if self._held is None:
            return b""
        return file_bytes(Audio(np.concatenate(self._held), self._rate), "WAV")


class _Pcm:
    def __init__(self, rate: int) -> None:
        self._resampled = _Resampled(rate, PCM_RATE)

    def feed(self, samples: NDArray[np.float32]) -> bytes:
        return pcm16(self._resampled.feed(samples)).tobytes()

    def finish(self) -> bytes:
        return pcm16(self._resampled.rest()).tobytes()


class _Encoded:
    """By PyAV, whose muxers write a file that cannot be sought in, as well."""

    def __init__(self, kind: str, rate: int, *, whole: bool) -> None:
        import av

        container, codec, bits = _CODECS[kind]
        rates = av.codec.Codec(codec, "w").audio_rates
        self._rate = rate if not rates or rate in rates else PCM_RATE
        self._resampled = _Resampled(rate, self._rate)
        self._file: Any = io.BytesIO() if whole else _Sink()
        # A header that is filled in at the end would stay wrong in a stream; Ogg waits a second for a page.
        options = {} if whole else {"mp3": {"write_xing": "0"}, "opus": {"page_duration": "20000"}}.get(kind, {})
        self._container = av.open(self._file, "w", format=container, container_options=options)
        self._stream: Any = self._container.add_stream(codec, rate=self._rate, layout="mono")
        if bits:
            self._stream.bit_rate = bits
        self._position = 0

    def feed(self, samples: NDArray[np.float32]) -> bytes:
        return self._encode(self._resampled.feed(samples))

    def finish(self) -> bytes:
        made = self._encode(self._resampled.rest())
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return made + (self._file.taken() if isinstance(self._file, _Sink) else self._file.getvalue())

    def _encode(self, samples: NDArray[np.float32]) -> bytes:
        import av

        if len(samples):
            frame = av.AudioFrame.from_ndarray(pcm16(samples)[None], format="s16", layout="mono")
            frame.sample_rate = self._rate
            frame.pts = self._position
            self._position += len(samples)
            self._container.mux(self._stream.encode(frame))
        return self._file.taken() if isinstance(self._file, _Sink) else b""


class _Sink:
    """A file that can only be written to."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        data, self._parts = b"".join(self._parts), []
        return data


class _Resampled:
    """One stream of samples at another rate, without seams."""

    def __init__(self, rate: int, target: int) -> None:
        self._stream: Any = None
        if rate != target:
            import soxr

            self._stream = soxr.ResampleStream(rate, target, 1, dtype="float32", quality="VHQ")

    def feed(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        return samples if self._stream is None else self._stream.resample_chunk(samples)

    def rest(self) -> NDArray[np.float32]:
        import numpy as np

        nothing = np.zeros(0, np.float32)
        return nothing if self._stream is None else self._stream.resample_chunk(nothing, last=True)


def _open_wav_header(rate: int) -> bytes:
    """The 44 bytes of a mono 16-bit WAV whose length nobody knows."""
    form = struct.pack("<HHIIHH", 1, 1, rate, 2 * rate, 2, 16)
    return b"RIFF" + struct.pack("<I", _UNKNOWN) + b"WAVEfmt " + struct.pack("<I", 16) + form + b"data\xff\xff\xff\xff"
