"""Where speech is: Silero's voice activity network, streamed over fixed blocks.

The network's state and the last samples of a block are carried into the next, so the result does not depend on the
block size, and every call has the same input shape (ONNX Runtime keeps memory per shape it has seen).
"""

from __future__ import annotations

import functools
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tts_train.audio import Chapter
from tts_train.errors import InputUnusable, Unavailable
from tts_train.ingest.merge import Span

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE = 16000
WINDOW = 512
WINDOW_SECONDS = WINDOW / RATE
_CONTEXT = 64
_BLOCK_WINDOWS = 1024


@dataclass(frozen=True)
class SpeechOptions:
    """Speech starts at `threshold`, ends after `min_silence` seconds below `release`; `pad` is added on both sides.

    The pad is small on purpose: a generous one (faster-whisper's 0.4 s) swallows the pauses that clips are cut in.
    """

    threshold: float = 0.5
    release: float = 0.35
    min_speech: float = 0.1
    min_silence: float = 0.1
    pad: float = 0.05
    longest: float = 30.0
    """Sound that never pauses (music, noise) is split where speech is least likely, so that memory stays bounded."""


def speech_probabilities(blocks: Iterable[NDArray[np.float32]]) -> tuple[NDArray[np.float32], float]:
    """(probability of speech per 32 ms window, seconds) of 16 kHz mono blocks of any length.

    Raises InputUnusable when samples are not finite.
    """
    session = _session()
    hidden = np.zeros((1, 1, 128), np.float32)
    cell = np.zeros((1, 1, 128), np.float32)
    context = np.zeros(_CONTEXT, np.float32)
    # One growing buffer: a small array kept per block would pin the heap between the blocks, 12 MiB per hour of audio.
    found = array("f")
    total = 0
    for block in _fixed_blocks(blocks, WINDOW * _BLOCK_WINDOWS):
        if not np.isfinite(block).all():
            raise InputUnusable(
                f"the audio holds samples that are not finite near {total / RATE:.0f} s", hint="decode it again"
            )
        total += len(block)
        windows = np.pad(block, (0, WINDOW * _BLOCK_WINDOWS - len(block))).reshape(_BLOCK_WINDOWS, WINDOW)
        before = np.vstack([context, windows[:-1, -_CONTEXT:]])
        output, hidden, cell = session.run(None, {"input": np.hstack([before, windows]), "h": hidden, "c": cell})
        found.frombytes(output.reshape(-1)[: -(-len(block) // WINDOW)].tobytes())
        context = windows[-1, -_CONTEXT:]
    return np.frombuffer(found, np.float32), total / RATE


def speech_spans(
    probabilities: NDArray[np.float32], seconds: float, chapters: Sequence[Chapter], options: SpeechOptions
) -> list[Span]:
    """Sorted spans of speech, padded without overlap, split at chapter borders and where they are endless."""
    voiced = [
        piece
        for start, end in _voiced((float(value) for value in probabilities), seconds, options)
        for piece in _bounded(start, end, probabilities, options.longest)
    ]
    padded: list[tuple[float, float]] = []
    for index, (start, end) in enumerate(voiced):
        room_before = (start - voiced[index - 1][1]) / 2 if index else start
        room_after = (voiced[index + 1][0] - end) / 2 if index + 1 < len(voiced) else seconds - end
        padded.append((start - min(options.pad, room_before), end + min(options.pad, room_after)))
    return [Span(round(left, 4), round(right, 4), chapter) for left, right, chapter in _by_chapter(padded, chapters)]


def _voiced(probabilities: Iterable[float], seconds: float, options: SpeechOptions) -> list[tuple[float, float]]:
    """Hysteresis over windows: (start, end) without padding."""
    spans: list[tuple[float, float]] = []
    start: float | None = None
    quiet_since: float | None = None
    for index, probability in enumerate(probabilities):
        now = index * WINDOW_SECONDS
        if probability >= options.threshold:
            start = now if start is None else start
            quiet_since = None
        elif start is not None and probability < options.release:
            quiet_since = now if quiet_since is None else quiet_since
            if now + WINDOW_SECONDS - quiet_since >= options.min_silence:
                spans.append((start, quiet_since))
                start = quiet_since = None
    if start is not None:
        spans.append((start, min(seconds, quiet_since or seconds)))
    return [span for span in spans if span[1] - span[0] >= options.min_speech]


def _bounded(
    start: float, end: float, probabilities: NDArray[np.float32], longest: float
) -> Iterator[tuple[float, float]]:
    """A span, split in its middle half at the least likely windows until no piece is longer than `longest`."""
    rest = [(start, end)]
    while rest:
        left, right = rest.pop()
        if right - left <= longest:
            yield left, right
            continue
        first = round((left + (right - left) / 4) / WINDOW_SECONDS)
        last = round((right - (right - left) / 4) / WINDOW_SECONDS)
        border = (first + int(np.argmin(probabilities[first:last]))) * WINDOW_SECONDS
        rest += [(border, right), (left, border)]


def _by_chapter(
    spans: Sequence[tuple[float, float]], chapters: Sequence[Chapter]
) -> Iterator[tuple[float, float, int]]:
    """Spans cut at chapter starts and labelled with the chapter's number (0 before the first or without any)."""
    borders = [chapter.start for chapter in chapters]
    for start, end in spans:
        inside = [border for border in borders if start < border < end]
        for left, right in zip([start, *inside], [*inside, end], strict=True):
            number = max((chapter.index for chapter in chapters if chapter.start <= left), default=0)
            yield left, right, number


def _fixed_blocks(blocks: Iterable[NDArray[np.float32]], size: int) -> Iterator[NDArray[np.float32]]:
    """The same samples in blocks of exactly `size`; the last one may be shorter."""
    held = np.zeros(0, np.float32)
    for block in blocks:
        held = np.concatenate([held, block])
        while len(held) >= size:
            yield held[:size]
            held = held[size:]
    if len(held):
        yield held


@functools.cache
def _session() -> Any:
    try:
        from faster_whisper.vad import get_vad_model
    except ImportError as error:
        raise Unavailable("faster-whisper is not installed", hint="run.sh setup project") from error
    return get_vad_model().session
