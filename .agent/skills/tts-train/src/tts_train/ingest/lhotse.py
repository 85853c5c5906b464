"""lhotse's manifests as lists: supervisions with their recordings, or cuts. They are JSON; lhotse is not needed.

The layout is that of lhotse 1.33 (lhotse/audio/recording.py, supervision.py, cut/mono.py): `*_recordings*.jsonl.gz`
beside `*_supervisions*.jsonl.gz`, or cuts that hold both. A supervision may be a piece of a recording.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tts_train.errors import InputUnusable, UsageError
from tts_train.ingest.lines import BadLine, Line, checked_line, parsed

SUPERVISIONS, CUTS, RECORDINGS = "lhotse-supervisions", "lhotse-cuts", "lhotse-recordings"
_WHOLE_WITHIN = 0.02
"""A supervision that ends this near the recording's end, and begins with it, is all of it. Seconds."""

_MOST = 1e7
"""Seconds; NaN is not below it either."""

Rows = Callable[[Path], Iterable[tuple[int, bytes]]]


@dataclass(frozen=True)
class Reader:
    """`lines(number, raw)` gives the lines of one row; `detail` says how the list is read."""

    detail: str
    lines: Callable[[int, bytes], list[Line]]


def kind_of(row: Mapping[str, Any]) -> str | None:
    """Which manifest a row belongs to; None for a row of something else."""
    if "recording_id" in row:
        return SUPERVISIONS
    if "sources" in row and "sampling_rate" in row:
        return RECORDINGS
    if "supervisions" in row or str(row.get("type", "")).endswith("Cut"):
        return CUTS
    return None


def reader_of(kind: str, path: Path, folder: Path, rows: Rows) -> Reader:
    """How to read `path`. Raises InputUnusable without the recordings that supervisions speak of."""
    if kind == RECORDINGS:
        raise InputUnusable(
            f"{path} lists recordings without texts",
            hint=f"name the supervisions: {path.name.replace('recordings', 'supervisions')}",
        )
    if kind == CUTS:
        return Reader("lhotse cuts", lambda number, raw: _cut_lines(folder, number, parsed(number, raw)))
    beside = path.with_name(path.name.replace("supervisions", "recordings"))
    if beside == path or not beside.is_file():
        other = beside if beside != path else path.with_name("recordings.jsonl.gz")
        raise InputUnusable(
            f"{path} holds lhotse supervisions, and their recordings are not beside it",
            hint=f"put {other.name} there (supervisions are named *supervisions*, recordings *recordings*)",
        )
    known: dict[str, Any] = {}
    for number, raw in rows(beside):
        try:
            row = parsed(number, raw)
        except BadLine:
            continue  # its supervisions say that they have no recording
        known[str(row.get("id"))] = row
    return Reader(
        f"lhotse supervisions, recordings from {beside.name}",
        lambda number, raw: [_supervised(folder, number, parsed(number, raw), known)],
    )


def only_one_speaker(lines: list[Line], skipped: dict[str, int], wanted: str | None) -> None:
    """Leave `lines` with one speaker. Raises UsageError when there are several and `wanted` is none of them."""
    there = Counter(line.speaker for line in lines if line.speaker)
    if wanted is None and len(there) < 2:
        return
    if wanted is None or wanted not in there:
        listed = ", ".join(f"{name} ({count})" for name, count in there.most_common(10)) or "none is named"
        raise UsageError(
            f"the list has no speaker '{wanted}'" if wanted else f"the list holds {len(there)} speakers",
            hint=f"--speaker NAME; there are: {listed}",
        )
    mine = [line for line in lines if line.speaker == wanted]
    if len(mine) < len(lines):
        skipped["other-speaker"] = len(lines) - len(mine)
    lines[:] = mine


def _cut_lines(folder: Path, number: int, cut: Mapping[str, Any]) -> list[Line]:
    """One line for each supervision of a cut, which count from the cut's start."""
    recording, supervisions = cut.get("recording"), cut.get("supervisions")
    if not isinstance(recording, dict):
        raise BadLine(number, "bad-line", f"a {cut.get('type', 'cut')} without a recording cannot be taken apart")
    if not isinstance(supervisions, list) or not supervisions:
        raise BadLine(number, "bad-line", "the cut has no supervision, so no text")
    if not all(isinstance(item, dict) for item in supervisions):
        raise BadLine(number, "bad-line", "'supervisions' must be objects")
    first = _seconds(number, cut, "start")
    return [_line(folder, number, item, recording, first) for item in supervisions]


def _supervised(folder: Path, number: int, row: Mapping[str, Any], known: Mapping[str, Any]) -> Line:
    recording = known.get(str(row.get("recording_id")))
    if recording is None:
        raise BadLine(number, "bad-line", f"there is no recording '{str(row.get('recording_id'))[:60]}'")
    return _line(folder, number, row, recording, 0.0)


def _line(folder: Path, number: int, row: Mapping[str, Any], recording: Mapping[str, Any], offset: float) -> Line:
    line = checked_line(number, _source(folder, number, row, recording), row.get("text"))
    start, length = offset + _seconds(number, row, "start"), _seconds(number, row, "duration")
    whole = _seconds(number, recording, "duration")
    # Beside the cut a supervision may begin earlier: lhotse says so with a negative start.
    start, end = max(start, 0.0), start + length
    if end <= start:
        raise BadLine(number, "bad-line", f"it ends at {end:g} s, before it begins at {start:g} s")
    named = replace(line, name=_named(row.get("id")), speaker=_named(row.get("speaker")))
    if start == 0.0 and abs(end - whole) <= _WHOLE_WITHIN:
        return named
    return replace(named, start=round(start, 6), end=round(end, 6))


def _source(folder: Path, number: int, row: Mapping[str, Any], recording: Mapping[str, Any]) -> str:
    """The one file of a recording. Absolute names, which lhotse writes, are taken inside the clips' folder only."""
    sources = recording.get("sources")
    if not _is_as_recorded(recording.get("transforms")):
        raise BadLine(number, "bad-line", "the recording is a transform (speed, volume) of another: list the other")
    if not isinstance(sources, list) or len(sources) != 1 or not isinstance(sources[0], dict):
        raise BadLine(number, "bad-line", "the recording must have one source")
    kind, name, channels = sources[0].get("type"), sources[0].get("source"), sources[0].get("channels")
    if kind != "file" or not isinstance(name, str):
        raise BadLine(number, "bad-line", f"the recording is a '{str(kind)[:20]}', expected a file")
    asked = row.get("channel", 0)
    if isinstance(channels, list) and len(channels) > 1 and not (isinstance(asked, list) and len(asked) > 1):
        told = f"it is one channel of {len(channels)}, with perhaps another speaker in the others: split the channels"
        raise BadLine(number, "one-channel", told)
    if Path(name).is_absolute():
        for place in (folder.absolute(), folder.resolve()):
            if Path(name).is_relative_to(place):
                return str(Path(name).relative_to(place))
    return name


def _is_as_recorded(transforms: object) -> bool:
    """Resampling changes nothing here: clips are made from the file's own rate."""
    steps = transforms if isinstance(transforms, list) else [transforms] if transforms else []
    return all(isinstance(step, dict) and step.get("name") == "Resample" for step in steps)


def _seconds(number: int, row: Mapping[str, Any], name: str) -> float:
    value = row.get(name, 0.0 if name == "start" else None)
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_MOST < value < _MOST:
        raise BadLine(number, "bad-line", f"'{name}' must be seconds, got {str(value)[:40]!r}")
    return float(value)


def _named(value: object) -> str:
    """A name that can be shown and written; "" for anything else."""
    usable = isinstance(value, str) and value.isprintable() and not any("\ud800" <= item <= "\udfff" for item in value)
    return str(value) if usable else ""
