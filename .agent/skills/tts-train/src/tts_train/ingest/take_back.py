"""`rejections`: see what was left out of a dataset, and take some of it back. No audio is touched."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tts_train.align.manifest import REJECTED_BY as ALIGN
from tts_train.clip import Rejection
from tts_train.errors import ConfigError, Problem, UsageError
from tts_train.files import owned, read_jsonl
from tts_train.ingest import parts, restore
from tts_train.ingest.finish import finalise, load_screened


def list_rejections(dataset: Path, reason: str | None = None) -> dict[str, Any]:
    """{count, seconds, reasons {reason: n}, rejections [rows], text} of rejections.jsonl, those of `reason` only.

    Raises UsageError for a reason that nothing was rejected for.
    """
    rows = _rows(dataset)
    counts = parts.reasons(rows)
    if reason and reason not in counts:
        raise UsageError(f"nothing was rejected as '{reason}'", hint=f"there are: {', '.join(counts) or 'none at all'}")
    chosen = [row for row in rows if reason in {None, row.reason}]
    lines = [_line(row) for row in chosen]
    told = ", ".join(f"{name}: {count}" for name, count in counts.items()) or "nothing was rejected"
    return {
        "count": len(chosen),
        "seconds": round(sum(row.audio_seconds for row in chosen), 3),
        "reasons": counts,
        "rejections": [row.as_row() for row in chosen],
        "text": "\n".join([*lines, f"{len(chosen)} of {len(rows)} ({told})"]),
    }


def take_back(dataset: Path, ids: Sequence[str], *, undo: bool = False) -> dict[str, Any]:
    """Make rejected clips part of the dataset again (or, with `undo`, leave it to the filters again).

    The manifest, rejections.jsonl and the report are written anew from the receipts. Returns {clips, restored, changed,
    rejected, manifest, text}. Raises UsageError that names every id that cannot be taken back and why; then nothing is
    changed.
    """
    parts.all_parts(dataset)  # a folder that is no dataset gets no lock file
    with owned(dataset):
        done, screened = parts.all_parts(dataset), load_screened(dataset)
        known = restore.restored(dataset)
        rejected = {row.id: row for row in _rows(dataset)}
        problems = [_no_undo(name, known) if undo else _no_return(name, rejected, known) for name in ids]
        told = [Problem(problem, str(dataset / parts.REJECTIONS)) for problem in problems if problem]
        if told:
            raise UsageError(
                f"{len(told)} of {len(ids)} clips cannot be changed: {told[0].message}",
                hint=f"run.sh rejections list {dataset} names those that can",
                problems=told,
            )
        if undo:
            listed = {name: reason for name, reason in known.items() if name not in set(ids)}
        else:
            listed = {**known, **{name: rejected[name].reason for name in ids if name in rejected}}
        restore.save_restored(dataset, listed)
        finished = finalise(dataset, done, screened)
    aligned = (dataset / "train_aligned.jsonl").is_file() and finished.changed
    text = f"{len(ids)} {'left to the filters again' if undo else 'taken back'}; {len(finished.clips)} clips now"
    return {
        "clips": len(finished.clips),
        "restored": sorted(listed),
        "changed": finished.changed,
        "rejected": parts.reasons(finished.rejections),
        "manifest": str(dataset / parts.MANIFEST),
        "text": f"{text}\nrun.sh align {dataset} finds their words" if aligned else text,
    }


def _rows(dataset: Path) -> list[Rejection]:
    place = dataset / parts.REJECTIONS
    if not place.is_file():
        raise ConfigError(f"{dataset} has no {parts.REJECTIONS}", hint="name a dataset folder that ingest has built")
    return [
        Rejection(**{name: value for name, value in row.items() if name != "audio_seconds"})
        for _, row in read_jsonl(place)
    ]


def _no_return(name: str, rejected: dict[str, Rejection], known: dict[str, str]) -> str | None:
    """Why a clip cannot be taken back, or None when it can (or has been)."""
    row = rejected.get(name)
    if row is None:
        return None if name in known else f"'{name}' was not rejected"
    if row.numbers.get("step") == ALIGN:
        return (
            f"'{name}' is in the manifest; its words could not be aligned ({row.reason}): mend its text and align again"
        )
    if not restore.can_return(row):
        missing = "text" if row.audio_file else "audio"
        return f"'{name}' has no {missing} to make a clip of ({row.reason})"
    return None


def _no_undo(name: str, known: dict[str, str]) -> str | None:
    return None if name in known else f"'{name}' was not taken back"


def _line(row: Rejection) -> str:
    value = row.numbers.get("value")
    number = "" if value is None else f" {row.numbers.get('filter')} {value:g}"
    return f"{row.id}  {row.reason}{number}  {row.audio_seconds:.1f} s  {row.text[:60]}"
