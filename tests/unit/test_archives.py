"""Zip archives: the same files give the same bytes, and what an enemy packs is refused before anything is written."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tts_train.errors import InputUnusable
from tts_train.work import archives

FILES = {"ann/voice.json": b"{}", "ann/epoch/weights.safetensors": bytes(range(256)) * 9000}


def on_disk(folder: Path) -> dict[str, Path]:
    paths = {}
    for number, (name, content) in enumerate(FILES.items()):
        path = folder / f"{number}"
        path.write_bytes(content)
        paths[name] = path
    return paths


def taken(path: Path, target: Path) -> dict[str, bytes]:
    with archives.opened(path) as archive:
        for number, name in enumerate(archive.members):
            archive.copy(name, target / f"{number}")
        return {name: (target / f"{number}").read_bytes() for number, name in enumerate(archive.members)}


def test_what_was_packed_comes_out_and_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    files = on_disk(tmp_path)
    archives.write(tmp_path / "a.zip", files)
    archives.write(tmp_path / "b.zip", dict(reversed(files.items())))

    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert taken(tmp_path / "a.zip", tmp_path / "out") == FILES
    assert zipfile.ZipFile(tmp_path / "a.zip").testzip() is None


def test_an_archive_is_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = on_disk(tmp_path)
    (tmp_path / "a.zip").write_bytes(b"older")
    files["ann/gone"] = tmp_path / "gone"

    with pytest.raises(Exception, match="No such file"):
        archives.write(tmp_path / "a.zip", files)

    assert (tmp_path / "a.zip").read_bytes() == b"older"
    assert not list(tmp_path.glob(".tmp-*"))


# --- what an enemy packs


def packed(*members: tuple[zipfile.ZipInfo | str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def kind(mode: int) -> bytes:
    info = zipfile.ZipInfo("link")
    info.create_system = 3
    info.external_attr = (mode | 0o777) << 16
    return packed((info, b"/etc/passwd"))


def named(name: str) -> bytes:
    """zipfile cleans names when it writes; an enemy does not."""
    mask = "x" * len(name.encode())
    return packed((mask, b"{}")).replace(mask.encode(), name.encode())


def central(data: bytes, offset: int, form: str, *values: int) -> bytes:
    """Change fields of the first entry of the directory."""
    start = data.index(b"PK\x01\x02") + offset
    new = struct.pack(form, *values)
    return data[:start] + new + data[start + len(new) :]


def overlapping() -> bytes:
    """Two entries of the directory that point at the same compressed bytes."""
    data = packed(("a", bytes(4000)), ("b", b""))
    first = data.index(b"PK\x01\x02")
    second = data.index(b"PK\x01\x02", first + 1)
    sizes = data[first + 16 : first + 28]
    offset = data[first + 42 : first + 46]
    return data[: second + 16] + sizes + data[second + 28 : second + 42] + offset + data[second + 46 :]


def long_directory() -> bytes:
    """A directory of one entry and 5 MB of nothing: zipfile would take it into memory whole."""
    data = packed(("a", b"x"))
    end = data.index(b"PK\x05\x06")
    start = data.index(b"PK\x01\x02")
    padding = bytes(5_000_000 - (end - start))
    return data[:end] + padding + data[end : end + 12] + struct.pack("<L", 5_000_000) + data[end + 16 :]


WHOLE = packed(("ann/voice.json", b"{}" * 5000), method=zipfile.ZIP_DEFLATED)
BOMB = packed(("zeros", bytes(30_000_000)), method=zipfile.ZIP_DEFLATED)
EVIL: dict[str, tuple[Callable[[], bytes], str]] = {
    "a link": (lambda: kind(stat.S_IFLNK), "link, a device or a pipe"),
    "a device": (lambda: kind(stat.S_IFBLK), "link, a device or a pipe"),
    "a pipe": (lambda: kind(stat.S_IFIFO), "link, a device or a pipe"),
    "a name that climbs": (lambda: named("ann/../../x"), "leads out"),
    "an absolute name": (lambda: named("/etc/passwd"), "leads out"),
    "a name of dots": (lambda: named("ann/./x"), "leads out"),
    "an empty part": (lambda: named("ann//x"), "leads out"),
    "a Windows path": (lambda: named("ann\\..\\x"), "backslash"),
    "a drive": (lambda: named("C:x"), "colon"),
    "a NUL in the name": (lambda: named("voice.json\0.txt"), "control characters"),
    "an escape in the name": (lambda: named("a\x1b[2Jb"), "control characters"),
    "a very long name": (lambda: named("x" * 300), "too long"),
    "two of one name": (lambda: packed(("ann/a.json", b"1"), ("ann/A.json", b"2")), "twice"),
    "too many members": (lambda: packed(*((f"{n}", b"") for n in range(archives.MEMBERS + 1))), "members"),
    "a bomb": (lambda: BOMB, "would become 30000000"),
    "a bomb that hides its size": (lambda: central(BOMB, 24, "<L", 1000), "damaged"),
    "members over one another": (overlapping, "lie over one another"),
    "an encrypted member": (lambda: central(WHOLE, 8, "<H", 1), "encrypted"),
    "another compression": (lambda: packed(("a", b"xyz" * 99), method=zipfile.ZIP_LZMA), "deflate"),
    "another content": (lambda: packed(("a", b"12345")).replace(b"12345", b"54321"), "Bad CRC"),
    "a directory that would fill the memory": (long_directory, "its directory takes 5000000 bytes"),
    "a cut": (lambda: WHOLE[:-30], "no zip"),
    "no directory": (lambda: WHOLE[: WHOLE.index(b"PK\x01\x02")], "no zip"),
    "something else": (lambda: b"RIFF" * 100, "no zip"),
    "nothing": (lambda: b"", "no zip"),
}


@pytest.mark.parametrize("how", EVIL)
def test_what_an_enemy_packs_is_refused(tmp_path: Path, how: str) -> None:
    make, message = EVIL[how]
    (tmp_path / "evil.zip").write_bytes(make())
    (tmp_path / "out").mkdir()

    with pytest.raises(InputUnusable) as caught:
        taken(tmp_path / "evil.zip", tmp_path / "out")

    assert message in str([caught.value.message, *map(str, caught.value.problems)])
    assert caught.value.message.isprintable()
    assert {path.name for path in tmp_path.iterdir()} == {"evil.zip", "out"}


def test_every_flipped_byte_is_refused_or_harmless(tmp_path: Path) -> None:
    """Of a small archive: whatever a byte becomes, members come out as they were, or not at all."""
    content = {"a/b.json": b"content" * 9, "c": b"1"}
    whole = packed(*content.items(), method=zipfile.ZIP_DEFLATED)
    path = tmp_path / "x.zip"
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            with archives.opened(path) as archive:
                for number, name in enumerate(archive.members):
                    target = tmp_path / f"{place}-{number}"
                    archive.copy(name, target)
                    assert target.read_bytes() in content.values()
        except InputUnusable:
            continue
