"""A dataset folder: the card, manifests, rejections. Paths in manifests are relative to the manifest's folder."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from tts_train.clip import Clip, Rejection
from tts_train.errors import ConfigError, InputUnusable, Problem
from tts_train.files import read_jsonl, sha256_file, write_jsonl
from tts_train.yaml_config import load_yaml, validate

CARD = "dataset.yaml"
CONSENT = Literal["own voice", "written consent", "public domain", "synthetic voice", "licensed", "none"]
NO_CONSENT = "none"
"""An honest answer: with the reason why, such a voice can be trained and listened to, but it is not shipped."""
_REQUIRED = ("id", "audio_file", "text", "speaker", "language", "audio_seconds")
_KNOWN = {item.name for item in fields(Clip)}


Said = Annotated[str, Field(pattern=r"\S")]


class Card(BaseModel):
    """dataset.yaml: where the recordings come from and why they may be used."""

    model_config = ConfigDict(extra="forbid")

    source: Said
    licence: Said
    speaker: Said
    consent_basis: CONSENT
    consent_file_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Of the paper or recording that gives the consent, which stays with whoever keeps it."""
    no_consent_because: Annotated[str, Field(validate_default=True)] = ""
    """Why the voice is trained all the same; nothing works with `none` without it."""
    language: Said
    notes: str = ""

    @field_validator("no_consent_because")
    @classmethod
    def _says_why(cls, reason: str, info: ValidationInfo) -> str:
        if info.data.get("consent_basis") == NO_CONSENT and not reason.strip():
            raise ValueError(
                "with 'consent_basis: none' say here why the voice is trained all the same "
                "(it cannot be shipped either way)"
            )
        return reason


def card_there(folder: Path) -> Card | None:
    """The card, or None for data that are not here (any more). Raises ConfigError when it is wrong."""
    return load_card(folder) if (folder / CARD).is_file() else None


def load_card(folder: Path) -> Card:
    """Read and check the card. Raises ConfigError when it is missing or wrong."""
    path = folder / CARD
    if not path.is_file():
        raise ConfigError(
            f"{folder} has no dataset.yaml",
            hint="write one with source, licence, speaker, consent_basis and language; see references/formats.md",
        )
    return validate(Card, load_yaml(path), path)


def load_manifest(path: Path) -> list[Clip]:
    """Clips of a manifest in its order.

    Raises ConfigError naming every bad line at once: missing or mistyped fields, duplicate ids, audio that is not a
    file inside the manifest's folder.
    """
    clips: list[Clip] = []
    problems: list[Problem] = []
    seen: dict[str, int] = {}
    folder = path.parent.resolve()
    for number, row in read_jsonl(path):
        wrong = [*_row_problems(row), *_audio_problems(folder, row.get("audio_file"))]
        if row.get("id") in seen:
            wrong.append(f"id '{row['id']}' stands in line {seen[row['id']]} already")
        problems += [Problem(message, str(path), number) for message in wrong]
        if not wrong:
            seen[row["id"]] = number
            clips.append(Clip(**{name: value for name, value in row.items() if name in _KNOWN}))
    if problems:
        raise ConfigError(f"{path}: {len(problems)} problems", hint="fix the lines named", problems=problems)
    if not clips:
        raise InputUnusable(f"{path} lists no clip", hint="build the dataset again: run.sh ingest --help")
    return clips


def audio_path(manifest: Path, clip: Clip) -> Path:
    """Where a clip's audio is."""
    return manifest.parent / clip.audio_file


def dataset_sha256(manifest: Path, clips: Iterable[Clip]) -> str:
    """Hash of the manifest and of every clip's audio: what is trained on, exactly."""
    digest = hashlib.sha256(manifest.read_bytes())
    for clip in clips:
        digest.update(sha256_file(audio_path(manifest, clip)).encode())
    return digest.hexdigest()


def write_manifest(path: Path, clips: Iterable[Clip]) -> None:
    """Write clips sorted by id, so that the same clips always give the same bytes."""
    write_jsonl(path, (clip.as_row() for clip in sorted(clips, key=lambda clip: clip.id)))


def write_rejections(path: Path, rejections: Iterable[Rejection]) -> None:
    """Write rejections.jsonl sorted by source and place."""
    ordered = sorted(rejections, key=lambda item: (item.source, item.start, item.id))
    write_jsonl(path, (item.as_row() for item in ordered))


def safe_member(folder: Path, name: str) -> Path:
    """A file named by untrusted data, inside `folder`. Raises InputUnusable for anything that leads out of it."""
    if not name or any(ord(character) < 32 for character in name):
        raise InputUnusable(f"{name!r} is not a file name", hint="name a file inside the folder")
    try:
        path = (folder / name).resolve(strict=True)
    except OSError as error:
        raise InputUnusable(f"'{name}' is not in {folder}", hint="check the name") from error
    if Path(name).is_absolute() or not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise InputUnusable(f"'{name}' is not a file inside {folder}", hint="copy it into the folder")
    return path


def _row_problems(row: Mapping[str, Any]) -> list[str]:
    wrong = [f"'{name}' is missing" for name in _REQUIRED if name not in row]
    texts = (name for name in ("id", "audio_file", "text", "speaker", "language") if name in row)
    wrong += [f"'{name}' must be non-empty text" for name in texts if not _is_text(row[name])]
    seconds = row.get("audio_seconds", 1.0)
    if not isinstance(seconds, int | float) or not math.isfinite(seconds) or seconds <= 0:
        wrong.append(f"'audio_seconds' must be a positive number, got {seconds!r}")
    return wrong


def _audio_problems(folder: Path, name: object) -> list[str]:
    if not _is_text(name):
        return []
    try:
        safe_member(folder, str(name))
    except InputUnusable as error:
        return [error.message]
    return []


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())
