"""The first pass over each source: where its speech is and, if asked, how loud it is. One receipt per source."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tts_train.audio import stream
from tts_train.engine import Engine
from tts_train.errors import InputUnusable
from tts_train.files import read_json, sha256_json, write_json
from tts_train.ingest.loudness import source_loudness
from tts_train.ingest.merge import Span
from tts_train.ingest.sources import Fault, Source, fault_of
from tts_train.ingest.speech import RATE, SpeechOptions, speech_probabilities, speech_spans
from tts_train.output import progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VERSION = 2
_BLOCK_SECONDS = 60.0
_TELL_EVERY = 10.0


@dataclass(frozen=True)
class Found:
    """What the first pass found in one source: its true length, its speech, its loudness if that was asked for."""

    source: Source
    seconds: float
    spans: tuple[Span, ...]
    lufs: float | None = None


@dataclass(frozen=True)
class _Pass:
    source: Source
    digest: str


def first_pass(
    sources: Sequence[Source],
    digests: Sequence[str],
    out: Path,
    options: SpeechOptions,
    engine: Engine,
    *,
    loudness: bool = False,
) -> tuple[list[Found], list[Fault]]:
    """Speech of every source, from receipts where they hold; and the sources that turn out to be damaged.

    Writes parts/speech-NNNNN.json {key, source, seconds, chapters [{index, title, start, end}], spans [[start, end,
    chapter]], lufs}. Raises InputUnusable when the only source is damaged or no source holds speech.
    """
    passes = [_Pass(source, digest) for source, digest in zip(sources, digests, strict=True)]
    known = {item.source.number: _receipt(item, out, options, loudness) for item in passes}
    todo = [item for item in passes if known[item.source.number] is None]
    faults: list[Fault] = []
    work = partial(_pass_over, out, options, loudness)
    # One source is not worth a process of its own.
    results = engine.map(work, todo) if len(todo) > 1 else map(work, todo)
    for count, (item, result) in enumerate(zip(todo, results, strict=True), 1):
        if isinstance(result, Fault):
            if len(sources) == 1:
                raise InputUnusable(result.message, hint="restore the file from its source")
            faults.append(result)
        else:
            known[item.source.number] = result
        progress(f"ingest: looked for speech in {count} of {len(todo)} sources")
    found = [item for item in known.values() if item is not None]
    if not any(item.spans for item in found):
        raise InputUnusable(f"{_named(sources)} holds no speech", hint="listen to it; --vad-threshold lowers the bar")
    return found, faults


def _key(item: _Pass, options: SpeechOptions) -> str:
    borders = [asdict(chapter) for chapter in item.source.chapters]
    return sha256_json([VERSION, item.digest, item.source.name, asdict(options), borders])


def _place(out: Path, source: Source) -> Path:
    return out / "parts" / f"speech-{source.number:05d}.json"


def _receipt(item: _Pass, out: Path, options: SpeechOptions, loudness: bool) -> Found | None:
    place = _place(out, item.source)
    if not place.is_file():
        return None
    row = read_json(place)
    if row["key"] != _key(item, options) or (loudness and "lufs" not in row):
        return None
    return Found(item.source, row["seconds"], tuple(Span(*span) for span in row["spans"]), row.get("lufs"))


def _pass_over(out: Path, options: SpeechOptions, loudness: bool, item: _Pass) -> Found | Fault:
    """Decode one source from end to end and write its receipt."""
    source = item.source
    try:
        probabilities, seconds = speech_probabilities(_told(stream(source.path, RATE, _BLOCK_SECONDS), source))
        lufs = source_loudness(source.path) if loudness else None
    except InputUnusable as error:
        return fault_of(source.name, error, source.info.seconds)
    spans = speech_spans(probabilities, seconds, source.chapters, options)
    chapters: list[dict[str, Any]] = [asdict(chapter) for chapter in source.chapters]
    chapters[-1]["end"] = round(max(seconds, chapters[-1]["start"]), 3)
    length = round(seconds, 4)
    row = {
        "key": _key(item, options),
        "source": source.name,
        "seconds": length,
        "chapters": chapters,
        "spans": [[span.start, span.end, span.chapter] for span in spans],
    }
    lufs = None if lufs is None else round(lufs, 2)
    write_json(_place(out, source), {**row, **({"lufs": lufs} if loudness else {})})
    return Found(source, length, tuple(spans), lufs)


def _told(blocks: Iterator[NDArray[np.float32]], source: Source) -> Iterator[NDArray[np.float32]]:
    """The same blocks, with a word now and then about how far it is."""
    started = told = time.monotonic()
    done = 0.0
    progress(f"ingest: looking for speech in {source.name}")
    for block in blocks:
        yield block
        done += len(block) / RATE
        now = time.monotonic()
        if now - told > _TELL_EVERY and source.info.seconds > done:
            left = (now - started) / done * (source.info.seconds - done)
            progress(f"ingest: {done / 60:.0f} of {source.info.seconds / 60:.0f} min heard, about {left:.0f} s left")
            told = now


def _named(sources: Sequence[Source]) -> str:
    return str(sources[0].path) if len(sources) == 1 else f"none of the {len(sources)} sources"
