"""What was measured stays measured: values by content, so that a new filter or a new cut measures nothing twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tts_train.engine import Engine
from tts_train.files import read_json, write_json
from tts_train.output import progress

PIECE = 32


@dataclass(frozen=True)
class Scorer:
    """`work` maps a list of items to a list of JSON values; it is a function of a module (partial of one is fine).

    `version` names everything that shapes a value besides the item: algorithm, model. `read` turns the JSON value into
    what is kept in memory.
    """

    name: str
    version: str
    work: Callable[[Sequence[Any]], list[Any]]
    read: Callable[[Any], Any] = lambda value: value


def scored(out: Path, scorer: Scorer, items: Mapping[str, Any], engine: Engine) -> dict[str, Any]:
    """The value of every item by its key, from receipts where there is one.

    Keys name contents (hashes). Receipts are parts/screen-<scorer>-<number>.json; those that hold nothing of `items`
    are removed. Values are of any JSON form; None is a value too: it could not be measured.
    """
    known = {key: scorer.read(value) for key, value in _known(out, scorer, items)}
    todo = [key for key in items if key not in known]
    pieces = [todo[start : start + PIECE] for start in range(0, len(todo), PIECE)]
    number = 1 + max((int(path.stem.rpartition("-")[2]) for path in _receipts(out, scorer)), default=-1)
    started = time.monotonic()
    results = engine.map(scorer.work, ([items[key] for key in keys] for keys in pieces))
    for count, (keys, values) in enumerate(zip(pieces, results, strict=True), 1):
        rows = dict(zip(keys, values, strict=True))
        write_json(_receipt(out, scorer, number + count - 1), {"version": scorer.version, "rows": rows})
        known |= {key: scorer.read(value) for key, value in rows.items()}
        left = (time.monotonic() - started) / count * (len(pieces) - count)
        progress(f"screen: {scorer.name}, {count} of {len(pieces)}, about {left:.0f} s left")
    return known


def _known(out: Path, scorer: Scorer, items: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for path in _receipts(out, scorer):
        receipt = read_json(path)
        found = (
            [(key, value) for key, value in receipt["rows"].items() if key in items]
            if receipt["version"] == scorer.version
            else []
        )
        if not found:
            path.unlink()
        yield from found


def _receipts(out: Path, scorer: Scorer) -> list[Path]:
    return sorted((out / "parts").glob(f"screen-{scorer.name}-?????.json"))


def _receipt(out: Path, scorer: Scorer, number: int) -> Path:
    return out / "parts" / f"screen-{scorer.name}-{number:05d}.json"
