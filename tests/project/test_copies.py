"""Copies, pictures and the anchor on disk: made once, kept while whole, made again when their reading changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tts_train.audio import Audio, read_audio, write_audio
from tts_train.errors import DiskError
from tts_train.files import read_json, sha256_file
from tts_train.probe import copies
from tts_train.probe.copies import furnish, write_anchor
from tts_train.probe.probe import Item, Probe
from tts_train.probe.readings import Reading

PROBE = Probe(name="p", language="en", items=[Item(id="one", text="Good luck."), Item(id="two", text="The path.")])


def _sound(pitch: float, seconds: float = 1.0) -> Audio:
    time = np.arange(int(22050 * seconds)) / 22050
    return Audio(
        (0.1 * np.sin(2 * np.pi * pitch * time) + 0.05 * np.sin(2 * np.pi * 5000 * time)).astype(np.float32), 22050
    )


def _reading(path: Path, item: str, seed: int = 0, pitch: float = 200.0) -> Reading:
    write_audio(path, _sound(pitch + 50 * seed))
    return Reading(item, seed, PROBE.texts.get(item, "Something else."), path)


def _items(readings: list[Reading]) -> list[dict[str, Any]]:
    return [{"id": reading.item, "seed": reading.seed} for reading in readings]


class Epoch:
    """Two items with two seeds each, as an epoch rendered them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.readings = [
            _reading(folder / f"{item}.seed-{seed}.wav", item, seed) for item in ("one", "two") for seed in (0, 1)
        ]
        self.items = _items(self.readings)

    def furnish(self) -> list[dict[str, Any]]:
        furnish(self.folder, self.items, self.readings, PROBE.texts)
        return self.items

    def files(self) -> dict[str, tuple[int, str]]:
        found = [path for path in self.folder.rglob("*") if path.is_file()]
        return {path.name + path.parent.name: (path.stat().st_mtime_ns, sha256_file(path)) for path in found}


@pytest.fixture
def epoch(tmp_path: Path) -> Epoch:
    return Epoch(tmp_path / "epoch-001")


def test_every_reading_has_a_copy_and_two_pictures(epoch: Epoch) -> None:
    for item, reading in zip(epoch.furnish(), epoch.readings, strict=True):
        copy = item["matched"]
        assert copy["file"] == f"matched/{reading.item}.seed-{reading.seed}.wav"
        assert copy["source_sha256"] == sha256_file(reading.path)
        assert copy["sha256"] == sha256_file(epoch.folder / copy["file"])
        audio = read_audio(epoch.folder / copy["file"])
        assert audio.rate == 24000
        assert copy["audio_seconds"] == pytest.approx(audio.seconds, abs=1e-4)
        assert copy["loudness_lufs"] == pytest.approx(-23.0, abs=0.05)
        assert set(copy) >= {"gain_db", "true_peak_dbtp", "peak_limited", "trimmed_start_seconds"}
        assert item["not_matched"] is None
        for part in ("waveform", "mel"):
            assert (epoch.folder / item["pictures"][part]).is_file()
            assert item["pictures"][part] == f"{reading.item}.seed-{reading.seed}.{part}.png"


def test_what_is_whole_is_neither_read_nor_written_again(epoch: Epoch, monkeypatch: pytest.MonkeyPatch) -> None:
    before = [dict(item) for item in epoch.furnish()]
    files = epoch.files()
    monkeypatch.setattr(copies, "read_audio", None)
    assert epoch.furnish() == before
    assert epoch.files() == files


@pytest.mark.parametrize("lost", ["matched/one.seed-0.wav", "one.seed-0.mel.png", "one.seed-0.waveform.png"])
def test_what_is_missing_is_made_again_with_the_same_bytes(epoch: Epoch, lost: str) -> None:
    before = [dict(item) for item in epoch.furnish()]
    files = epoch.files()
    (epoch.folder / lost).unlink()
    assert epoch.furnish() == before
    assert {name: digest for name, (_, digest) in epoch.files().items()} == {
        name: digest for name, (_, digest) in files.items()
    }


def test_a_damaged_copy_is_made_again(epoch: Epoch) -> None:
    digest = epoch.furnish()[0]["matched"]["sha256"]
    path = epoch.folder / "matched/one.seed-0.wav"
    path.write_bytes(path.read_bytes()[:-2])
    assert epoch.furnish()[0]["matched"]["sha256"] == digest == sha256_file(path)


def test_a_changed_reading_changes_its_copy_and_no_other(epoch: Epoch) -> None:
    before = [dict(item) for item in epoch.furnish()]
    write_audio(epoch.readings[1].path, _sound(300.0, 1.5))
    after = epoch.furnish()
    assert [item == old for item, old in zip(after, before, strict=True)] == [True, False, True, True]
    assert after[1]["matched"]["source_sha256"] == sha256_file(epoch.readings[1].path)
    assert after[1]["matched"]["audio_seconds"] > before[1]["matched"]["audio_seconds"] + 0.4
    assert after[1]["pictures"]["source_sha256"] != before[1]["pictures"]["source_sha256"]


def test_another_way_to_make_them_makes_them_all_again(epoch: Epoch, monkeypatch: pytest.MonkeyPatch) -> None:
    epoch.furnish()
    files = epoch.files()
    monkeypatch.setattr(copies, "MATCHED_VERSION", 99)
    monkeypatch.setattr(copies.pictures, "VERSION", 99)
    assert {item["matched"]["version"] for item in epoch.furnish()} == {99}
    changed = {name for name, (time, _) in epoch.files().items() if time != files[name][0]}
    assert len(changed) == 4 * 3


def test_a_record_of_another_folder_is_made_true_here(epoch: Epoch, tmp_path: Path) -> None:
    """The base's measures are taken over from another run of the workspace; its files are not."""
    items = [dict(item) for item in epoch.furnish()]
    other = Epoch(tmp_path / "elsewhere/epoch-001")
    other.items = [dict(item) for item in items]
    assert other.furnish() == items
    assert all((other.folder / item["matched"]["file"]).is_file() for item in items)
    assert all((other.folder / item["pictures"]["mel"]).is_file() for item in items)


def test_silence_has_no_copy_and_says_why(epoch: Epoch) -> None:
    epoch.furnish()
    write_audio(epoch.readings[0].path, Audio(np.zeros(22050, np.float32), 22050))
    item = epoch.furnish()[0]
    assert (item["matched"], item["not_matched"]) == (None, "there is nothing to hear in it")
    assert not (epoch.folder / "matched/one.seed-0.wav").exists(), "nobody may play what it was before"
    assert (epoch.folder / item["pictures"]["mel"]).is_file()


def test_the_target_s_clips_are_copied_under_the_items_names(tmp_path: Path) -> None:
    readings = [_reading(tmp_path / "clips/take-7.flac", "two"), _reading(tmp_path / "clips/chapter.flac", "chapter")]
    items = _items(readings)
    folder = tmp_path / "renders/target"
    furnish(folder, items, readings, PROBE.texts)
    assert items[0]["matched"]["file"] == "matched/two.wav"
    assert items[0]["pictures"]["mel"] == "two.mel.png"
    assert items[1]["matched"] is items[1]["pictures"] is None
    assert items[1]["not_matched"] == "it reads no item of the probe"
    assert sorted(path.name for path in folder.rglob("*.*")) == ["two.mel.png", "two.wav", "two.waveform.png"]


def test_a_full_disk_is_said_and_the_next_time_mends_it(epoch: Epoch, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_path: Path, _audio: Audio) -> None:
        raise DiskError("no space", hint="")

    with monkeypatch.context() as patch:
        patch.setattr(copies, "write_audio", full)
        with pytest.raises(DiskError):
            epoch.furnish()
    assert all(item["matched"] for item in epoch.furnish())


def test_the_anchor_is_the_target_without_its_highs_else_the_base(tmp_path: Path) -> None:
    base = Epoch(tmp_path / "epoch-000")
    target = [_reading(tmp_path / "clips/one.flac", "one", pitch=400.0)]
    folder = tmp_path / "anchor"
    write_anchor(folder, PROBE, target, base.readings)
    items = read_json(folder / "anchor.json")["items"]
    assert [(item["id"], item["seed"], item["made_from"]) for item in items] == [
        ("one", 0, "target"),
        ("two", 0, "base"),
    ]
    assert items[0]["matched"]["source_sha256"] == sha256_file(target[0].path)
    assert items[1]["matched"]["source_sha256"] == sha256_file(base.readings[2].path), "the first seed"
    for item in items:
        audio = read_audio(folder / item["matched"]["file"])
        power = np.abs(np.fft.rfft(audio.samples)) ** 2
        hertz = np.fft.rfftfreq(len(audio.samples), 1 / audio.rate)
        assert power[hertz > 4500].sum() < 1e-4 * power.sum()
        assert item["matched"]["loudness_lufs"] == pytest.approx(-23.0, abs=0.05)


def test_an_anchor_is_kept_until_its_source_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = Epoch(tmp_path / "epoch-000")
    folder = tmp_path / "anchor"
    write_anchor(folder, PROBE, [], base.readings)
    before = read_json(folder / "anchor.json")
    stamp = (folder / "anchor.json").stat().st_mtime_ns
    with monkeypatch.context() as patch:
        patch.setattr(copies, "read_audio", None)
        write_anchor(folder, PROBE, [], base.readings)
    assert (folder / "anchor.json").stat().st_mtime_ns == stamp
    target = [_reading(tmp_path / "clips/one.flac", "one", pitch=400.0)]
    write_anchor(folder, PROBE, target, base.readings)
    after = read_json(folder / "anchor.json")
    assert after["items"][0] != before["items"][0]
    assert after["items"][1] == before["items"][1]
