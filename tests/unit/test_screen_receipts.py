"""What was measured is not measured again; what is stale goes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tts_train.engine.pool import Inline
from tts_train.errors import TtsTrainError
from tts_train.ingest.screen.receipts import PIECE, Scorer, scored


class Counting:
    """A scorer that doubles numbers and remembers what it was asked; it dies at `deadly`."""

    def __init__(self, deadly: int | None = None) -> None:
        self.asked: list[int] = []
        self.deadly = deadly

    def __call__(self, items: Sequence[int]) -> list[int | None]:
        if self.deadly in items:
            raise RuntimeError("killed")
        self.asked += items
        return [None if item == 5 else 2 * item for item in items]


def items(*numbers: int) -> dict[str, int]:
    return {f"hash-{number}": number for number in numbers}


def scorer(work: Counting, version: str = "1") -> Scorer:
    return Scorer("double", version, work)


def receipts(out: Path) -> list[str]:
    return sorted(path.name for path in (out / "parts").glob("screen-*.json"))


def test_values_come_back_by_key_and_none_is_a_value(tmp_path: Path) -> None:
    work = Counting()
    assert scored(tmp_path, scorer(work), items(4, 5), Inline()) == {"hash-4": 8, "hash-5": None}
    again = Counting()
    assert scored(tmp_path, scorer(again), items(4, 5), Inline()) == {"hash-4": 8, "hash-5": None}
    assert again.asked == []


def test_after_a_kill_only_the_rest_is_measured(tmp_path: Path) -> None:
    numbers = range(100, 100 + 3 * PIECE)
    with pytest.raises(TtsTrainError, match="RuntimeError"):
        scored(tmp_path, scorer(Counting(deadly=100 + PIECE)), items(*numbers), Inline())
    work = Counting()
    found = scored(tmp_path, scorer(work), items(*numbers), Inline())
    assert work.asked == list(numbers)[PIECE:]
    assert found == {f"hash-{number}": 2 * number for number in numbers}
    assert len(receipts(tmp_path)) == 3


def test_a_new_item_is_measured_alone_and_a_copy_not_at_all(tmp_path: Path) -> None:
    scored(tmp_path, scorer(Counting()), items(1, 2), Inline())
    work = Counting()
    assert scored(tmp_path, scorer(work), items(2, 3), Inline()) == {"hash-2": 4, "hash-3": 6}
    assert work.asked == [3]


def test_another_version_measures_all_again_and_old_receipts_go(tmp_path: Path) -> None:
    scored(tmp_path, scorer(Counting()), items(1, 2), Inline())
    work = Counting()
    scored(tmp_path, scorer(work, "2"), items(1, 2), Inline())
    assert work.asked == [1, 2]
    assert receipts(tmp_path) == ["screen-double-00000.json"]


def test_receipts_of_clips_that_are_gone_go_too(tmp_path: Path) -> None:
    scored(tmp_path, scorer(Counting()), items(1), Inline())
    scored(tmp_path, scorer(Counting()), items(2), Inline())
    assert receipts(tmp_path) == ["screen-double-00000.json"]
    assert scored(tmp_path, scorer(Counting()), {}, Inline()) == {}
    assert receipts(tmp_path) == []
