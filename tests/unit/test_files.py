"""Files are whole or absent."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from tts_train import files, holders
from tts_train.errors import Busy, ConfigError, DiskError


def test_a_short_write_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """os.write may take fewer bytes than it was given: nothing may be lost."""
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, bytes(data)[:7]))

    files.atomic_write_bytes(tmp_path / "a.bin", bytes(range(100)))

    assert (tmp_path / "a.bin").read_bytes() == bytes(range(100))


def test_a_full_disk_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    files.write_json(path, {"old": 1})

    def full(_descriptor: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(DiskError) as caught:
        files.write_json(path, {"new": 2})

    assert caught.value.exit_code == 74
    assert json.loads(path.read_text()) == {"old": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_a_stream_goes_to_disk_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty gigabytes of training state must not stand in memory a second time; short writes are continued."""
    real, sizes = os.write, []
    block = bytes(range(256)) * 2**13

    def short(descriptor: int, data: bytes) -> int:
        sizes.append(real(descriptor, memoryview(data)[: 2**20 + 7]))
        return sizes[-1]

    monkeypatch.setattr(os, "write", short)
    files.atomic_write_stream(tmp_path / "a.bin", lambda file: [file.write(piece) for piece in (b"head", block, block)])

    assert (tmp_path / "a.bin").read_bytes() == b"head" + block + block
    assert max(sizes) <= 2**20 + 7


def test_a_stream_tells_of_the_disk_whatever_its_writer_makes_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.bin"
    files.atomic_write_stream(path, lambda file: file.write(b"old"))

    def archive(file: BinaryIO) -> None:
        """Fails as torch.save does."""
        try:
            file.write(bytes(2**22))
        except OSError as error:
            raise RuntimeError("unexpected pos 2496 vs 2390") from error

    def full(_descriptor: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(DiskError, match="No space left"):
            files.atomic_write_stream(path, archive)
    with pytest.raises(ValueError, match="a bug"):
        files.atomic_write_stream(path, lambda _file: int("a bug"))
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.bin"]


def test_data_is_flushed_before_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killing a process cannot show a power cut; the order of calls can: fsync(file) < rename < fsync(folder)."""
    calls: list[str] = []
    real_sync, real_replace = os.fsync, os.replace

    def sync(descriptor: int) -> None:
        calls.append("folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")
        real_sync(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", lambda old, new: (calls.append("rename"), real_replace(old, new))[1])

    files.write_text(tmp_path / "a.txt", "x")
    files.atomic_write_stream(tmp_path / "a.bin", lambda file: file.write(b"x"))

    assert calls == 2 * ["file", "rename", "folder"]


def test_a_folder_is_published_whole_or_not_at_all(tmp_path: Path) -> None:
    final = tmp_path / "epochs" / "epoch-001"

    def fails_half_way(folder: Path) -> None:
        (folder / "weights").write_text("w")
        raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        files.publish_folder(final, fails_half_way)

    assert list(final.parent.iterdir()) == []


def test_publishing_removes_what_a_killed_writer_left(tmp_path: Path) -> None:
    leftover = tmp_path / f"{files.TEMPORARY}epoch-001.99999"
    leftover.mkdir()

    files.publish_folder(tmp_path / "epoch-001", lambda folder: (folder / "w").write_text("w") and None)

    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["epoch-001"]


SECOND = """
import json, sys
from pathlib import Path
from tts_train.errors import Busy
from tts_train.files import locked
try:
    with locked(Path(sys.argv[1])):
        print("{}")
except Busy as busy:
    print(json.dumps({"message": busy.message, "hint": busy.hint, "code": busy.exit_code}))
"""


def second(lock: Path) -> dict[str, Any]:
    command = [sys.executable, "-c", SECOND, str(lock)]
    answer: dict[str, Any] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return answer


def test_a_second_holder_is_told_who_has_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, run = tmp_path / ".lock", tmp_path / "ann-piper"
    who = f"(pid {os.getpid()} on {os.uname().nodename}, since 2"
    monkeypatch.setattr(sys, "argv", ["worker.py", "train-local", "tts_train.work.train:train"])
    with files.locked(lock, run=run):
        without_status = second(lock)
        files.write_json(run / "status.json", {"heartbeat_at": "2999-01-02T03:04:05+00:00"})
        with_status = second(lock)
        files.write_json(run / "status.json", {"heartbeat_at": "2020-01-02T03:04:05+00:00"})
        of_another = second(lock)
    assert without_status["code"] == 75
    assert f"{tmp_path} is in use by train-local of run ann-piper {who}" in without_status["message"]
    assert without_status["hint"].endswith(f"kill {os.getpid()}")
    assert with_status["message"].endswith("last heartbeat 2999-01-02T03:04:05+00:00)")
    assert "heartbeat" not in without_status["message"] + of_another["message"]


def test_a_holder_that_is_a_job_is_stopped_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTS_TRAIN_JOB_ID", "20260102-030405-abcdef")
    with files.locked(tmp_path / ".lock"):
        assert second(tmp_path / ".lock")["hint"].endswith("run.sh jobs stop 20260102-030405-abcdef")


def test_a_lock_whose_holder_let_go_or_died_is_free(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    with files.locked(lock):
        assert holders.is_ours(holders.holder(lock))
        claim = lock.read_bytes()
    assert (holders.holder(lock), second(lock)) == (None, {})
    lock.write_bytes(claim.replace(b'"started": ', b'"started": 1'))
    assert holders.holder(lock) is None, "the pid is somebody else's by now"
    lock.write_bytes(claim.replace(os.uname().nodename.encode(), b"elsewhere"))
    found = holders.holder(lock)
    assert found is not None, "who holds it on another host cannot be seen from here"
    assert not holders.is_ours(found)
    assert "stop it on elsewhere" in holders.how_to_stop(found)
    assert holders.holder(tmp_path / "none") is None


@pytest.mark.parametrize("left", [b"", b"pid 12 on host", b"[1]", b'{"pid": 1}', b"\xff"])
def test_what_an_older_or_killed_holder_left_is_no_obstacle(tmp_path: Path, left: bytes) -> None:
    lock = tmp_path / ".lock"
    lock.write_bytes(left)
    assert holders.holder(lock) is None
    with files.locked(lock):
        assert holders.holder(lock) is not None


def test_every_bad_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text('{"a": 1}\n{"a": \n[1]\n\n{"a": 2}\n')

    with pytest.raises(ConfigError) as caught:
        files.read_jsonl(path)

    assert [problem.line for problem in caught.value.problems] == [2, 3]


def test_nan_is_refused(tmp_path: Path) -> None:
    """NaN is not JSON: other readers would refuse the whole file."""
    with pytest.raises(ValueError, match="JSON compliant"):
        files.write_json(tmp_path / "a.json", {"loss": float("nan")})


def test_who_owns_a_folder_finds_it_without_what_killed_owners_left(tmp_path: Path) -> None:
    for name in (
        ".tmp-a.json.71",
        "parts/.tmp-b.json.72",
        ".tmp-c.old-73/x",
        ".tmp-c.74/deep/x",
        "whole",
        "deep/whole",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with files.owned(tmp_path):
        left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
        assert left == {".lock", "whole", "deep/whole"}
        with pytest.raises(Busy), files.owned(tmp_path):
            pass


def test_a_sweep_leaves_other_programs_files_and_folders_that_have_an_owner(tmp_path: Path) -> None:
    kept = [".tmp-of-an-editor", "cache/.tmp-codes.75/half", "cache/.lock"]
    for name in (*kept, ".tmp-d.76"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    files.sweep(tmp_path)
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} == set(kept)
