"""Manifests: all bad lines at once, nothing outside the folder, the same clips the same bytes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tts_train.clip import Clip
from tts_train.dataset import card_there, load_card, load_manifest, write_manifest
from tts_train.errors import ConfigError, InputUnusable


def row(**changes: object) -> dict[str, object]:
    good = {
        "id": "a",
        "audio_file": "clips/a.wav",
        "text": "hi",
        "speaker": "s",
        "language": "en",
        "audio_seconds": 1.0,
    }
    return {**good, **changes}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips/a.wav").write_bytes(b"x")
    return tmp_path


def write(folder: Path, *rows: dict[str, object]) -> Path:
    path = folder / "train_manifest.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_every_problem_of_every_line_is_named(folder: Path) -> None:
    path = write(folder, row(), row(), row(id="b", text=" "), row(id="c", audio_seconds=-1), {"id": "d"})

    with pytest.raises(ConfigError) as caught:
        load_manifest(path)

    lines = [problem.line for problem in caught.value.problems]
    assert lines == [2, 3, 4, 5, 5, 5, 5, 5]


@pytest.mark.parametrize("name", ["../outside.wav", "/etc/passwd", "link.wav", "", "clips", "clips/\na.wav"])
def test_audio_outside_the_folder_is_refused(folder: Path, name: str) -> None:
    outside = folder.parent / "outside.wav"
    outside.write_bytes(b"secret")
    (folder / "link.wav").symlink_to(outside)

    with pytest.raises(ConfigError):
        load_manifest(write(folder, row(audio_file=name)))


def test_an_empty_manifest_is_unusable(folder: Path) -> None:
    with pytest.raises(InputUnusable):
        load_manifest(write(folder))


def test_writing_sorts_so_that_order_of_work_does_not_show(folder: Path) -> None:
    clips = [Clip(name, "clips/a.wav", "t", "s", "en", 1.0) for name in "cab"]
    write_manifest(folder / "1.jsonl", clips)
    write_manifest(folder / "2.jsonl", reversed(clips))

    assert (folder / "1.jsonl").read_bytes() == (folder / "2.jsonl").read_bytes()
    assert [clip.id for clip in load_manifest(folder / "1.jsonl")] == ["a", "b", "c"]


def test_a_card_that_says_nothing_of_consent_is_refused(folder: Path) -> None:
    (folder / "dataset.yaml").write_text("source: x\nlicence: MIT\nspeaker: s\nlanguage: en\nconsent_basis: maybe\n")

    with pytest.raises(ConfigError) as caught:
        load_card(folder)

    assert caught.value.problems[0].line == 5


GOOD_CARD = "source: x\nlicence: MIT\nspeaker: s\nconsent_basis: written consent\nlanguage: en\n"


@pytest.mark.parametrize("name", ["source", "licence", "speaker", "language"])
def test_a_card_with_an_empty_answer_is_refused(folder: Path, name: str) -> None:
    for empty in ("''", "' '"):
        text = re.sub(rf"^{name}: .*$", f"{name}: {empty}", GOOD_CARD, flags=re.MULTILINE)
        (folder / "dataset.yaml").write_text(text)
        with pytest.raises(ConfigError, match=r"dataset\.yaml"):
            load_card(folder)


def test_a_card_may_name_the_paper_of_the_consent(folder: Path) -> None:
    (folder / "dataset.yaml").write_text(GOOD_CARD + f"consent_file_sha256: {'0a' * 32}\n")
    assert load_card(folder).consent_file_sha256 == "0a" * 32
    (folder / "dataset.yaml").write_text(GOOD_CARD + "consent_file_sha256: consent.pdf\n")
    with pytest.raises(ConfigError):
        load_card(folder)
    assert card_there(folder / "nowhere") is None
