"""Is the book in the language that its card says? Asked before hours of work, at several places of the book.

The first half minute alone may be music or credits, and one sentence may be a quotation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tts_train.audio import Audio
from tts_train.engine import Engine
from tts_train.errors import InputUnusable
from tts_train.files import read_json, sha256_json, write_json
from tts_train.ingest.plan import PartPlan
from tts_train.ingest.second_pass import Task, ears_of
from tts_train.ingest.sources import Source
from tts_train.output import progress

PLACES = 5
CHUNK_SECONDS = 20.0
MIN_PROBABILITY = 0.8
_RATE = 16000
_SAME = {"iw": "he", "jw": "jv", "cmn": "zh", "nb": "no", "fil": "tl", "in": "id"}
"""Names that the same language goes by, card's or Whisper's."""


def check_language(
    task: Task, plans: Sequence[PartPlan], sources: Sequence[Source], digests: Sequence[str], engine: Engine
) -> None:
    """Raise InputUnusable when most of several places speak another language than `task.language`.

    A place counts when Whisper is surer than 0.8. What was heard is kept in parts/language.json.
    """
    assert task.model is not None
    places = _places(plans)
    key = sha256_json([places, list(digests), task.model.sha256, CHUNK_SECONDS])
    receipt = task.out / "parts" / "language.json"
    known = read_json(receipt) if receipt.is_file() else {}
    if known.get("key") != key:
        by_number = {source.number: source for source in sources}
        chunks = (_chunk(by_number[number], start) for number, start in places)
        heard = list(engine.map(partial(_detect, task), chunks))
        known = {
            "key": key,
            "heard": [[by_number[n].name, at, *what] for (n, at), what in zip(places, heard, strict=True)],
        }
        write_json(receipt, known)
    _judge(known["heard"], task.language)


def excerpt(path: Path, start: float, seconds: float) -> Audio:
    """About `seconds` of a file from about `start`, 16 kHz; found by seeking, so only good for a rough ear."""
    import av

    chunks = []
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        if stream.time_base:
            container.seek(int(start / stream.time_base), stream=stream)
        resampler = av.AudioResampler("fltp", "mono", _RATE)
        for frame in container.decode(stream):
            at = frame.time or 0.0
            if at >= start + seconds:
                break
            if at >= start:
                chunks += [piece.to_ndarray()[0] for piece in resampler.resample(frame)]
    return Audio(np.concatenate([np.zeros(0, np.float32), *chunks])[: round(seconds * _RATE)], _RATE)


def _chunk(source: Source, start: float) -> Audio:
    """The sound from `start`, or the end of the file where that is near."""
    latest = max(0.0, source.info.seconds - CHUNK_SECONDS) if source.info.seconds else start
    return excerpt(source.path, min(start, latest), CHUNK_SECONDS)


def _detect(task: Task, chunk: Audio) -> tuple[str, float]:
    return ears_of(task).detect_language(chunk) if len(chunk.samples) else ("", 0.0)


def _places(plans: Sequence[PartPlan]) -> list[tuple[int, float]]:
    """(source's number, start in seconds) of utterances spread evenly over the book."""
    items = [(plan.source, item.start) for plan in plans for item in plan.items]
    count = min(PLACES, len(items))
    return [items[(2 * place + 1) * len(items) // (2 * count)] for place in range(count)]


def _judge(heard: Sequence[Sequence[Any]], language: str) -> None:
    expected = _plain(language)
    others = [_plain(code) for _, _, code, probability in heard if probability > MIN_PROBABILITY]
    others = [code for code in others if code != expected]
    if len(others) * 2 <= len(heard):
        return
    spoken, count = Counter(others).most_common(1)[0]
    progress("ingest: " + "; ".join(f"{name} at {at:.0f} s: {code} {prob:.2f}" for name, at, code, prob in heard))
    raise InputUnusable(
        f"the card says {language}, but {count} of {len(heard)} places in the book speak {spoken}",
        hint=f"correct the card, or --language {spoken} (or --language {expected} if Whisper is mistaken)",
    )


def _plain(language: str) -> str:
    code = language.split("-", maxsplit=1)[0].lower()
    return _SAME.get(code, code)
