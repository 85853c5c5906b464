"""Rendering: the same bytes twice, only what is missing, nothing stale. The base is real, epochs are stand-ins."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tts_train.audio import Audio
from tts_train.backends import BACKENDS, Spoken
from tts_train.config import TrainConfig
from tts_train.files import read_json, write_json, write_synced
from tts_train.probe.probe import load_probe
from tts_train.probe.render import is_current, is_stale, render_folder, render_run
from tts_train.training.run import RunFolder
from tts_train.workspace import Workspace

PROBE = """\
name: tiny
language: en
items:
  - {id: one, text: "Good luck."}
  - {id: two, text: "The path."}
"""
MARKERS = "markers: [{set: FOOT, words: [good]}]\n"
WANTED = [("one", 0), ("two", 0)]


def _run(workspace: Workspace, name: str, base: str = "of-the-base") -> RunFolder:
    run = RunFolder(workspace.runs / name)
    settings = {"voice": "v", "run": name, "backend": "piper", "dataset": "none"}
    run.start(
        TrainConfig.model_validate(settings | {"epochs": 1, "lr": 1e-5, "threads": 1}), {"base": {"sha256": base}}
    )
    return run


def _workspace(folder: Path) -> tuple[Workspace, RunFolder, str]:
    workspace = Workspace(folder)
    run = _run(workspace, "r")
    (folder / "probe.yaml").write_text(PROBE, encoding="utf-8")
    return workspace, run, str(folder / "probe.yaml")


class Talker:
    """Speaks a tone that depends on weights, text and seed; counts what it said, and can break off."""

    rate = 22050

    def __init__(self, weights: bytes, said: list[str], breaks_at: str | None) -> None:
        self.weights, self.said, self.breaks_at = weights, said, breaks_at

    def say(self, text: str, setting: Any, seed: int) -> Spoken:
        if text == self.breaks_at:
            raise KeyboardInterrupt
        self.said.append(text)
        pitch = 100 + 10 * len(text) + sum(self.weights) % 100 + 3 * seed
        samples = 0.3 * np.sin(np.arange(2205) * pitch / 2205).astype(np.float32)
        return Spoken(Audio(samples, self.rate), "duration-predictor")


class Stage:
    """A run whose speaker is a Talker."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.workspace, self.run, self.probe = _workspace(folder)
        self.said: list[str] = []
        self.breaks_at: str | None = None
        monkeypatch.setattr("tts_train.backends.piper.load_speaker", self._load)
        self.publish(b"first")

    def _load(self, base: str, epoch_folder: Path | None, threads: int, voice: dict[str, Any]) -> Talker:
        weights = (epoch_folder / "weights.safetensors").read_bytes() if epoch_folder else b"base"
        return Talker(weights, self.said, self.breaks_at)

    def publish(self, weights: bytes) -> None:
        info = {"epoch": 1, "step": 1, "sum_lr": 0.0, "drift": 0.0}
        self.run.publish(1, lambda place: write_synced(place / "weights.safetensors", weights), info)

    def render(self, seeds: list[int] | None = None) -> dict[str, Any]:
        self.said.clear()
        return render_run(str(self.workspace.root), "r", self.probe, [1], seeds=seeds)

    def folder(self) -> Path:
        [key] = [path.name for path in (self.run.path / "renders").iterdir()]
        return render_folder(self.run, key, 1)

    def current(self) -> bool:
        return is_current(self.folder(), self.run.epoch(1).weights_sha256, WANTED)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(tmp_path, monkeypatch)


def test_the_base_speaks_the_same_bytes_twice(tmp_path: Path) -> None:
    folders = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        workspace, run, probe = _workspace(tmp_path / name)
        result = render_run(str(workspace.root), "r", probe, [0])
        assert result["epochs"] == [{"epoch": 0, "rendered": 2, "kept": 0}]
        folders.append(render_folder(run, result["key"], 0))
    for item in ("one.wav", "two.wav"):
        assert (folders[0] / item).read_bytes() == (folders[1] / item).read_bytes()
    assert (folders[0] / "one.wav").read_bytes() != (folders[0] / "two.wav").read_bytes()
    noted = read_json(folders[0] / "render.json")
    assert noted["weights_sha256"] == "of-the-base"
    assert noted["items"][0]["rate"] == 22050
    assert noted["items"][0]["audio_seconds"] > 0.3
    assert noted["items"][0]["stopped_by"] == "duration-predictor"


def test_a_whole_render_is_left_alone_and_loads_no_model(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.render()
    before = (stage.folder() / "render.json").stat().st_mtime_ns

    def refuse(*_given: Any) -> Talker:
        raise AssertionError("nothing was to be loaded")

    monkeypatch.setattr("tts_train.backends.piper.load_speaker", refuse)
    assert stage.render()["epochs"] == [{"epoch": 1, "rendered": 0, "kept": 2}]
    assert (stage.folder() / "render.json").stat().st_mtime_ns == before


def test_what_the_base_said_for_another_run_is_copied_and_not_said_again(stage: Stage) -> None:
    root = str(stage.workspace.root)
    first = render_run(root, "r", stage.probe, [0])
    key = first["key"]
    same, other = _run(stage.workspace, "same"), _run(stage.workspace, "other", base="of-another-base")
    stage.said.clear()
    again = render_run(root, "same", stage.probe, [0])
    assert (again["epochs"], stage.said) == ([{"epoch": 0, "rendered": 0, "kept": 2}], [])
    files = {run.name: kept(render_folder(run, key, 0)) for run in (stage.run, same)}
    assert files["same"] == files["r"]
    assert sorted(files["r"]) == ["one.wav", "render.json", "two.wav"]

    render_run(root, "other", stage.probe, [0])
    assert stage.said == ["Good luck.", "The path."]
    assert is_current(render_folder(other, key, 0), "of-another-base", WANTED)


def test_of_a_damaged_render_of_another_run_only_what_is_whole_is_copied(stage: Stage) -> None:
    first = render_run(str(stage.workspace.root), "r", stage.probe, [0])
    two = render_folder(stage.run, first["key"], 0) / "two.wav"
    whole = two.read_bytes()
    two.write_bytes(whole[:-2])
    same = _run(stage.workspace, "same")
    stage.said.clear()
    render_run(str(stage.workspace.root), "same", stage.probe, [0])
    assert stage.said == ["The path."]
    assert (render_folder(same, first["key"], 0) / "two.wav").read_bytes() == whole


def kept(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_only_a_missing_or_damaged_item_is_spoken_again(stage: Stage) -> None:
    stage.render()
    whole = (stage.folder() / "two.wav").read_bytes()
    (stage.folder() / "two.wav").write_bytes(whole[:-2])
    assert not stage.current()
    stage.render()
    assert stage.said == ["The path."]
    assert (stage.folder() / "two.wav").read_bytes() == whole
    (stage.folder() / "one.wav").unlink()
    stage.render()
    assert stage.said == ["Good luck."]
    assert stage.current()


def test_a_stopped_render_is_unfinished_and_goes_on_where_it_was(stage: Stage) -> None:
    stage.breaks_at = "The path."
    with pytest.raises(KeyboardInterrupt):
        stage.render()
    assert not (stage.folder() / "render.json").exists()
    assert not stage.current()
    stage.breaks_at = None
    stage.render()
    assert stage.said == ["The path."]
    assert sorted(path.name for path in stage.folder().iterdir()) == ["one.wav", "render.json", "two.wav"]


def test_other_weights_make_a_render_stale_with_its_measures(stage: Stage) -> None:
    stage.render()
    old = (stage.folder() / "one.wav").read_bytes()
    write_json(stage.folder() / "measures.json", {})
    assert not is_stale(stage.folder(), stage.run.epoch(1).weights_sha256)
    stage.publish(b"second")
    assert not stage.current()
    assert is_stale(stage.folder(), stage.run.epoch(1).weights_sha256)
    stage.render()
    assert stage.said == ["Good luck.", "The path."]
    assert (stage.folder() / "one.wav").read_bytes() != old
    assert not (stage.folder() / "measures.json").exists()
    assert not is_stale(stage.folder(), stage.run.epoch(1).weights_sha256)


def test_what_other_weights_began_is_not_mixed_in(stage: Stage) -> None:
    stage.breaks_at = "The path."
    with pytest.raises(KeyboardInterrupt):
        stage.render()
    stage.breaks_at = None
    stage.publish(b"second")
    stage.render()
    assert stage.said == ["Good luck.", "The path."]


def test_new_markers_render_nothing_and_new_seeds_render_beside(stage: Stage) -> None:
    stage.render()
    path = Path(stage.probe)
    path.write_text(PROBE + MARKERS, encoding="utf-8")
    assert load_probe(path).markers
    stage.render()
    assert stage.said == []
    path.write_text(PROBE + "seeds: [0, 1]\n", encoding="utf-8")
    result = stage.render()
    assert stage.said == ["Good luck.", "Good luck.", "The path.", "The path."]
    names = sorted(path.name for path in render_folder(stage.run, result["key"], 1).glob("*.wav"))
    assert names == ["one.seed-0.wav", "one.seed-1.wav", "two.seed-0.wav", "two.seed-1.wav"]


def test_a_family_that_samples_speaks_with_two_seeds_unless_told(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    one = stage.render()["key"]
    monkeypatch.setitem(BACKENDS, "piper", replace(BACKENDS["piper"], samples=True))
    two = stage.render()["key"]
    folder = render_folder(stage.run, two, 1)
    assert sorted(path.name for path in folder.glob("one*.wav")) == ["one.seed-0.wav", "one.seed-1.wav"]
    assert (folder / "one.seed-0.wav").read_bytes() != (folder / "one.seed-1.wav").read_bytes()
    told = stage.render([7])["key"]
    assert len({one, two, told}) == 3
    items = read_json(render_folder(stage.run, told, 1) / "render.json")["items"]
    assert [(item["id"], item["seed"], item["file"]) for item in items] == [
        ("one", 7, "one.wav"),
        ("two", 7, "two.wav"),
    ]
    assert stage.said == ["Good luck.", "The path."]


def test_tensorboard_plays_every_epoch(stage: Stage) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    render_run(str(stage.workspace.root), "r", stage.probe, [0, 1])
    [folder] = (stage.run.path / "tb").glob("probe-*")
    events = EventAccumulator(str(folder), size_guidance={"audio": 0}).Reload()

    assert events.Tags()["audio"] == ["one/seed-0", "two/seed-0"]
    spoken = events.Audio("one/seed-0")
    assert [event.step for event in spoken] == [0, 1]
    assert spoken[0].encoded_audio_string != spoken[1].encoded_audio_string
    assert spoken[0].sample_rate == 22050
