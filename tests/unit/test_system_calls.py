"""The watcher of the fault tests sees what everybody writes, and does what it says."""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path

import pytest

import disk_faults
import kills
from system_calls import KILLED, Call, Fault, unavailable, unsynced, watched
from tts_train.files import publish_folder, read_json, write_json, write_synced

pytestmark = pytest.mark.skipif(unavailable() is not None, reason=unavailable() or "")


def by_every_way(folder: Path) -> None:
    (folder / "a").mkdir()
    (folder / "a").mkdir(exist_ok=True)
    with (folder / "a/one").open("w") as file:
        file.write("12345678")
    thread = threading.Thread(target=lambda: os.unlink(folder / "a/one"))
    thread.start()
    thread.join()
    (folder.parent / "elsewhere").write_text("not watched")
    os.rename(folder / "a", folder / "b")
    os.rmdir(folder / "b")


def test_calls_of_python_of_threads_and_of_c_are_seen(tmp_path: Path) -> None:
    place = tmp_path / "watched"
    place.mkdir()
    seen = watched(lambda: by_every_way(place), place)
    assert (seen.code, [(call.name, call.path) for call in seen.calls]) == (
        0,
        [("mkdir", "a"), ("openat", "a/one"), ("write", "a/one"), ("unlink", "a/one"), ("rename", "b"), ("rmdir", "b")],
    )

    def store() -> None:
        with sqlite3.connect(place / "x.db") as connection:
            connection.execute("CREATE TABLE t (a)")

    names = {call.name for call in watched(store, place).calls}
    assert {"openat", "pwrite64", "unlink"} <= names
    assert names & {"fsync", "fdatasync"}


def test_a_kill_comes_before_the_call(tmp_path: Path) -> None:
    for number, left in enumerate([[], ["a"], ["a", "a/one"], ["a", "a/one"], ["a"], ["b"]], 1):
        place = tmp_path / str(number)
        place.mkdir()
        ended = watched(lambda place=place: by_every_way(place), place, Fault("kill", number))
        assert (ended.code, len(ended.calls)) == (KILLED, number)
        assert sorted(str(path.relative_to(place)) for path in place.rglob("*")) == left
        assert all(path.stat().st_size == 8 * (number > 3) for path in place.rglob("one"))


def test_a_full_disk_takes_half_and_then_nothing(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text("[1]\n")
    whole = watched(lambda: write_json(tmp_path / "old.json", [2]), tmp_path)
    for number in whole.numbers("full"):
        ended = watched(lambda: write_json(tmp_path / "old.json", [3]), tmp_path, Fault("full", number))
        assert ended.code == disk_faults.DISK
        synced_folder = number > len(whole.calls) - 1
        assert read_json(tmp_path / "old.json") == ([3] if synced_folder else [2])
        assert [path.name for path in tmp_path.iterdir()] == ["old.json"]
    assert read_json(tmp_path / "old.json") == [3]


def test_a_write_can_be_short(tmp_path: Path) -> None:
    def careless() -> None:
        descriptor = os.open(tmp_path / "x", os.O_WRONLY | os.O_CREAT)
        os.write(descriptor, b"12345678")

    assert watched(careless, tmp_path, Fault("short", 2)).code == 0
    assert (tmp_path / "x").read_bytes() == b"1234"


def torn(place: Path) -> None:
    place.mkdir(exist_ok=True)
    (place / "x").write_text("a text")


def whole(place: Path) -> None:
    publish_folder(place / "final", lambda folder: write_synced(folder / "x", b"a text"))


@pytest.mark.parametrize(("work", "passes"), [(torn, False), (whole, True)])
def test_a_sweep_tells_the_torn_from_the_whole(
    work: object, passes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kills, "EXHAUSTIVE", True)

    def outcome(place: Path) -> dict[str, object]:
        return {path.name: path.read_bytes() for path in place.rglob("x") if ".tmp-" not in str(path)}

    def sweep() -> None:
        disk_faults.sweep("x", work, outcome, tmp_path)  # type: ignore[arg-type]

    if passes:
        sweep()
    else:
        with pytest.raises(AssertionError, match="torn"):
            sweep()


def test_what_a_power_cut_could_tear_is_named(tmp_path: Path) -> None:
    assert unsynced(watched(lambda: whole(tmp_path), tmp_path).calls) == []

    def careless() -> None:
        (tmp_path / "new").write_text("a text")
        os.rename(tmp_path / "new", tmp_path / "final/y")

    assert unsynced(watched(careless, tmp_path).calls) == [
        "final/y: new was not flushed before the rename",
        "final/y: its folder was not flushed after the rename",
    ]
    late = [Call("write", "a/x"), Call("rename", "b", "a"), Call("fsync", "b/x"), Call("fsync", ".")]
    assert unsynced(late) == ["b: a/x was not flushed before the rename"]


def test_a_disk_of_its_own_fills_up(tmp_path: Path) -> None:
    def body() -> None:
        with pytest.raises(OSError, match="No space"):
            (tmp_path / "x").write_bytes(bytes(300_000))

    disk_faults.mounted(tmp_path, body, megabytes=0.25)
    assert list(tmp_path.iterdir()) == []
