"""The harness of the fault tests: it kills where it says, finds what is wrong, and its points rotate."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

import kills
from run_tiers import fault_table
from tts_train.files import sweep, write_json


@pytest.mark.parametrize("stride", [1, 4, 12])
def test_points_rotate_and_the_days_of_a_stride_make_all(stride: int, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    for day in range(20_000, 20_000 + stride):
        monkeypatch.setattr(kills, "day", lambda day=day: day)
        today = list(kills.points(3, 61, stride))
        assert len(today) <= -(-59 // stride)
        taken += today
    assert sorted(taken) == list(range(3, 62))


def test_tomorrow_is_another_day(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 86400)
    tomorrow = kills.day()
    monkeypatch.setattr(time, "time", lambda: now)
    assert tomorrow == kills.day() + 1


def by_every_way(folder: Path) -> None:
    """Ten calls: two of them around open(), and one in a fork."""
    (folder / "a").mkdir()
    (folder / "a/one").write_text("1")
    pid = os.fork()
    if pid == 0:
        os.unlink(folder / "a/one")
        os._exit(0)
    os.waitpid(pid, 0)
    descriptor = os.open(folder / "two", os.O_WRONLY | os.O_CREAT)
    os.write(descriptor, b"2")
    os.fsync(descriptor)
    os.close(descriptor)
    os.rename(folder / "two", folder / "three")
    (folder / "three").unlink()
    (folder / "a").rmdir()


def test_every_way_of_changing_files_is_a_point_and_forks_die_too(tmp_path: Path) -> None:
    ends = []
    for point in range(1, 12):
        place = tmp_path / str(point)
        place.mkdir()
        status, calls = kills.in_child(lambda place=place: by_every_way(place), crash_at=point)
        ends.append((os.WIFSIGNALED(status), calls, {path.name: path.read_bytes() for path in place.rglob("[a-z]??*")}))
    assert [killed for killed, _, _ in ends] == [True] * 10 + [False]
    assert [calls for _, calls, _ in ends] == [*range(1, 11), 10]
    made = [files for _, _, files in ends]
    assert made[:4] == [{}, {}, {"one": b""}, {"one": b"1"}]
    assert made[4:8] == [{}, {"two": b""}, {"two": b"2"}, {"two": b"2"}]
    assert made[8:] == [{"three": b"2"}, {}, {}]


def test_a_kill_from_outside_takes_what_it_started_along(tmp_path: Path) -> None:
    def work() -> None:
        pid = os.fork()
        if pid == 0:
            time.sleep(0.6)
            (tmp_path / "late").touch()
            os._exit(0)
        os.waitpid(pid, 0)

    started = time.monotonic()
    status = kills.killed_after(work, 0.1)
    assert os.WIFSIGNALED(status)
    assert time.monotonic() - started < 0.5
    time.sleep(0.7)
    assert not (tmp_path / "late").exists()


def whole(place: Path) -> None:
    place.mkdir(exist_ok=True)
    sweep(place)
    for number in range(3):
        write_json(place / f"{number}.json", number)


def appended(place: Path) -> None:
    """The usual script: rows that are there already are skipped."""
    place.mkdir(exist_ok=True)
    listed = place / "rows.jsonl"
    done = len(listed.read_text().splitlines()) if listed.is_file() else 0
    descriptor = os.open(listed, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in range(done, 6):
        os.write(descriptor, b'{"id":')
        os.write(descriptor, b"%d}\n" % number)
    os.close(descriptor)


def test_what_survives_passes_and_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(kills.TABLE, str(tmp_path / "table"))
    monkeypatch.setattr(kills, "EXHAUSTIVE", True)
    kills.sweep("whole", whole, kills.everything, tmp_path, at_random=2)
    (row,) = [json.loads(line) for line in (tmp_path / "table").read_text().splitlines()]
    assert (row["stage"], row["wrong"]) == ("whole", 0)
    assert row["points"] == row["calls"] > 15


def test_what_does_not_fails_with_its_count_in_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(kills.TABLE, str(tmp_path / "table"))
    monkeypatch.setattr(kills, "EXHAUSTIVE", True)
    with pytest.raises(AssertionError, match=r"6 of 14 ends are wrong.*a kill at I/O call 4"):
        kills.sweep("appended", appended, kills.everything, tmp_path)
    row = json.loads((tmp_path / "table").read_text())
    assert (row["points"], row["wrong"]) == (14, 6)


def test_the_table_has_a_row_per_stage_and_sums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(kills.TABLE, str(tmp_path / "table"))
    kills.record("ingest", 30, 0, 12.4, calls=120, at_random=3)
    kills.record("align", 10, 1, 3.4, calls=40)
    assert fault_table(tmp_path / "table").splitlines()[2:] == [
        "| align | 40 | 10 | 0 | 1 | 3 |",
        "| ingest | 120 | 30 | 3 | 0 | 12 |",
        "| all | 160 | 40 | 3 | 1 | 16 |",
    ]
    assert fault_table(tmp_path / "none").splitlines()[2:] == ["| all | 0 | 0 | 0 | 0 | 0 |"]
