"""The coded dataset: every bad line is named, and the cache is of the file's bytes, whole, or made again."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tts_train.backends.qwen3 import codes
from tts_train.errors import ConfigError, InputUnusable

CLIPS = 5


def frames(number: int) -> list[list[int]]:
    """Codes of clip `number`: 3 + number frames that no other clip has."""
    rng = np.random.default_rng(number)
    return [[int(code) for code in row] for row in rng.integers(0, 2048, (3 + number, 16))]


def row(number: int, **changes: Any) -> dict[str, Any]:
    full = {
        "id": f"clip-{number}",
        "audio": f"clips/{number}.flac",
        "text": f"Sentence {number}, naïve.",
        "ref_audio": "ref.wav",
        "audio_codes": frames(number),
        "speaker": "ann",
        "language": "en-GB",
        "audio_seconds": 1.0,
    }
    return {name: value for name, value in (full | changes).items() if value is not ...}


def write(folder: Path, rows: list[Any]) -> Path:
    (folder / "clips").mkdir(exist_ok=True)
    for number in range(CLIPS):
        (folder / f"clips/{number}.flac").touch()
    (folder / "ref.wav").touch()
    lines = (item if isinstance(item, str) else json.dumps(item, ensure_ascii=False) for item in rows)
    path = folder / "coded.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return write(tmp_path, [row(number) for number in range(CLIPS)])


def content(data: codes.CodedDataset) -> list[list[list[int]]]:
    return [data.codes(clip).tolist() for clip in data.clips]


def the_cache(manifest: Path) -> Path:
    (folder,) = (item for item in manifest.with_name("coded.cache").iterdir() if item.is_dir())
    return folder


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every manifest that was read line by line."""
    calls: list[Path] = []
    real = codes._built
    monkeypatch.setattr(codes, "_built", lambda manifest: (calls.append(manifest), real(manifest))[1])
    return calls


def test_clips_and_codes_come_back_from_the_cache(manifest: Path, built: list[Path]) -> None:
    first = codes.open_coded(manifest)
    again = codes.open_coded(manifest)

    assert built == [manifest]
    assert content(first) == content(again) == [frames(number) for number in range(CLIPS)]
    assert again == first
    clip = again.clips[2]
    assert (clip.id, clip.text, clip.speaker, clip.language) == ("clip-2", "Sentence 2, naïve.", "ann", "en-GB")
    assert (clip.first, clip.frames, clip.line) == (3 + 4, 5, 3)
    assert again.file(clip.audio) == (manifest.parent / "clips/2.flac").resolve()
    assert again.audio_seconds == sum(3 + number for number in range(CLIPS)) / 12.5
    assert again.codes(clip).dtype == np.int16
    with pytest.raises(ValueError, match="read-only"):
        again.codes(clip)[0, 0] = 1


def test_a_changed_manifest_gets_a_new_cache_and_the_old_one_goes(manifest: Path, built: list[Path]) -> None:
    codes.open_coded(manifest)
    before = the_cache(manifest)
    write(manifest.parent, [row(number) for number in (3, 1)])

    data = codes.open_coded(manifest)

    assert [clip.id for clip in data.clips] == ["clip-3", "clip-1"]
    assert content(data) == [frames(3), frames(1)]
    assert the_cache(manifest) != before
    assert len(built) == 2


def cut_codes(cache: Path) -> None:
    (cache / "codes.npy").write_bytes((cache / "codes.npy").read_bytes()[:-32])


def flip_codes(cache: Path) -> None:
    data = bytearray((cache / "codes.npy").read_bytes())
    data[-5] ^= 1
    (cache / "codes.npy").write_bytes(data)


def cut_clips(cache: Path) -> None:
    lines = (cache / "clips.jsonl").read_bytes().splitlines(keepends=True)
    (cache / "clips.jsonl").write_bytes(b"".join(lines[:-1]))


def no_clips(cache: Path) -> None:
    (cache / "clips.jsonl").unlink()


def empty_clips(cache: Path) -> None:
    (cache / "clips.jsonl").write_bytes(b"")


def of_other_bytes(cache: Path) -> None:
    text = (cache / "clips.jsonl").read_text(encoding="utf-8")
    (cache / "clips.jsonl").write_text(
        text.replace('"manifest_sha256": "', '"manifest_sha256": "0', 1), encoding="utf-8"
    )


@pytest.mark.parametrize("damage", [cut_codes, flip_codes, cut_clips, no_clips, empty_clips, of_other_bytes])
def test_a_torn_or_foreign_cache_is_made_again(
    manifest: Path, built: list[Path], damage: Callable[[Path], None]
) -> None:
    codes.open_coded(manifest)
    damage(the_cache(manifest))

    assert content(codes.open_coded(manifest)) == [frames(number) for number in range(CLIPS)]
    assert len(built) == 2


def test_the_cache_moves_with_its_dataset(manifest: Path, tmp_path: Path, built: list[Path]) -> None:
    codes.open_coded(manifest)
    shutil.copytree(tmp_path, tmp_path.with_name("moved"))

    data = codes.open_coded(tmp_path.with_name("moved") / "coded.jsonl")

    assert len(built) == 1
    assert data.file(data.clips[0].audio).is_relative_to(tmp_path.with_name("moved"))


def test_official_rows_are_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Upstream's files have four keys, name files from the caller's folder, and may repeat a file name."""
    official = {"id": ..., "speaker": ..., "language": ..., "audio_seconds": ...}
    (tmp_path / "data").mkdir()
    for name in ("data/a.wav", "data/b.wav", "data/ref.wav"):
        (tmp_path / name).touch()
    (tmp_path / "elsewhere").mkdir()
    rows = [row(0, audio="data/a.wav", ref_audio="data/ref.wav", **official)]
    rows.append(row(1, audio="./data/a.wav", ref_audio="data/ref.wav", **official))
    manifest = write(tmp_path / "elsewhere", rows)
    monkeypatch.chdir(tmp_path)

    data = codes.open_coded(manifest)

    assert [(clip.id, clip.speaker, clip.language) for clip in data.clips] == [("a", "", ""), ("a-000002", "", "")]
    assert data.file(data.clips[0].ref_audio) == tmp_path / "data/ref.wav"


BAD: dict[str, tuple[Any, str]] = {
    "no json": ('{"id": ', "not JSON"),
    "nan": (json.dumps(row(0)).replace("1.0", "NaN"), "NaN"),
    "no object": ("[1]", "JSON object"),
    "no audio": (row(0, audio=...), "'audio' is missing"),
    "no text": (row(0, text="  "), "'text' must be"),
    "no reference": (row(0, ref_audio=...), "'ref_audio' is missing"),
    "audio gone": (row(0, audio="clips/none.flac"), "clips/none.flac is not a file"),
    "reference gone": (row(0, ref_audio="none.wav"), "none.wav is not a file"),
    "no codes": (row(0, audio_codes=...), "'audio_codes' is missing"),
    "no frame": (row(0, audio_codes=[]), "no frame"),
    "fifteen": (row(0, audio_codes=[[1] * 15] * 3), "frame 0 has 15 codes"),
    "ragged": (row(0, audio_codes=[[1] * 16, [1] * 16, [1] * 17]), "frame 2 has 17 codes"),
    "flat": (row(0, audio_codes=[1] * 16), "frame 0 has 0 codes"),
    "too large": (row(0, audio_codes=[[1] * 16, [2048] + [1] * 15]), "frame 1 has codes outside"),
    "negative": (row(0, audio_codes=[[-1] * 16]), "frame 0 has codes outside"),
    "huge": (row(0, audio_codes=[[10**30] * 16]), "frame 0 has codes that are not"),
    "floats": (row(0, audio_codes=[[1] * 16, [0.5] * 16]), "frame 1 has codes that are not"),
    "truth": (row(0, audio_codes=[[True] * 16]), "frame 0 has codes that are not"),
    "texts": (row(0, audio_codes=[["1"] * 16]), "frame 0 has codes that are not"),
    "speaker": (row(0, speaker=3), "'speaker' must be text"),
    "twice": (row(4), "stands in line 1 already"),
}


def test_every_bad_line_is_named_at_once(tmp_path: Path) -> None:
    manifest = write(tmp_path, [row(4), *(bad for bad, _ in BAD.values())])

    with pytest.raises(ConfigError) as caught:
        codes.open_coded(manifest)

    told = {problem.line: problem.message for problem in caught.value.problems}
    assert sorted(line for line in told if line) == list(range(2, len(BAD) + 2))
    for line, (name, (_, expected)) in enumerate(BAD.items(), 2):
        assert expected in told[line], name
    assert list(tmp_path.rglob("codes.npy")) == []


def test_a_reference_that_went_away_is_noticed_with_a_ready_cache(manifest: Path) -> None:
    codes.open_coded(manifest)
    (manifest.parent / "ref.wav").unlink()

    with pytest.raises(ConfigError) as caught:
        codes.open_coded(manifest)

    assert [problem.line for problem in caught.value.problems] == [1]


def test_nothing_to_open(tmp_path: Path) -> None:
    with pytest.raises(InputUnusable, match="not a file"):
        codes.open_coded(tmp_path / "none.jsonl")
    with pytest.raises(InputUnusable, match="lists no clip"):
        codes.open_coded(write(tmp_path, [""]))


def test_opening_needs_numpy_only() -> None:
    """Planning a training reads the codes in the core environment."""
    code = "import sys, tts_train.backends.qwen3.codes; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)

    assert {"torch", "transformers", "qwen_tts", "av", "soundfile", "soxr"} & set(done.stdout.split()) == set()
    assert "numpy" in done.stdout.split()
