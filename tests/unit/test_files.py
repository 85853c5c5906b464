"""Files are whole or absent."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import pytest

from tts_train import files
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


def test_a_second_holder_is_told_who_has_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    code = f"from pathlib import Path; from tts_train.files import locked\nwith locked(Path({str(lock)!r})): pass"
    with files.locked(lock):
        second = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    third = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert "Busy" in second.stderr
    assert f"pid {os.getpid()}" in second.stderr
    assert third.returncode == 0
    assert Busy.exit_code == 75


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
